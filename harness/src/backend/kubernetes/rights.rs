//! What the harness must be allowed to do in a cluster, and what of that it is not.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};

use super::client::ApiError;
use super::lease;

/// One right: some verbs on one resource.
#[derive(Clone, Copy, Debug)]
pub struct Right {
    /// The API group; the core's without one.
    pub group: &'static str,
    /// The resource, with its subresource behind a slash.
    pub resource: &'static str,
    /// What is done to it.
    pub verbs: &'static [&'static str],
    /// The only namespace that it is needed in; all of a run's own without it.
    pub namespace: Option<&'static str>,
    /// What it is needed for.
    pub purpose: &'static str,
}

const fn right(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    purpose: &'static str,
) -> Right {
    Right {
        group,
        resource,
        verbs,
        namespace: None,
        purpose,
    }
}

const OWN: &[&str] = &["get", "list", "create", "patch", "delete"];

/// Everything that a run with the bundled agents does on nodes that are there. `deploy/rbac.yaml`
/// grants exactly this, [`OPERATOR`] and [`KARPENTER`].
pub const NEEDED: &[Right] = &[
    right(
        "",
        "nodes",
        &["get", "list", "patch"],
        "taking and giving back node groups",
    ),
    right(
        "",
        "namespaces",
        &["get", "list", "create", "delete"],
        "the run's own namespace",
    ),
    Right {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["get", "list", "create", "update", "delete"],
        namespace: Some(lease::NAMESPACE),
        purpose: "keeping two runs off the same nodes",
    },
    right(
        "",
        "serviceaccounts",
        OWN,
        "waiting for the namespace, agents' accounts",
    ),
    right("", "pods", &["get", "list"], "looking at what was started"),
    right("", "events", &["list"], "what keeps pods from being made"),
    right(
        "",
        "pods/log",
        &["get"],
        "the last lines of what crashed, k6's result",
    ),
    right(
        "",
        "pods/proxy",
        &["get"],
        "reading counters of target, agents and observers",
    ),
    right("", "services", OWN, "the target's address"),
    right("", "services/proxy", &["get"], "asking VictoriaMetrics"),
    right(
        "",
        "configmaps",
        &[
            "get",
            "list",
            "create",
            "patch",
            "delete",
            "deletecollection",
        ],
        "the load script, agents' settings",
    ),
    right(
        "",
        "secrets",
        &["get", "create", "patch", "delete"],
        "agents' keys",
    ),
    right(
        "apps",
        "deployments",
        OWN,
        "the target, the intake, VictoriaMetrics",
    ),
    right("apps", "daemonsets", OWN, "agents and node observers"),
    right(
        "batch",
        "jobs",
        &[
            "get",
            "list",
            "create",
            "patch",
            "delete",
            "deletecollection",
        ],
        "load",
    ),
    right(
        "rbac.authorization.k8s.io",
        "roles",
        OWN,
        "agents' and VictoriaMetrics' rights",
    ),
    right(
        "rbac.authorization.k8s.io",
        "rolebindings",
        OWN,
        "agents' and VictoriaMetrics' rights",
    ),
    right(
        "rbac.authorization.k8s.io",
        "clusterroles",
        OWN,
        "agents' and VictoriaMetrics' rights",
    ),
    right(
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        OWN,
        "agents' and VictoriaMetrics' rights",
    ),
];

/// What only `--load k6-operator` needs.
pub const OPERATOR: &[Right] = &[right(
    "k6.io",
    "testruns",
    &[
        "get",
        "list",
        "create",
        "patch",
        "delete",
        "deletecollection",
    ],
    "load by the k6 operator",
)];

/// What only `--provisioner karpenter` needs.
pub const KARPENTER: &[Right] = &[right(
    "karpenter.sh",
    "nodepools",
    OWN,
    "nodes that are made for a run",
)];

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(namespace) = self.namespace {
            write!(f, " in {namespace}")?;
        }
        Ok(())
    }
}

/// The verbs of a right that this user lacks.
///
/// # Errors
/// When the API server does not answer.
pub async fn missing(client: &kube::Client, right: &Right) -> Result<Vec<&'static str>, ApiError> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut missing = Vec::new();
    for verb in right.verbs {
        let (resource, subresource) = match right.resource.split_once('/') {
            Some((resource, sub)) => (resource, Some(sub.to_owned())),
            None => (right.resource, None),
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(right.group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    verb: Some((*verb).to_owned()),
                    namespace: right.namespace.map(str::to_owned),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| {
            ApiError::new(format!("ask for the right to {verb} {right}"), error)
        })?;
        if !answer.status.is_some_and(|status| status.allowed) {
            missing.push(*verb);
        }
    }
    Ok(missing)
}
