//! What was read, of whom, when: one flat line a reading.
//!
//! Everything to the right of this module (statistics, ledger, validity,
//! reports) works from these lines alone, so a recorded run can be analysed
//! again without running it again.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose resources a reading or a statistic is about.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The application under load.
    Target,
    /// The observability software under test.
    Agent,
    /// The load driver.
    Load,
    /// flora-bench itself: sampling, exporting, waiting.
    Harness,
    /// The intake that agents send to, where a scenario asks for one.
    Intake,
    /// VictoriaMetrics, when it runs beside the measurement.
    VictoriaMetrics,
    /// The whole machine. In statistics: less load driver, intake, harness and VictoriaMetrics.
    Node,
    /// Target and agent together.
    Total,
}

impl Subject {
    /// The roles that own processes, in the order in which reports list them.
    pub const ROLES: [Subject; 6] = [
        Subject::Target,
        Subject::Agent,
        Subject::Load,
        Subject::Intake,
        Subject::Harness,
        Subject::VictoriaMetrics,
    ];

    /// Whom a figure can be about.
    pub const ALL: [Subject; 8] = [
        Subject::Target,
        Subject::Agent,
        Subject::Total,
        Subject::Node,
        Subject::Load,
        Subject::Intake,
        Subject::Harness,
        Subject::VictoriaMetrics,
    ];

    /// Whose figures are a result: the application's and the agent's, not the experiment's own.
    pub const RESULTS: [Subject; 4] = [
        Subject::Target,
        Subject::Agent,
        Subject::Total,
        Subject::Node,
    ];

    /// The name used in files, metrics labels and cgroup directories.
    pub fn as_str(self) -> &'static str {
        match self {
            Subject::Target => "target",
            Subject::Agent => "agent",
            Subject::Load => "load",
            Subject::Intake => "intake",
            Subject::Harness => "harness",
            Subject::VictoriaMetrics => "victoria_metrics",
            Subject::Node => "node",
            Subject::Total => "total",
        }
    }

    /// What a reader calls it.
    pub fn called(self) -> &'static str {
        match self {
            Subject::Load => "load driver",
            Subject::VictoriaMetrics => "VictoriaMetrics",
            Subject::Total => "target + agent",
            other => other.as_str(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where in a trial's life a reading was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Target and agent are started; nothing is sent yet.
    Setup,
    /// Load runs at the measured rate; nothing counts yet.
    Warmup,
    /// The measured window.
    Measure,
    /// Load has ended; late answers come in.
    Cooldown,
    /// Processes are stopped and results collected.
    Teardown,
}

impl Phase {
    /// The name used in files and progress lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Setup => "setup",
            Phase::Warmup => "warmup",
            Phase::Measure => "measure",
            Phase::Cooldown => "cooldown",
            Phase::Teardown => "teardown",
        }
    }
}

/// Which edge of the measured window a reading belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// The reading that opens the window.
    Open,
    /// The reading that closes it.
    Close,
}

/// The name of a raw reading. Counters are kept as the kernel gives them; a
/// difference is taken only in the analysis.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// CPU time used so far, in seconds (`cpuacct.usage`, `cpu.stat`, or the
    /// process CPU-time clock where there is no cgroup).
    CpuUsageSecondsTotal,
    /// Time in which the cgroup wanted to run and its quota forbade it, in
    /// seconds (`throttled_time`, `throttled_usec`). Of the node: of the group that the run was
    /// started in and of those above it, where one has a quota.
    CpuThrottledSecondsTotal,
    /// Periods of the cgroup's CPU quota in which it wanted to run
    /// (`nr_periods`); read where there is a quota.
    CpuPeriodsTotal,
    /// Those in which its quota was used up (`nr_throttled`).
    CpuThrottledPeriodsTotal,
    /// Memory charged to the cgroup, in bytes (`memory.usage_in_bytes`,
    /// `memory.current`), or resident memory of the processes.
    MemoryUsageBytes,
    /// File cache that can be dropped at once, in bytes (`total_inactive_file`,
    /// `inactive_file`). Working set = usage − this, as the kubelet has it.
    MemoryInactiveFileBytes,
    /// Highest memory charge since the role started, in bytes.
    MemoryPeakBytes,
    /// Processes that the kernel ended because the cgroup's memory ran out
    /// (`oom_kill` of `memory.oom_control` or `memory.events`).
    OomKillsTotal,
    /// Times that the target's container could not be started, ended or never
    /// became ready under a step's limit, by how (`name`); an OOM kill is none of them.
    ContainerFailuresTotal,
    /// Requests that the target's own counter holds (`http_requests_total` of
    /// the measured route).
    HttpRequestsTotal,
    /// Requests that the agent's own output accounts for, on the measured
    /// route; read before the load and after its last answer, when none is
    /// under way.
    TelemetryRequestsTotal,
    /// Intake: spans that were sent to it, of every kind; like the other
    /// counts of the intake read at the same two moments.
    IntakeSpansTotal,
    /// Intake: spans that have an attribute, by its `name`.
    IntakeSpanAttributesTotal,
    /// Intake: points of metrics, by the metric's `name`.
    IntakeMetricPointsTotal,
    /// Intake: log records.
    IntakeLogRecordsTotal,
    /// Intake: requests that Datadog's statistics account for.
    IntakeStatsHitsTotal,
    /// Intake: bodies and datagrams that were counted.
    IntakeRequestsTotal,
    /// Intake: their bytes, as they were sent.
    IntakeBytesTotal,
    /// Intake: what was sent and is not counted, by reason (`name`).
    IntakeRejectedTotal,
    /// eBPF programs that are attached to the target's own control group
    /// (`BPF_PROG_QUERY`): before the agent was started, after it, and after
    /// the load.
    EbpfProgramsAttached,
    /// Machine: eBPF programs that are loaded (`BPF_PROG_GET_NEXT_ID`), before
    /// the trial and after it.
    NodeEbpfPrograms,
    /// Machine: those of them that were not loaded before the trial and are
    /// after it; systemd's own, which come and go with units, are left out.
    NodeEbpfProgramsLeft,
    /// Time since the target was started until it answered, in seconds.
    StartupSeconds,
    /// The limit of a role's CPU time, in CPU seconds per second: the target's in a step of a
    /// search, the load driver's where it is not pinned to CPUs.
    CpuLimitCores,
    /// The limit of the target's memory in a step of a search, in bytes.
    MemoryLimitBytes,
    /// Machine: CPUs that are online.
    NodeCpus,
    /// Machine: the busy columns of `/proc/stat` (user, nice, system, irq and
    /// softirq), in seconds; samples, on kernels that account by ticks.
    NodeCpuBusySecondsTotal,
    /// Machine: the softirq column of `/proc/stat` alone, in seconds: packets
    /// and timers, work that is charged to no process.
    NodeCpuSoftirqSecondsTotal,
    /// Machine: time in which CPUs were idle or waited for I/O, in seconds.
    NodeCpuIdleSecondsTotal,
    /// Machine: time that the hypervisor took away, in seconds.
    NodeCpuStealSecondsTotal,
    /// Machine: CPU time charged to all tasks, in seconds, from the root
    /// cgroup where the kernel keeps one (`cpuacct.usage`); finer than the
    /// ticks of `/proc/stat`.
    NodeCpuTasksSecondsTotal,
    /// Load driver: the rate of a step of a search, in requests per second.
    OfferedRequestsPerSecond,
    /// Load driver: requests whose intended start lies in the window.
    RequestsOffered,
    /// Load driver: complete answers with a 2xx status received in the window, or in the pause
    /// behind a turn, in which counters go on too.
    RequestsCompleted,
    /// Load driver: those of them that came in a turn itself or at most 50 ms behind it; where
    /// turns have a pause.
    RequestsCompletedInTime,
    /// Load driver: complete 2xx answers of the whole trial, warm-up and late
    /// ones included; must equal what the target counted.
    RequestsAnsweredTotal,
    /// Load driver: requests of the window that failed (transport error,
    /// status other than 2xx, time-out).
    RequestsFailed,
    /// Load driver: requests of the window that were never sent because no
    /// connection came free.
    RequestsDropped,
    /// Load driver: length of its window, in seconds.
    WindowSeconds,
    /// Load driver: how late requests were handed to a connection, in
    /// seconds, as quantiles.
    SendLagSeconds,
    /// Load driver: time from the intended start to the last byte of the
    /// answer, in seconds: a histogram, or single quantiles where the driver
    /// keeps no histogram (k6, which counts from the actual send).
    RequestDurationSeconds,
    /// The target's CPU seconds per request as VictoriaMetrics answers it, for
    /// the cross-check.
    VictoriaMetricsCpuSecondsPerRequest,
}

/// One reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The trial, counted from 1 in the order in which they ran.
    pub trial: u32,
    /// The part of the trial in which it was read.
    pub phase: Phase,
    /// Set when the reading opens or closes the measured window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,
    /// In an experiment: the step of the trial's search, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Whose it is.
    pub subject: Subject,
    /// What was read.
    pub reading: Reading,
    /// The reading, in the unit of its name.
    pub value: f64,
    /// When it was read: seconds since the run began, on the monotonic clock.
    pub time: f64,
    /// For readings of things that have names of their own: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Set when it was read on another machine than the target's: which. What
    /// a role used there is no part of the target's machine's busy time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// For a single quantile of a distribution: which, 0–1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// For histograms: `[upper bound in seconds, count]` of each bucket that is not empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<(f64, u64)>,
}

impl Sample {
    /// A plain reading, neither at an edge nor of a distribution.
    pub fn new(
        trial: u32,
        phase: Phase,
        subject: Subject,
        reading: Reading,
        value: f64,
        time: f64,
    ) -> Self {
        Sample {
            trial,
            phase,
            edge: None,
            step: None,
            subject,
            reading,
            value,
            time,
            name: None,
            machine: None,
            quantile: None,
            buckets: Vec::new(),
        }
    }
}
