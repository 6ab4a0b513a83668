//! Names of pods, from what the kubelet and the container runtime keep on the node's disk.
//!
//! No API server is asked and no runtime is called: names are read when a
//! container appears, from files that are there before its first process is.
//!
//! # Layout
//! - [`node`]: where those files are
//! - [`spec`]: what a runtime's specification of a container says
//! - [`workload`]: what a pod belongs to, as its name tells
//! - [`addresses`]: addresses of a network namespace
//! - [`callers`]: the pod that an address belongs to

pub mod addresses;
pub mod callers;
pub mod node;
pub mod spec;
pub mod workload;

use crate::metrics::text::label;

/// The longest name that Kubernetes gives anything.
const LONGEST: usize = 253;

/// What Kubernetes calls a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// What the pod belongs to, where its name tells.
    pub workload: Option<String>,
    /// The container in the pod; none for a pod as a whole.
    pub container: Option<String>,
}

impl Names {
    /// Names of a pod that are well formed; others are not from Kubernetes.
    pub fn new(namespace: &str, pod: &str) -> Option<Self> {
        (is_name(namespace) && is_name(pod)).then(|| Names {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            workload: workload::of(pod).map(str::to_owned),
            container: None,
        })
    }

    /// Adds a container's name, if it is well formed.
    pub fn with_container(mut self, name: Option<&str>) -> Self {
        self.container = name.filter(|name| is_name(name)).map(str::to_owned);
        self
    }

    /// Adds them to labels.
    pub fn label(&self, labels: &mut String) {
        label(labels, "namespace", &self.namespace);
        label(labels, "pod", &self.pod);
        if let Some(container) = &self.container {
            label(labels, "container", container);
        }
        if let Some(workload) = &self.workload {
            label(labels, "workload", workload);
        }
    }

    /// Adds them to labels, as those of a caller.
    pub fn label_peer(&self, labels: &mut String) {
        label(labels, "peer_namespace", &self.namespace);
        label(labels, "peer_pod", &self.pod);
        if let Some(workload) = &self.workload {
            label(labels, "peer_workload", workload);
        }
    }
}

/// Whether it is a DNS name of Kubernetes (RFC 1123): small letters, digits, dashes, dots.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    !text.is_empty() && text.len() <= LONGEST && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels() {
        let names = Names::new("shop", "cart-7f757457c5-89228").unwrap();
        let mut labels = String::new();
        names.with_container(Some("app")).label(&mut labels);
        assert_eq!(
            labels,
            "namespace=\"shop\",pod=\"cart-7f757457c5-89228\",container=\"app\",workload=\"cart\""
        );
        let mut labels = "peer=\"10.0.0.1\"".to_owned();
        Names::new("shop", "bare").unwrap().label_peer(&mut labels);
        assert_eq!(
            labels,
            "peer=\"10.0.0.1\",peer_namespace=\"shop\",peer_pod=\"bare\""
        );
    }

    proptest! {
        /// Whatever a file says: names are short, and need no escapes.
        #[test]
        fn bounded(namespace: String, pod: String, long in "[a-z]{250,260}") {
            for names in [Names::new(&namespace, &pod), Names::new("a", &long)].into_iter().flatten() {
                let names = names.with_container(Some(&pod));
                let mut labels = String::new();
                names.label(&mut labels);
                prop_assert!(labels.len() <= 4 * (LONGEST + 16));
                prop_assert!(!labels.contains('\\'));
            }
        }
    }
}
