//! The kinds that the program knows by itself: where their objects are, and how
//! they are addressed. Any other is asked for where it is met.

use kube::core::{ApiResource, GroupVersionKind};

use self::Scope::{Cluster, Namespace};
use self::Served::{Always, Perhaps};

/// Where the objects of a kind are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// In a namespace, which takes them with it.
    Namespace,
    /// In none, so that whoever made them has to take them away.
    Cluster,
}

/// Who serves a kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Served {
    /// Every cluster of a version that is supported, so that nobody need be asked.
    Always,
    /// A newer one, or one with something installed.
    Perhaps,
}

/// One kind.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its API group; the core's without a name.
    pub group: &'static str,
    /// The group's version.
    pub version: &'static str,
    /// Its name in manifests.
    pub kind: &'static str,
    /// Its name in addresses.
    pub plural: &'static str,
    /// Where its objects are.
    pub scope: Scope,
    /// Who serves it.
    pub served: Served,
}

const fn kind(
    (group, version): (&'static str, &'static str),
    kind: &'static str,
    plural: &'static str,
    scope: Scope,
    served: Served,
) -> Kind {
    Kind {
        group,
        version,
        kind,
        plural,
        scope,
        served,
    }
}

const CORE: (&str, &str) = ("", "v1");
const APPS: (&str, &str) = ("apps", "v1");
const BATCH: (&str, &str) = ("batch", "v1");
const RBAC: (&str, &str) = ("rbac.authorization.k8s.io", "v1");
const ADMISSION: (&str, &str) = ("admissionregistration.k8s.io", "v1");
const FLOW: (&str, &str) = ("flowcontrol.apiserver.k8s.io", "v1");

/// All of them. Those without a namespace stand in the order in which they are taken away: what
/// meddles with requests first, definitions behind what is defined by them.
pub const KINDS: &[Kind] = &[
    kind(CORE, "ConfigMap", "configmaps", Namespace, Always),
    kind(CORE, "Pod", "pods", Namespace, Always),
    kind(CORE, "Secret", "secrets", Namespace, Always),
    kind(CORE, "Service", "services", Namespace, Always),
    kind(CORE, "ServiceAccount", "serviceaccounts", Namespace, Always),
    kind(APPS, "DaemonSet", "daemonsets", Namespace, Always),
    kind(APPS, "Deployment", "deployments", Namespace, Always),
    kind(APPS, "StatefulSet", "statefulsets", Namespace, Always),
    kind(BATCH, "CronJob", "cronjobs", Namespace, Always),
    kind(BATCH, "Job", "jobs", Namespace, Always),
    kind(RBAC, "Role", "roles", Namespace, Always),
    kind(RBAC, "RoleBinding", "rolebindings", Namespace, Always),
    kind(
        ("apiregistration.k8s.io", "v1"),
        "APIService",
        "apiservices",
        Cluster,
        Always,
    ),
    kind(
        ADMISSION,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        Cluster,
        Always,
    ),
    kind(
        ADMISSION,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        Cluster,
        Always,
    ),
    kind(
        ADMISSION,
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        Cluster,
        Perhaps,
    ),
    kind(
        ADMISSION,
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        Cluster,
        Perhaps,
    ),
    kind(
        RBAC,
        "ClusterRoleBinding",
        "clusterrolebindings",
        Cluster,
        Always,
    ),
    kind(RBAC, "ClusterRole", "clusterroles", Cluster, Always),
    kind(FLOW, "FlowSchema", "flowschemas", Cluster, Always),
    kind(
        FLOW,
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        Cluster,
        Always,
    ),
    kind(
        ("scheduling.k8s.io", "v1"),
        "PriorityClass",
        "priorityclasses",
        Cluster,
        Always,
    ),
    kind(
        ("node.k8s.io", "v1"),
        "RuntimeClass",
        "runtimeclasses",
        Cluster,
        Always,
    ),
    kind(
        ("networking.k8s.io", "v1"),
        "IngressClass",
        "ingressclasses",
        Cluster,
        Always,
    ),
    kind(
        CORE,
        "PersistentVolume",
        "persistentvolumes",
        Cluster,
        Always,
    ),
    kind(
        ("storage.k8s.io", "v1"),
        "StorageClass",
        "storageclasses",
        Cluster,
        Always,
    ),
    kind(
        ("storage.k8s.io", "v1"),
        "CSIDriver",
        "csidrivers",
        Cluster,
        Always,
    ),
    kind(
        ("apiextensions.k8s.io", "v1"),
        "CustomResourceDefinition",
        "customresourcedefinitions",
        Cluster,
        Always,
    ),
    kind(
        ("karpenter.sh", "v1"),
        "NodePool",
        "nodepools",
        Cluster,
        Perhaps,
    ),
    // Taken away for itself, with what is in it.
    kind(CORE, "Namespace", "namespaces", Cluster, Always),
];

impl Kind {
    /// How requests address it.
    pub fn resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}

/// The kind of that name and version (`apps/v1`), where every cluster serves it.
pub fn always_served(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let of_kind = |one: &&Kind| one.kind == kind && one.served == Always;
    let mut kinds = KINDS.iter().filter(of_kind);
    kinds.find(|one| one.resource().api_version == api_version)
}

/// Whether objects of that name are in no namespace, whichever version of its group they are of.
pub fn is_cluster_scoped(api_version: &str, kind: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let mut kinds = KINDS.iter();
    kinds.any(|one| (one.group, one.kind) == (group, kind) && one.scope == Cluster)
}

/// Those without a namespace, in the order in which they are taken away; namespaces themselves aside.
pub fn cluster_scoped() -> impl Iterator<Item = &'static Kind> {
    let kinds = KINDS.iter().filter(|one| one.scope == Cluster);
    kinds.filter(|one| one.kind != "Namespace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_name_and_version() {
        let deployment = always_served("apps/v1", "Deployment").unwrap();
        assert_eq!(deployment.scope, Scope::Namespace);
        assert_eq!(always_served("v1", "Pod").unwrap().plural, "pods");
        // One of another version, or that has to be installed, is asked for.
        assert!(always_served("apps/v1beta1", "Deployment").is_none());
        assert!(always_served("karpenter.sh/v1", "NodePool").is_none());
        assert!(is_cluster_scoped("storage.k8s.io/v1beta1", "StorageClass"));
        assert!(is_cluster_scoped("v1", "PersistentVolume"));
        // Somebody else's kind may be called the same.
        assert!(!is_cluster_scoped("vendor.example/v1", "NodePool"));
    }

    #[test]
    fn each_kind_stands_once_and_is_addressed_in_lower_case() {
        for (n, one) in KINDS.iter().enumerate() {
            let same = |other: &&Kind| (other.group, other.kind) == (one.group, one.kind);
            assert_eq!(KINDS[..n].iter().find(same).map(|one| one.kind), None);
            assert_eq!(one.plural, one.plural.to_lowercase());
            let stem = &one.kind.to_lowercase()[..one.kind.len() - 1];
            assert!(one.plural.starts_with(stem) && one.plural.ends_with('s'));
        }
    }
}
