//! Start, end, and what an end leaves behind: nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::server::{Client, Server};
use crate::support::{Agent, Group, command, needs_root, wait_until};

/// Clients that ask as fast as they can, and count.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(server: &Server) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let good = Arc::new(AtomicU64::new(0));
        let clients = (0..2)
            .map(|number| {
                let (stop, good, address) = (Arc::clone(&stop), Arc::clone(&good), server.address);
                thread::spawn(move || {
                    let mut client = Client::connect(address);
                    while !stop.load(Ordering::Relaxed) {
                        // Some on connections of their own: each answer must come.
                        if number == 1 {
                            client = Client::connect(address);
                        }
                        assert_eq!(client.get("/load"), 200);
                        good.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let load = Load {
            stop,
            good,
            clients,
        };
        load.go_on();
        load
    }

    /// Waits for some more requests.
    fn go_on(&self) {
        let before = self.good.load(Ordering::Relaxed);
        wait_until("requests go on", || {
            self.good.load(Ordering::Relaxed) > before + 200
        });
    }

    /// Ends; a request that failed fails the test.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("no request fails");
        }
        self.good.load(Ordering::Relaxed)
    }
}

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    needs_root!("a_signal_ends_it_and_nothing_is_left");
    let group = Group::new();
    let agent = Agent::watch(&group, &[]);
    assert_eq!(group.attached(), 2);
    let (status, log) = agent.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("detached"), "{log}");
    assert_eq!(group.attached(), 0);
}

#[test]
fn a_signal_ends_it_while_it_loads() {
    needs_root!("a_signal_ends_it_while_it_loads");
    let group = Group::new();
    // So many copies that it would load for a long time.
    let mut agent = command()
        .args(["--listen", "127.0.0.1:0", "--copies", "64", "--cgroup"])
        .arg(&group.path)
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", agent.id());
    wait_until("its loader is there", || {
        std::fs::read_to_string(&children).is_ok_and(|pids| !pids.is_empty())
    });
    let loader = std::fs::read_to_string(&children).unwrap();
    let pid = nix::unistd::Pid::from_raw(agent.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(!agent.wait().unwrap().success());
    let loader = std::path::Path::new("/proc").join(loader.trim());
    wait_until("its loader is gone", || !loader.exists());
    assert_eq!(group.attached(), 0);
}

#[test]
fn it_listens_on_loopback_unless_told_otherwise() {
    needs_root!("it_listens_on_loopback_unless_told_otherwise");
    let group = Group::new();
    // In a network of its own, where the usual port is free and nobody else listens.
    let mut agent = std::process::Command::new("unshare")
        .args([
            "--net",
            "sh",
            "-c",
            "ip link set lo up && exec \"$@\"",
            "sh",
        ])
        .arg(command().get_program())
        .arg("--cgroup")
        .arg(&group.path)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let network = |pid| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    wait_until("it has its network", || {
        network(agent.id()) != network(std::process::id())
    });
    let listening = || {
        let tables = ["tcp", "tcp6"].map(|table| {
            let path = format!("/proc/{}/net/{table}", agent.id());
            std::fs::read_to_string(path).unwrap_or_default()
        });
        let lines = tables.iter().flat_map(|table| table.lines());
        let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
        let listening = words.filter(|words| words[3] == "0A");
        listening
            .map(|words| words[1].to_owned())
            .collect::<Vec<_>>()
    };
    wait_until("it listens", || !listening().is_empty());
    // 127.0.0.1:9464, as proc_net(5) writes it on a machine whose lowest byte comes first.
    assert_eq!(listening(), ["0100007F:24F8"]);
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn killed_under_load_it_harms_no_request() {
    needs_root!("killed_under_load_it_harms_no_request");
    let group = Group::new();
    let server = Server::start(&group);
    let load = Load::start(&server);
    for _ in 0..3 {
        let mut agent = Agent::watch(&group, &[]);
        load.go_on();
        assert!(agent.scrape().requests(&[]) > 0.0);
        agent.kill();
        wait_until("the programs are gone", || group.attached() == 0);
        load.go_on();
    }
    let good = load.end();
    assert!(good > 1000, "{good}");
}

#[test]
fn a_restart_under_load_goes_on_counting() {
    needs_root!("a_restart_under_load_goes_on_counting");
    let group = Group::new();
    let server = Server::start(&group);
    let first = Agent::watch(&group, &[]);
    let load = Load::start(&server);
    let (status, _) = first.terminate();
    assert!(status.success());
    let second = Agent::watch(&group, &[]);
    load.go_on();
    load.end();
    // Connections that were there before are followed from their next request on.
    let metrics = second.scrape();
    assert!(metrics.requests(&[("route", "/load")]) >= 200.0);
}

#[test]
fn a_control_group_that_goes_takes_no_other_with_it() {
    needs_root!("a_control_group_that_goes_takes_no_other_with_it");
    let (stays, goes) = (Group::new(), Group::new());
    let server = Server::start(&stays);
    let short = Server::start(&goes);
    let agent = Agent::watch(&stays, &["--cgroup", goes.path.to_str().unwrap()]);
    short.connect().get("/short");
    drop(short);
    goes.remove();
    agent.wait_for_log("the control group is gone", |_| Some(()));
    server.connect().get("/long");
    let metrics = agent.scrape();
    assert_eq!(
        metrics.requests(&[("route", "/long"), ("cgroup", &stays.name())]),
        1.0
    );
    // What was counted stays, under its name.
    assert_eq!(
        metrics.requests(&[("route", "/short"), ("cgroup", &goes.name())]),
        1.0
    );
    // One that comes back, as that of a service that is started again, is watched again.
    std::fs::create_dir(&goes.path).unwrap();
    wait_until("it is attached again", || goes.attached() == 2);
    let again = Server::start(&goes);
    again.connect().get("/again");
    drop(again);
    assert_eq!(
        agent
            .scrape()
            .requests(&[("route", "/again"), ("cgroup", &goes.name())]),
        1.0
    );
}

#[test]
fn logs_can_be_read_by_programs() {
    needs_root!("logs_can_be_read_by_programs");
    let group = Group::new();
    let agent = Agent::watch(&group, &["--log-format", "json", "--verbose"]);
    thread::sleep(Duration::from_millis(50));
    let (_, log) = agent.terminate();
    assert!(log.lines().count() >= 4, "{log}");
    for line in log.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            json["time"].is_string() && json["level"].is_string(),
            "{line}"
        );
    }
}
