//! Leases keep two runs off the same nodes: one for each node that is taken,
//! renewed while the run lives. A run that has nodes made holds one of its own
//! before there is anything else of it.

use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, PostParams};

use super::client::{ApiError, code};
use super::object::OWNER;
use super::owner;

/// The namespace of the leases: one that every cluster has, since the run's own goes with the run.
pub const NAMESPACE: &str = "default";
/// How long a lease holds that nobody renews. Longer than an API server is away for a restart.
const SECONDS: i32 = 60;
/// Time between two renewals.
const RENEWAL: Duration = Duration::from_secs(15);
/// What is in front of the node in the name of a node's lease.
const OF_NODE: &str = "flora-bench-";

/// What became of the wish to take a lease.
#[derive(Debug, Eq, PartialEq)]
pub enum Claim {
    /// It is ours.
    Taken,
    /// Somebody else has it: who.
    Held(String),
}

/// What became of the wish to keep one.
#[derive(Debug, Eq, PartialEq)]
enum Renewal {
    /// It holds again.
    Renewed,
    /// Somebody changed it at the same moment; the next look says what it is now.
    Unknown,
    /// It is no more ours: what it is instead.
    Lost(String),
}

/// The name of a node's lease.
pub fn of_node(node: &str) -> String {
    format!("{OF_NODE}{node}")
}

/// The name of the lease of a run itself. No node's is called so, for want of the hyphen.
pub fn of_run(owner: &str) -> String {
    format!("flora-bench.{owner}")
}

/// The node that a lease is about; none for that of a run itself.
pub fn node(lease: &Lease) -> Option<&str> {
    lease.metadata.name.as_deref()?.strip_prefix(OF_NODE)
}

fn api(client: &kube::Client) -> Api<Lease> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Takes the lease of that name for an owner, from a run that has ended too.
///
/// # Errors
/// When the API server refuses it.
pub async fn claim(client: &kube::Client, name: &str, owner: &str) -> Result<Claim, ApiError> {
    let failed = |error| ApiError::new(format!("take the lease {NAMESPACE}/{name}"), error);
    let mut lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
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
    let Some(standing) = api(client).get_opt(name).await.map_err(failed)? else {
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
        .replace(name, &PostParams::default(), &lease)
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

/// Gives up the lease of that name where an owner holds it, and says whether one did; what is
/// not there, or somebody else's, is left alone.
///
/// # Errors
/// When the API server refuses it.
pub async fn release(client: &kube::Client, name: &str, owner: &str) -> Result<bool, ApiError> {
    let standing = api(client).get_opt(name).await;
    let standing = standing
        .map_err(|error| ApiError::new(format!("get the lease {NAMESPACE}/{name}"), error))?;
    if standing.is_none_or(|lease| holder(&lease) != owner) {
        return Ok(false);
    }
    match api(client).delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(true),
        Err(error) if code(&error) == Some(404) => Ok(true),
        Err(error) => Err(ApiError::new(
            format!("delete the lease {NAMESPACE}/{name}"),
            error,
        )),
    }
}

/// Renews the leases of these names for as long as it is not aborted; ends when one of them is no
/// more the owner's, and says what it is then.
pub async fn keep(client: kube::Client, names: Vec<String>, owner: String) -> String {
    loop {
        tokio::time::sleep(RENEWAL).await;
        // Together, so that an answer that does not come costs no other lease its time.
        let renewed = names.clone().into_iter().map(|name| {
            let (client, owner) = (client.clone(), owner.clone());
            async move {
                let renewal = renew(&client, &name, &owner).await;
                (name, renewal)
            }
        });
        for (name, renewal) in join_all(renewed).await {
            match renewal {
                Ok(Renewal::Renewed) => {}
                Ok(Renewal::Unknown) => log::debug!("the lease {NAMESPACE}/{name} was changed"),
                Ok(Renewal::Lost(now)) => return format!("the lease {NAMESPACE}/{name} {now}"),
                Err(error) => log::debug!("{error}"),
            }
        }
    }
}

/// Renews a lease that is the owner's still. One that ran out is the first one's who takes it,
/// and a run that slept must not take it back.
async fn renew(client: &kube::Client, name: &str, owner: &str) -> Result<Renewal, ApiError> {
    let failed = |error| ApiError::new(format!("renew the lease {NAMESPACE}/{name}"), error);
    let Some(mut lease) = api(client).get_opt(name).await.map_err(failed)? else {
        return Ok(Renewal::Lost("is gone".into()));
    };
    let holder = holder(&lease);
    if holder != owner {
        return Ok(Renewal::Lost(format!("is held by the run of {holder}")));
    }
    let spec = lease.spec.get_or_insert_default();
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    // With the version that was looked at: whoever took it in between has it.
    match api(client)
        .replace(name, &PostParams::default(), &lease)
        .await
    {
        Ok(_) => Ok(Renewal::Renewed),
        Err(error) if code(&error) == Some(409) => Ok(Renewal::Unknown),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kubernetes::mock;
    use serde_json::json;

    #[test]
    fn a_run_is_no_node() {
        let named = |name: String| Lease {
            metadata: ObjectMeta {
                name: Some(name),
                ..ObjectMeta::default()
            },
            ..Lease::default()
        };
        assert_eq!(node(&named(of_node("n1"))), Some("n1"));
        assert_eq!(node(&named(of_run("host-0a1b2c3d-1-2"))), None);
    }

    /// What the lease is when it is to be renewed, and what comes of it.
    async fn renewed(holder: Option<&'static str>, answer: u16) -> (Renewal, Vec<mock::Asked>) {
        let (cluster, log) = mock::cluster(move |asked: &mock::Asked, _| {
            let Some(holder) = holder else {
                return mock::refusal(404, "NotFound", "it is not there");
            };
            if asked.what.starts_with("PUT") && answer != 200 {
                return mock::refusal(answer, "Conflict", "it was changed");
            }
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": "flora-bench-n1", "resourceVersion": "7"},
                "spec": {"holderIdentity": holder, "leaseDurationSeconds": 60},
            });
            (200, lease.to_string())
        })
        .await;
        let renewal = renew(&cluster.client, "flora-bench-n1", "host-1-2").await;
        let asked = log.lock().unwrap().clone();
        (renewal.unwrap(), asked)
    }

    #[tokio::test]
    async fn only_what_is_ours_still_is_renewed() {
        let (renewal, asked) = renewed(Some("host-1-2"), 200).await;
        assert_eq!(renewal, Renewal::Renewed);
        assert!(asked[1].what.starts_with("PUT"), "{asked:?}");
        assert_eq!(asked[1].body["metadata"]["resourceVersion"], "7");
        assert!(asked[1].body["spec"]["renewTime"].is_string(), "{asked:?}");
        let (renewal, asked) = renewed(Some("elsewhere-1-2"), 200).await;
        let lost = "is held by the run of elsewhere-1-2";
        assert_eq!(renewal, Renewal::Lost(lost.into()));
        assert_eq!(asked.len(), 1, "it is not taken back: {asked:?}");
        let (renewal, _) = renewed(None, 200).await;
        assert_eq!(renewal, Renewal::Lost("is gone".into()));
        // Of two that write at the same time one wins, and the next look says which.
        assert_eq!(renewed(Some("host-1-2"), 409).await.0, Renewal::Unknown);
    }

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
