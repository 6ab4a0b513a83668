//! Pods and services, reached through the API server: no Ingress, no port that
//! is forwarded, and no address of the cluster's network is needed.

use hyper::Request;

use super::Cluster;
use super::client::ApiError;

/// What a pod answers to a GET of `path` (with its query) on `port`. Needs `get` on `pods/proxy`.
///
/// # Errors
/// When the pod, or the API server in its place, says no.
pub async fn pod(
    cluster: &Cluster,
    (namespace, name): (&str, &str),
    port: u16,
    path: &str,
) -> Result<String, ApiError> {
    get(
        cluster,
        &format!("namespaces/{namespace}/pods/{name}:{port}"),
        path,
    )
    .await
}

/// The same of a service. Needs `get` on `services/proxy`.
///
/// # Errors
/// As [`pod`].
pub async fn service(
    cluster: &Cluster,
    (namespace, name): (&str, &str),
    port: u16,
    path: &str,
) -> Result<String, ApiError> {
    let what = format!("namespaces/{namespace}/services/{name}:{port}");
    get(cluster, &what, path).await
}

async fn get(cluster: &Cluster, what: &str, path: &str) -> Result<String, ApiError> {
    let uri = format!("/api/v1/{what}/proxy/{}", path.trim_start_matches('/'));
    let failed = |error| ApiError::new(format!("get {path} of {what}"), error);
    let request = Request::get(&uri)
        .body(Vec::new())
        .map_err(|error| failed(kube::Error::HttpError(error)))?;
    cluster.client.request_text(request).await.map_err(failed)
}
