//! Carries out a search wherever its steps can be carried out.

use super::{Sink, TrialError};
use crate::analysis;
use crate::experiment::Experiment;
use crate::experiment::search::{Next, Tried};
use crate::sample::Sample;

/// Carries out one step at a time of a trial's search.
pub trait Stepper {
    /// Tries a value, and gives every reading of it. That a target does not hold out is an
    /// outcome, not an error.
    ///
    /// # Errors
    /// When the step could not be carried out.
    fn step(
        &mut self,
        number: u32,
        value: f64,
    ) -> impl Future<Output = Result<Vec<Sample>, TrialError>>;
}

/// Takes steps until the search is done, and keeps their readings as they come.
///
/// Whether a step passed is computed from its readings as every later analysis does it.
///
/// # Errors
/// When a step can't be carried out, or its readings can't be kept.
pub async fn carry_out(
    experiment: &Experiment,
    stepper: &mut impl Stepper,
    sink: &mut dyn Sink,
) -> Result<(), TrialError> {
    let mut tried = Vec::new();
    while let Next::Try(value) = experiment.search.next(&tried) {
        let number = tried.len() as u32 + 1;
        let mut samples = stepper.step(number, value).await?;
        for sample in &mut samples {
            sample.step = Some(number);
        }
        sink.samples(&samples)?;
        let step = analysis::search::step(experiment, number, &samples);
        log::debug!("{step:?}");
        tried.push(Tried {
            value,
            passed: step.is_some_and(|step| step.passed),
        });
    }
    Ok(())
}
