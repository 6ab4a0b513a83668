//! What people are told when it does not work, and the exit codes.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;

use crate::support::{Group, command, needs_root, run, skip, text};

#[test]
fn arguments_that_are_wrong() {
    let missing = ["--cgroup", "/sys/fs/cgroup/no/such/group"];
    for (options, expected) in [
        (vec![], "nothing to watch"),
        (missing.to_vec(), "cannot be opened"),
        (vec!["--cgroup", "/tmp"], "not a control group of version 2"),
        (vec!["--pid", "4194999"], "no process 4194999"),
        (vec!["--pid", "1", "--sample-every", "3"], "power of two"),
        (vec!["--pid", "1", "--slow", "1s"], "--otlp-endpoint"),
        (
            vec!["--pid", "1", "--otlp-endpoint", "https://c"],
            "http://",
        ),
        (vec!["--pid", "1", "--listen", "nowhere"], "--listen"),
        (vec!["--pid", "1", "--copies", "0"], "--copies"),
        (vec!["--pod", "cart-0"], "shop/cart-0"),
        (
            vec!["--pod", "no/pod", "--host-root", "/nowhere"],
            "/nowhere/var/log/pods",
        ),
    ] {
        let (code, out, error) = run(command().args(&options));
        assert_eq!(code, 2, "{options:?}: {error}");
        assert!(error.contains(expected), "{options:?}: {error}");
        assert_eq!(out, "");
    }
}

#[test]
fn containers_that_are_not_there() {
    needs_root!("containers_that_are_not_there");
    let (code, _, error) = run(command().args(["--container", "0123456789ab"]));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("0123456789ab"), "{error}");
}

#[test]
fn a_port_that_is_taken() {
    needs_root!("a_port_that_is_taken");
    let group = Group::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (code, _, error) =
        run(command().args(["--cgroup", text(&group.path), "--listen", &address]));
    assert_eq!(code, 3, "{error}");
    assert!(
        error.contains(&address) && error.contains("--listen"),
        "{error}"
    );
    assert_eq!(group.attached(), 0);
}

/// A copy of the program that others may start, wherever it was built.
fn public_copy() -> (tempfile::TempDir, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flora-agent");
    // By a program of its own: what another test starts meanwhile would inherit the file as it is
    // written, and nothing that is open for writing can be executed.
    let mut copy = std::process::Command::new("cp");
    let copied = copy.arg(env!("CARGO_BIN_EXE_flora-agent")).arg(&path);
    assert!(copied.status().unwrap().success());
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    (directory, path)
}

#[test]
fn without_capabilities() {
    needs_root!("without_capabilities");
    let group = Group::new();
    let (_directory, program) = public_copy();
    let nobody = || {
        let mut command = std::process::Command::new(&program);
        command.uid(65534).gid(65534);
        command
    };
    let (code, _, error) =
        run(nobody().args(["--cgroup", text(&group.path), "--listen", "127.0.0.1:0"]));
    assert_eq!(code, 3, "{error}");
    for name in ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "root"] {
        assert!(error.contains(name), "{error}");
    }
    let (code, out, _) = run(nobody().arg("--check"));
    assert_eq!(code, 3, "{out}");
    assert!(
        out.contains("MISSING  bpf()") && out.contains("CAP_BPF"),
        "{out}"
    );
}

#[test]
fn with_just_the_capabilities_that_are_named() {
    needs_root!("with_just_the_capabilities_that_are_named");
    if std::process::Command::new("setpriv")
        .arg("--version")
        .output()
        .is_err()
    {
        return skip(
            "with_just_the_capabilities_that_are_named",
            "no setpriv (util-linux)",
        );
    }
    let group = Group::new();
    let (_directory, program) = public_copy();
    let with = |capabilities: &str| {
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args([
                format!("--inh-caps={capabilities}"),
                format!("--ambient-caps={capabilities}"),
            ])
            .arg(&program)
            .args(["--check", "--cgroup", text(&group.path)]);
        run(&mut command)
    };
    let (code, out, error) = with("-all,+bpf,+perfmon,+net_admin");
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("attached and detached again"), "{out}");
    let (code, out, _) = with("-all,+bpf,+perfmon");
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("CAP_NET_ADMIN"), "{out}");
}

#[test]
fn a_check_says_what_is_here() {
    needs_root!("a_check_says_what_is_here");
    let group = Group::new();
    let (code, out, error) = run(command().args(["--check", "--cgroup", text(&group.path)]));
    assert_eq!(code, 0, "{out}{error}");
    for line in [
        "ok       kernel",
        "ok       cgroup2",
        "ok       program ingress",
        "ok       attach",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    assert_eq!(group.attached(), 0);
}

#[test]
fn a_version_names_its_programs() {
    let (code, out, _) = run(command().arg("--version"));
    assert_eq!(code, 0);
    assert!(out.starts_with("flora-agent 0."), "{out}");
    assert!(out.contains("sha256 "), "{out}");
}
