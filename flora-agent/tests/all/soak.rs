//! Containers that come and go under load, for as long as one likes: nothing adds up, and no request
//! is lost without being counted as lost.
//!
//! The ordinary run has seconds for it. `FLORA_AGENT_SOAK_SECONDS` asks for more, and
//! `FLORA_AGENT_SOAK_FILE` for a line of every second: `scripts/soak.py` does both, for hours.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::accuracy::client::{Client, upload};
use crate::accuracy::truth::Truth;
use crate::node::{Described, Node};
use crate::spans::Collector;
use crate::support::{Agent, Group, needs_root, text};

/// How long the ordinary run takes.
const SECONDS: u64 = 15;
/// Containers that are alive at a time, beside the one that stays.
const CHURNING: usize = 4;
/// How long they live at least: the agent looks ten times a second which there are.
const LIFE: Duration = Duration::from_millis(150);
/// Between two rounds of the one that stays, so that something of the machine is left for others.
const PAUSE: Duration = Duration::from_millis(10);
/// What is told apart no more: series of eighteen containers a second are more than slots come back
/// in that time, which takes some seconds. Such requests are counted all the same; `slots.rs` has
/// fewer, and none.
const OVERFLOW: [&str; 2] = ["route_overflow", "series_overflow"];
/// Resident memory, at most, in KiB: the containers of 1,024 callers are remembered, gone or not.
const RESIDENT: u64 = 6 * 1024;

/// What everything came to at the end of a second, when nothing is under way.
struct Second {
    seconds: f64,
    resident_kib: u64,
    map_bytes: u64,
    descriptors: u64,
    /// Containers that have come and gone.
    containers: u64,
    /// Requests that servers answered.
    served: u64,
    /// Requests that the agent counted.
    seen: u64,
    /// Answers that it counted as lost, as it had not seen their requests.
    unmatched: u64,
    /// All else that it counts as lost but [`OVERFLOW`].
    lost: u64,
}

impl Second {
    const HEADER: &str =
        "seconds,resident_kib,map_bytes,descriptors,containers,served,seen,unmatched,lost";

    fn line(&self) -> String {
        format!(
            "{:.3},{},{},{},{},{},{},{},{}",
            self.seconds,
            self.resident_kib,
            self.map_bytes,
            self.descriptors,
            self.containers,
            self.served,
            self.seen,
            self.unmatched,
            self.lost
        )
    }
}

/// All that a soak goes on with.
struct Soak {
    node: Node,
    root: Group,
    stays: Truth,
    agent: Agent,
    began: Instant,
    containers: AtomicU64,
    /// Requests that were served by containers that are gone.
    served: AtomicU64,
}

/// Requests of many kinds, each connection its own.
fn traffic(truth: &Truth, number: u64) {
    let connect = || Client::connect(truth.address);
    let mut client = connect();
    // Routes that never come again: they find no slot any more.
    client.get(&format!("/only-{number}/x"));
    for _ in 0..20 {
        client.get("/bytes/300");
    }
    client.ask("HEAD", "/bytes/9");
    client.get("/status/204");
    client.send(&upload("/bytes/3", &[b'x'; 5000]));
    client.answer(false);
    client.get("/chunked");
    // Three in a segment.
    client.send(&b"GET /bytes/3 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3));
    for _ in 0..3 {
        client.answer(false);
    }
    connect().get("/bytes/100000");
    connect().get("/close");
    connect().get("/until-close/3");
}

impl Soak {
    /// A container from its first file to its last.
    fn container(&self) {
        let number = self.containers.fetch_add(1, Ordering::Relaxed);
        let id = format!("{number:064x}");
        let bundle = self.node.add(&Described {
            id: &id,
            namespace: "shop",
            pod: &format!("cart-7f757457c5-{number}"),
            container: Some("app"),
            own_network: true,
            filling: 1024,
        });
        let group = self.root.below(&id);
        let mut truth = Truth::start(&group);
        traffic(&truth, number);
        thread::sleep(LIFE);
        traffic(&truth, number);
        let served: u64 = truth.served().values().sum();
        self.served.fetch_add(served, Ordering::Relaxed);
        drop(truth);
        drop(group);
        fs::remove_dir_all(bundle).unwrap();
    }

    /// A second of load, and what everything has come to then.
    fn second(&mut self, until: Instant) -> Second {
        thread::scope(|scope| {
            for _ in 0..CHURNING {
                scope.spawn(|| {
                    while Instant::now() < until {
                        self.container();
                    }
                });
            }
            scope.spawn(|| {
                while Instant::now() < until {
                    traffic(&self.stays, 0);
                    thread::sleep(PAUSE);
                }
            });
        });
        let metrics = self.agent.scrape();
        let lost = |reason: &str| metrics.sum("flora_lost_total", &[("reason", reason)]) as u64;
        let unmatched = lost("unmatched_response");
        let overflow: u64 = OVERFLOW.iter().map(|reason| lost(reason)).sum();
        Second {
            seconds: self.began.elapsed().as_secs_f64(),
            resident_kib: crate::support::status(self.agent.pid(), "VmRSS:"),
            map_bytes: metrics.sum("flora_bpf_map_bytes", &[]) as u64,
            descriptors: metrics.sum("process_open_fds", &[]) as u64,
            containers: self.containers.load(Ordering::Relaxed),
            served: self.served.load(Ordering::Relaxed) + self.stays.served().values().sum::<u64>(),
            // Shown, or shown no more.
            seen: (metrics.requests(&[]) + metrics.sum("flora_http_requests_forgotten_total", &[]))
                as u64,
            unmatched,
            lost: metrics.lost() as u64 - unmatched - overflow,
        }
    }
}

fn seconds() -> u64 {
    let asked = std::env::var("FLORA_AGENT_SOAK_SECONDS").ok();
    asked.map_or(SECONDS, |count| count.parse().unwrap())
}

#[test]
fn nothing_adds_up_and_nothing_is_lost_while_containers_come_and_go() {
    needs_root!("nothing_adds_up_and_nothing_is_lost_while_containers_come_and_go");
    let node = Node::new();
    let root = Group::new();
    let group = root.below(&"f".repeat(64));
    let stays = Truth::start(&group);
    let collector = Collector::start();
    let agent = Agent::start(&[
        "--subtree",
        text(&root.path),
        "--host-root",
        text(node.root.path()),
        "--otlp-endpoint",
        &collector.endpoint(),
        "--sample-every",
        "64",
    ]);
    let mut file = std::env::var_os("FLORA_AGENT_SOAK_FILE").map(|path| {
        let mut file = fs::File::create(PathBuf::from(path)).unwrap();
        writeln!(file, "{}", Second::HEADER).unwrap();
        file
    });
    let mut soak = Soak {
        node,
        root,
        stays,
        agent,
        began: Instant::now(),
        containers: AtomicU64::new(0),
        served: AtomicU64::new(0),
    };
    let mut all = Vec::new();
    for number in 1..=seconds() {
        let second = soak.second(soak.began + Duration::from_secs(number));
        if let Some(file) = &mut file {
            writeln!(file, "{}", second.line()).unwrap();
        }
        let line = second.line();
        assert_eq!(second.seen + second.unmatched, second.served, "{line}");
        assert_eq!((second.unmatched, second.lost), (0, 0), "{line}");
        assert!(second.resident_kib <= RESIDENT, "{line}");
        all.push(second);
    }
    let (middle, last) = (&all[all.len() / 2], &all[all.len() - 1]);
    println!("{}\n{}\n{}", Second::HEADER, middle.line(), last.line());
    assert!(last.containers > middle.containers, "{}", last.line());
    // A few containers more or fewer are alive at any moment, more or fewer slots taken; each is an entry.
    assert!(
        last.map_bytes <= middle.map_bytes + 16 * 1024,
        "{}",
        last.line()
    );
    assert_eq!(last.descriptors, middle.descriptors, "{}", last.line());
    let Soak {
        agent, root, stays, ..
    } = soak;
    // Slots were given to others all the while, and yet nothing was missing.
    let forgotten = agent
        .scrape()
        .sum("flora_http_requests_forgotten_total", &[]);
    println!("{forgotten} requests of series that have ended");
    assert!(forgotten > 0.0);
    drop((stays, group));
    let (status, log) = agent.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(root.attached(), 0);
}
