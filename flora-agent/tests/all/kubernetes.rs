//! Names of pods, from directories as a kubelet and containerd make them, in real control groups
//! and networks.

use std::fs;

use crate::node::{Described, Network, Node};
use crate::server::{Client, Server};
use crate::support::{Agent, Group, command, mount, needs_root, skip, text, wait_until};

const POD: &str = "cart-7f757457c5-89228";
const UID: &str = "12345678-9abc-def0-1234-56789abcdef0";

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn container(id: &str) -> Described<'_> {
    Described {
        id,
        namespace: "shop",
        pod: POD,
        container: Some("app"),
        own_network: true,
        filling: 0,
    }
}

#[test]
fn pods_have_names_and_keep_them() {
    needs_root!("pods_have_names_and_keep_them");
    let node = Node::new();
    let root = Group::new();
    let pod = root.below(&format!("pod{UID}"));
    node.add_logs("shop", POD, UID);
    node.add(&container(&id('a')));
    let first = pod.below(&id('a'));
    let server = Server::start(&first);
    let agent = Agent::start(&[
        "--subtree",
        text(&root.path),
        "--host-root",
        text(node.root.path()),
    ]);
    server.connect().get("/a");
    // It is started anew: another container, and no trace of the first.
    drop(server);
    first.remove();
    fs::remove_dir_all(node.root.path().join("run")).unwrap();
    node.add(&container(&id('b')));
    let second = pod.below(&id('b'));
    agent.wait_for_log("the container is gone", |_| Some(()));
    wait_until("the second is noticed", || {
        agent.scrape().sum("flora_containers", &[]) == 3.0
    });
    let server = Server::start(&second);
    server.connect().get("/a");
    let labels = [
        ("namespace", "shop"),
        ("pod", POD),
        ("container", "app"),
        ("workload", "cart"),
        ("route", "/a"),
    ];
    let scrape = agent.scrape_text();
    let lines = scrape.lines();
    let lines: Vec<_> = lines
        .filter(|line| line.starts_with("flora_http_requests_total"))
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let metrics = agent.scrape();
    assert_eq!(metrics.requests(&labels), 2.0, "{lines:?}");
    // Everything else that is known is said once for each container.
    let name = "flora_container_info";
    assert_eq!(metrics.values(name, "container_id"), [id('a'), id('b')]);
    assert_eq!(metrics.values(name, "pod_uid"), [UID]);
    assert_eq!(metrics.sum(name, &labels[..4]), 2.0);
}

#[test]
fn a_pod_by_its_name() {
    needs_root!("a_pod_by_its_name");
    let node = Node::new();
    let root = Group::new();
    let uid = UID.replace('1', "7");
    let pod = root.below(&format!("kubepods-pod{}.slice", uid.replace('-', "_")));
    // The runtime has nothing of it; the kubelet has.
    node.add_logs("shop", "cart-0", &uid);
    let group = pod.below(&format!("cri-containerd-{}.scope", id('7')));
    let server = Server::start(&group);
    let agent = Agent::start(&[
        "--pod",
        "shop/cart-0",
        "--host-root",
        text(node.root.path()),
    ]);
    server.connect().get("/a");
    let labels = [
        ("namespace", "shop"),
        ("pod", "cart-0"),
        ("workload", "cart"),
    ];
    let metrics = agent.scrape();
    assert_eq!(metrics.requests(&labels), 1.0);
    assert!(
        metrics
            .values("flora_http_requests_total", "container")
            .is_empty()
    );
    assert!(
        metrics
            .values("flora_http_requests_total", "cgroup")
            .is_empty()
    );
}

#[test]
fn all_pods_of_this_node_wherever_they_are() {
    needs_root!("all_pods_of_this_node_wherever_they_are");
    let node = Node::new();
    fs::create_dir_all(node.root.path().join("sys/fs")).unwrap();
    let hierarchy = node.root.path().join("sys/fs/cgroup");
    std::os::unix::fs::symlink(mount().unwrap(), hierarchy).unwrap();
    // Another node's kubelet is on the same machine; the agent's own pod tells them apart.
    let (first, second) = (Group::new(), Group::new());
    let [ours, theirs] = [&first, &second].map(|root| root.below("kubepods"));
    let agents = ours.below(&format!("pod{}", UID.replace('1', "3")));
    let pods = [&ours, &theirs].map(|all| all.below(&format!("pod{UID}")));
    let groups = [pods[0].below(&id('a')), pods[1].below(&id('b'))];
    let servers = groups.each_ref().map(Server::start);
    let agent = Agent::start_as(
        command()
            .args(["--pods", "--host-root", text(node.root.path())])
            .env("POD_UID", UID.replace('1', "3")),
    );
    for server in &servers {
        server.connect().get("/a");
    }
    let metrics = agent.scrape();
    let watched = metrics.values("flora_container_info", "container_id");
    assert_eq!(watched, [id('a')]);
    assert_eq!(metrics.requests(&[("route", "/a")]), 1.0);
    drop((agent, servers, groups, pods, agents, ours, theirs));
}

#[test]
fn callers_are_pods_of_this_node_or_addresses() {
    const NAME: &str = "callers_are_pods_of_this_node_or_addresses";
    needs_root!("callers_are_pods_of_this_node_or_addresses");
    let Some(network) = Network::new() else {
        return skip(NAME, "it makes a network with ip(8) of iproute2");
    };
    let node = Node::new();
    let root = Group::new();
    node.add(&container(&id('a')));
    let group = root.below(&id('a'));
    let server = Server::listening(&group, "0.0.0.0:0");
    // A pod that calls, and one on the node's network.
    let calling = root.below(&id('c'));
    let pause = network.pause(&calling);
    let sandbox = id('c');
    let mut described = Described {
        pod: "frontend-8xk2p",
        container: None,
        ..container(&sandbox)
    };
    let bundle = node.add(&described);
    fs::write(bundle.join("init.pid"), pause.pid().to_string()).unwrap();
    let of_node = id('e');
    described.id = &of_node;
    described.pod = "node-exporter-x2vbn";
    described.own_network = false;
    let bundle = node.add(&described);
    fs::write(bundle.join("init.pid"), server.pid().to_string()).unwrap();

    let agent = Agent::start(&[
        "--subtree",
        text(&root.path),
        "--host-root",
        text(node.root.path()),
    ]);
    let address = format!("{}:{}", network.outside, server.address.port());
    let address = address.parse().unwrap();
    let call = || {
        let mut client = Client::connect(address);
        for _ in 0..5 {
            client.get("/a");
        }
    };
    network.within(call);
    call();
    let count = |labels: &[(&str, &str)]| {
        let metrics = agent.scrape();
        metrics.sum("flora_peer_requests_total", labels)
    };
    let pod = [
        ("container", "app"),
        ("workload", "cart"),
        ("peer", network.inside.as_str()),
        ("peer_namespace", "shop"),
        ("peer_pod", "frontend-8xk2p"),
        ("peer_workload", "frontend"),
    ];
    wait_until("the pod is named", || count(&pod) == 5.0);
    wait_until("the node is heard of", || {
        count(&[("peer", network.outside.as_str())]) == 5.0
    });
    let pods = agent
        .scrape()
        .values("flora_peer_requests_total", "peer_pod");
    assert_eq!(pods, ["frontend-8xk2p"]);
    let connections = agent.scrape().sum("flora_peer_connections_total", &pod);
    assert_eq!(connections, 1.0);
}
