//! Slots of series and routes come back from containers that are gone.

use std::thread;
use std::time::{Duration, Instant};

use crate::accuracy::client;
use crate::accuracy::truth::Truth;
use crate::node::{Described, Node};
use crate::server::{Client, Server};
use crate::support::{Agent, Group, Metrics, needs_root, text, wait_until};

/// Routes that each container is asked for.
const EACH: u64 = 8;

/// More than the kernel takes of a server whose client does not read.
const DOWNLOAD: &str = "/bytes/30000000";

/// Containers with names, and an agent that watches them.
struct Pods {
    node: Node,
    root: Group,
    agent: Agent,
    number: u64,
}

impl Pods {
    /// A container of a pod, from now on.
    fn start(&mut self, pod: &str) -> Group {
        self.number += 1;
        let id = format!("{:064x}", self.number);
        self.node.add(&Described {
            id: &id,
            namespace: "shop",
            pod,
            container: Some("app"),
            own_network: true,
            filling: 0,
        });
        let before = self.containers();
        let group = self.root.below(&id);
        wait_until("it is noticed", || self.containers() == before + 1);
        group
    }

    fn containers(&self) -> u64 {
        self.agent.scrape().sum("flora_containers", &[]) as u64
    }

    fn end(&self, group: Group) {
        let before = self.containers();
        drop(group);
        wait_until("it is missed", || self.containers() == before - 1);
    }

    /// One that comes, is asked for some routes, and goes.
    fn come_and_go(&mut self, pod: &str) {
        let group = self.start(pod);
        let server = Server::start(&group);
        ask(&mut server.connect(), pod);
        drop(server);
        self.end(group);
    }

    /// Slots of a kind that are free again, as the log tells.
    fn freed(&self, kind: &str) -> u64 {
        let log = self.agent.log();
        let lines = log.lines().filter(|line| line.contains("free again"));
        let counts = lines.filter_map(|line| {
            let (_, rest) = line.split_once(&format!("{kind}="))?;
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<u64>().ok()
        });
        counts.sum()
    }

    fn requests(&self, label: &str, value: &str) -> u64 {
        self.agent.scrape().requests(&[(label, value)]) as u64
    }
}

/// (Eight slots are tried for a route, and where the hashes of many lie near each other these are
/// taken before others. With these names it is not so.)
fn ask(client: &mut Client, pod: &str) {
    for number in 0..EACH {
        client.get(&format!("/{pod}-sx{number}/x"));
    }
}

fn forgotten(metrics: &Metrics) -> u64 {
    metrics.sum("flora_http_requests_forgotten_total", &[]) as u64
}

#[test]
fn nothing_is_full_after_containers_that_are_gone() {
    needs_root!("nothing_is_full_after_containers_that_are_gone");
    let (node, root) = (Node::new(), Group::new());
    let agent = Agent::start(&[
        "--subtree",
        text(&root.path),
        "--host-root",
        text(node.root.path()),
        "--verbose",
    ]);
    let mut pods = Pods {
        node,
        root,
        agent,
        number: 0,
    };
    let group = pods.start("cart-0");
    let server = Server::start(&group);
    let mut client = server.connect();
    ask(&mut client, "cart-0");
    client.get("/bytes/1");
    // A server that outlives its control group: with a connection that pauses, one whose request
    // waits, and one whose answer has stopped in its middle.
    let its_group = pods.start("moved");
    let mut moved = Truth::start(&its_group);
    let connect = || client::Client::connect(moved.address);
    let (mut pauses, mut waits, mut slow) = (connect(), connect(), connect());
    assert_eq!(pauses.get("/moved"), 404);
    waits.send(&client::request("GET", "/hold"));
    slow.send(&client::request("GET", DOWNLOAD));
    wait_until("both are answered", || pods.requests("pod", "moved") == 2);
    pods.root.add(moved.pid());
    pods.end(its_group);
    // Containers that bear the same names, as one does that is started anew, and others that come once.
    for number in 0..4 {
        pods.come_and_go("cart-0");
        pods.come_and_go(&format!("job-{number}"));
    }

    // 75 series and 43 routes. Those come back of whom nothing is left, once they were shown.
    let began = Instant::now();
    while pods.freed("routes") < 4 * EACH + 2 {
        thread::sleep(Duration::from_millis(100));
        assert_eq!(pods.agent.scrape().lost(), 0.0);
        assert!(began.elapsed().as_secs() < 60, "{}", pods.agent.log());
    }
    assert_eq!(pods.freed("series"), 8 * EACH + 2);
    // What others of its names were asked stays with the one that goes on.
    assert_eq!(pods.requests("pod", "cart-0"), 5 * EACH + 1);
    assert_eq!(pods.requests("pod", "job-0"), 0);
    assert_eq!(forgotten(&pods.agent.scrape()), 4 * EACH + 2);

    // Nobody can tell any more what was asked for so long ago.
    moved.release();
    assert_eq!(waits.answer(false).status, 200);
    let lost = pods.agent.scrape();
    assert_eq!(
        lost.sum("flora_lost_total", &[("reason", "route_overflow")]),
        1.0
    );
    assert_eq!(lost.lost(), 1.0);
    assert_eq!(pods.requests("route", "_OTHER"), 1);
    // What is asked from now on can be told.
    assert_eq!(pauses.get("/moved"), 404);
    assert_eq!(pods.requests("route", "/moved"), 1);
    // The end of an answer is counted for nobody, least of all for who has its slot now: the next
    // that is asked of the same.
    for _ in 0..2 {
        assert_eq!(slow.answer(false).body.len(), 30_000_000);
        slow.send(&client::request("GET", DOWNLOAD));
    }
    let route = [("route", "/bytes/:id")];
    let name = "flora_http_request_duration_seconds";
    wait_until("the third is answered", || {
        pods.agent.scrape().requests(&route) == 3.0
    });
    // The first is forgotten, and the third has not ended.
    assert_eq!(pods.agent.scrape().observations(name, &route), 2.0);

    // More routes than there are slots, all in all.
    for number in 4..8 {
        let pod = format!("job-{number}");
        pods.come_and_go(&pod);
        assert_eq!(pods.requests("pod", &pod), EACH);
    }
    // A connection that was there before finds its routes again.
    ask(&mut client, "cart-0");
    assert_eq!(pods.requests("pod", "cart-0"), 6 * EACH + 1);
    assert_eq!(pods.requests("route", "/cart-0-sx0/x"), 6);
    let metrics = pods.agent.scrape();
    assert_eq!(metrics.lost(), 1.0);
    // Those of the pods, and six of the server that moved.
    let all = metrics.requests(&[]) as u64 + forgotten(&metrics);
    assert_eq!(all, 14 * EACH + 1 + 6);
    drop((slow, moved, server, group));
}
