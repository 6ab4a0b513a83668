//! Leases keep two runs off the same nodes: one for each node that is taken,
//! renewed while the run lives.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::client::{ApiError, code};
use super::object::{FIELD_MANAGER, OWNER};
use super::owner;

/// The namespace of the leases: one that every cluster has, since the run's own goes with the run.
pub const NAMESPACE: &str = "default";
/// How long a lease holds that nobody renews. Longer than an API server is away for a restart.
const SECONDS: i32 = 60;
/// Time between two renewals.
const RENEWAL: Duration = Duration::from_secs(15);

/// What became of the wish to take a node.
#[derive(Debug, Eq, PartialEq)]
pub enum Claim {
    /// It is ours.
    Taken,
    /// Somebody else has it: who.
    Held(String),
}

/// The name of a node's lease.
pub fn name(node: &str) -> String {
    format!("flora-bench-{node}")
}

fn api(client: &kube::Client) -> Api<Lease> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Takes a node for an owner, from a run that has ended too.
///
/// # Errors
/// When the API server refuses it.
pub async fn claim(client: &kube::Client, node: &str, owner: &str) -> Result<Claim, ApiError> {
    let name = name(node);
    let failed = |error| ApiError::new(format!("take the lease {NAMESPACE}/{name}"), error);
    let mut lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some([(OWNER.to_owned(), owner.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(owner.to_owned()),
            lease_duration_seconds: Some(SECONDS),
            acquire_time: Some(MicroTime(Timestamp::now())),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    };
    match api(client).create(&PostParams::default(), &lease).await {
        Ok(_) => return Ok(Claim::Taken),
        Err(error) if code(&error) == Some(409) => {}
        Err(error) => return Err(failed(error)),
    }
    let Some(standing) = api(client).get_opt(&name).await.map_err(failed)? else {
        // Given back a moment ago: whoever comes next has it.
        return Ok(Claim::Held("a run that just ended".into()));
    };
    let holder = holder(&standing);
    if holder != owner && !is_over(&standing) {
        return Ok(Claim::Held(holder));
    }
    // Only what was looked at is replaced: of two that find it free, one wins.
    lease.metadata.resource_version = standing.metadata.resource_version;
    match api(client)
        .replace(&name, &PostParams::default(), &lease)
        .await
    {
        Ok(_) => Ok(Claim::Taken),
        Err(error) if code(&error) == Some(409) => Ok(Claim::Held("another run".into())),
        Err(error) => Err(failed(error)),
    }
}

/// Who holds a lease.
pub fn holder(lease: &Lease) -> String {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.clone())
        .unwrap_or_default()
}

/// Whether the run that a lease is of has ended, as far as one can know.
pub fn is_over(lease: &Lease) -> bool {
    let holder = holder(lease);
    if owner::is_alive_here(&holder) {
        return false;
    }
    owner::is_dead(&holder) || has_run_out(lease, Timestamp::now())
}

fn has_run_out(lease: &Lease, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else {
        return true;
    };
    let renewed = spec.renew_time.as_ref().map(|time| time.0);
    let lasts = i64::from(spec.lease_duration_seconds.unwrap_or(SECONDS));
    renewed.is_none_or(|renewed| now.as_second() - renewed.as_second() > lasts)
}

/// Every lease of any run.
///
/// # Errors
/// When the API server refuses it.
pub async fn list(client: &kube::Client) -> Result<Vec<Lease>, ApiError> {
    let listed = api(client).list(&ListParams::default().labels(OWNER)).await;
    let listed = listed.map_err(|error| {
        ApiError::new(format!("list leases in the namespace {NAMESPACE}"), error)
    })?;
    Ok(listed.items)
}

/// Gives a node back that an owner holds; what is not there, or somebody else's, is left alone.
///
/// # Errors
/// When the API server refuses it.
pub async fn release(client: &kube::Client, node: &str, owner: &str) -> Result<(), ApiError> {
    let name = name(node);
    let standing = api(client).get_opt(&name).await;
    let standing = standing
        .map_err(|error| ApiError::new(format!("get the lease {NAMESPACE}/{name}"), error))?;
    if standing.is_none_or(|lease| holder(&lease) != owner) {
        return Ok(());
    }
    match api(client).delete(&name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(error) if code(&error) == Some(404) => Ok(()),
        Err(error) => Err(ApiError::new(
            format!("delete the lease {NAMESPACE}/{name}"),
            error,
        )),
    }
}

/// Renews the leases of these nodes for as long as it is not aborted.
pub async fn keep(client: kube::Client, nodes: Vec<String>, owner: String) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        for node in &nodes {
            let renewed = json!({"spec": {"holderIdentity": owner, "renewTime": MicroTime(Timestamp::now())}});
            let patch = Patch::Merge(&renewed);
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            if let Err(error) = api(&client).patch(&name(node), &params, &patch).await {
                log::debug!("cannot renew the lease of node {node}: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_nobody_renews_runs_out() {
        let now = Timestamp::from_second(1_000).unwrap();
        let lease = |renewed: i64, holder: &str| Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(60),
                renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        assert!(!has_run_out(&lease(945, "elsewhere-1-1"), now));
        assert!(has_run_out(&lease(900, "elsewhere-1-1"), now));
        // Of its own host it is known at once whether a process lives.
        assert!(!is_over(&lease(0, &owner::current())));
    }
}
