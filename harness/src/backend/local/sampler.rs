//! Readings of all roles at one moment.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::TrialError;
use super::cgroup::Group;
use crate::clock::RunClock;
use crate::fingerprint::Accounting;
use crate::observer::Readings;
use crate::observer::cgroup::CgroupObserver;
use crate::observer::node::NodeObserver;
use crate::observer::process::ProcessObserver;
use crate::sample::{Edge, Phase, Reading, Sample, Subject};

/// Reads one role: its control group, or its processes for what the group does not tell.
#[derive(Debug)]
pub struct RoleObserver {
    subject: Subject,
    group: Option<CgroupObserver>,
    processes: Vec<ProcessObserver>,
}

impl RoleObserver {
    /// Opens a role's counters.
    ///
    /// # Errors
    /// When its group has none.
    pub fn open(
        subject: Subject,
        group: Option<&Group>,
        pids: Vec<u32>,
    ) -> Result<Self, TrialError> {
        let group = group
            .map(CgroupObserver::open)
            .transpose()
            .map_err(|source| observe(subject, source))?;
        Ok(RoleObserver {
            subject,
            group,
            processes: pids.into_iter().map(ProcessObserver::new).collect(),
        })
    }

    /// Where its figures come from.
    pub fn accounting(&self) -> Accounting {
        let (cpu, memory) = self
            .group
            .as_ref()
            .map_or(("processes", None), CgroupObserver::sources);
        Accounting {
            cpu: cpu.to_owned(),
            memory: memory.unwrap_or("processes").to_owned(),
        }
    }

    /// Whether it reads this role.
    pub fn is_of(&self, subject: Subject) -> bool {
        self.subject == subject
    }

    /// Reads everything that there is of it.
    ///
    /// # Errors
    /// When a counter can't be read.
    pub fn read(&self) -> Result<Readings, TrialError> {
        let failed = |source| observe(self.subject, source);
        let mut readings = match &self.group {
            Some(group) => group.read().map_err(failed)?,
            None => Readings::new(),
        };
        // Without a group, or on version 2 without the memory controller.
        for (name, value) in self.process_readings().map_err(failed)? {
            if !readings.iter().any(|(known, _)| *known == name) {
                readings.push((name, value));
            }
        }
        Ok(readings)
    }

    fn process_readings(&self) -> std::io::Result<Readings> {
        let complete = self
            .group
            .as_ref()
            .is_some_and(|group| group.sources().1.is_some());
        if complete {
            return Ok(Readings::new());
        }
        let mut sum = Readings::new();
        for process in &self.processes {
            for (name, value) in process.read()? {
                match sum.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, total)) => *total += value,
                    None => sum.push((name, value)),
                }
            }
        }
        Ok(sum)
    }
}

fn observe(subject: Subject, source: std::io::Error) -> TrialError {
    TrialError::Observe {
        what: format!("the counters of the {}", subject.called()),
        source,
    }
}

/// Reads every role and the machine.
#[derive(Debug)]
pub struct Sampler<'a> {
    /// The trial that readings belong to.
    pub trial: u32,
    /// The run's clock.
    pub clock: RunClock,
    /// The roles.
    pub roles: Vec<&'a RoleObserver>,
    /// The machine.
    pub node: &'a NodeObserver,
}

impl Sampler<'_> {
    /// One reading of everything, the target first: the closer to the edge the better.
    ///
    /// # Errors
    /// When a role's counters can't be read.
    pub fn read(&self, phase: Phase, edge: Option<Edge>) -> Result<Vec<Sample>, TrialError> {
        let mut samples = Vec::with_capacity(32);
        for role in &self.roles {
            let time = self.clock.now();
            let readings = match role.read() {
                Ok(readings) => readings,
                // A second opinion that is gone takes no trial with it.
                Err(_) if role.subject == Subject::VictoriaMetrics => continue,
                Err(error) => return Err(error),
            };
            samples.extend(self.samples(phase, edge, role.subject, time, readings));
        }
        let time = self.clock.now();
        let readings = self.node.read().map_err(|source| TrialError::Observe {
            what: "/proc/stat".into(),
            source,
        })?;
        samples.extend(self.samples(phase, edge, Subject::Node, time, readings));
        Ok(samples)
    }

    fn samples(
        &self,
        phase: Phase,
        edge: Option<Edge>,
        subject: Subject,
        time: f64,
        readings: Readings,
    ) -> impl Iterator<Item = Sample> {
        let trial = self.trial;
        readings.into_iter().map(move |(reading, value)| Sample {
            edge,
            ..Sample::new(trial, phase, subject, reading, value, time)
        })
    }

    /// A single figure that is read now.
    pub fn one(&self, phase: Phase, subject: Subject, reading: Reading, value: f64) -> Sample {
        Sample::new(self.trial, phase, subject, reading, value, self.clock.now())
    }
}

/// Keeps this process on its CPUs; where that is refused it runs anywhere.
pub fn confine_harness(cpus: &[usize]) {
    let mut set = CpuSet::new();
    let confined = cpus
        .iter()
        .try_for_each(|&cpu| set.set(cpu))
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    if let Err(error) = confined {
        log::warn!("cannot keep the harness on CPUs {cpus:?}: {error}");
    }
}
