//! VictoriaMetrics in the cluster: what kubelets, target, agents and k6 expose,
//! asked by PromQL through the API server.
//!
//! The node observer is the precise source of a trial's figures; the kubelet's
//! cAdvisor is the second opinion, and stands in where policy lets no observer
//! look at the host. It reads every 10 to 15 s, so that a window needs a minute
//! before its edges mean much.
//!
//! # Layout
//! - [`Metrics`]: the run's own
//! - [`scrape`]: what is scraped
//! - [`objects`]: its own objects
//! - [`fallback`]: a trial's samples from cAdvisor's series, without a cluster

use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::client::{ApiError, is_transient};
use super::groups::Group;
use super::images::Images;
use super::object::{ROLE, Run, USER, container_security, object, pod_security};
use super::wait::{self, Trouble};
use super::{Cluster, ClusterError, Scene, Window, apply, proxy};
use crate::error;
use crate::exporter::label_value;
use crate::sample::{Phase, Reading, Sample, Subject};
use crate::victoria_metrics::client::parse;
use crate::victoria_metrics::cross_check::cpu_seconds_per_request;
use crate::victoria_metrics::{Selectors, Series};

pub mod fallback;
pub mod scrape;

/// The name of Deployment, Service and the rest; what they are for, in labels.
pub const NAME: &str = "victoria-metrics";
/// Its role in labels.
pub const ROLE_NAME: &str = "metrics";
/// Where it listens.
pub const PORT: u16 = 8428;
/// VictoriaMetrics' long-term release.
pub const IMAGE: &str = "victoriametrics/victoria-metrics:v1.122.6";
/// How long it may take to answer.
const START: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(250);
/// How long after the window's close rows are waited for: cAdvisor's next
/// reading, a scrape, and until they are visible.
const PATIENCE: Duration = Duration::from_secs(25);

/// A VictoriaMetrics that a run can ask: its own, through the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where k6 writes to, as pods reach it.
    pub remote_write: String,
    /// The namespace of its Service.
    namespace: String,
}

impl Metrics {
    /// The run's own.
    pub fn own(run: &Run) -> Self {
        Metrics {
            remote_write: format!("http://{NAME}.{}.svc:{PORT}/api/v1/write", run.namespace),
            namespace: run.namespace.clone(),
        }
    }

    /// The raw samples of a selector in a window (seconds since the epoch).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn raw(
        &self,
        cluster: &Cluster,
        selector: &str,
        (start, end): (f64, f64),
    ) -> Result<Vec<Series>, ClusterError> {
        // As the client does: more than is wanted, and what lies inside is kept.
        let range = ((end - start).max(0.0) * 1e3).ceil() as u64 + 2;
        let promql = format!("{selector}[{range}ms]");
        let mut url = reqwest::Url::parse("http://x/api/v1/query").expect("it is a constant");
        url.query_pairs_mut()
            .append_pair("query", &promql)
            .append_pair("time", &format!("{:.3}", end + 0.001));
        let path = format!("api/v1/query?{}", url.query().unwrap_or_default());
        let text = self.get(cluster, &path).await?;
        let mut series = parse(&text)
            .map_err(|reason| ClusterError::Metrics(format!("`{promql}`: {reason}")))?;
        for one in &mut series {
            one.points.retain(|p| (start..=end).contains(&p.time));
        }
        series.retain(|one| !one.points.is_empty());
        Ok(series)
    }

    /// Makes fresh rows visible; one that can't be told is waited for instead.
    async fn flush(&self, cluster: &Cluster) {
        if let Err(error) = self.get(cluster, "internal/force_flush").await {
            log::debug!("no flush: {error}");
        }
    }

    async fn get(&self, cluster: &Cluster, path: &str) -> Result<String, ApiError> {
        proxy::service(cluster, (&self.namespace, NAME), PORT, path).await
    }
}

fn failed(source: &(dyn std::error::Error + 'static)) -> ClusterError {
    ClusterError::Metrics(error::text(source))
}

/// Every object of VictoriaMetrics and its scrape configuration.
///
/// Its account may read what kubelets measure (`nodes/metrics`), and see nodes
/// and pods; the role that says so is the run's, and goes with it.
pub fn objects(run: &Run, images: &Images, group: &Group) -> Vec<DynamicObject> {
    let labels = run.labels(ROLE_NAME, None);
    let namespace = &run.namespace;
    let metadata = json!({"name": NAME, "namespace": namespace, "labels": labels});
    // Cluster-wide names must not meet those of another run.
    let wide = format!("{namespace}-{NAME}");
    let rbac = "rbac.authorization.k8s.io";
    let subjects = json!([{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}]);
    let mut security = pod_security(USER);
    security["fsGroup"] = USER.into();
    let pod = json!({
        "serviceAccountName": NAME,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 5,
        "nodeSelector": group.node_selector(),
        "tolerations": group.tolerations(),
        "securityContext": security,
        "containers": [{
            "name": NAME,
            "image": images.or(NAME, IMAGE),
            "imagePullPolicy": "IfNotPresent",
            "args": [
                "-promscrape.config=/etc/victoria-metrics/scrape.yaml",
                "-promscrape.config.strictParse",
                "-storageDataPath=/data",
                "-retentionPeriod=1d",
                format!("-httpListenAddr=:{PORT}"),
                // Without this the newest 30 s repeat an older value.
                "-search.latencyOffset=0s",
                "-search.disableCache",
                "-dedup.minScrapeInterval=1ms",
                "-memory.allowedBytes=128MiB",
                // Neither target nor observer is to spend CPU time on compressing.
                "-promscrape.disableCompression",
                "-promscrape.suppressScrapeErrors",
                // A trial's target is new, and half a minute would be all of its window.
                "-promscrape.kubernetesSDCheckInterval=1s",
                "-selfScrapeInterval=0s",
                "-loggerLevel=WARN",
            ],
            "ports": [{"name": "http", "containerPort": PORT}],
            "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1},
            "resources": {
                "requests": {"cpu": "100m", "memory": "128Mi"},
                "limits": {"memory": "512Mi"},
            },
            "securityContext": container_security(),
            "volumeMounts": [
                {"name": "config", "mountPath": "/etc/victoria-metrics", "readOnly": true},
                {"name": "data", "mountPath": "/data"},
            ],
        }],
        "volumes": [
            {"name": "config", "configMap": {"name": NAME}},
            {"name": "data", "emptyDir": {}},
        ],
    });
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole",
            "metadata": {"name": wide, "labels": labels},
            "rules": [
                {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
            ],
        }),
        json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding",
            "metadata": {"name": wide, "labels": labels},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": wide},
            "subjects": subjects,
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
            "data": {"scrape.yaml": scrape::config(run)},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {
                "selector": {ROLE: ROLE_NAME},
                "ports": [{"name": "http", "port": PORT, "targetPort": PORT}],
            },
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": {ROLE: ROLE_NAME}},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }),
    ]
    .map(object)
    .into()
}

/// Applies VictoriaMetrics and waits until it answers.
///
/// # Errors
/// When it does not start.
pub async fn deploy(cluster: &Cluster, group: &Group) -> Result<Metrics, ClusterError> {
    for object in objects(&cluster.run, &cluster.images, group) {
        apply::apply(cluster, &object).await?;
    }
    let metrics = Metrics::own(&cluster.run);
    let began = Instant::now();
    let deadline = began + START;
    loop {
        match metrics.get(cluster, "health").await {
            Ok(_) => return Ok(metrics),
            // A service without a ready pod answers 503.
            Err(error) if is_transient(&error.source) && Instant::now() < deadline => {
                let pods = cluster.run.selector(Some(ROLE_NAME), None);
                let waited = began.elapsed();
                let trouble = wait::trouble_of(cluster, &metrics.namespace, &pods, waited).await;
                if let Ok(Some(Trouble { fatal: true, text })) = trouble {
                    return Err(ClusterError::Metrics(format!("it {text}")));
                }
            }
            Err(error) => {
                return Err(ClusterError::Metrics(format!(
                    "it is not ready after {START:?}: {error}; see `kubectl -n {} get pods`, or name another image with --image {NAME}=REFERENCE",
                    metrics.namespace
                )));
            }
        }
        sleep(POLL).await;
    }
}

/// A trial's CPU seconds per request as cAdvisor and the target's own counter
/// have them, beside what the node observer counted.
///
/// # Errors
/// When VictoriaMetrics does not answer, or the window holds too few of its samples.
pub async fn cross_check(
    cluster: &Cluster,
    metrics: &Metrics,
    scene: &Scene,
) -> Result<Sample, ClusterError> {
    let target = target(scene)?;
    let (namespace, pod) = (label_value(&target.namespace), label_value(&target.name));
    let selectors = Selectors {
        cpu: cadvisor(
            "container_cpu_usage_seconds_total",
            &target.namespace,
            &target.name,
        ),
        // Load asks for one route; what probes and scrapers ask for is no request.
        requests: format!(
            "http_requests_total{{job={},namespace={namespace},pod={pod},route!~\"/metrics|/healthz\",status=~\"2..\"}}",
            label_value(scrape::TARGET)
        ),
    };
    let Window {
        open_unix,
        close_unix,
    } = scene.window;
    let window = (open_unix, close_unix);
    let later = (open_unix, close_unix + PATIENCE.as_secs_f64());
    let deadline = Instant::now() + PATIENCE;
    loop {
        metrics.flush(cluster).await;
        let cpu = metrics.raw(cluster, &selectors.cpu, later).await?;
        let requests = metrics.raw(cluster, &selectors.requests, later).await?;
        let reaches = |series: &[Series]| {
            let mut lasts = series.iter().filter_map(|one| one.points.last());
            lasts.any(|last| last.time >= close_unix)
        };
        if (reaches(&cpu) && reaches(&requests)) || Instant::now() >= deadline {
            let found = cpu_seconds_per_request(&selectors, &cpu, &requests, window)
                .map_err(|error| failed(&error))?;
            return Ok(Sample::new(
                scene.trial,
                Phase::Measure,
                Subject::Target,
                Reading::VictoriaMetricsCpuSecondsPerRequest,
                found.cpu_seconds_per_request,
                cluster.clock.now(),
            ));
        }
        sleep(POLL).await;
    }
}

/// What VictoriaMetrics has to say of a trial: a second opinion where node
/// observers run, and all of its readings where there are none.
///
/// # Errors
/// When VictoriaMetrics does not answer, or has too few samples in the window.
pub async fn read(
    cluster: &Cluster,
    metrics: &Metrics,
    scene: &Scene,
    observed: bool,
) -> Result<Vec<Sample>, ClusterError> {
    if observed {
        return Ok(vec![cross_check(cluster, metrics, scene).await?]);
    }
    stand_in(cluster, metrics, scene).await
}

/// A trial's readings as the kubelets' cAdvisor has them.
///
/// # Errors
/// When VictoriaMetrics does not answer, or has too few samples in the window.
pub async fn stand_in(
    cluster: &Cluster,
    metrics: &Metrics,
    scene: &Scene,
) -> Result<Vec<Sample>, ClusterError> {
    let window = (scene.window.open_unix, scene.window.close_unix);
    let epoch = crate::clock::unix_seconds() - cluster.clock.now();
    sleep(Duration::from_secs(2)).await;
    metrics.flush(cluster).await;
    let mut held = fallback::Held::default();
    for pod in &scene.pods {
        for (metric, reading) in fallback::PODS {
            let selector = cadvisor(metric, &pod.namespace, &pod.name);
            let series = metrics.raw(cluster, &selector, window).await?;
            held.pods.push((pod.clone(), reading, series));
        }
    }
    let node = label_value(&scene.node);
    for (metric, wanted) in fallback::NODES {
        let selector = format!("{metric}{{job={},node={node}}}", label_value(wanted));
        let series = metrics.raw(cluster, &selector, window).await?;
        held.nodes.push((metric, series));
    }
    fallback::samples(scene, epoch, &held).map_err(ClusterError::Metrics)
}

/// The selector of a pod's own control group in cAdvisor's series: without a
/// container, all of them and the sandbox together. containerd's sandbox has no container either,
/// but a name.
fn cadvisor(metric: &str, namespace: &str, pod: &str) -> String {
    format!(
        "{metric}{{job={},namespace={},pod={},container=\"\",name=\"\"}}",
        label_value(scrape::CADVISOR),
        label_value(namespace),
        label_value(pod)
    )
}

fn target(scene: &Scene) -> Result<&super::RolePod, ClusterError> {
    let mut pods = scene.pods.iter();
    pods.find(|pod| pod.subject == Subject::Target)
        .ok_or_else(|| ClusterError::Metrics("the trial has no pod of the target".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kubernetes::{RolePod, golden, mock};

    #[test]
    fn objects_are_as_agreed() {
        let group = Group {
            name: "monitoring".into(),
            nodes: Vec::new(),
        };
        golden::check(
            "metrics",
            &objects(&mock::run(), &Images::default(), &group),
        );
    }

    fn answer(points: &[(f64, f64)]) -> String {
        let values: Vec<_> = points
            .iter()
            .map(|(time, value)| json!([time, value.to_string()]))
            .collect();
        json!({"status": "success", "data": {"resultType": "matrix", "result": [
            {"metric": {"__name__": "m"}, "values": values},
        ]}})
        .to_string()
    }

    #[tokio::test]
    async fn the_second_opinion_divides_each_counter_by_its_own_clock() {
        let (cluster, log) = mock::cluster(|asked: &mock::Asked, _| {
            if asked.what.contains("force_flush") {
                return (200, String::new());
            }
            // 0.5 CPUs over 40 s, 200 requests a second.
            let cpu = answer(&[(1002.0, 10.0), (1042.0, 30.0), (1072.0, 45.0)]);
            let requests = answer(&[(1000.5, 100.0), (1059.5, 11_900.0), (1060.5, 11_900.0)]);
            let is_cpu = asked.what.contains("container_cpu");
            (200, if is_cpu { cpu } else { requests })
        })
        .await;
        let scene = Scene {
            trial: 4,
            arm: "flora".into(),
            node: "n1".into(),
            pods: vec![RolePod {
                subject: Subject::Target,
                namespace: "bench".into(),
                name: "target-0".into(),
                uid: "u".into(),
                node: "n1".into(),
                containers: Vec::new(),
            }],
            window: Window {
                open_unix: 1000.0,
                close_unix: 1060.0,
            },
        };
        let metrics = Metrics::own(&cluster.run);
        // Beside observers that is all that is read: their CPU time and cAdvisor's must not meet.
        let read = read(&cluster, &metrics, &scene, true).await.unwrap();
        let [found] = &read[..] else {
            panic!("{read:?}");
        };
        assert!((found.value - 0.5 / 200.0).abs() < 1e-12, "{found:?}");
        assert_eq!((found.trial, found.subject), (4, Subject::Target));
        let asked = log.lock().unwrap();
        let proxied = "GET /api/v1/namespaces/bench/services/victoria-metrics:8428/proxy/";
        assert!(
            asked.iter().all(|one| one.what.starts_with(proxied)),
            "{asked:?}"
        );
    }
}
