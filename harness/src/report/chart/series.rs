//! Counters of the samples → curves over the time of the run.

use crate::sample::{Reading, Sample, Subject};

/// A curve in pieces: a new trial starts a new one, for its counters start anew.
pub type Pieces = Vec<Vec<(f64, f64)>>;

/// CPU seconds per second of a subject. Neighbouring readings closer than
/// `step` seconds are joined, which neither loses nor adds CPU time.
pub fn cores(samples: &[Sample], subject: Subject, step: f64) -> Pieces {
    let counters = match subject {
        Subject::Node => node_busy(samples),
        _ => pieces(samples, subject, Reading::CpuUsageSecondsTotal),
    };
    let rate = |piece: Vec<(f64, f64)>| {
        let mut curve = Vec::new();
        let mut last: Option<(f64, f64)> = None;
        for (time, value) in piece {
            let Some((before, counter)) = last else {
                last = Some((time, value));
                continue;
            };
            if time - before < step {
                continue;
            }
            let rate = (value - counter) / (time - before);
            // Each rate holds for its whole stretch, so the curve is made of steps.
            if rate.is_finite() && rate >= 0.0 {
                curve.extend([(before, rate), (time, rate)]);
            }
            last = Some((time, value));
        }
        curve
    };
    let pieces = counters.into_iter().map(rate);
    pieces.filter(|piece| !piece.is_empty()).collect()
}

/// The machine's busy time, as the ledger has it: what idling and steal leave
/// of its CPUs' time. Readings of one moment carry one time.
fn node_busy(samples: &[Sample]) -> Pieces {
    let of = |reading| -> Vec<(f64, f64)> {
        pieces(samples, Subject::Node, reading)
            .into_iter()
            .flatten()
            .collect()
    };
    let (cpus, steal) = (of(Reading::NodeCpus), of(Reading::NodeCpuStealSecondsTotal));
    let at = |readings: &[(f64, f64)], time: f64| {
        let found = readings.iter().find(|(other, _)| *other == time);
        found.map(|(_, value)| *value)
    };
    let busy = |(time, idle): (f64, f64)| {
        let steal = at(&steal, time).unwrap_or(0.0);
        Some((time, at(&cpus, time)? * time - idle - steal))
    };
    pieces(samples, Subject::Node, Reading::NodeCpuIdleSecondsTotal)
        .into_iter()
        .map(|piece| piece.into_iter().filter_map(busy).collect())
        .collect()
}

/// Working set of a subject in bytes: memory charged less the file cache that can be dropped.
pub fn working_set(samples: &[Sample], subject: Subject, step: f64) -> Pieces {
    let cache: Vec<(f64, f64)> = pieces(samples, subject, Reading::MemoryInactiveFileBytes)
        .into_iter()
        .flatten()
        .collect();
    // Both readings of a moment carry nearly the same time.
    let cache_at = |time: f64| {
        let next = cache.partition_point(|(at, _)| *at < time);
        let near = [next.checked_sub(1), Some(next)]
            .into_iter()
            .flatten()
            .filter_map(|n| cache.get(n));
        let nearest = near.min_by(|a, b| (a.0 - time).abs().total_cmp(&(b.0 - time).abs()));
        nearest
            .filter(|(at, _)| (at - time).abs() < 0.5)
            .map_or(0.0, |(_, value)| *value)
    };
    let thin = |piece: Vec<(f64, f64)>| {
        let mut curve: Vec<(f64, f64)> = Vec::new();
        for (time, value) in piece {
            if curve.last().is_none_or(|(last, _)| time - last >= step) {
                curve.push((time, (value - cache_at(time)).max(0.0)));
            }
        }
        curve
    };
    pieces(samples, subject, Reading::MemoryUsageBytes)
        .into_iter()
        .map(thin)
        .collect()
}

/// Readings of each trial, in the order of their times.
fn pieces(samples: &[Sample], subject: Subject, reading: Reading) -> Pieces {
    let mut readings: Vec<(u32, f64, f64)> = samples
        .iter()
        .filter(|s| s.subject == subject && s.reading == reading)
        .filter(|s| s.time.is_finite() && s.value.is_finite())
        .map(|s| (s.trial, s.time, s.value))
        .collect();
    readings.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let trials = readings.chunk_by(|a, b| a.0 == b.0);
    let mut pieces: Pieces = trials
        .map(|t| t.iter().map(|(_, time, value)| (*time, *value)).collect())
        .collect();
    pieces.sort_by(|a, b| a[0].0.total_cmp(&b[0].0));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Phase;

    fn sample(trial: u32, reading: Reading, time: f64, value: f64) -> Sample {
        Sample {
            trial,
            phase: Phase::Measure,
            edge: None,
            subject: Subject::Target,
            reading,
            value,
            time,
            quantile: None,
            buckets: Vec::new(),
        }
    }

    #[test]
    fn rates_join_close_readings_and_part_trials() {
        let cpu = |trial, time, value| sample(trial, Reading::CpuUsageSecondsTotal, time, value);
        let samples = [
            cpu(1, 0.0, 0.0),
            cpu(1, 1.0, 0.5),
            cpu(1, 1.1, 0.6),
            cpu(1, 2.0, 1.0),
            cpu(2, 5.0, 0.0),
            cpu(2, 6.0, 0.25),
        ];
        let expected = vec![
            vec![(0.0, 0.5), (1.0, 0.5), (1.0, 0.5), (2.0, 0.5)],
            vec![(5.0, 0.25), (6.0, 0.25)],
        ];
        assert_eq!(cores(&samples, Subject::Target, 0.5), expected);
    }

    #[test]
    fn the_machine_is_busy_when_it_does_not_idle() {
        let node = |reading, time, value| Sample {
            subject: Subject::Node,
            ..sample(1, reading, time, value)
        };
        let samples = [
            node(Reading::NodeCpus, 1.0, 2.0),
            node(Reading::NodeCpuIdleSecondsTotal, 1.0, 50.0),
            node(Reading::NodeCpuStealSecondsTotal, 1.0, 3.0),
            node(Reading::NodeCpus, 3.0, 2.0),
            node(Reading::NodeCpuIdleSecondsTotal, 3.0, 52.5),
            node(Reading::NodeCpuStealSecondsTotal, 3.0, 3.5),
        ];
        // 2 CPUs for 2 s, 2.5 s idle, 0.5 s stolen: 1 CPU second in 2 s.
        assert_eq!(
            cores(&samples, Subject::Node, 0.5),
            [[(1.0, 0.5), (3.0, 0.5)]]
        );
    }

    #[test]
    fn working_set_leaves_out_the_cache() {
        let samples = [
            sample(1, Reading::MemoryUsageBytes, 1.0, 100.0),
            sample(1, Reading::MemoryInactiveFileBytes, 1.001, 30.0),
            sample(1, Reading::MemoryUsageBytes, 2.0, 110.0),
        ];
        assert_eq!(
            working_set(&samples, Subject::Target, 0.5),
            [[(1.0, 70.0), (2.0, 110.0)]]
        );
    }
}
