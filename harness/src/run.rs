//! Plan → records: carries out every trial, writes down each as it ends.

use crate::analysis;
use crate::backend::{Backend, Observed, Sink, TrialError};
use crate::fingerprint::Fingerprint;
use crate::plan::{Plan, TrialPlan};
use crate::record::{RecordError, Recorder, Records};
use crate::sample::{Phase, Sample};
use crate::trial::{TrialAnalysis, TrialRecord, TrialStatus};

/// News of a run, for whoever watches.
pub trait Progress {
    /// Trials begin that are carried out together.
    fn batch(&mut self, trials: &[TrialPlan]);
    /// A phase begins and takes this many seconds, as far as that is known.
    fn phase(&mut self, phase: Phase, seconds: Option<f64>);
    /// A trial is over.
    fn done(&mut self, record: &TrialRecord);
}

/// Nobody watches.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn batch(&mut self, _: &[TrialPlan]) {}
    fn phase(&mut self, _: Phase, _: Option<f64>) {}
    fn done(&mut self, _: &TrialRecord) {}
}

/// Carries out the plan from the batch on that holds the first trial after
/// `done`; trials before it are recorded already. Trials that fail or don't count are recorded and the
/// run goes on; an interrupt or a record that can't be written ends it.
///
/// # Errors
/// [`TrialError::Interrupted`] after an interrupt, and what kept records from
/// being written; everything recorded until then stays.
pub async fn execute<B: Backend>(
    plan: &Plan,
    fingerprint: &Fingerprint,
    backend: &mut B,
    recorder: &mut Recorder,
    done: usize,
    progress: &mut dyn Progress,
) -> Result<Vec<TrialRecord>, TrialError> {
    backend.begin(plan, recorder.directory()).await?;
    let mut records = Vec::with_capacity(plan.trials.len());
    for batch in plan.batches() {
        let Some(batch) = batch
            .iter()
            .position(|trial| trial.trial as usize > done)
            .map(|first| &batch[first..])
        else {
            continue;
        };
        progress.batch(batch);
        let mut tee = Tee {
            recorder,
            progress,
            samples: Vec::new(),
        };
        let outcomes = backend.batch(plan, batch, &mut tee).await;
        let samples = tee.samples;
        let mut fatal = None;
        for (trial, outcome) in batch.iter().zip(outcomes) {
            let own: Vec<Sample> = samples
                .iter()
                .filter(|sample| sample.trial == trial.trial)
                .cloned()
                .collect();
            let record = record(plan, fingerprint, trial, &own, &outcome);
            recorder.trial(&record)?;
            progress.done(&record);
            records.push(record);
            match outcome {
                Err(error @ (TrialError::Interrupted | TrialError::Record(_))) => {
                    fatal.get_or_insert(error);
                }
                Err(error) => log::debug!("trial {}: {error}", trial.trial),
                Ok(_) => {}
            }
        }
        if let Some(error) = fatal {
            backend.conclude(&[]).await;
            return Err(error);
        }
    }
    let samples = backend.conclude(&records).await;
    recorder.samples(&samples)?;
    Ok(records)
}

/// The trials that were under way when the run was cut short after `done`
/// trials: those that left readings and no record.
pub fn lost(plan: &Plan, done: usize, samples: &[Sample]) -> Vec<TrialRecord> {
    let behind = plan.trials.iter().skip(done);
    behind
        .map_while(|trial| {
            let last = samples.iter().rev().find(|s| s.trial == trial.trial)?;
            Some(TrialRecord {
                trial: trial.trial,
                block: trial.block,
                arm: trial.arm.clone(),
                status: TrialStatus::Failed,
                error: Some(format!(
                    "the run was cut short during {}",
                    last.phase.as_str()
                )),
                phases: Vec::new(),
                window_unix: None,
                node: None,
                analysis: TrialAnalysis::default(),
            })
        })
        .collect()
}

/// Computes every trial anew from its samples. Those that failed left too few.
pub fn again(records: &mut Records) {
    let Records {
        plan,
        fingerprint,
        trials,
        samples,
        ..
    } = records;
    let finished = trials
        .iter_mut()
        .filter(|trial| trial.status != TrialStatus::Failed);
    for trial in finished {
        let own = samples
            .iter()
            .filter(|sample| sample.trial == trial.trial)
            .cloned();
        let own: Vec<Sample> = own.collect();
        trial.analysis = analysis::trial(plan, fingerprint, &own);
        trial.status = status(&trial.analysis);
    }
}

fn status(analysis: &TrialAnalysis) -> TrialStatus {
    match analysis.is_valid() {
        true => TrialStatus::Valid,
        false => TrialStatus::Invalid,
    }
}

/// What a trial came to, from what it left.
fn record(
    plan: &Plan,
    fingerprint: &Fingerprint,
    trial: &TrialPlan,
    samples: &[Sample],
    outcome: &Result<Observed, TrialError>,
) -> TrialRecord {
    let (observed, analysis, error) = match outcome {
        Ok(observed) => {
            let failures = (!observed.failures.is_empty())
                .then(|| format!("requests failed: {}", observed.failures.join("; ")));
            (
                observed.clone(),
                analysis::trial(plan, fingerprint, samples),
                failures,
            )
        }
        Err(error) => (
            Observed::default(),
            TrialAnalysis::default(),
            Some(crate::error::text(error)),
        ),
    };
    TrialRecord {
        trial: trial.trial,
        block: trial.block,
        arm: trial.arm.clone(),
        status: match outcome {
            Err(_) => TrialStatus::Failed,
            Ok(_) => status(&analysis),
        },
        error,
        phases: observed.phases,
        window_unix: observed.window_unix,
        node: observed.node,
        analysis,
    }
}

/// Writes each reading down and keeps it for the trial's analysis.
struct Tee<'a> {
    recorder: &'a mut Recorder,
    progress: &'a mut dyn Progress,
    samples: Vec<Sample>,
}

impl Sink for Tee<'_> {
    fn samples(&mut self, samples: &[Sample]) -> Result<(), TrialError> {
        let written: Result<(), RecordError> = self.recorder.samples(samples);
        written?;
        self.samples.extend_from_slice(samples);
        Ok(())
    }

    fn phase(&mut self, phase: Phase, seconds: Option<f64>) {
        self.progress.phase(phase, seconds);
    }
}
