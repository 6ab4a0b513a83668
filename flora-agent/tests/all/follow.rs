//! Containers that come and go, and the ways to name one.

use crate::server::Server;
use crate::support::{Agent, Group, needs_root, text, wait_until};

const ID: &str = "3f4b0cf1ea1b3c5d7e9f00112233445566778899aabbccddeeff001122334455";
const UID: &str = "12345678_9abc_def0_1234_56789abcdef0";

#[test]
fn containers_below_a_subtree() {
    needs_root!("containers_below_a_subtree");
    let root = Group::new();
    let early = root.below("early");
    let server = Server::start(&early);
    let agent = Agent::start(&["--subtree", text(&root.path)]);
    server.connect().get("/early");
    // One that comes later, as kubelet and containerd make it.
    let pod = root.below(&format!("kubepods-burstable-pod{UID}.slice"));
    let container = pod.below(&format!("cri-containerd-{ID}.scope"));
    let inner = container.below("init.scope");
    wait_until("it is noticed", || {
        agent.scrape().sum("flora_containers", &[]) == 4.0
    });
    let late = Server::start(&inner);
    for _ in 0..5 {
        late.connect().get("/late");
    }
    let metrics = agent.scrape();
    assert_eq!(
        metrics.requests(&[("cgroup", &early.name()), ("route", "/early")]),
        1.0
    );
    let labels = [
        ("cgroup", container.name()),
        ("pod_uid", UID.replace('_', "-")),
        ("container_id", ID.to_owned()),
        ("route", "/late".to_owned()),
    ];
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(metrics.requests(&labels), 5.0);
    drop(late);
    drop(inner);
    drop(container);
    drop(pod);
    wait_until("it is missed", || {
        agent.scrape().sum("flora_containers", &[]) == 2.0
    });
    assert_eq!(agent.scrape().requests(&labels), 5.0);
    drop(server);
}

#[test]
fn by_process_and_by_container() {
    needs_root!("by_process_and_by_container");
    let group = Group::new();
    let container = group.below(&format!("docker-{}.scope", ID.replace('3', "d")));
    let server = Server::start(&container);
    let by_pid = Agent::start(&["--pid", &server.pid().to_string()]);
    let by_id = Agent::start(&["--container", &ID.replace('3', "d")[..12]]);
    server.connect().get("/a");
    for agent in [&by_pid, &by_id] {
        let metrics = agent.scrape();
        assert_eq!(
            metrics.requests(&[("route", "/a"), ("cgroup", &container.name())]),
            1.0
        );
        let process = metrics.values("flora_http_requests_total", "process");
        assert_eq!(process.len(), 1, "{process:?}");
    }
    drop(server);
    drop((by_pid, by_id));
    drop(container);
}
