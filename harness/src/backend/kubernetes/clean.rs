//! Giving back what a run took of a cluster: its own at its end, and what one
//! left that was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{Api, DeleteParams, ListParams};
use kube::core::DynamicObject;
use tokio::time::{Instant, sleep};

use super::client::{ApiError, code, is_transient};
use super::kind::{self, Kind};
use super::object::{GROUP, OWNER, owner_in};
use super::{groups, lease, owner};
use crate::clean::Cleaned;

/// How long an API server may be away while things are given back.
const AWAY: Duration = Duration::from_secs(60);
/// How long a namespace may take to go.
const GONE: Duration = Duration::from_secs(90);

/// What a run holds that is known by its name; the rest is found by its label.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// Its nodes, each with a lease.
    pub nodes: BTreeSet<String>,
    /// Its namespaces.
    pub namespaces: Vec<String>,
    /// Whether it holds a lease of its own.
    pub own_lease: bool,
}

impl Held {
    /// The names of the leases of what an owner holds.
    pub fn leases(&self, owner: &str) -> Vec<String> {
        let nodes = self.nodes.iter().map(|node| lease::of_node(node));
        let own = self.own_lease.then(|| lease::of_run(owner));
        nodes.chain(own).collect()
    }
}

/// Gives back what runs left that have ended.
///
/// # Errors
/// When the API server does not say what there is.
pub async fn leftovers(client: &kube::Client) -> Result<Cleaned, ApiError> {
    let mut found: BTreeMap<String, Held> = BTreeMap::new();
    for node in marked(client).await? {
        if let Some(holder) = groups::taken_by(&node) {
            let name = node.metadata.name.unwrap_or_default();
            found.entry(holder).or_default().nodes.insert(name);
        }
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let listed = namespaces
        .list_metadata(&ListParams::default().labels(OWNER))
        .await;
    let listed = listed.map_err(|error| ApiError::new("list namespaces", error))?;
    for namespace in listed.items {
        let name = namespace.metadata.name.unwrap_or_default();
        let holder = owner_in(namespace.metadata.labels);
        found.entry(holder).or_default().namespaces.push(name);
    }
    for (_, object) in cluster_objects(client, OWNER).await {
        found.entry(owner_in(object.metadata.labels)).or_default();
    }
    // Last: a run takes a lease before anything else and gives it up behind everything, so that
    // whatever was found of one that lives has its lease by now.
    let leases = lease::list(client).await?;
    let mut alive = BTreeSet::new();
    for one in &leases {
        let holder = lease::holder(one);
        if !lease::is_over(one) {
            alive.insert(holder.clone());
        }
        let held = found.entry(holder).or_default();
        match lease::node(one) {
            Some(node) => {
                held.nodes.insert(node.to_owned());
            }
            None => held.own_lease = true,
        }
    }
    let mut cleaned = Cleaned::default();
    for (holder, held) in found {
        if holder.is_empty() || alive.contains(&holder) || owner::is_alive_here(&holder) {
            continue;
        }
        let one = of(client, &holder, &held).await;
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

/// Gives back what one run took: its objects, then its nodes with their leases, its own lease last.
pub async fn of(client: &kube::Client, holder: &str, held: &Held) -> Cleaned {
    let mut cleaned = Cleaned::default();
    let deadline = Instant::now() + AWAY;
    for namespace in &held.namespaces {
        let what = format!("namespace {namespace}");
        let deleted = patiently(deadline, || delete_namespace(client, namespace, holder)).await;
        note(&mut cleaned, what, deleted);
    }
    for (kind, object) in cluster_objects(client, &format!("{OWNER}={holder}")).await {
        let name = object.metadata.name.clone().unwrap_or_default();
        let what = format!("{} {name}", kind.kind);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind.resource());
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
    let going = held.namespaces.iter().filter(|name| {
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
    for node in &held.nodes {
        let restored = patiently(deadline, || async {
            match groups::restore(client, node, holder).await {
                Ok(()) => Ok(Ok(())),
                Err(groups::GroupError::Api(error)) => Err(error),
                Err(error) => Ok(Err(error.to_string())),
            }
        })
        .await;
        let restored = match restored {
            Ok(Ok(())) => {
                let lease = lease::of_node(node);
                patiently(deadline, || lease::release(client, &lease, holder)).await
            }
            Ok(Err(text)) => {
                cleaned.failed.push(format!("node {node}: {text}"));
                continue;
            }
            Err(error) => Err(error),
        };
        note(
            &mut cleaned,
            format!("label, taint and lease of node {node}"),
            restored.map(|_| true),
        );
    }
    if held.own_lease {
        let lease = lease::of_run(holder);
        let released = patiently(deadline, || lease::release(client, &lease, holder)).await;
        note(
            &mut cleaned,
            format!("lease of the run of {holder}"),
            released,
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
) -> Vec<(&'static Kind, DynamicObject)> {
    let mut found = Vec::new();
    for kind in kind::cluster_scoped() {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind.resource());
        match api.list(&ListParams::default().labels(selector)).await {
            Ok(listed) => found.extend(listed.items.into_iter().map(|one| (kind, one))),
            Err(error) => log::debug!("cannot list {}: {error}", kind.plural),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kubernetes::mock::{self, Asked, list};
    use serde_json::{Value, json};

    const OVER: &str = "elsewhere-00000000-1-2";

    fn object(name: &str) -> Value {
        json!({"metadata": {"name": name, "labels": {OWNER: OVER}}})
    }

    /// A cluster with a StorageClass and a namespace of a run elsewhere, whose lease is this one.
    /// Gives what was removed, and every request that changes something.
    async fn cleaned(lease: Value) -> (Cleaned, Vec<String>) {
        let (cluster, log) = mock::cluster(move |asked: &Asked, _| {
            let (method, path) = asked.what.split_once(' ').unwrap();
            let path = path.split('?').next().unwrap_or_default();
            if method == "DELETE" {
                let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
                return (200, gone.to_string());
            }
            match path {
                "/apis/storage.k8s.io/v1/storageclasses" => (200, list(vec![object("fast")])),
                "/apis/storage.k8s.io/v1/csidrivers" => {
                    mock::refusal(403, "Forbidden", "it may not be listed")
                }
                "/api/v1/namespaces" => (200, list(vec![object("bench")])),
                path if path.ends_with("/leases") => (200, list(vec![lease.clone()])),
                path if path.contains("/leases/flora-bench.") => (200, lease.to_string()),
                path if path.ends_with("s") => (200, list(Vec::new())),
                _ => mock::refusal(404, "NotFound", "it is not there"),
            }
        })
        .await;
        let cleaned = leftovers(&cluster.client).await.unwrap();
        let asked = log.lock().unwrap();
        let changes = asked.iter().map(|one| one.what.clone());
        let changes = changes.filter(|what| !what.starts_with("GET"));
        (cleaned, changes.collect())
    }

    fn lease(renewed: &str) -> Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": lease::of_run(OVER), "labels": {OWNER: OVER}},
            "spec": {"holderIdentity": OVER, "leaseDurationSeconds": 60, "renewTime": renewed},
        })
    }

    #[tokio::test]
    async fn whatever_has_no_namespace_is_found_again() {
        let (cleaned, _) = cleaned(lease("2020-01-01T00:00:00.000000Z")).await;
        assert_eq!(cleaned.failed, [""; 0]);
        let own = format!("lease of the run of {OVER}");
        assert_eq!(cleaned.removed, ["StorageClass fast", own.as_str()]);
    }

    /// One that waits for its nodes to be made has a namespace and none of them yet.
    #[tokio::test]
    async fn a_run_elsewhere_lives_as_long_as_its_lease_holds() {
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        let (cleaned, changes) = cleaned(lease(&now)).await;
        assert_eq!(cleaned.removed, [""; 0]);
        assert_eq!(changes, [""; 0]);
    }
}
