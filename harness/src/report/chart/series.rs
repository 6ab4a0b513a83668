//! Counters of the samples → curves over the time of the run.

use std::cmp::Ordering;

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

/// How curves of trials that live at the same time become one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Join {
    /// Each is a part of the whole.
    Sum,
    /// Each is the whole, read once more.
    Mean,
}

/// Curves of trials that live at the same time as one curve, a point every
/// `step` seconds; where nothing lives, the curve is parted.
pub fn together(pieces: &Pieces, join: Join, step: f64) -> Pieces {
    if step <= 0.0 || !step.is_finite() {
        return Vec::new();
    }
    let ends = |piece: &[(f64, f64)]| Some((piece.first()?.0, piece.last()?.0));
    let mut living: Vec<&Vec<(f64, f64)>> = pieces.iter().collect();
    living.sort_by(|a, b| {
        a.first()
            .map(|p| p.0)
            .partial_cmp(&b.first().map(|p| p.0))
            .unwrap_or(Ordering::Equal)
    });
    let mut groups: Vec<((f64, f64), Pieces)> = Vec::new();
    for piece in living {
        let Some((start, end)) = ends(piece) else {
            continue;
        };
        match groups.last_mut() {
            Some((span, group)) if start < span.1 => {
                span.1 = span.1.max(end);
                group.push(piece.clone());
            }
            _ => groups.push(((start, end), vec![piece.clone()])),
        }
    }
    let join_group = |((start, end), group): ((f64, f64), Pieces)| {
        // A run of years at this step would still be a page of points.
        let cells = ((end - start) / step).ceil().clamp(1.0, 1e5) as u32;
        let cell = (end - start) / f64::from(cells);
        let mut curve = Vec::with_capacity(cells as usize * 2);
        for n in 0..cells {
            let from = start + f64::from(n) * cell;
            let means = group
                .iter()
                .filter_map(|piece| mean(piece, from, from + cell));
            let (sum, count) =
                means.fold((0.0, 0.0), |(sum, count), mean| (sum + mean, count + 1.0));
            if count > 0.0 {
                let value = if join == Join::Sum { sum } else { sum / count };
                curve.extend([(from, value), (from + cell, value)]);
            }
        }
        curve
    };
    let curves = groups.into_iter().map(join_group);
    curves.filter(|curve| !curve.is_empty()).collect()
}

/// Mean of a curve between two times, as far as it reaches there; none where it doesn't.
fn mean(piece: &[(f64, f64)], from: f64, to: f64) -> Option<f64> {
    let (mut area, mut covered) = (0.0, 0.0);
    // The first point that is not before `from` ends the first segment of concern.
    let first = piece.partition_point(|point| point.0 <= from);
    for pair in piece[first.saturating_sub(1)..].windows(2) {
        let ((start, low), (end, high)) = (pair[0], pair[1]);
        if start >= to {
            break;
        }
        let (left, right) = (start.max(from), end.min(to));
        if right > left {
            let at = |time: f64| low + (high - low) * (time - start) / (end - start);
            area += (at(left) + at(right)) / 2.0 * (right - left);
            covered += right - left;
        }
    }
    (covered > 0.0 && area.is_finite()).then(|| area / covered)
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
            step: None,
            subject: Subject::Target,
            reading,
            value,
            time,
            name: None,
            machine: None,
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
    fn what_lives_at_the_same_time_is_added_up() {
        let pieces = vec![
            vec![(0.0, 1.0), (4.0, 1.0)],
            vec![(2.0, 2.0), (6.0, 2.0)],
            vec![(8.0, 0.5), (10.0, 0.5)],
        ];
        let steps = |curve: &[(f64, f64)]| curve.iter().step_by(2).map(|p| p.1).collect::<Vec<_>>();
        let sum = together(&pieces, Join::Sum, 2.0);
        assert_eq!(sum.len(), 2);
        assert_eq!(steps(&sum[0]), [1.0, 3.0, 2.0]);
        assert_eq!(steps(&sum[1]), [0.5]);
        assert_eq!(
            steps(&together(&pieces, Join::Mean, 2.0)[0]),
            [1.0, 1.5, 2.0]
        );
        assert_eq!(together(&Vec::new(), Join::Sum, 1.0), Pieces::new());
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
