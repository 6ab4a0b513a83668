//! Where the machine's CPU time went.

use super::view::View;
use crate::sample::{Edge, Reading, Subject};
use crate::trial::{Ledger, LedgerRow};

/// Where the CPU time of the window went, every role scaled to the load's window.
pub(super) fn ledger(view: &View<'_>, requests: f64, window: f64) -> Option<Ledger> {
    let cpus = view
        .edge(Subject::Node, Reading::NodeCpus, Edge::Open)?
        .value;
    let seconds = view.machine_seconds(window)?;
    let idle = view.spent(Subject::Node, Reading::NodeCpuIdleSecondsTotal, window)?;
    let steal = view.spent(Subject::Node, Reading::NodeCpuStealSecondsTotal, window)?;
    let rows: Vec<LedgerRow> = Subject::ROLES
        .into_iter()
        .filter(|&subject| view.is_on_targets_machine(subject))
        .filter_map(|subject| {
            Some(LedgerRow {
                subject,
                cpu_seconds: view.spent(subject, Reading::CpuUsageSecondsTotal, window)?,
            })
        })
        .collect();
    let busy = (cpus * seconds - idle - steal).max(0.0);
    let accounted: f64 = rows.iter().map(|row| row.cpu_seconds).sum();
    let remainder = busy - accounted;
    Some(Ledger {
        node_busy_seconds: busy,
        steal_seconds: steal,
        rows,
        remainder_seconds: remainder,
        other_tasks_seconds: view
            .spent(Subject::Node, Reading::NodeCpuTasksSecondsTotal, window)
            .map(|tasks| tasks - accounted),
        remainder_ratio: if busy > 0.0 { remainder / busy } else { 0.0 },
        requests: requests as u64,
    })
}
