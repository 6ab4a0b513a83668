//! What SECURITY.md promises: nothing listens where others reach it, and whoever names things in a
//! run can't have a reader's browser or terminal do anything.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::lifecycle::wait_until_measuring;
use crate::runs;
use crate::scenario::target_app;
use crate::support::{flora_bench, leftovers, measuring, run, scenarios, skip};

/// A network of its own, where every port is free and all that listens is this program and its children.
fn alone(command: &Command) -> Command {
    let mut own = Command::new("unshare");
    own.args([
        "--net",
        "sh",
        "-c",
        "ip link set lo up && exec \"$@\"",
        "sh",
    ])
    .arg(command.get_program())
    .args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        own.current_dir(directory);
    }
    own
}

/// Whether programs can have networks of their own here; says so when not.
fn possible(test: &str) -> bool {
    let tried = alone(&Command::new("true")).stderr(Stdio::null()).status();
    let possible = tried.is_ok_and(|status| status.success());
    if !possible {
        skip(
            test,
            "it makes networks, which needs root, unshare(1) and ip(8)",
        );
    }
    possible
}

/// The addresses in a network that TCP listens on or UDP receives at (proc_net(5)).
fn listening(pid: u32) -> Vec<(IpAddr, u16)> {
    let mut found = Vec::new();
    for (table, state) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (address, port) = words[1].split_once(':').unwrap();
            if words[3] == state {
                found.push((parsed(address), u16::from_str_radix(port, 16).unwrap()));
            }
        }
    }
    found
}

/// Words of 32 bits, each in the machine's own order.
fn parsed(hex: &str) -> IpAddr {
    let words = hex.as_bytes().chunks(8).map(|word| {
        let word = std::str::from_utf8(word).unwrap();
        u32::from_str_radix(word, 16).unwrap().to_ne_bytes()
    });
    let bytes: Vec<u8> = words.flatten().collect();
    match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(bytes) => Ipv4Addr::from(bytes).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).unwrap()).into(),
    }
}

#[test]
fn addresses_are_read_as_the_kernel_writes_them() {
    let of = |address: IpAddr| {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let words = bytes.chunks(4).map(|word| {
            let word = u32::from_ne_bytes(word.try_into().unwrap());
            format!("{word:08X}")
        });
        words.collect::<String>()
    };
    for text in [
        "127.0.0.1",
        "0.0.0.0",
        "192.0.2.7",
        "::1",
        "::",
        "2001:db8::7",
    ] {
        let address: IpAddr = text.parse().unwrap();
        assert_eq!(parsed(&of(address)), address);
    }
}

/// Waits until as many listen as should.
fn await_listening(child: &mut Child, count: usize) -> Vec<(IpAddr, u16)> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let network = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    loop {
        // Asked first: until it is in a network of its own, it sees who listens in this one.
        let own = network(child.id()) != network(std::process::id());
        let found = listening(child.id());
        if own && found.len() >= count {
            return found;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        assert!(Instant::now() < deadline, "{found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn programs_listen_on_loopback_unless_told_otherwise() {
    if !possible("programs_listen_on_loopback_unless_told_otherwise") {
        return;
    }
    let mut observe = flora_bench();
    observe.arg("observe");
    let mut intake = flora_bench();
    intake.arg(flora_bench::intake::SUBCOMMAND);
    for (command, sockets) in [(Command::new(target_app()), 1), (observe, 1), (intake, 5)] {
        let mut child = alone(&command)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let found = await_listening(&mut child, sockets);
        child.kill().unwrap();
        child.wait().unwrap();
        let all_loopback = found.iter().all(|(address, _)| address.is_loopback());
        assert!(all_loopback, "{command:?}: {found:?}");
        assert_eq!(found.len(), sockets, "{command:?}: {found:?}");
    }
}

/// Target, exporter, intake and VictoriaMetrics, as a run starts them.
#[test]
fn nothing_of_a_run_is_reached_from_outside() {
    if !possible("nothing_of_a_run_is_reached_from_outside") {
        return;
    }
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    // Its agent is what an intake is started for; what it sends does not matter here.
    let text = "question: q\ntarget: {env: {COLLECTOR: '{intake_otlp_http}'}}\n";
    let scenarios = scenarios(&[("baseline", text)]);
    let mut command = flora_bench();
    command
        .args(["scenario", "baseline", "--rate", "100", "--blocks", "1"])
        .args(["--warmup", "100ms", "--measure", "5s", "--slices", "1"])
        .arg("--scenarios")
        .arg(scenarios.path())
        .arg("--out")
        .arg(out.path());
    let mut child = alone(&command)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until_measuring(out.path(), &mut child);
    let found = listening(child.id());
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(0 | 4)), "{code:?}");
    // The target, the intake's five; where there is VictoriaMetrics, that and what it scrapes.
    assert!(found.len() >= 6, "{found:?}");
    assert!(
        found.iter().all(|(address, _)| address.is_loopback()),
        "{found:?}"
    );
    assert_eq!(leftovers(), Vec::<String>::new());
}

/// What would run in a browser, and what would steer a terminal.
const HOSTILE: &str =
    "<script>alert(1)</script>\"'>&\u{1b}]0;owned\u{7}\n```\n<script>alert(2)</script>";

/// A run whose every word is hostile.
fn hostile(run: &str, out: &Path) -> PathBuf {
    let costs: &[f64] = &[1e-4, 1.1e-4, 1.2e-4];
    let arms = [
        ("baseline", costs),
        ("baseline-twin", costs),
        (HOSTILE, costs),
    ];
    let mut run = runs::run(run, "2025-01-02T03:04:05Z", &arms);
    for arm in &mut run.0.plan.arms {
        arm.question = HOSTILE.to_owned();
        arm.analysis = Some(HOSTILE.to_owned());
        arm.load.path = HOSTILE.to_owned();
        if let Some(agent) = &mut arm.agent {
            agent.version = HOSTILE.to_owned();
        }
    }
    run.0.plan.limitations.push(HOSTILE.to_owned());
    run.0.fingerprint.machine.cpu_model = HOSTILE.to_owned();
    run.0.fingerprint.programs[0].version = HOSTILE.to_owned();
    let mut failed = run.0.trials.pop().unwrap();
    failed.error = Some(HOSTILE.to_owned());
    failed.status = flora_bench::trial::TrialStatus::Failed;
    run.0.trials.push(failed);
    run.write(out)
}

/// Markdown without what stands between fences, which is shown as it is.
fn outside_of_fences(text: &str) -> String {
    let mut fence = None;
    let mut outside = String::new();
    for line in text.lines() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        match fence {
            None if ticks >= 3 => fence = Some(ticks),
            None => outside.extend([line, "\n"]),
            Some(opened) if ticks >= opened && ticks == line.len() => fence = None,
            Some(_) => {}
        }
    }
    assert_eq!(fence, None, "a fence is open");
    outside
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    entries
        .flat_map(|entry| match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path()),
            _ => vec![entry.path()],
        })
        .collect()
}

#[test]
fn what_a_run_names_is_shown_and_does_nothing() {
    let out = tempfile::tempdir().unwrap();
    let (a, b) = (hostile("a", out.path()), hostile("b", out.path()));
    let [a, b] = [&a, &b].map(|path| path.to_str().unwrap());
    let results = out.path().to_str().unwrap();
    let mut shown = Vec::new();
    for arguments in [
        &["report", a][..],
        &["report", b],
        &["compare", a, b],
        &["compare", a, b, "--format", "markdown"],
        &["gate", a, "--max", "cpu_seconds_per_request=0.5"],
        &["history", results],
    ] {
        let (code, stdout, stderr) = run(flora_bench().args(arguments));
        assert!(
            [0, 1, 4, 5].contains(&code),
            "{arguments:?}: {code} {stderr}"
        );
        // A person's terminal does what these say.
        for text in [&stdout, &stderr] {
            let steers = text
                .chars()
                .any(|c| c.is_control() && c != '\n' && c != '\t');
            assert!(!steers, "{arguments:?}: {text:?}");
        }
        if arguments.contains(&"markdown") {
            shown.push(("markdown".to_owned(), stdout));
        }
    }
    for path in files(out.path()) {
        let name = path.display().to_string();
        if [".html", ".md", ".svg", ".xml"]
            .iter()
            .any(|kind| name.ends_with(kind))
        {
            shown.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    let kinds = |kind: &str| {
        shown
            .iter()
            .filter(|(name, _)| name.ends_with(kind))
            .count()
    };
    assert!(
        kinds(".html") >= 2 && kinds(".md") >= 2 && kinds(".svg") >= 8,
        "{shown:?}"
    );
    for (name, text) in &shown {
        let shown = match name.ends_with(".md") || name == "markdown" {
            true => outside_of_fences(text),
            false => text.clone(),
        };
        assert!(!shown.contains("<script>alert"), "{name}");
        // A picture is part of other pages, and must stay a picture.
        if name.ends_with(".svg") || name.ends_with(".xml") {
            let read = roxmltree::Document::parse(text);
            let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
            let scripts = read.descendants().any(|node| node.has_tag_name("script"));
            assert!(!scripts, "{name}");
        }
    }
    let html = &shown
        .iter()
        .find(|(name, _)| name.ends_with("report.html"))
        .unwrap()
        .1;
    assert!(
        html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "it is shown as text"
    );
}
