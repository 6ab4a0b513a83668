//! What the agent itself takes. (What its programs cost is the benchmark's to measure.)

use std::fs;
use std::thread;
use std::time::Duration;

use crate::node::{Described, Node};
use crate::server::Server;
use crate::support::{Agent, Group, command, needs_root, run, status, text, wait_until};

/// Instructions that the verifier may go through for a program.
const VERIFIED: u64 = 300_000;
/// Seconds of CPU time that loading a program may take.
const LOAD_SECONDS: f64 = 1.0;

#[test]
fn programs_are_small_enough_to_verify() {
    needs_root!("programs_are_small_enough_to_verify");
    let (code, out, error) = run(command().arg("--check"));
    assert_eq!(code, 0, "{out}{error}");
    let mut programs = 0;
    for line in out
        .lines()
        .filter(|line| line.starts_with("ok       program "))
    {
        // … program NAME: N instructions verified, loaded in T s
        let words: Vec<_> = line.split_whitespace().collect();
        let verified: u64 = words[3].parse().unwrap();
        let seconds: f64 = words[8].parse().unwrap();
        assert!(verified <= VERIFIED, "{line}");
        assert!(seconds <= LOAD_SECONDS, "{line}");
        programs += 1;
    }
    assert_eq!(programs, 8, "{out}");
}

#[test]
fn resident_memory() {
    needs_root!("resident_memory");
    let group = Group::new();
    let server = Server::start(&group);
    let collector = crate::spans::Collector::start();
    let sending = [
        "--otlp-endpoint",
        &collector.endpoint(),
        "--sample-every",
        "1",
    ];
    for options in [&[][..], &sending[..]] {
        let agent = Agent::watch(&group, options);
        let mut client = server.connect();
        // As many series as there are slots.
        for number in 0..400 {
            client.get(&format!("/route-{}/x", number % 100));
        }
        for _ in 0..5 {
            agent.scrape();
        }
        let resident = status(agent.pid(), "VmRSS:");
        let peak = status(agent.pid(), "VmHWM:");
        let metrics = agent.scrape();
        let maps = metrics.sum("flora_bpf_map_bytes", &[]);
        println!("resident {resident} KiB, peak {peak} KiB, maps {maps} bytes, with {options:?}");
        assert!(resident <= 4 * 1024, "{resident} KiB");
        assert!(peak <= 6 * 1024, "{peak} KiB");
        assert!(maps <= 1024.0 * 1024.0, "{maps} bytes");
        assert_eq!(metrics.requests(&[]), 400.0);
    }
}

#[test]
fn resident_memory_on_a_busy_node() {
    needs_root!("resident_memory_on_a_busy_node");
    let node = Node::new();
    let root = Group::new();
    let server = Server::start(&root);
    let groups: Vec<_> = (0..250)
        .map(|number| {
            let id = format!("{number:064x}");
            node.add(&Described {
                id: &id,
                namespace: "a-namespace-with-a-longer-name",
                pod: &format!("a-deployment-with-a-longer-name-7f757457c5-{:05}", number),
                container: (number % 2 == 0).then_some("app"),
                own_network: true,
                filling: 64 * 1024,
            });
            root.below(&id)
        })
        .collect();
    let agent = Agent::start(&[
        "--subtree",
        text(&root.path),
        "--host-root",
        text(node.root.path()),
    ]);
    // A caller that is no pod: all of the node is looked at.
    server.connect().get("/a");
    wait_until("the caller is told of", || {
        agent.scrape().sum("flora_peer_requests_total", &[]) > 0.0
    });
    let resident = status(agent.pid(), "VmRSS:");
    let peak = status(agent.pid(), "VmHWM:");
    println!("resident {resident} KiB, peak {peak} KiB, with 250 containers");
    assert!(resident <= 4 * 1024, "{resident} KiB");
    assert!(peak <= 6 * 1024, "{peak} KiB");
    drop(server);
    drop(groups);
}

/// CPU time of all threads, in nanoseconds (`/proc/PID/task/TID/schedstat`).
pub fn cpu_nanoseconds(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .flatten()
        .filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

#[test]
fn idle_it_takes_next_to_nothing() {
    needs_root!("idle_it_takes_next_to_nothing");
    let group = Group::new();
    let agent = Agent::watch(&group, &[]);
    thread::sleep(Duration::from_millis(300));
    let before = cpu_nanoseconds(agent.pid());
    thread::sleep(Duration::from_secs(4));
    let ratio = (cpu_nanoseconds(agent.pid()) - before) as f64 / 4e9;
    println!("idle: {:.4} % of a core", ratio * 100.0);
    assert!(ratio <= 0.0005, "{ratio}");
}

/// The kernel counts; the process only answers who asks, however many requests there are.
#[test]
fn scraped_under_load_it_takes_little() {
    needs_root!("scraped_under_load_it_takes_little");
    let group = Group::new();
    let server = Server::start(&group);
    let agent = Agent::watch(&group, &[]);
    let mut client = server.connect();
    for number in 0..100 {
        client.get(&format!("/route-{}/x", number % 50));
    }
    agent.scrape_text();
    // Busy between scrapes, by the clock of the agent's own CPU time, so that others don't matter.
    const SCRAPES: u32 = 20;
    let before = cpu_nanoseconds(agent.pid());
    let mut requests = 0;
    for _ in 0..SCRAPES {
        for _ in 0..500 {
            client.get("/load");
            requests += 1;
        }
        agent.scrape_text();
    }
    let each = (cpu_nanoseconds(agent.pid()) - before) as f64 / f64::from(SCRAPES) / 1e9;
    // Prometheus asks every 15 s where nobody says otherwise.
    let ratio = each / 15.0;
    println!(
        "a scrape of 50 routes takes {:.2} ms of CPU; one every 15 s: {:.4} % of a core",
        each * 1e3,
        ratio * 100.0
    );
    assert!(ratio <= 0.002, "{ratio}");
    assert_eq!(agent.scrape().requests(&[]), f64::from(100 + requests));
}

/// Where the kernel's time goes, when it is asked for; it isn't otherwise.
#[test]
fn runs_are_timed_on_request_alone() {
    needs_root!("runs_are_timed_on_request_alone");
    let group = Group::new();
    let server = Server::start(&group);
    let plain = Agent::watch(&group, &[]);
    assert!(!plain.scrape_text().contains("flora_bpf_program_run"));
    drop(plain);
    let agent = Agent::watch(&group, &["--bpf-stats"]);
    assert!(agent.log().contains("DIAGNOSTIC"), "{}", agent.log());
    let mut client = server.connect();
    client.get("/warm");
    let read = || {
        let metrics = agent.scrape();
        ["ingress", "egress"].map(|program| {
            let of = |name| metrics.sum(name, &[("program", program)]);
            let runs = of("flora_bpf_program_runs_total");
            (runs, of("flora_bpf_program_run_seconds_total"))
        })
    };
    const REQUESTS: f64 = 1000.0;
    let before = read();
    for _ in 0..REQUESTS as usize {
        client.get("/timed");
    }
    let after = read();
    for (program, (before, after)) in ["ingress", "egress"].iter().zip(before.iter().zip(after)) {
        let (runs, seconds) = (after.0 - before.0, after.1 - before.1);
        println!(
            "{program}: {:.2} runs a request, {:.0} ns each",
            runs / REQUESTS,
            seconds / runs * 1e9
        );
        // A segment each; acknowledgements of their own come when one side is slow.
        assert!((1.0..3.0).contains(&(runs / REQUESTS)), "{program}: {runs}");
        assert!(seconds > 0.0, "{program}");
    }
    assert!(agent.scrape_text().contains("flora_bpf_map_bytes"));
}
