//! Node groups: nodes that are kept free for one arm, for load, or for monitoring.
//!
//! # Layout
//! - [`Group`]: nodes that belong together, and how pods get there
//! - [`arrange`]: which nodes do what, without a cluster
//! - [`take`], [`assign`], [`restore`]: labels and taints, put there and taken away

use std::cell::RefCell;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::{ApiError, code};
use super::object::{BEFORE, FIELD_MANAGER, GROUP};

/// The group that sends the load.
pub const LOAD: &str = "load";
/// The group of VictoriaMetrics, and of the intake that agents send to.
pub const MONITORING: &str = "monitoring";
/// What a node of the arms' is kept free for while no arm is on it.
pub const NOBODY: &str = "none";
/// How often a change of a node is tried that somebody else changes at the same time.
const TRIES: u32 = 5;

/// Nodes that belong together, and what they are kept free for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// The arm, [`LOAD`] or [`MONITORING`]: the value of the label and of the taint.
    pub name: String,
    /// The nodes.
    pub nodes: Vec<String>,
}

impl Group {
    /// A group of that name, for plans that know no nodes yet.
    pub fn named(name: &str) -> Self {
        Group {
            name: name.to_owned(),
            nodes: Vec::new(),
        }
    }

    /// `nodeSelector` of a pod that belongs there.
    pub fn node_selector(&self) -> Value {
        json!({ GROUP: self.name })
    }

    /// `tolerations` of a pod that belongs there.
    pub fn tolerations(&self) -> Value {
        json!([{"key": GROUP, "operator": "Equal", "value": self.name, "effect": "NoSchedule"}])
    }
}

/// Nodes can't be had.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The API server refused something.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A selector that no node has.
    #[error(
        "no node matches --node-selector {selector}; `kubectl get nodes --show-labels` shows what there is"
    )]
    NoMatch {
        /// The selector.
        selector: String,
    },
    /// Not enough of them.
    #[error("{free} of {all} nodes are free, and at least {needed} are needed: {} for arms, 1 for the load (monitoring shares it){}", needed - 1, refused(refusals))]
    TooFew {
        /// Nodes that can be taken.
        free: usize,
        /// Nodes that were looked at.
        all: usize,
        /// How many it takes at least.
        needed: usize,
        /// Why the others can't.
        refusals: Vec<String>,
    },
    /// A node that somebody else has taken meanwhile.
    #[error(
        "node {node} is {} now, as this run's lease of it had run out; measure anew",
        held_by(holder)
    )]
    Lost {
        /// The node.
        node: String,
        /// Who has it; empty where nobody has.
        holder: String,
    },
    /// A change of a node went wrong again and again.
    #[error(
        "node {node} is changed by somebody else all the time; its label and taint {GROUP} could not be written"
    )]
    Contended {
        /// The node.
        node: String,
    },
}

fn held_by(holder: &str) -> String {
    match holder {
        "" => "nobody's".to_owned(),
        holder => format!("held by the run of {holder}"),
    }
}

fn refused(refusals: &[String]) -> String {
    if refusals.is_empty() {
        return String::new();
    }
    format!("; {}", refusals.join("; "))
}

/// What is known of a node before it is taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Whether the cluster's own components run there, which the arms are to be spared.
    pub is_control_plane: bool,
    /// Why it can't be taken; none for a free one.
    pub refusal: Option<String>,
}

impl Candidate {
    /// Looks at a node.
    pub fn of(node: &Node) -> Self {
        let name = node.metadata.name.clone().unwrap_or_default();
        let spec = node.spec.clone().unwrap_or_default();
        let conditions = node.status.clone().unwrap_or_default().conditions;
        let ready = conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let foreign = spec.taints.iter().flatten().find(|taint| {
            taint.key != GROUP && ["NoSchedule", "NoExecute"].contains(&taint.effect.as_str())
        });
        let refusal = if !ready {
            Some(format!("{name} is not ready"))
        } else if spec.unschedulable == Some(true) {
            Some(format!(
                "{name} is cordoned; `kubectl uncordon {name}` gives it back"
            ))
        } else {
            foreign.map(|taint| {
                format!(
                    "{name} has the taint {} of somebody else, which is left alone",
                    described(taint)
                )
            })
        };
        let labels = node.metadata.labels.as_ref();
        let is_control_plane = labels
            .is_some_and(|labels| labels.contains_key("node-role.kubernetes.io/control-plane"));
        Candidate {
            name,
            is_control_plane,
            refusal,
        }
    }
}

fn described(taint: &Taint) -> String {
    let value = taint.value.as_deref().unwrap_or_default();
    let equals = if value.is_empty() { "" } else { "=" };
    format!("{}{equals}{value}:{}", taint.key, taint.effect)
}

/// Which nodes do what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Arrangement {
    /// Nodes of the arms: one arm is on one of them at a time.
    pub lanes: Vec<String>,
    /// The node that sends the load.
    pub load: String,
    /// The node of VictoriaMetrics and the intake; the load's where there is no third.
    pub monitoring: String,
    /// What is done without, for the report.
    pub limitations: Vec<String>,
}

impl Arrangement {
    /// Every node that is taken, each once.
    pub fn nodes(&self) -> Vec<String> {
        let mut nodes = self.lanes.clone();
        nodes.push(self.load.clone());
        if self.monitoring != self.load {
            nodes.push(self.monitoring.clone());
        }
        nodes
    }
}

/// Fewest nodes that a run can be made with.
const NODES_MIN: usize = 2;

/// Deals out free nodes, in the order of their names: load and monitoring get one each, arms the rest,
/// as far as there are arms. A node of the control plane, where it takes pods at all, is monitoring's.
///
/// # Errors
/// With the arithmetic, when there are too few.
pub fn arrange(
    candidates: &[Candidate],
    arms: usize,
    parallel: usize,
) -> Result<Arrangement, GroupError> {
    let mut free: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| candidate.refusal.is_none())
        .collect();
    free.sort_by_key(|candidate| (candidate.is_control_plane, &candidate.name));
    let mut free: Vec<String> = free.into_iter().map(|one| one.name.clone()).collect();
    // Arms that run at the same time need a node each; others use more only to even nodes out.
    let needed = NODES_MIN.max(parallel + 1);
    if free.len() < needed {
        return Err(GroupError::TooFew {
            free: free.len(),
            all: candidates.len(),
            needed,
            refusals: candidates
                .iter()
                .filter_map(|candidate| candidate.refusal.clone())
                .collect(),
        });
    }
    let mut limitations = Vec::new();
    let shared = free.len() < parallel + 2;
    let mut last = || free.pop().expect("there are enough nodes");
    let monitoring = last();
    let load = if shared { monitoring.clone() } else { last() };
    free.truncate(arms.max(1));
    if shared {
        limitations.push(format!(
            "There was no node for monitoring alone: it ran on {load} beside the load driver."
        ));
    }
    if free.len() < arms {
        limitations.push(format!(
            "{arms} arms shared {} {}, one after another.",
            free.len(),
            if free.len() == 1 { "node" } else { "nodes" },
        ));
    }
    Ok(Arrangement {
        lanes: free,
        load,
        monitoring,
        limitations,
    })
}

/// What a node was like before a run took it; kept on the node itself.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    /// Who took it.
    owner: String,
    /// The value of our label, where it had one.
    label: Option<String>,
    /// The values and effects of our taint, where it had any.
    taints: Vec<(Option<String>, String)>,
}

fn api(client: &kube::Client) -> Api<Node> {
    Api::all(client.clone())
}

/// Every node that a selector matches.
///
/// # Errors
/// When the API server refuses it, or there is none.
pub async fn nodes(client: &kube::Client, selector: Option<&str>) -> Result<Vec<Node>, GroupError> {
    let params = match selector {
        Some(selector) => ListParams::default().labels(selector),
        None => ListParams::default(),
    };
    let listed = api(client).list(&params).await;
    let listed = listed.map_err(|error| ApiError::new("list nodes", error))?;
    if listed.items.is_empty()
        && let Some(selector) = selector
    {
        return Err(GroupError::NoMatch {
            selector: selector.to_owned(),
        });
    }
    Ok(listed.items)
}

/// Takes a node whose lease is held: records what it was like, labels and taints it.
///
/// # Errors
/// When the API server refuses it.
pub async fn take(
    client: &kube::Client,
    node: &str,
    owner: &str,
    group: &str,
) -> Result<(), GroupError> {
    change(client, node, |now| {
        // What a dead run left here says what there was before it.
        let before = before(now).unwrap_or_else(|| Before {
            owner: String::new(),
            label: labels(now).get(GROUP).cloned(),
            taints: taints(now)
                .into_iter()
                .filter(|taint| taint.key == GROUP)
                .map(|taint| (taint.value, taint.effect))
                .collect(),
        });
        let before = Before {
            owner: owner.to_owned(),
            ..before
        };
        let before = serde_json::to_string(&before).expect("plain text can be written");
        Some(json!({
            "metadata": {"annotations": {BEFORE: before}, "labels": {GROUP: group}},
            "spec": {"taints": with_group(taints(now), Some(group))},
        }))
    })
    .await
}

/// Gives a node that its owner has taken to an arm, or to nobody.
///
/// # Errors
/// When the API server refuses it, or the node is no more the owner's.
pub async fn assign(
    client: &kube::Client,
    node: &str,
    owner: &str,
    group: Option<&str>,
) -> Result<(), GroupError> {
    let group = group.unwrap_or(NOBODY);
    let lost = RefCell::new(None);
    change(client, node, |now| {
        let holder = taken_by(now).unwrap_or_default();
        if holder != owner {
            *lost.borrow_mut() = Some(holder);
            return None;
        }
        let has = labels(now).get(GROUP).map(String::as_str) == Some(group);
        (!has).then(|| {
            json!({
                "metadata": {"labels": {GROUP: group}},
                "spec": {"taints": with_group(taints(now), Some(group))},
            })
        })
    })
    .await?;
    match lost.into_inner() {
        None => Ok(()),
        Some(holder) => Err(GroupError::Lost {
            node: node.to_owned(),
            holder,
        }),
    }
}

/// Who took a node; none for one that nobody took.
pub fn taken_by(node: &Node) -> Option<String> {
    before(node).map(|before| before.owner)
}

fn before(node: &Node) -> Option<Before> {
    let annotations = node.metadata.annotations.as_ref()?;
    serde_json::from_str(annotations.get(BEFORE)?).ok()
}

/// Makes a node what it was before its owner took it. One that somebody else has taken since is
/// left alone; taints of others stay as they are now; a node that is gone is no error.
///
/// # Errors
/// When the API server refuses it.
pub async fn restore(client: &kube::Client, node: &str, owner: &str) -> Result<(), GroupError> {
    change(client, node, |now| {
        let before = before(now).filter(|before| before.owner == owner)?;
        let mut taints = with_group(taints(now), None);
        taints.extend(before.taints.into_iter().map(|(value, effect)| Taint {
            key: GROUP.to_owned(),
            value,
            effect,
            time_added: None,
        }));
        // An empty list is not the same as none to whoever compares.
        let taints = (!taints.is_empty()).then_some(taints);
        Some(json!({
            "metadata": {"annotations": {BEFORE: null}, "labels": {GROUP: before.label}},
            "spec": {"taints": taints},
        }))
    })
    .await
}

/// Changes a node as it is now, again when somebody else was quicker. Nothing is
/// done where there is nothing to change.
async fn change(
    client: &kube::Client,
    node: &str,
    patch: impl Fn(&Node) -> Option<Value>,
) -> Result<(), GroupError> {
    let failed = |action: &str| {
        let action = format!("{action} node {node}");
        move |error| ApiError::new(action, error)
    };
    for _ in 0..TRIES {
        let Some(now) = api(client).get_opt(node).await.map_err(failed("get"))? else {
            return Ok(());
        };
        let Some(mut patch) = patch(&now) else {
            return Ok(());
        };
        // Only what was looked at is changed: taints are one list.
        patch["metadata"]["resourceVersion"] = json!(now.metadata.resource_version);
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match api(client)
            .patch(node, &params, &Patch::Merge(&patch))
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if code(&error) == Some(409) => {}
            Err(error) => return Err(failed("label and taint")(error).into()),
        }
    }
    Err(GroupError::Contended {
        node: node.to_owned(),
    })
}

fn labels(node: &Node) -> BTreeMap<String, String> {
    node.metadata.labels.clone().unwrap_or_default()
}

fn taints(node: &Node) -> Vec<Taint> {
    let spec = node.spec.as_ref();
    spec.and_then(|spec| spec.taints.clone())
        .unwrap_or_default()
}

/// A node's taints with ours for a group, or without.
fn with_group(taints: Vec<Taint>, group: Option<&str>) -> Vec<Taint> {
    let others = taints.into_iter().filter(|taint| taint.key != GROUP);
    let ours = group.map(|group| Taint {
        key: GROUP.to_owned(),
        value: Some(group.to_owned()),
        effect: "NoSchedule".to_owned(),
        time_added: None,
    });
    others.chain(ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kubernetes::mock;

    fn candidates(free: usize) -> Vec<Candidate> {
        let one = |n| Candidate {
            name: format!("n{n}"),
            is_control_plane: false,
            refusal: None,
        };
        (1..=free).map(one).collect()
    }

    #[test]
    fn load_and_monitoring_have_nodes_of_their_own() {
        let arranged = arrange(&candidates(4), 3, 1).unwrap();
        assert_eq!(arranged.lanes, ["n1", "n2"]);
        assert_eq!(
            (arranged.load.as_str(), arranged.monitoring.as_str()),
            ("n3", "n4")
        );
        assert_eq!(
            arranged.limitations,
            ["3 arms shared 2 nodes, one after another."]
        );
        // More nodes than there is use for are left alone.
        assert_eq!(arrange(&candidates(100), 3, 3).unwrap().nodes().len(), 5);
    }

    #[test]
    fn arms_are_spared_the_control_plane() {
        let mut nodes = candidates(3);
        nodes[0].is_control_plane = true;
        let arranged = arrange(&nodes, 2, 1).unwrap();
        assert_eq!(arranged.nodes(), ["n2", "n3", "n1"]);
    }

    #[test]
    fn with_two_nodes_monitoring_is_beside_the_load() {
        let arranged = arrange(&candidates(2), 1, 1).unwrap();
        assert_eq!(arranged.nodes(), ["n1", "n2"]);
        assert_eq!(arranged.load, arranged.monitoring);
        assert!(arranged.limitations[0].contains("beside the load driver"));
    }

    #[test]
    fn too_few_nodes_are_told_with_the_arithmetic() {
        let mut nodes = candidates(1);
        nodes.push(Candidate {
            name: "n2".into(),
            is_control_plane: false,
            refusal: Some(
                "n2 has the taint a=b:NoSchedule of somebody else, which is left alone".into(),
            ),
        });
        let message = arrange(&nodes, 2, 1).unwrap_err().to_string();
        assert_eq!(
            message,
            "1 of 2 nodes are free, and at least 2 are needed: 1 for arms, 1 for the load (monitoring shares it); n2 has the taint a=b:NoSchedule of somebody else, which is left alone"
        );
        assert!(arrange(&candidates(4), 4, 4).is_err());
    }

    /// What is done to a node that this owner has taken: the error, and the last change.
    async fn done<F: Future<Output = Result<(), GroupError>>>(
        owner: &str,
        what: impl FnOnce(kube::Client) -> F,
    ) -> (Option<String>, Option<Value>) {
        let before = Before {
            owner: owner.to_owned(),
            ..Before::default()
        };
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": "n1", "resourceVersion": "7",
                "labels": {GROUP: "flora"},
                "annotations": {BEFORE: serde_json::to_string(&before).unwrap()},
            },
        });
        let node = node.to_string();
        let (cluster, log) = mock::cluster(move |_: &mock::Asked, _| (200, node.clone())).await;
        let error = what(cluster.client).await.err();
        let asked = log.lock().unwrap();
        let patched = asked.iter().find(|one| one.what.starts_with("PATCH"));
        (
            error.map(|error| error.to_string()),
            patched.map(|one| one.body.clone()),
        )
    }

    /// A run that slept longer than its leases hold must not undo what another run has taken.
    #[tokio::test]
    async fn a_node_of_another_run_is_left_alone() {
        let restored =
            |client: kube::Client| async move { restore(&client, "n1", "host-1-2").await };
        let (error, patch) = done("host-1-2", restored).await;
        assert_eq!(error, None);
        let patch = patch.expect("it is given back");
        assert_eq!(patch["metadata"]["annotations"], json!({BEFORE: null}));
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let (error, patch) = done("elsewhere-1-2", restored).await;
        assert_eq!((error, patch), (None, None));
        let assigned = |client: kube::Client| async move {
            assign(&client, "n1", "host-1-2", Some("coroot")).await
        };
        let (error, patch) = done("elsewhere-1-2", assigned).await;
        let error = error.expect("it is no more ours");
        assert!(
            error.contains("held by the run of elsewhere-1-2"),
            "{error}"
        );
        assert_eq!(patch, None);
        let (error, patch) = done("host-1-2", assigned).await;
        assert_eq!(error, None);
        assert_eq!(patch.unwrap()["metadata"]["labels"][GROUP], "coroot");
    }

    #[test]
    fn taints_of_others_stay() {
        let other = Taint {
            key: "dedicated".into(),
            value: Some("db".into()),
            effect: "NoSchedule".into(),
            time_added: None,
        };
        let tainted = with_group(vec![other.clone()], Some("flora"));
        assert_eq!(tainted.len(), 2);
        assert_eq!(with_group(tainted, None), [other]);
    }
}
