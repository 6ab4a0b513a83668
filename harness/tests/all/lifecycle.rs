//! However a run ends, nothing of it is left.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{flora_bench, leftovers, measuring, repository, run, scenarios, skip};

/// A run that would go on for a minute.
fn long_run(out: &Path) -> (Child, tempfile::TempDir) {
    long_run_by(flora_bench(), out)
}

/// The same, started by this command.
fn long_run_by(mut command: Command, out: &Path) -> (Child, tempfile::TempDir) {
    let scenarios = scenarios(&[]);
    let child = command
        .args(["scenario", "baseline", "--rate", "200", "--blocks", "3"])
        .args(["--warmup", "300ms", "--measure", "20s", "--scenarios"])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, scenarios)
}

/// The program, started by `env` with what that does about a signal: whoever runs the tests may
/// have it ignored, and so may have the program.
fn flora_bench_by_env(signal: &str) -> Command {
    let mut command = Command::new("env");
    command
        .arg(signal)
        .arg(env!("CARGO_BIN_EXE_flora-bench"))
        .current_dir(repository());
    command
}

/// Waits until the run has written its first readings of a trial.
pub fn wait_until_measuring(out: &Path, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let samples = out.join("latest/samples.jsonl");
    while !std::fs::read_to_string(&samples).is_ok_and(|text| text.contains("\"measure\"")) {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        assert!(Instant::now() < deadline, "it never began to measure");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

#[test]
fn an_interrupt_cleans_up_and_keeps_the_records() {
    let _guard = measuring();
    for name in [Signal::SIGINT, Signal::SIGTERM] {
        let out = tempfile::tempdir().unwrap();
        let (mut child, _scenarios) = long_run(out.path());
        wait_until_measuring(out.path(), &mut child);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        assert_eq!(leftovers(), Vec::<String>::new());
        let stderr = String::from_utf8_lossy(&output.stderr);
        let way_on = format!("go on with: flora-bench resume {}/", out.path().display());
        assert!(stderr.contains(&way_on), "{stderr}");
        let (code, _, stderr) = run(flora_bench()
            .args(["verify", "latest", "--out"])
            .arg(out.path()));
        assert_eq!(code, 0, "{stderr}");
        let trials = std::fs::read_to_string(out.path().join("latest/trials.jsonl")).unwrap();
        assert!(trials.contains("interrupted"), "{trials}");
    }
}

/// A terminal that goes ends the run as an interrupt does, however often that is said.
#[test]
fn a_terminal_that_goes_takes_nothing_but_the_run() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let command = flora_bench_by_env("--default-signal=HUP");
    let (mut child, _scenarios) = long_run_by(command, out.path());
    wait_until_measuring(out.path(), &mut child);
    for _ in 0..3 {
        signal(&child, Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(leftovers(), Vec::<String>::new());
    let trials = std::fs::read_to_string(out.path().join("latest/trials.jsonl")).unwrap();
    assert!(trials.contains("interrupted"), "{trials}");
}

/// As under nohup.
#[test]
fn a_run_that_is_to_outlive_its_terminal_does() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let command = flora_bench_by_env("--ignore-signal=HUP");
    let (mut child, _scenarios) = long_run_by(command, out.path());
    wait_until_measuring(out.path(), &mut child);
    signal(&child, Signal::SIGHUP);
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "it ended");
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(leftovers(), Vec::<String>::new());
}

/// `flora-bench … 2>&1 | tee log`, and tee dies of the same Ctrl-C; or `| head` has seen enough.
#[test]
fn nobody_who_listens_ends_nothing() {
    let _guard = measuring();
    let scenarios = scenarios(&[]);
    for interrupted in [false, true] {
        let out = tempfile::tempdir().unwrap();
        let measure = if interrupted { "20s" } else { "300ms" };
        let mut child = flora_bench()
            .args(["scenario", "baseline", "--rate", "200", "--blocks", "2"])
            .args(["--warmup", "200ms", "--measure", measure, "--slices", "1"])
            .args(["--victoria-metrics", "off", "--scenarios"])
            .arg(scenarios.path())
            .arg("--out")
            .arg(out.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let expected: &[i32] = if interrupted {
            wait_until_measuring(out.path(), &mut child);
            signal(&child, Signal::SIGINT);
            &[130]
        } else {
            &[0, 4]
        };
        let code = child.wait().unwrap().code().unwrap();
        assert!(expected.contains(&code), "{code}");
        assert_eq!(leftovers(), Vec::<String>::new());
        assert!(out.path().join("latest/report.html").is_file());
    }
}

#[test]
fn a_killed_harness_takes_its_children_along_and_clean_removes_the_rest() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (mut child, _scenarios) = long_run(out.path());
    wait_until_measuring(out.path(), &mut child);
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let processes = || {
        leftovers()
            .into_iter()
            .filter(|thing| thing.starts_with("process"))
            .collect::<Vec<_>>()
    };
    while !processes().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", processes());
        std::thread::sleep(Duration::from_millis(50));
    }
    let (code, stdout, stderr) = run(flora_bench().arg("clean"));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("removed work directory"), "{stdout}");
    assert_eq!(leftovers(), Vec::<String>::new());
    let (code, stdout, _) = run(flora_bench().arg("clean"));
    assert_eq!((code, stdout.as_str()), (0, "nothing was left behind\n"));
}

#[test]
fn the_next_start_removes_what_a_killed_run_left() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (mut child, scenarios) = long_run(out.path());
    wait_until_measuring(out.path(), &mut child);
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let (code, _, stderr) = run(flora_bench()
        .args(["scenario", "baseline", "--rate", "100", "--blocks", "1"])
        .args(["--warmup", "100ms", "--measure", "300ms", "--scenarios"])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out.path()));
    assert!(matches!(code, 0 | 4), "{stderr}");
    assert!(
        stderr.contains("removed what an earlier run left"),
        "{stderr}"
    );
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn clean_does_not_touch_a_run_that_lives_and_a_second_run_is_refused() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (mut child, scenarios) = long_run(out.path());
    wait_until_measuring(out.path(), &mut child);
    let (code, stdout, _) = run(flora_bench().arg("clean"));
    assert_eq!((code, stdout.as_str()), (0, "nothing was left behind\n"));
    let (code, _, stderr) = run(flora_bench()
        .args(["scenario", "baseline", "--rate", "100", "--scenarios"])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out.path()));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("another flora-bench measures"), "{stderr}");
    assert!(child.try_wait().unwrap().is_none(), "it was disturbed");
    signal(&child, Signal::SIGINT);
    child.wait().unwrap();
    assert_eq!(leftovers(), Vec::<String>::new());
}

/// The lock is one for all users, whoever came first and with whatever umask.
#[test]
fn a_lock_that_another_user_made_can_be_taken() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    const NOBODY: u32 = 65534;
    let test = "a_lock_that_another_user_made_can_be_taken";
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "only root can be two users");
    }
    let _guard = measuring();
    // As /tmp is, where the kernel protects what others have made.
    let temporary = tempfile::tempdir().unwrap();
    let scenarios = scenarios(&[(
        "lacking",
        "question: q\nagent: {version: '1', processes: [{name: a, command: [a]}], needs: [{program: {name: no-such-program, install: nobody can}}]}\n",
    )]);
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(temporary.path(), 0o1777);
    mode(scenarios.path(), 0o755);
    let program = temporary.path().join("flora-bench");
    std::fs::copy(env!("CARGO_BIN_EXE_flora-bench"), &program).unwrap();
    let lock = temporary.path().join("flora-bench.lock");
    for owner in [0, NOBODY] {
        std::fs::write(&lock, "").unwrap();
        mode(&lock, 0o644);
        std::os::unix::fs::chown(&lock, Some(owner), Some(owner)).unwrap();
        for user in [0, NOBODY] {
            let mut command = Command::new(&program);
            command
                .uid(user)
                .gid(user)
                .current_dir("/")
                .env("TMPDIR", temporary.path())
                .args(["scenario", "lacking", "--rate", "100", "--scenarios"])
                .arg(scenarios.path());
            // Found out when the machine is taken.
            let (code, _, stderr) = run(&mut command);
            assert_eq!(code, 3, "{stderr}");
            assert!(stderr.contains("no-such-program"), "{stderr}");
        }
        std::fs::remove_file(&lock).unwrap();
    }
}

#[test]
fn a_target_that_dies_under_load_fails_its_trial_only() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let app = crate::scenario::target_app();
    // The third start (after the preflight of baseline and twin) dies after a while.
    let program = crate::support::script(
        directory.path(),
        "fragile",
        &format!(
            "[ \"$1\" = --version ] && echo fragile 1 && exit\n\
             echo x >> {count}\n\
             [ $(wc -l < {count}) = 3 ] && (sleep 1; kill -9 $$) &\n\
             exec {app} \"$@\"",
            count = directory.path().join("starts").display(),
            app = app.display()
        ),
    );
    let scenarios = scenarios(&[(
        "baseline",
        &format!(
            "question: q\ntarget: {{program: {}}}\ntrials: {{warmup: 200ms, measure: 2s, blocks: 3}}\n",
            program.display()
        ),
    )]);
    let (_, _, stderr) = run(flora_bench()
        .args(["scenario", "baseline", "--rate", "100", "--scenarios"])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out.path()));
    let trials = std::fs::read_to_string(out.path().join("latest/trials.jsonl")).unwrap();
    let statuses: Vec<bool> = trials
        .lines()
        .map(|line| line.contains("\"status\":\"failed\""))
        .collect();
    // The other trial of its block goes on beside it.
    assert_eq!(
        statuses,
        [true, false, false, false, false, false],
        "{stderr}"
    );
    assert!(trials.contains("signal: 9"), "{trials}");
    assert_eq!(leftovers(), Vec::<String>::new());
}
