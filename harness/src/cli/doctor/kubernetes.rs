//! What a cluster offers, and what the kubeconfig's user may do there.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};

use super::Finding;
use crate::backend::TrialError;
use crate::backend::kubernetes::apply::Kinds;
use crate::backend::kubernetes::client::{self, ApiError, Connection};
use crate::backend::kubernetes::groups::{self, Candidate, GroupError};
use crate::backend::kubernetes::load::{self, Starter};
use crate::backend::kubernetes::object::Run;
use crate::backend::kubernetes::provisioner::Provisioner;
use crate::backend::kubernetes::rights::{self, KARPENTER, NEEDED, OPERATOR, Right};
use crate::backend::kubernetes::{Cluster, ClusterError, owner, wait};
use crate::cli::cluster::Options;
use crate::cli::exit::Failure;
use crate::clock::RunClock;

/// The k6 operator that is meant: its manifests at one version.
const OPERATOR_BUNDLE: &str =
    "https://raw.githubusercontent.com/grafana/k6-operator/v1.6.0/bundle.yaml";
/// Nodes that load, monitoring and one arm at a time have to themselves.
const NODES: usize = 3;

/// Everything, one line each.
///
/// # Errors
/// When there is no connection.
pub async fn findings(options: &Options) -> Result<Vec<Finding>, Failure> {
    let found = look(options).await;
    Ok(found.map_err(TrialError::from)?)
}

async fn look(options: &Options) -> Result<Vec<Finding>, ClusterError> {
    let Connection {
        client,
        url,
        version,
        ..
    } = client::connect(&(&options.access).into()).await?;
    let mut findings = vec![Finding {
        name: "Kubernetes",
        ok: true,
        detail: format!("{version} at {url}"),
        mend: None,
    }];
    let cluster = Cluster {
        client: client.clone(),
        run: Run {
            namespace: "default".into(),
            owner: owner::current(),
        },
        images: options.images(),
        kinds: Kinds::default(),
        clock: RunClock::start(),
    };
    let nodes = groups::nodes(&client, options.node_selector.as_deref()).await;
    findings.extend(node_findings(nodes));
    for right in NEEDED {
        findings.push(right_finding(&client, right, None).await?);
    }
    findings.push(operator(&cluster).await);
    for right in OPERATOR {
        let needless = Some("not needed with --load k6-job");
        findings.push(right_finding(&client, right, needless).await?);
    }
    let unasked = (options.provisioner() == Provisioner::Existing)
        .then_some("not needed without --provisioner karpenter");
    for right in KARPENTER {
        findings.push(right_finding(&client, right, unasked).await?);
    }
    findings.extend(pulls(&client).await);
    Ok(findings)
}

fn node_findings(nodes: Result<Vec<Node>, GroupError>) -> Vec<Finding> {
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(error) => {
            return vec![Finding {
                name: "nodes",
                ok: false,
                detail: error.to_string(),
                mend: None,
            }];
        }
    };
    let candidates: Vec<Candidate> = nodes.iter().map(Candidate::of).collect();
    let refused: Vec<&str> = candidates
        .iter()
        .filter_map(|candidate| candidate.refusal.as_deref())
        .collect();
    let free = candidates.len() - refused.len();
    let but = match refused.as_slice() {
        [] => String::new(),
        refused => format!("; {}", refused.join("; ")),
    };
    let mut findings = vec![Finding {
        name: "nodes",
        ok: free >= NODES,
        detail: format!("{free} of {} are free{but}", candidates.len()),
        mend: (free < NODES).then(|| {
            format!("have {NODES}: one for arms, one for load, one for monitoring; with 2, monitoring is beside the load")
        }),
    }];
    for node in nodes {
        let name = node.metadata.name.clone().unwrap_or_default();
        let taken = groups::taken_by(&node);
        let status = node.status.unwrap_or_default();
        let info = status.node_info.unwrap_or_default();
        let capacity = status.allocatable.unwrap_or_default();
        let quantity = |name: &str| {
            capacity
                .get(name)
                .map_or("?", |quantity| quantity.0.as_str())
        };
        findings.push(Finding {
            name: "node",
            ok: true,
            detail: format!(
                "{name}: {} CPUs, {}, kernel {}, kubelet {}, {}{}",
                quantity("cpu"),
                quantity("memory"),
                info.kernel_version,
                info.kubelet_version,
                info.container_runtime_version,
                match taken {
                    Some(owner) => format!("; taken by {owner}"),
                    None => String::new(),
                }
            ),
            mend: None,
        });
    }
    findings
}

/// What is missing of a right, and how to have it or why nobody needs it here.
async fn right_finding(
    client: &kube::Client,
    right: &Right,
    needless: Option<&str>,
) -> Result<Finding, ApiError> {
    let missing = rights::missing(client, right).await?;
    let ok = missing.is_empty();
    let purpose = right.purpose;
    Ok(Finding {
        name: "right",
        ok,
        detail: match ok {
            true => format!("{} {right} ({purpose})", right.verbs.join(", ")),
            false => format!("{} {right}, for {purpose}", missing.join(", ")),
        },
        mend: (!ok).then(|| match needless {
            Some(why) => why.to_owned(),
            None => "kubectl apply -f deploy/rbac.yaml, and bind its roles to this user, as its first lines say".into(),
        }),
    })
}

async fn operator(cluster: &Cluster) -> Finding {
    let found = load::starter(cluster).await;
    let served = matches!(found, Ok(Starter::Operator));
    Finding {
        name: "k6 operator",
        ok: served,
        detail: match &found {
            Ok(Starter::Operator) => "its kind TestRun is served".into(),
            Ok(Starter::Job) => "not installed; k6 runs as a plain Job instead".into(),
            Err(error) => error.to_string(),
        },
        mend: (!served).then(|| format!("kubectl apply --server-side -f {OPERATOR_BUNDLE}")),
    }
}

/// Pods whose image can't be pulled: what is wrong with the nodes' way to a
/// registry shows in them before it shows in a run.
async fn pulls(client: &kube::Client) -> Vec<Finding> {
    let pods: Api<Pod> = Api::all(client.clone());
    let pending = ListParams::default().fields("status.phase=Pending");
    let (ok, detail) = match pods.list(&pending).await {
        Ok(listed) => {
            let troubles: Vec<String> = listed
                .items
                .iter()
                .filter_map(|pod| wait::trouble(pod, std::time::Duration::ZERO))
                .map(|(trouble, _)| trouble.text)
                .filter(|text| text.contains("can't be pulled"))
                .collect();
            match troubles.as_slice() {
                [] => (true, "no pod waits for an image".to_owned()),
                troubles => (false, troubles.join("; ")),
            }
        }
        Err(error) => (false, format!("unknown: {}", client::reason(&error))),
    };
    vec![Finding {
        name: "images",
        ok,
        detail,
        mend: None,
    }]
}
