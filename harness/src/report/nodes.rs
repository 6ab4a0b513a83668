//! What a node adds or saves, where trials ran on several. Pure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::sample::Subject;
use crate::trial::{TrialRecord, TrialStatus};

/// One node, against all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeReport {
    /// The node.
    pub node: String,
    /// Trials on it that count.
    pub trials: u32,
    /// The target's CPU time per request there ÷ what the same arms needed on all nodes − 1.
    pub cost_ratio: f64,
}

/// Every node's part in the target's cost. Each trial is set against the mean
/// of its own arm, so that which arms a node had does not matter.
pub fn nodes(trials: &[TrialRecord]) -> Vec<NodeReport> {
    let mut costs: Vec<(&str, &str, f64)> = Vec::new();
    for trial in trials
        .iter()
        .filter(|trial| trial.status == TrialStatus::Valid)
    {
        let cost = trial.analysis.statistics.iter().find(|statistic| {
            statistic.metric == Metric::CpuSecondsPerRequest && statistic.subject == Subject::Target
        });
        if let (Some(node), Some(cost)) = (&trial.node, cost)
            && cost.value > 0.0
        {
            costs.push((node, &trial.arm, cost.value.ln()));
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut arms: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (_, arm, cost) in &costs {
        arms.entry(arm).or_default().push(*cost);
    }
    let mut nodes: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (node, arm, cost) in &costs {
        nodes.entry(node).or_default().push(cost - mean(&arms[arm]));
    }
    if nodes.len() < 2 {
        return Vec::new();
    }
    nodes
        .into_iter()
        .map(|(node, differences)| NodeReport {
            node: node.to_owned(),
            trials: differences.len() as u32,
            cost_ratio: mean(&differences).exp_m1(),
        })
        .collect()
}

/// The same as a sentence; none where there is nothing to say.
pub fn sentence(nodes: &[NodeReport]) -> Option<String> {
    if nodes.is_empty() {
        return None;
    }
    let each: Vec<String> = nodes
        .iter()
        .map(|node| {
            format!(
                "{} {:+.1} % ({} trials)",
                node.node,
                node.cost_ratio * 100.0,
                node.trials
            )
        })
        .collect();
    Some(format!(
        "Nodes against one another, in the target's CPU time per request and freed of which arms they had: {}. Every arm came to every node in turn.",
        each.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{TrialAnalysis, TrialStatistic};

    #[test]
    fn a_slow_node_is_told_from_a_dear_arm() {
        let trial = |node: &str, arm: &str, value: f64| TrialRecord {
            trial: 1,
            block: 1,
            arm: arm.into(),
            status: TrialStatus::Valid,
            error: None,
            phases: Vec::new(),
            window_unix: None,
            node: Some(node.into()),
            analysis: TrialAnalysis {
                statistics: vec![TrialStatistic {
                    metric: Metric::CpuSecondsPerRequest,
                    subject: Subject::Target,
                    quantile: None,
                    value,
                }],
                ..TrialAnalysis::default()
            },
        };
        // The agent doubles the cost, and node b adds 21 %.
        let trials = [
            trial("a", "baseline", 100.0),
            trial("b", "baseline", 121.0),
            trial("a", "agent", 200.0),
            trial("b", "agent", 242.0),
        ];
        let nodes = nodes(&trials);
        assert!(
            (nodes[0].cost_ratio - (1.0 / 1.1 - 1.0)).abs() < 1e-12,
            "{nodes:?}"
        );
        assert!((nodes[1].cost_ratio - 0.1).abs() < 1e-12, "{nodes:?}");
        assert!(sentence(&nodes).unwrap().contains("b +10.0 % (2 trials)"));
        assert_eq!(super::nodes(&trials[..1]), []);
    }
}
