//! What only a real cluster can show. `FLORA_BENCH_TEST_KUBECONFIG` names the
//! kubeconfig of one that tests may use, with at least one node that takes
//! pods; its nodes hold the images that `FLORA_BENCH_TEST_IMAGES` names
//! (`flora-bench=…,target-app=…,k6=…,victoria-metrics=…`). Measurements here
//! are short and shared; they show agreement, not cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flora_bench::backend::kubernetes::client::{Access, connect};
use flora_bench::backend::kubernetes::groups::Group;
use flora_bench::backend::kubernetes::images::Images;
use flora_bench::backend::kubernetes::load::{self, LoadOrder, Starter};
use flora_bench::backend::kubernetes::object::{GROUP, ROLE, Run, object};
use flora_bench::backend::kubernetes::{Cluster, RolePod, Scene, apply, metrics, observer};
use flora_bench::clock::RunClock;
use flora_bench::load::LoadSpec;
use flora_bench::sample::{Edge, Reading, Sample, Subject};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{kubeconfig, measuring, skip};

mod stand_in;

/// How many more or fewer requests than planned k6 may schedule: those due while it is held up at an
/// edge of the window, here for half a second (`k6/README.md`). The warm-up's 400 must not be among them.
const SLACK: u64 = 100;

/// The group of everything here.
const EVERYTHING: &str = "test";

/// A namespace and labelled nodes in the cluster, until it is taken down.
struct Lab {
    cluster: Cluster,
    nodes: Vec<String>,
    group: Group,
}

impl Lab {
    async fn start(test: &str) -> Option<Lab> {
        let path = kubeconfig(test)?;
        let access = Access {
            kubeconfig: Some(path),
            ..Access::default()
        };
        let client = connect(&access).await.unwrap().client;
        let images = std::env::var("FLORA_BENCH_TEST_IMAGES").unwrap_or_default();
        let images: BTreeMap<String, String> = images
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, image)| (name.to_owned(), image.to_owned()))
            .collect();
        let owner = format!("test-{}", std::process::id());
        let namespace = format!("flora-bench-test-{test}-{}", std::process::id());
        let nodes: Api<Node> = Api::all(client.clone());
        let mut names = Vec::new();
        for node in nodes.list(&ListParams::default()).await.unwrap() {
            let name = node.metadata.name.unwrap();
            label(&nodes, &name, json!(EVERYTHING)).await;
            names.push(name);
        }
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let own = json!({"metadata": {"name": namespace, "labels": {
            "pod-security.kubernetes.io/enforce": "privileged",
        }}});
        let own = serde_json::from_value(own).unwrap();
        namespaces
            .create(&PostParams::default(), &own)
            .await
            .unwrap();
        Some(Lab {
            cluster: Cluster {
                client,
                run: Run { namespace, owner },
                images: Images::new(images),
                kinds: Default::default(),
                clock: RunClock::start(),
            },
            nodes: names,
            group: Group {
                name: EVERYTHING.into(),
                nodes: Vec::new(),
            },
        })
    }

    async fn stop(&self) {
        let client = self.cluster.client.clone();
        let wide = format!("{}-{}", self.cluster.run.namespace, metrics::NAME);
        for kind in ["ClusterRole", "ClusterRoleBinding"] {
            let kind = kube::core::GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", kind);
            let kind = kube::core::ApiResource::from_gvk(&kind);
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
            let _ = api.delete(&wide, &DeleteParams::default()).await;
        }
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let background = DeleteParams::background();
        let own = &self.cluster.run.namespace;
        namespaces.delete(own, &background).await.unwrap();
        while namespaces.get_opt(own).await.unwrap().is_some() {
            sleep(Duration::from_millis(300)).await;
        }
        let nodes: Api<Node> = Api::all(client);
        for node in &self.nodes {
            label(&nodes, node, Value::Null).await;
        }
    }

    fn order(&self, name: &str, url: &str, measure_seconds: f64) -> LoadOrder {
        LoadOrder {
            name: name.into(),
            trial: 1,
            arm: "baseline".into(),
            spec: LoadSpec {
                url: format!("{url}/objects"),
                gzip: false,
                // Enough for what is due after a wait of 160 ms.
                connections: 32,
                rate: 200.0,
                warmup_seconds: 2.0,
                measure_seconds,
                timeout_seconds: 5.0,
                periods: Vec::new(),
            },
            images: load::LoadImages::of(&self.cluster.images),
            group: self.group.clone(),
            millicpus: load::MILLICPUS,
            remote_write: None,
        }
    }

    /// Takes a load down, and waits for the end of its pods.
    async fn clear(&self, starter: Starter, order: &LoadOrder) {
        let objects = load::objects(&self.cluster.run, starter, order);
        let pods = self.cluster.run.selector(Some("load"), None);
        let gone = apply::delete_all(&self.cluster, &objects, &pods);
        gone.await.unwrap();
    }

    /// The target, and its address.
    async fn target(&self) -> (RolePod, String) {
        let run = &self.cluster.run;
        let labels = run.labels("target", Some(1));
        let metadata = json!({"name": "target", "namespace": run.namespace, "labels": labels});
        let pod = object(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {
                "nodeSelector": self.group.node_selector(),
                "containers": [{
                    "name": "target",
                    "image": self.cluster.images.of("target-app"),
                    "args": ["--listen", "0.0.0.0:8080"],
                    "ports": [{"containerPort": 8080}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
                }],
            },
        }));
        let service = object(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": {ROLE: "target"}, "ports": [{"port": 8080}]},
        }));
        for one in [&pod, &service] {
            apply::apply(&self.cluster, one).await.unwrap();
        }
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &run.namespace);
        for _ in 0..240 {
            let pod = pods.get("target").await.unwrap();
            let status = pod.status.clone().unwrap_or_default();
            let mut conditions = status.conditions.iter().flatten();
            if conditions.any(|one| one.type_ == "Ready" && one.status == "True") {
                let pod = load::watch::role_pod(&pod, Subject::Target);
                return (pod, format!("http://target.{}.svc:8080", run.namespace));
            }
            sleep(Duration::from_millis(250)).await;
        }
        panic!("the target is not ready: {:?}", pods.get("target").await);
    }
}

/// Sets a node's group, or takes it away.
async fn label(nodes: &Api<Node>, name: &str, group: Value) {
    let patch = Patch::Merge(json!({"metadata": {"labels": {GROUP: group}}}));
    nodes
        .patch(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// Runs a test's body and takes the lab down, whatever comes of it. Labs share the nodes and
/// their labels, with each other and with runs: there is one at a time.
#[expect(
    clippy::await_holding_lock,
    reason = "each test has a thread and a runtime of its own"
)]
async fn in_lab<F>(test: &str, body: impl FnOnce(Arc<Lab>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let _alone = measuring();
    let Some(lab) = Lab::start(test).await else {
        return;
    };
    let lab = Arc::new(lab);
    let outcome = tokio::spawn(body(Arc::clone(&lab))).await;
    lab.stop().await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// CPU seconds per second of a subject between its edges.
fn rate(samples: &[Sample], subject: Subject) -> f64 {
    let at = |edge| {
        let mut own = samples.iter().filter(|sample| {
            sample.subject == subject
                && sample.reading == Reading::CpuUsageSecondsTotal
                && sample.edge == Some(edge)
        });
        own.next()
            .unwrap_or_else(|| panic!("no edge of the {subject}"))
    };
    let (open, close) = (at(Edge::Open), at(Edge::Close));
    (close.value - open.value) / (close.time - open.time)
}

/// k6 as a Job against a real target; the observer's figures beside cAdvisor's
/// of the same pod and window. Both read the kernel's one counter, each at
/// moments of its own, so that they differ by what the rate does in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_observer_agrees_with_cadvisor() {
    const TOLERANCE: f64 = 0.10;
    in_lab("agree", |lab| async move {
        let cluster = &lab.cluster;
        let observers = observer::deploy(cluster, &lab.nodes).await.unwrap();
        assert_eq!(observers.pods.len(), lab.nodes.len());
        let metrics = metrics::deploy(cluster, &lab.group).await.unwrap();
        let (target, url) = lab.target().await;
        let order = LoadOrder {
            remote_write: Some(metrics.remote_write.clone()),
            ..lab.order("t1-baseline", &url, 75.0)
        };
        let outcome = load::run(cluster, Starter::Job, &order).await.unwrap();
        let result = &outcome.result;
        assert_eq!(result.failed, 0, "{:?}", result.failures);
        // A busy machine costs some; both sources see the same that were sent.
        assert!(result.dropped * 20 < result.offered, "{}", result.dropped);
        assert!(
            result.offered.abs_diff(15_000) <= SLACK,
            "{}",
            result.offered
        );
        let length = outcome.window.close_unix - outcome.window.open_unix;
        assert!((length - 75.0).abs() < 0.01, "{length}");
        let scene = Scene {
            trial: 1,
            arm: "baseline".into(),
            node: target.node.clone(),
            pods: vec![target, outcome.pod],
            window: outcome.window,
        };
        let direct = observer::read(cluster, &observers, &scene).await.unwrap();
        let second = metrics::stand_in(cluster, &metrics, &scene).await.unwrap();
        for subject in [Subject::Target, Subject::Load] {
            let (a, b) = (rate(&direct, subject), rate(&second, subject));
            eprintln!(
                "{subject}: observer {a:.4} CPUs, cAdvisor {b:.4} CPUs ({:+.1} %)",
                (b / a - 1.0) * 100.0
            );
            assert!(
                a > 0.001 && (b / a - 1.0).abs() < TOLERANCE,
                "{subject}: {a} and {b}"
            );
        }
        let cost = rate(&direct, Subject::Harness) / observers.pods.len() as f64;
        eprintln!("an observer uses {cost:.4} CPUs");
        assert!(cost < 0.02, "{cost}");
        let per_request = metrics::cross_check(cluster, &metrics, &scene)
            .await
            .unwrap();
        let answered = result.completed as f64 / result.window_seconds;
        let own = rate(&direct, Subject::Target) / answered;
        assert!(
            (per_request.value / own - 1.0).abs() < TOLERANCE,
            "{} and {own}",
            per_request.value
        );
        // k6's own series have arrived, the window's apart from the warm-up's.
        let window = (scene.window.open_unix, scene.window.close_unix + 10.0);
        let name = r#"k6_http_reqs_total{testrun_name="t1-baseline",scenario="measure"}"#;
        let pushed = metrics.raw(cluster, name, window).await.unwrap();
        let last = pushed
            .iter()
            .filter_map(|one| one.points.last())
            .map(|point| point.value);
        let sent = result.offered - result.dropped;
        assert_eq!(last.sum::<f64>(), sent as f64);
        lab.clear(Starter::Job, &order).await;
    })
    .await;
}

/// The operator's kind on a real API server, with a stand-in for the operator
/// that does what the real one's runner does.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_test_run_by_way_of_a_stand_in_for_the_operator() {
    in_lab("testrun", |lab| async move {
        let cluster = &lab.cluster;
        if load::starter(cluster).await.unwrap() == Starter::Operator {
            return skip(
                "a_test_run…",
                "the cluster has the real operator's kind already",
            );
        }
        let stand_in = stand_in::Operator::install(cluster).await;
        assert_eq!(load::starter(cluster).await.unwrap(), Starter::Operator);
        let (_, url) = lab.target().await;
        let order = lab.order("t1-baseline", &url, 5.0);
        let outcome = load::run(cluster, Starter::Operator, &order).await;
        // A second one of the name is refused: nothing is measured twice.
        let again = load::run(cluster, Starter::Operator, &order).await;
        // One whose k6 fails is `finished` too.
        let broken = LoadOrder {
            name: "t2-broken".into(),
            spec: LoadSpec {
                rate: 0.000_001,
                ..order.spec.clone()
            },
            ..order.clone()
        };
        let failed = load::run(cluster, Starter::Operator, &broken).await;
        let stage = stand_in.stage(cluster, "t2-broken").await;
        let kept: Value = stand_in.spec(cluster, "t1-baseline").await;
        lab.clear(Starter::Operator, &order).await;
        lab.clear(Starter::Operator, &broken).await;
        stand_in.remove(cluster).await;

        let outcome = outcome.unwrap();
        assert_eq!(outcome.result.failed, 0);
        let offered = outcome.result.offered;
        assert!(offered.abs_diff(1_000) <= SLACK, "{offered}");
        assert_eq!(outcome.pod.subject, Subject::Load);
        let again = again.unwrap_err().to_string();
        assert!(again.contains("already exists"), "{again}");
        assert_eq!(stage, "finished");
        let failed = failed.unwrap_err().to_string();
        assert!(failed.contains("code 107"), "{failed}");
        assert!(
            failed.contains("too low to be expressed"),
            "its last output: {failed}"
        );
        // Nothing of what was sent is unknown to the kind's schema.
        let sent = load::objects(&cluster.run, Starter::Operator, &order);
        stand_in::assert_kept(&sent[1].data["spec"], &kept);
    })
    .await;
}
