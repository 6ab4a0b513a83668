//! Node groups: nodes that are kept free for one arm, for load, or for monitoring.

use serde_json::{Value, json};

use super::object::GROUP;

/// The group that sends the load.
pub const LOAD: &str = "load";
/// The group of VictoriaMetrics, and of the intake that agents send to.
pub const MONITORING: &str = "monitoring";

/// Nodes that belong together, and what they are kept free for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// The arm, [`LOAD`] or [`MONITORING`]: the value of the label and of the taint.
    pub name: String,
    /// The nodes.
    pub nodes: Vec<String>,
}

impl Group {
    /// `nodeSelector` of a pod that belongs there.
    pub fn node_selector(&self) -> Value {
        json!({ GROUP: self.name })
    }

    /// `tolerations` of a pod that belongs there.
    pub fn tolerations(&self) -> Value {
        json!([{"key": GROUP, "operator": "Equal", "value": self.name, "effect": "NoSchedule"}])
    }
}
