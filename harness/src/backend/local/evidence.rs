//! What a trial's system says of itself when no request is under way: before the
//! load, and after its last answer.

use super::TrialError;
use super::sampler::Sampler;
use super::system::System;
use crate::sample::{Phase, Reading, Sample, Subject};
use crate::scenario::Scenario;

/// What it said before the load.
#[derive(Debug)]
pub struct Before {
    /// What the agent accounts for, where it says what it does.
    seen: Option<f64>,
    /// Requests that the target served.
    served: f64,
    /// eBPF programs on the target's group, before the agent and with it.
    attached: [Option<u32>; 2],
}

impl Before {
    /// Has the system answer a checked request, and notes down how it stands.
    ///
    /// # Errors
    /// When target or agent does not answer as it should.
    pub async fn of(system: &System, arm: &Scenario) -> Result<Before, TrialError> {
        let seen = system.prove(arm).await?;
        let served = system.metrics.requests().await?;
        Ok(Before {
            seen,
            served,
            attached: [system.attached_before, system.attached()],
        })
    }

    /// Whether the agent accounts for nothing though it says what it accounts for.
    pub fn saw_nothing(&self) -> bool {
        self.seen == Some(0.0)
    }

    /// How far the agent's count was ahead of the target's.
    pub fn ahead(&self) -> f64 {
        self.seen.unwrap_or(0.0) - self.served
    }

    /// It as samples, with what the intake holds.
    ///
    /// # Errors
    /// When the intake does not answer.
    pub async fn samples(
        &self,
        system: &System,
        sampler: &Sampler<'_>,
    ) -> Result<Vec<Sample>, TrialError> {
        let one = |subject, reading, value| sampler.one(Phase::Setup, subject, reading, value);
        let target = |reading, value| one(Subject::Target, reading, value);
        let mut samples = vec![
            target(Reading::StartupSeconds, system.startup.as_secs_f64()),
            target(Reading::HttpRequestsTotal, self.served),
        ];
        samples.extend(self.seen.map(|seen| counted(sampler, Phase::Setup, seen)));
        if let Some(reader) = &system.delivered {
            let intake = |reading, value| one(Subject::Intake, reading, value);
            samples.extend(reader.samples(intake).await?);
        }
        samples.extend(self.attached(sampler));
        Ok(samples)
    }

    /// How many eBPF programs were attached, as samples.
    pub fn attached(&self, sampler: &Sampler<'_>) -> impl Iterator<Item = Sample> {
        let attached = self.attached.into_iter().flatten().map(f64::from);
        attached.map(|count| {
            let reading = Reading::EbpfProgramsAttached;
            sampler.one(Phase::Setup, Subject::Target, reading, count)
        })
    }
}

/// What it says after the last answer, `served` being the target's count then; waits until the
/// agent, which was so far ahead before, has reported all of it or nothing more comes. Each
/// reading is kept as it comes: what is cut short while the agent is waited for has left the others.
///
/// # Errors
/// When agent or intake does not answer, or a reading can't be kept.
pub async fn after(
    system: &System,
    sampler: &Sampler<'_>,
    served: f64,
    ahead: f64,
    mut keep: impl FnMut(Vec<Sample>) -> Result<(), TrialError>,
) -> Result<(), TrialError> {
    let one = |subject, reading, value| sampler.one(Phase::Cooldown, subject, reading, value);
    let target = |reading, value| one(Subject::Target, reading, value);
    keep(vec![target(Reading::HttpRequestsTotal, served)])?;
    if let Some(reader) = &system.telemetry {
        let seen = reader.settled(served + ahead).await?;
        keep(vec![counted(sampler, Phase::Cooldown, seen)])?;
    }
    if let Some(reader) = &system.delivered {
        let intake = |reading, value| one(Subject::Intake, reading, value);
        keep(reader.samples(intake).await?)?;
    }
    if let Some(attached) = system.attached() {
        keep(vec![target(Reading::EbpfProgramsAttached, attached.into())])?;
    }
    Ok(())
}

/// What the agent accounts for.
pub fn counted(sampler: &Sampler<'_>, phase: Phase, seen: f64) -> Sample {
    sampler.one(phase, Subject::Agent, Reading::TelemetryRequestsTotal, seen)
}
