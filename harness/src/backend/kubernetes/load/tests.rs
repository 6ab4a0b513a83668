use serde_json::{Value, json};

use super::*;
use crate::backend::kubernetes::golden;
use crate::backend::kubernetes::mock::{self, Asked, list, refusal, run as test_run_of};
use crate::sample::Subject;

const OUTPUT: &str = r#"flora-bench warmup began 1700000000000, window 1700000003050 to 1700000013050
flora-bench measure began 1700000003061, window 1700000003061 to 1700000013061
{"schema_version":1,"rate":200,"measure_seconds":10,"requests":2000,"failed":0,"dropped":0,"requests_per_second":200,"duration_seconds":{"mean":0.001,"max":0.02,"quantiles":[[0.5,0.001],[0.95,0.002],[0.99,0.004],[0.999,0.01]]},"total_requests":2600,"total_dropped":0}
"#;

fn order() -> LoadOrder {
    LoadOrder {
        name: "t12-flora".into(),
        trial: 12,
        arm: "flora".into(),
        spec: LoadSpec {
            url: "http://target.bench.svc:8080/objects".into(),
            gzip: true,
            connections: 16,
            rate: 200.0,
            warmup_seconds: 3.0,
            measure_seconds: 10.0,
            timeout_seconds: 5.0,
            periods: Vec::new(),
        },
        images: LoadImages {
            k6: "cluster.local/k6:1.8.1".into(),
            starter: "ghcr.io/grafana/k6-operator:starter-v1.6.0".into(),
        },
        group: Group {
            name: "load".into(),
            nodes: Vec::new(),
        },
        millicpus: 2000,
        remote_write: Some("http://victoria-metrics.bench.svc:8428/api/v1/write".into()),
    }
}

fn pod(state: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "t12-flora-1-x", "namespace": "bench", "uid": "u1"},
        "spec": {"nodeName": "worker-2", "containers": []},
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "k6", "image": "k6", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": "containerd://0123", "state": state,
        }]},
    })
}

fn ended(code: i32, reason: &str) -> Value {
    pod(json!({"terminated": {"exitCode": code, "reason": reason}}))
}

#[test]
fn objects_are_as_agreed() {
    let (run, order) = (test_run_of(), order());
    golden::check("load-job", &objects(&run, Starter::Job, &order));
    golden::check("load-test-run", &objects(&run, Starter::Operator, &order));
}

/// A scenario may be called what no object may.
#[test]
fn names_are_those_of_objects() {
    for (arm, expected) in [
        ("flora", "t3-flora"),
        ("My_Agent", "t3-my-agent"),
        ("go-1.19", "t3-go-1-19"),
        (
            "a-name-of-thirty-letters-and-so-on",
            "t3-a-name-of-thirty-letters-and-s",
        ),
        (
            "a-name-that-is-cut-at-a-hyphen-here",
            "t3-a-name-that-is-cut-at-a-hyphen",
        ),
        ("ça", "t3--a"),
        ("___", "t3"),
    ] {
        assert_eq!(name(3, arm), expected);
    }
}

/// What the operator makes of a `TestRun` must be what it can run: it splits
/// `arguments` at spaces, and its `k6 archive` takes no output.
#[test]
fn arguments_survive_the_operator() {
    let object = test_run::object(&test_run_of(), &order());
    let arguments = object.data["spec"]["arguments"].as_str().unwrap();
    let words: Vec<&str> = arguments.split(' ').collect();
    assert!(words.iter().all(|word| !word.is_empty()), "{arguments}");
    let out = words.iter().position(|word| *word == "--out").unwrap();
    assert_eq!(words[out + 1], "experimental-prometheus-rw");
    // The operator gives these itself.
    for own in ["--quiet", "--address", "--paused", "run"] {
        assert!(
            !words.iter().any(|word| word.starts_with(own)),
            "{arguments}"
        );
    }
    assert_eq!(
        object.data["spec"]["cleanup"],
        Value::Null,
        "it would race with reading"
    );
    for part in ["runner", "initializer", "starter"] {
        let token = &object.data["spec"][part]["automountServiceAccountToken"];
        assert_eq!(token, "false", "{part}: a string, and not a boolean");
        assert!(
            object.data["spec"][part]["metadata"]["labels"]
                .get("app")
                .is_none()
        );
    }
}

#[test]
fn what_k6_wrote_gives_counts_and_window() {
    let (result, window) = k6::read_output(OUTPUT, &order().spec).unwrap();
    assert_eq!(
        (result.offered, result.completed, result.answered_total),
        (2000, 2000, 2600)
    );
    // As it came, not as it was announced.
    assert_eq!(window, (1_700_000_003.061, 1_700_000_013.061));
    let cut = OUTPUT.lines().take(2).collect::<Vec<_>>().join("\n");
    let error = error::text(&k6::read_output(&cut, &order().spec).unwrap_err());
    assert!(error.contains("no summary"), "{error}");
    let other = LoadSpec {
        rate: 300.0,
        ..order().spec
    };
    assert!(k6::read_output(OUTPUT, &other).is_err(), "of another load");
}

#[tokio::test]
async fn a_test_run_from_creation_to_its_result() {
    let (cluster, log) = mock::cluster(|asked: &Asked, before| {
        let what = asked.what.as_str();
        let path = what.split_once(' ').unwrap().1;
        if what.starts_with("POST") {
            return (201, asked.body.to_string());
        }
        if path.starts_with("/apis/k6.io/v1alpha1/namespaces/bench/testruns/t12-flora") {
            let object = json!({
                "apiVersion": "k6.io/v1alpha1", "kind": "TestRun",
                "metadata": {"name": "t12-flora"}, "status": {"stage": "created"},
            });
            return (200, object.to_string());
        }
        if path.contains("/log") {
            return (200, OUTPUT.into());
        }
        // No pod, one that starts, an API server that is away, one that runs, the end.
        match before {
            0 => (200, list(vec![])),
            1 => (
                200,
                list(vec![pod(
                    json!({"waiting": {"reason": "ContainerCreating"}}),
                )]),
            ),
            2 => refusal(503, "ServiceUnavailable", "away"),
            3 => (
                200,
                list(vec![pod(
                    json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}),
                )]),
            ),
            _ => (200, list(vec![ended(0, "Completed")])),
        }
    })
    .await;
    let outcome = run(&cluster, Starter::Operator, &order()).await.unwrap();
    assert_eq!(outcome.result.completed, 2000);
    assert_eq!(outcome.window.open_unix, 1_700_000_003.061);
    assert_eq!(outcome.pod.subject, Subject::Load);
    assert_eq!(outcome.pod.node, "worker-2");
    assert_eq!(outcome.pod.containers, [("k6".into(), "0123".into())]);

    let asked: Vec<String> = log
        .lock()
        .unwrap()
        .iter()
        .map(|one| one.what.clone())
        .collect();
    assert!(
        asked[0].starts_with("POST /api/v1/namespaces/bench/configmaps"),
        "{asked:?}"
    );
    assert!(asked[1].starts_with("POST /apis/k6.io/v1alpha1/namespaces/bench/testruns"));
    let selected = asked[2].replace("%3D", "=").replace("%2C", ",");
    assert!(
        selected.contains("app=k6,k6_cr=t12-flora,runner=true"),
        "{selected}"
    );
}

/// Runs a load whose pod is always the same, and gives the error.
async fn failing(starter: Starter, pods: Vec<Value>, test_run: Value) -> String {
    let (cluster, _) = mock::cluster(move |asked: &Asked, _| {
        if asked.what.starts_with("POST") {
            (201, asked.body.to_string())
        } else if asked.what.contains("/log") {
            (
                200,
                "flora-bench failure: dial: connection refused\n".into(),
            )
        } else if asked.what.contains("/testruns/") {
            (200, test_run.to_string())
        } else {
            (200, list(pods.clone()))
        }
    })
    .await;
    run(&cluster, starter, &order())
        .await
        .unwrap_err()
        .to_string()
}

/// `finished` means that no runner is active, whatever became of it.
#[tokio::test]
async fn a_finished_test_run_whose_k6_failed_is_a_failure() {
    let finished = json!({
        "apiVersion": "k6.io/v1alpha1", "kind": "TestRun",
        "metadata": {"name": "t12-flora"}, "status": {"stage": "finished"},
    });
    for (code, reason, told) in [
        (107, "Error", "the script threw an exception"),
        (99, "Error", "a threshold failed"),
        (137, "OOMKilled", "want of memory"),
    ] {
        let pods = vec![ended(code, reason)];
        let error = failing(Starter::Operator, pods, finished.clone()).await;
        assert!(error.contains(told), "{error}");
        assert!(
            error.contains("connection refused"),
            "its last output: {error}"
        );
    }
}

#[tokio::test]
async fn an_operator_that_gives_up_is_heard() {
    let gave_up = json!({
        "apiVersion": "k6.io/v1alpha1", "kind": "TestRun", "metadata": {"name": "t12-flora"},
        "status": {"stage": "error", "conditions": [{"message": "no such image"}]},
    });
    let error = failing(Starter::Operator, vec![], gave_up).await;
    assert!(
        error.contains("the k6 operator gave up: no such image"),
        "{error}"
    );
}

#[tokio::test]
async fn a_pod_that_can_not_start_or_is_taken_away_ends_the_wait() {
    let waiting = |reason: &str| {
        let state = json!({"waiting": {"reason": reason, "message": "Back-off"}});
        vec![pod(state)]
    };
    let error = failing(Starter::Job, waiting("ImagePullBackOff"), Value::Null).await;
    assert!(error.contains("--image k6="), "{error}");
    let mut evicted = pod(json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}));
    evicted["status"]["phase"] = "Failed".into();
    evicted["status"]["message"] = "The node was low on resource".into();
    let error = failing(Starter::Job, vec![evicted], Value::Null).await;
    assert!(error.contains("low on resource"), "{error}");
}

#[tokio::test]
async fn what_is_there_already_is_somebody_elses() {
    let (cluster, _) = mock::cluster(|_: &Asked, _| {
        refusal(
            409,
            "AlreadyExists",
            "configmaps \"t12-flora-script\" already exists",
        )
    })
    .await;
    let error = run(&cluster, Starter::Job, &order()).await.unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
}

#[tokio::test]
async fn the_operator_is_used_when_its_kind_is_served() {
    for (served, expected) in [
        (
            Some(json!([{"name": "testruns"}, {"name": "testruns/status"}])),
            Starter::Operator,
        ),
        (Some(json!([{"name": "privateloadzones"}])), Starter::Job),
        (None, Starter::Job),
    ] {
        let (cluster, log) = mock::cluster(move |_: &Asked, _| match &served {
            Some(kinds) => (200, json!({"resources": kinds}).to_string()),
            None => refusal(
                404,
                "NotFound",
                "the server could not find the requested resource",
            ),
        })
        .await;
        assert_eq!(starter(&cluster).await.unwrap(), expected);
        assert_eq!(log.lock().unwrap()[0].what, "GET /apis/k6.io/v1alpha1");
    }
}

/// As many as are carried out at the same time fit on the load's node at the same time.
#[test]
fn loads_at_the_same_time_share_their_node() {
    use crate::backend::kubernetes::object::millicpus;
    assert_eq!(share(millicpus("8"), 4), 1000);
    assert_eq!(share(millicpus("1930m"), 1), 1000);
    assert_eq!(share(millicpus("2"), 4), 400);
    assert_eq!(share(None, 4), 1000);
    assert_eq!(millicpus("a lot"), None);
}
