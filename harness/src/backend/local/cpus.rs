//! Which CPUs each role gets.
//!
//! CPU sets are given by affinity (`sched_setaffinity(2)`), which every child
//! inherits and which needs no privilege; the same layout holds with and
//! without control groups.

use std::collections::BTreeMap;

use crate::sample::Subject;

/// CPUs by role.
pub type CpuSets = BTreeMap<Subject, Vec<usize>>;

/// Lays the roles out over the CPUs that this process may use.
///
/// The target comes last, away from the first CPU, where interrupts and
/// housekeeping tend to be. With four or more CPUs harness, load driver, agent
/// and target are all apart; with fewer, the agent shares with the load driver
/// first, because an agent on the target's CPU would slow what is measured.
pub fn layout(cpus: &[usize], target_cpus: usize) -> CpuSets {
    let n = cpus.len();
    let all = cpus.to_vec();
    let slice = |from: usize, to: usize| cpus[from..to].to_vec();
    let (harness, load, agent, target) = match n {
        0 | 1 => (all.clone(), all.clone(), all.clone(), all),
        2 => (slice(0, 1), slice(0, 1), slice(0, 1), slice(1, 2)),
        3 => (slice(0, 1), slice(1, 2), slice(1, 2), slice(2, 3)),
        _ => {
            // One each for harness, load and agent stays free.
            let target = target_cpus.clamp(1, n - 3);
            let agent_at = n - target - 1;
            (
                slice(0, 1),
                slice(1, agent_at),
                slice(agent_at, agent_at + 1),
                slice(n - target, n),
            )
        }
    };
    CpuSets::from([
        (Subject::Target, target),
        (Subject::Agent, agent),
        // What it takes in comes at the load's rate, and must not slow the target.
        (Subject::Intake, load.clone()),
        (Subject::Load, load),
        (Subject::VictoriaMetrics, harness.clone()),
        (Subject::Harness, harness),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every role has a CPU; from two CPUs on the target shares with no one; from four on no two roles share, but for VictoriaMetrics with the harness.
        #[test]
        fn roles_are_apart(n in 1usize..40, target_cpus in 1usize..64) {
            let cpus: Vec<usize> = (10..10 + n).collect();
            let sets = layout(&cpus, target_cpus);
            prop_assert!(sets.values().all(|set| !set.is_empty()));
            let overlap = |a, b| sets[&a].iter().any(|cpu| sets[&b].contains(cpu));
            if n >= 2 {
                for other in [Subject::Agent, Subject::Load, Subject::Harness] {
                    prop_assert!(!overlap(Subject::Target, other));
                }
            }
            if n >= 4 {
                prop_assert!(!overlap(Subject::Load, Subject::Harness));
                prop_assert!(!overlap(Subject::Load, Subject::Agent));
                prop_assert!(!overlap(Subject::Agent, Subject::Harness));
            }
        }
    }

    #[test]
    fn two_cpus() {
        let sets = layout(&[0, 1], 1);
        assert_eq!(sets[&Subject::Target], [1]);
        assert_eq!(sets[&Subject::Load], [0]);
    }

    #[test]
    fn eight_cpus_with_a_wide_target() {
        let sets = layout(&[0, 1, 2, 3, 4, 5, 6, 7], 3);
        assert_eq!(sets[&Subject::Target], [5, 6, 7]);
        assert_eq!(sets[&Subject::Agent], [4]);
        assert_eq!(sets[&Subject::Load], [1, 2, 3]);
        assert_eq!(sets[&Subject::Harness], [0]);
    }
}
