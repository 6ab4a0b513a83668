//! Giving back what a run took of a cluster: its own at its end, and what one
//! left that was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{Api, DeleteParams, ListParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use tokio::time::{Instant, sleep};

use super::client::{ApiError, code, is_transient};
use super::object::{GROUP, OWNER};
use super::{groups, lease, owner};
use crate::clean::Cleaned;

/// Kinds without a namespace that agents bring and a namespace does not take with it.
const CLUSTER_KINDS: [(&str, &str, &str); 8] = [
    ("apiregistration.k8s.io", "v1", "APIService"),
    (
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
    ),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    ("scheduling.k8s.io", "v1", "PriorityClass"),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    ("karpenter.sh", "v1", "NodePool"),
];
/// How long an API server may be away while things are given back.
const AWAY: Duration = Duration::from_secs(60);
/// How long a namespace may take to go.
const GONE: Duration = Duration::from_secs(90);

/// Gives back what runs left that have ended.
///
/// # Errors
/// When the API server does not say what there is.
pub async fn leftovers(client: &kube::Client) -> Result<Cleaned, ApiError> {
    let leases = lease::list(client).await?;
    let alive: BTreeSet<String> = leases
        .iter()
        .filter(|lease| !lease::is_over(lease))
        .map(lease::holder)
        .collect();
    // A process of another host without a lease that holds has ended: its lease is the first thing it takes.
    let over = |holder: &str| {
        !alive.contains(holder) && !owner::is_alive_here(holder) && !holder.is_empty()
    };
    let mut left: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for one in &leases {
        let holder = lease::holder(one);
        let name = one.metadata.name.clone().unwrap_or_default();
        if over(&holder)
            && let Some(node) = name.strip_prefix(&lease::name(""))
        {
            left.entry(holder).or_default().0.push(node.to_owned());
        }
    }
    for node in marked(client).await? {
        if let Some(holder) = groups::taken_by(&node).filter(|holder| over(holder)) {
            let nodes = &mut left.entry(holder).or_default().0;
            let name = node.metadata.name.unwrap_or_default();
            if !nodes.contains(&name) {
                nodes.push(name);
            }
        }
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let listed = namespaces
        .list_metadata(&ListParams::default().labels(OWNER))
        .await;
    let listed = listed.map_err(|error| ApiError::new("list namespaces", error))?;
    for namespace in listed.items {
        let labels = namespace.metadata.labels.unwrap_or_default();
        let holder = labels.get(OWNER).cloned().unwrap_or_default();
        if over(&holder) {
            let name = namespace.metadata.name.unwrap_or_default();
            left.entry(holder).or_default().1.push(name);
        }
    }
    for (_, object) in cluster_objects(client, OWNER).await {
        let labels = object.metadata.labels.unwrap_or_default();
        let holder = labels.get(OWNER).cloned().unwrap_or_default();
        if over(&holder) {
            left.entry(holder).or_default();
        }
    }
    let mut cleaned = Cleaned::default();
    for (holder, (nodes, namespaces)) in left {
        let one = of(client, &holder, &nodes, &namespaces).await;
        cleaned.removed.extend(one.removed);
        cleaned.failed.extend(one.failed);
    }
    Ok(cleaned)
}

/// Every node that carries our label, whose annotation says who took it.
async fn marked(client: &kube::Client) -> Result<Vec<Node>, ApiError> {
    let nodes: Api<Node> = Api::all(client.clone());
    let listed = nodes.list(&ListParams::default().labels(GROUP)).await;
    Ok(listed
        .map_err(|error| ApiError::new("list nodes", error))?
        .items)
}

/// Gives back what one run took: its objects, then its nodes, then its leases.
pub async fn of(
    client: &kube::Client,
    holder: &str,
    nodes: &[String],
    namespaces: &[String],
) -> Cleaned {
    let mut cleaned = Cleaned::default();
    let deadline = Instant::now() + AWAY;
    for namespace in namespaces {
        let what = format!("namespace {namespace}");
        let deleted = patiently(deadline, || delete_namespace(client, namespace, holder)).await;
        note(&mut cleaned, what, deleted);
    }
    for (kind, object) in cluster_objects(client, &format!("{OWNER}={holder}")).await {
        let name = object.metadata.name.clone().unwrap_or_default();
        let what = format!("{} {name}", kind.kind);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        let deleted = patiently(deadline, || async {
            match api.delete(&name, &DeleteParams::background()).await {
                Err(error) if code(&error) != Some(404) => {
                    Err(ApiError::new(format!("delete {} {name}", kind.kind), error))
                }
                _ => Ok(()),
            }
        })
        .await;
        note(&mut cleaned, what, deleted.map(|()| true));
    }
    // Nodes are free again only when nothing runs there any more.
    let going = namespaces.iter().filter(|name| {
        let what = format!("namespace {name}");
        cleaned.removed.contains(&what)
    });
    for namespace in going.cloned().collect::<Vec<_>>() {
        if let Err(error) = namespace_gone(client, &namespace).await {
            cleaned
                .failed
                .push(format!("namespace {namespace}: {error}"));
        }
    }
    for node in nodes {
        let restored = patiently(deadline, || async {
            match groups::restore(client, node).await {
                Ok(()) => Ok(Ok(())),
                Err(groups::GroupError::Api(error)) => Err(error),
                Err(error) => Ok(Err(error.to_string())),
            }
        })
        .await;
        let restored = match restored {
            Ok(Ok(())) => patiently(deadline, || lease::release(client, node, holder)).await,
            Ok(Err(text)) => {
                cleaned.failed.push(format!("node {node}: {text}"));
                continue;
            }
            Err(error) => Err(error),
        };
        note(
            &mut cleaned,
            format!("label, taint and lease of node {node}"),
            restored.map(|()| true),
        );
    }
    cleaned
}

fn note(cleaned: &mut Cleaned, what: String, outcome: Result<bool, ApiError>) {
    match outcome {
        Ok(true) => cleaned.removed.push(what),
        Ok(false) => {}
        Err(error) => cleaned.failed.push(format!("{what}: {error}")),
    }
}

/// Tries again for as long as the API server is away.
async fn patiently<T, F: Future<Output = Result<T, ApiError>>>(
    deadline: Instant,
    mut action: impl FnMut() -> F,
) -> Result<T, ApiError> {
    loop {
        match action().await {
            Err(error) if is_transient(&error.source) && Instant::now() < deadline => {
                sleep(Duration::from_secs(1)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Deletes a namespace of ours; says whether there was one.
async fn delete_namespace(
    client: &kube::Client,
    name: &str,
    holder: &str,
) -> Result<bool, ApiError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api.get_metadata_opt(name).await;
    let found = found.map_err(|error| ApiError::new(format!("get namespace {name}"), error))?;
    let owner = found.and_then(|found| found.metadata.labels?.remove(OWNER));
    if owner.as_deref() != Some(holder) {
        return Ok(false);
    }
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(true),
        // Gone, or going already.
        Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(true),
        Err(error) => Err(ApiError::new(format!("delete namespace {name}"), error)),
    }
}

async fn namespace_gone(client: &kube::Client, name: &str) -> Result<(), ApiError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let deadline = Instant::now() + GONE;
    loop {
        let failed = |error| ApiError::new(format!("get namespace {name}"), error);
        let found = patiently(deadline, || async {
            api.get_opt(name).await.map_err(failed)
        })
        .await?;
        let Some(found) = found else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            let conditions = found.status.and_then(|status| status.conditions);
            let why: Vec<String> = conditions
                .into_iter()
                .flatten()
                .filter(|one| one.status == "True")
                .filter_map(|one| one.message)
                .collect();
            log::warn!("namespace {name} is still going: {}", why.join("; "));
            return Ok(());
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// Objects without a namespace that a selector matches. What may not be listed was not made by us.
async fn cluster_objects(
    client: &kube::Client,
    selector: &str,
) -> Vec<(ApiResource, DynamicObject)> {
    let mut found = Vec::new();
    for (group, version, kind) in CLUSTER_KINDS {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        match api.list(&ListParams::default().labels(selector)).await {
            Ok(listed) => found.extend(listed.items.into_iter().map(|one| (resource.clone(), one))),
            Err(error) => log::debug!("cannot list {kind}: {error}"),
        }
    }
    found
}
