//! What VictoriaMetrics scrapes in a run's namespace, and of the nodes.

use crate::backend::kubernetes::object::Run;
use crate::backend::kubernetes::observer;

/// The kubelets' cAdvisor.
pub const CADVISOR: &str = "cadvisor";
/// The kubelets' own few figures, `/metrics/resource`.
pub const RESOURCE: &str = "resource";
/// The target's `/metrics`.
pub const TARGET: &str = "target";
/// Agents that say where they serve metrics, by the customary annotations.
pub const AGENT: &str = "agent";
/// The node observers.
pub const OBSERVER: &str = "observer";

/// The file for `-promscrape.config`.
///
/// Kubelets are asked directly, which takes `nodes/metrics` and not the much
/// wider `nodes/proxy`. Their certificates are self-signed in many clusters and
/// are not checked; the token that they are shown reads metrics and lists pods.
/// Arms and agents may have namespaces of their own: what belongs to the run is
/// told by its label, on pods as on nodes.
pub fn config(run: &Run) -> String {
    let observer_port = observer::PORT;
    let owner = &run.owner;
    let kubelet = |job: &str, path: &str, more: &str| {
        format!(
            "\
- job_name: {job}
  scheme: https
  metrics_path: {path}
  scrape_interval: 5s
  scrape_timeout: 4s
  # What a difference must be divided by is the reading's own clock.
  honor_timestamps: true
  tls_config:
    ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    insecure_skip_verify: true
  bearer_token_file: /var/run/secrets/kubernetes.io/serviceaccount/token
  kubernetes_sd_configs:
  - role: node
  relabel_configs:
  - source_labels: [__meta_kubernetes_node_labelpresent_flora_bench_dev_group]
    regex: 'true'
    action: keep
  - source_labels: [__meta_kubernetes_node_name]
    target_label: node
{more}"
        )
    };
    let pods = |job: &str, interval: &str, relabel: &str| {
        format!(
            "\
- job_name: {job}
  scrape_interval: {interval}
  scrape_timeout: {interval}
  honor_timestamps: true
  kubernetes_sd_configs:
  - role: pod
  relabel_configs:
  - source_labels: [__meta_kubernetes_pod_label_flora_bench_dev_owner]
    regex: {owner}
    action: keep
{relabel}  - source_labels: [__meta_kubernetes_namespace]
    target_label: namespace
  - source_labels: [__meta_kubernetes_pod_name]
    target_label: pod
  - source_labels: [__meta_kubernetes_pod_node_name]
    target_label: node
"
        )
    };
    let role = |role: &str, port: &str| {
        format!(
            "  - source_labels: [__meta_kubernetes_pod_label_flora_bench_dev_role, __meta_kubernetes_pod_container_port_number]
    regex: {role};{port}
    action: keep
"
        )
    };
    let cadvisor = kubelet(
        CADVISOR,
        "/metrics/cadvisor",
        "  metric_relabel_configs:
  - source_labels: [__name__]
    regex: container_(cpu|memory)_.+|container_oom_events_total|machine_.+
    action: keep
",
    );
    // With the annotations that Helm charts have used for it ever since.
    let annotated = "  - source_labels: [__meta_kubernetes_pod_label_flora_bench_dev_role, __meta_kubernetes_pod_annotation_prometheus_io_scrape]
    regex: agent;true
    action: keep
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
    regex: (/.+)
    target_label: __metrics_path__
  - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
    regex: ([^:]+);([0-9]+)
    replacement: $1:$2
    target_label: __address__
  # An address of IPv6, with whose colons that of the port would be lost.
  - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
    regex: (.*:.*);([0-9]+)
    replacement: '[$1]:$2'
    target_label: __address__
";
    [
        "global:\n  scrape_interval: 5s\nscrape_configs:\n".to_owned(),
        cadvisor,
        kubelet(RESOURCE, "/metrics/resource", ""),
        pods(TARGET, "1s", &role("target", "[0-9]+")),
        pods(
            OBSERVER,
            "1s",
            &role(observer::NAME, &observer_port.to_string()),
        ),
        pods(AGENT, "5s", annotated),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn it_is_yaml_and_every_job_is_held_to_the_run() {
        let run = Run {
            namespace: "flora-bench-7".into(),
            owner: "host-1-2".into(),
        };
        let file: Value = serde_saphyr::from_str(&config(&run)).unwrap();
        let jobs = file["scrape_configs"].as_array().unwrap();
        let names: Vec<_> = jobs.iter().map(|job| job["job_name"].clone()).collect();
        assert_eq!(names, [CADVISOR, RESOURCE, TARGET, OBSERVER, AGENT]);
        for job in jobs {
            assert_eq!(job["honor_timestamps"], true);
            let kept = &job["relabel_configs"][0];
            assert_eq!(kept["action"], "keep");
            match job["kubernetes_sd_configs"][0]["role"].as_str().unwrap() {
                "node" => {
                    assert_eq!(job["scheme"], "https");
                    assert_eq!(kept["regex"], "true");
                }
                "pod" => assert_eq!(kept["regex"], "host-1-2"),
                role => panic!("{role}"),
            }
        }
        let keep = &jobs[3]["relabel_configs"][1];
        assert_eq!(keep["regex"], "observer;9101");
    }
}
