//! Server-side apply, and deletion of what was applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::discovery::Scope;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta};

use super::Cluster;
use super::client::{ApiError, code, is_transient};
use super::kind;
use super::object::{FIELD_MANAGER, describe, owner_in};
use super::wait::{self, State, WaitError};

/// How long what is deleted may take to go.
const GONE: Duration = Duration::from_secs(60);

/// Why an object can't be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused it.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A kind that the cluster does not know.
    #[error(
        "{object} is of a kind that this cluster does not serve ({api_version}); install the operator or CRD that brings it, or take the object out of the manifests"
    )]
    UnknownKind {
        /// The object.
        object: String,
        /// Its API version.
        api_version: String,
    },
    /// Something of that name that we did not make.
    #[error(
        "{object} exists and is not flora-bench's; it is left alone, so remove it or give the scenario's object another name"
    )]
    Foreign {
        /// The object.
        object: String,
    },
}

/// What the cluster serves, of the kinds that were asked for.
#[derive(Clone, Default)]
pub struct Kinds(Arc<Mutex<BTreeMap<(String, String), Addressed>>>);

/// How a kind is addressed, and whether its objects are in namespaces.
type Addressed = (ApiResource, bool);

impl Kinds {
    /// How a kind is called in requests, and whether its objects have namespaces.
    async fn of(
        &self,
        client: &kube::Client,
        object: &DynamicObject,
    ) -> Result<Addressed, ApplyError> {
        let types = object.types.clone().unwrap_or_default();
        let key = (types.api_version.clone(), types.kind.clone());
        let known = |kinds: &Self| {
            let kinds = kinds.0.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.get(&key).cloned()
        };
        if let Some(known) = known(self).or_else(|| built_in(&types)) {
            return Ok(known);
        }
        let unknown = || ApplyError::UnknownKind {
            object: describe(object),
            api_version: types.api_version.clone(),
        };
        match kube::discovery::pinned_kind(client, &gvk(&types)).await {
            Ok((resource, capabilities)) => {
                let found = (resource, capabilities.scope == Scope::Namespaced);
                let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                kinds.insert(key, found.clone());
                Ok(found)
            }
            Err(kube::Error::Discovery(_)) => Err(unknown()),
            Err(error) if code(&error) == Some(404) => Err(unknown()),
            Err(error) => {
                let action = format!("look up the kind {}", types.kind);
                Err(ApiError::new(action, error).into())
            }
        }
    }
}

/// A kind that need not be asked for.
fn built_in(types: &TypeMeta) -> Option<Addressed> {
    let kind = kind::always_served(&types.api_version, &types.kind)?;
    Some((kind.resource(), kind.scope == kind::Scope::Namespace))
}

fn gvk(types: &TypeMeta) -> GroupVersionKind {
    let (group, version) = match types.api_version.split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", types.api_version.as_str()),
    };
    GroupVersionKind::gvk(group, version, &types.kind)
}

/// The API of an object's kind, in its own namespace where it has one.
///
/// # Errors
/// When the cluster does not serve the kind.
pub async fn api(
    cluster: &Cluster,
    object: &DynamicObject,
) -> Result<Api<DynamicObject>, ApplyError> {
    Ok(addressed(cluster, object).await?.0)
}

/// The same, and whether the kind's objects have namespaces.
async fn addressed(
    cluster: &Cluster,
    object: &DynamicObject,
) -> Result<(Api<DynamicObject>, bool), ApplyError> {
    let (resource, namespaced) = cluster.kinds.of(&cluster.client, object).await?;
    let client = cluster.client.clone();
    let api = match (&object.metadata.namespace, namespaced) {
        (Some(namespace), true) => Api::namespaced_with(client, namespace, &resource),
        (None, true) => Api::namespaced_with(client, &cluster.run.namespace, &resource),
        (_, false) => Api::all_with(client, &resource),
    };
    Ok((api, namespaced))
}

/// Applies an object; what it was before, if it was ours, changes to that.
///
/// # Errors
/// When the API server refuses it, does not know its kind, or has one of its
/// name outside of our namespaces that is not ours.
pub async fn apply(cluster: &Cluster, object: &DynamicObject) -> Result<DynamicObject, ApplyError> {
    let (api, namespaced) = addressed(cluster, object).await?;
    let name = object.metadata.name.clone().unwrap_or_default();
    let mut object = object.clone();
    if !namespaced {
        object.metadata.namespace = None;
        let standing = owner_of(&api, &object).await?;
        if standing.is_some_and(|owner| owner != cluster.run.owner) {
            return Err(ApplyError::Foreign {
                object: describe(&object),
            });
        }
    }
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
    Ok(applied.map_err(|error| ApiError::new(format!("apply {}", describe(&object)), error))?)
}

/// Who made what stands under an object's name: nothing stands there, or it is
/// an owner's, with an empty name where it is none of ours.
async fn owner_of(
    api: &Api<DynamicObject>,
    object: &DynamicObject,
) -> Result<Option<String>, ApiError> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let standing = api.get_metadata_opt(name).await;
    let standing =
        standing.map_err(|error| ApiError::new(format!("get {}", describe(object)), error))?;
    Ok(standing.map(|standing| owner_in(standing.metadata.labels)))
}

/// Deletes an object; one that is gone already is no error, nor is one that is not ours. In a
/// namespace of ours everything is; elsewhere a name may be somebody else's, whether or not we
/// came to look at it before.
///
/// # Errors
/// When the API server refuses it.
pub async fn delete(cluster: &Cluster, object: &DynamicObject) -> Result<(), ApplyError> {
    let (api, namespaced) = match addressed(cluster, object).await {
        Ok(addressed) => addressed,
        // Its kind went with its CRD, and it with its kind.
        Err(ApplyError::UnknownKind { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    if !namespaced && owner_of(&api, object).await?.as_ref() != Some(&cluster.run.owner) {
        return Ok(());
    }
    let name = object.metadata.name.clone().unwrap_or_default();
    match api.delete(&name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(error) if code(&error) == Some(404) => Ok(()),
        Err(error) => Err(ApiError::new(format!("delete {}", describe(object)), error).into()),
    }
}

/// Deletes objects, the last first, for as long as an API server may be away; then
/// waits until the pods that a selector matches are gone from their namespaces.
///
/// # Errors
/// With the first object that could not be deleted, after the others were.
pub async fn delete_all(
    cluster: &Cluster,
    objects: &[DynamicObject],
    pods: &str,
) -> Result<(), ApplyError> {
    let deadline = tokio::time::Instant::now() + GONE;
    let mut first = None;
    for object in objects.iter().rev() {
        loop {
            match delete(cluster, object).await {
                Ok(()) => break,
                Err(ApplyError::Api(error))
                    if is_transient(&error.source) && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => {
                    first.get_or_insert(error);
                    break;
                }
            }
        }
    }
    let namespaces = objects
        .iter()
        .filter_map(|one| one.metadata.namespace.as_ref());
    for namespace in namespaces.collect::<BTreeSet<_>>() {
        if let Err(error) = pods_gone(cluster, namespace, pods).await {
            log::warn!("{error}");
        }
    }
    first.map_or(Ok(()), Err)
}

/// Waits until no pod is left that a selector matches.
///
/// # Errors
/// When some are still there after a minute.
async fn pods_gone(cluster: &Cluster, namespace: &str, selector: &str) -> Result<(), WaitError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let params = ListParams::default().labels(selector);
    wait::until("the end of a trial's pods", GONE, || async {
        let left = pods.list_metadata(&params).await;
        let left = left
            .map_err(|error| ApiError::new(format!("list pods in namespace {namespace}"), error))?;
        let names: Vec<String> = left
            .items
            .into_iter()
            .filter_map(|pod| pod.metadata.name)
            .collect();
        Ok(match names.as_slice() {
            [] => State::Ready,
            names => State::NotYet(format!("{} still there", names.join(", "))),
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kubernetes::mock::{self, Asked};
    use crate::backend::kubernetes::object::{OWNER, object};
    use serde_json::{Value, json};

    fn class(labels: Value) -> DynamicObject {
        object(json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": "high", "labels": labels},
        }))
    }

    /// Methods that were asked for when a class that has these labels is deleted.
    async fn deleted(labels: Value) -> Vec<String> {
        let standing = serde_json::to_string(&class(labels)).unwrap();
        let (cluster, log) = mock::cluster(move |_: &Asked, _| (200, standing.clone())).await;
        let ours = class(json!({OWNER: cluster.run.owner}));
        delete(&cluster, &ours).await.unwrap();
        let asked = log.lock().unwrap();
        let methods = asked.iter().filter_map(|one| one.what.split(' ').next());
        methods.map(str::to_owned).collect()
    }

    /// A run may end between noting an object down and finding out that it is somebody else's.
    #[tokio::test]
    async fn what_has_no_namespace_is_deleted_by_its_owner_only() {
        let own = mock::run().owner;
        assert_eq!(deleted(json!({OWNER: own})).await, ["GET", "DELETE"]);
        assert_eq!(deleted(json!({OWNER: "elsewhere-1-2"})).await, ["GET"]);
        assert_eq!(deleted(json!({})).await, ["GET"]);
    }

    #[tokio::test]
    async fn what_is_somebody_elses_is_not_applied() {
        let standing = serde_json::to_string(&class(json!({}))).unwrap();
        let (cluster, log) = mock::cluster(move |_: &Asked, _| (200, standing.clone())).await;
        let ours = class(json!({OWNER: cluster.run.owner}));
        let error = apply(&cluster, &ours).await.unwrap_err();
        assert!(matches!(error, ApplyError::Foreign { .. }), "{error}");
        assert_eq!(log.lock().unwrap().len(), 1);
    }
}
