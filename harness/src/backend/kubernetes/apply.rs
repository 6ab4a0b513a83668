//! Server-side apply, and deletion of what was applied.

use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};

use super::Cluster;
use super::client::{ApiError, code};
use super::object::{FIELD_MANAGER, describe};

/// The API of an object's kind, in its own namespace where it has one.
///
/// Right for every kind whose plural follows the rule, as all that the program
/// makes itself do; those of other people's manifests are looked up.
pub fn api(cluster: &Cluster, object: &DynamicObject) -> Api<DynamicObject> {
    let types = object.types.clone().unwrap_or_default();
    let (group, version) = match types.api_version.split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", types.api_version.as_str()),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
    match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    }
}

/// Applies an object; what it was before, if it was ours, changes to that.
///
/// # Errors
/// When the API server refuses it.
pub async fn apply(cluster: &Cluster, object: &DynamicObject) -> Result<DynamicObject, ApiError> {
    let name = object.metadata.name.clone().unwrap_or_default();
    api(cluster, object)
        .patch(
            &name,
            &PatchParams::apply(FIELD_MANAGER),
            &Patch::Apply(object),
        )
        .await
        .map_err(|error| ApiError::new(format!("apply {}", describe(object)), error))
}

/// Deletes an object; one that is gone already is no error.
///
/// # Errors
/// When the API server refuses it.
pub async fn delete(cluster: &Cluster, object: &DynamicObject) -> Result<(), ApiError> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let params = DeleteParams::background();
    match api(cluster, object).delete(&name, &params).await {
        Ok(_) => Ok(()),
        Err(error) if code(&error) == Some(404) => Ok(()),
        Err(error) => Err(ApiError::new(format!("delete {}", describe(object)), error)),
    }
}
