//! Samples of one trial, asked by name.

use crate::sample::{Edge, Phase, Reading, Sample, Subject};

/// One trial's samples.
pub(super) struct View<'a> {
    pub(super) samples: &'a [Sample],
    /// Whether the window is made of turns, each with edges of its own.
    pub(super) turns: bool,
}

impl View<'_> {
    pub(super) fn of(&self, subject: Subject, reading: Reading) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.subject == subject && sample.reading == reading)
    }

    pub(super) fn edge(&self, subject: Subject, reading: Reading, edge: Edge) -> Option<&Sample> {
        self.of(subject, reading)
            .find(|sample| sample.edge == Some(edge))
    }

    /// Whether a role ran where the target did, as everything does on one machine.
    pub(super) fn is_on_targets_machine(&self, subject: Subject) -> bool {
        self.of(subject, Reading::CpuUsageSecondsTotal)
            .all(|sample| sample.machine.is_none())
    }

    /// A figure of the load driver.
    pub(super) fn load(&self, reading: Reading) -> Option<f64> {
        Some(self.of(Subject::Load, reading).next()?.value)
    }

    /// How far a counter went between the edges, and in how many seconds of
    /// its own clock; added up over the turns, where there are any.
    pub(super) fn advance(&self, subject: Subject, reading: Reading) -> Option<(f64, f64)> {
        let (mut value, mut time) = (0.0, 0.0);
        let mut open: Option<&Sample> = None;
        for sample in self.of(subject, reading) {
            match sample.edge {
                Some(Edge::Open) => open = Some(sample),
                Some(Edge::Close) => {
                    let open = open.take()?;
                    let gone = (sample.value - open.value, sample.time - open.time);
                    // A counter that went back is not the one that was opened.
                    if gone.0.is_nan() || gone.0 < 0.0 || gone.1.is_nan() || gone.1 <= 0.0 {
                        return None;
                    }
                    value += gone.0;
                    time += gone.1;
                }
                None => {}
            }
        }
        (time > 0.0).then_some((value, time))
    }

    /// What a counter spent on the window's requests.
    ///
    /// A turn is followed by a pause in which its last answers come in, so
    /// everything between its edges belongs to its requests. A window without
    /// turns is cut out of a load that goes on, and its edges are off by a
    /// wake-up; there the rate counts.
    pub(super) fn spent(&self, subject: Subject, reading: Reading, window: f64) -> Option<f64> {
        let (value, time) = self.advance(subject, reading)?;
        Some(if self.turns {
            value
        } else {
            value / time * window
        })
    }

    /// Seconds in which the machine's counters ran that [`View::spent`] is of: with the pauses
    /// where there are any.
    pub(super) fn machine_seconds(&self, window: f64) -> Option<f64> {
        let (_, seconds) = self.advance(Subject::Node, Reading::NodeCpuIdleSecondsTotal)?;
        Some(if self.turns { seconds } else { window })
    }

    /// Mean of the working set over the window's readings.
    pub(super) fn working_set(&self, subject: Subject) -> Option<f64> {
        let in_window = |sample: &&Sample| sample.phase == Phase::Measure;
        let mean = |reading| {
            let values: Vec<f64> = self
                .of(subject, reading)
                .filter(in_window)
                .map(|sample| sample.value)
                .collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let usage: f64 = mean(Reading::MemoryUsageBytes)?;
        let inactive = mean(Reading::MemoryInactiveFileBytes).unwrap_or(0.0);
        Some((usage - inactive).max(0.0))
    }

    pub(super) fn peak(&self, subject: Subject) -> Option<f64> {
        self.of(subject, Reading::MemoryPeakBytes)
            .map(|sample| sample.value)
            .reduce(f64::max)
    }
}
