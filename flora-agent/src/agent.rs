//! The agent at work: one loop that waits for signals, scrapers and changes.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use flora_agent_common::layout::{self, Route, Span, series_parts};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::time::{ClockId, clock_gettime};

use crate::bpf::call::enable_statistics;
use crate::bpf::map::{Entries, Map, MapError};
use crate::bpf::memory::MemoryError;
use crate::http::{Body, ListenError, Server, Site};
use crate::kubernetes::callers::Callers;
use crate::kubernetes::node::Node;
use crate::load::{LoadError, Loaded, Settings, load};
use crate::metrics::counters::{Counters, Field, Parts};
use crate::metrics::peers::caller;
use crate::metrics::process;
use crate::metrics::routes::{RouteName, Routes};
use crate::metrics::scrape::{ContainerLabels, Scrape, container_labels, groups};
use crate::metrics::slots::{Look, Slots, Tables};
use crate::metrics::text::{family, label, sample, seconds};
use crate::spans::encode::{Ids, Names, encode};
use crate::spans::endpoint::Endpoint;
use crate::spans::export::Exporter;
use crate::spans::ring::{Ring, RingError};
use crate::watch::containers::{Container, Containers};
use crate::watch::{AttachError, Target, Watch};

/// How often spans are taken out of their ring.
const DRAIN: Duration = Duration::from_millis(100);

/// How long spans wait for others to be sent with.
const GATHER: Duration = Duration::from_secs(1);

/// Spans in a request to the collector, at most.
const BATCH: usize = 256;

/// Containers that are gone are forgotten so often, when no scrape did it.
const FORGET: Duration = Duration::from_secs(60);

/// How long the last spans may take at the end.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// What the agent is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to watch.
    pub targets: Vec<Target>,
    /// The node, for the names of its pods.
    pub node: Node,
    /// Where metrics are served.
    pub listen: SocketAddr,
    /// What the kernel programs are told.
    pub settings: Settings,
    /// Where spans are sent.
    pub collector: Option<Endpoint>,
    /// Diagnostic: how often the programs are loaded and attached.
    pub copies: usize,
    /// Diagnostic: has the kernel time each run.
    pub bpf_statistics: bool,
}

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The kernel programs.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A control group.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A map.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A map.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The spans.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The system.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

fn system<E: Into<std::io::Error>>(action: &'static str) -> impl FnOnce(E) -> AgentError {
    move |source| AgentError::System {
        action,
        source: source.into(),
    }
}

#[derive(Debug)]
struct Agent {
    copies: Vec<Loaded>,
    counters: Rc<Counters>,
    routes: Routes,
    watch: Watch,
    callers: Callers,
    slots: Slots,
    /// When containers that are gone were forgotten.
    forgot: Instant,
    spans: Option<Spans>,
    /// Open while the kernel shall time runs.
    statistics: Option<OwnedFd>,
}

#[derive(Debug)]
struct Spans {
    ring: Ring,
    exporter: Exporter,
    ids: Ids,
    waiting: Vec<Span>,
    since: Instant,
}

/// Runs until it is told to stop. The process must have one thread when this is called.
///
/// # Errors
/// [`AgentError`], before anything is attached; later troubles are logged.
pub fn run(options: &Options) -> Result<(), AgentError> {
    // The port first: when it is taken, nothing has been attached yet.
    let mut server = Server::listen(options.listen)?;
    let copies = load(options.settings, options.copies)?;
    // From here on there is something to take down; until here a signal may just end the process.
    let signals = signals().map_err(system("wait for signals"))?;
    let mut agent = Agent::start(options, copies)?;
    let address = server.address().unwrap_or(options.listen);
    log::info!(address:% = address; "metrics are served");
    crate::resident::shrink();
    agent.work(&mut server, &signals);
    agent.stop();
    Ok(())
}

/// SIGTERM and SIGINT as a descriptor, so that the loop ends where it waits.
fn signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

impl Agent {
    fn start(options: &Options, copies: Vec<Loaded>) -> Result<Self, AgentError> {
        if options.copies > 1 {
            log::warn!(copies = options.copies; "DIAGNOSTIC: the programs run several times on every packet, and only the first copy is shown");
        }
        let statistics = if options.bpf_statistics {
            log::warn!(
                "DIAGNOSTIC: the kernel times every run of every eBPF program on this machine, which costs time itself"
            );
            let descriptor = enable_statistics();
            Some(descriptor.map_err(system("have the kernel time eBPF programs"))?)
        } else {
            None
        };
        let first = &copies[0];
        let counters = Rc::new(Counters::new(first.map("SERIES")?)?);
        for name in ["LOST", "PEERS"] {
            first.map(name)?;
        }
        Tables::of(first)?;
        let ring = match options.collector {
            Some(_) => Some(Ring::new(first.map("SPANS")?)?),
            None => None,
        };
        let watch = Watch::start(options.targets.clone(), options.node.clone(), &copies)?;
        // Threads last: the loader had to be alone.
        let spans = match (ring, &options.collector) {
            (Some(ring), Some(endpoint)) => {
                log::info!(endpoint = endpoint.address.as_str(); "spans are sent");
                let exporter = Exporter::start(endpoint.clone());
                Some(Spans {
                    ring,
                    exporter: exporter.map_err(system("start a thread"))?,
                    ids: Ids::new(random()),
                    waiting: Vec::new(),
                    since: Instant::now(),
                })
            }
            _ => None,
        };
        Ok(Agent {
            copies,
            counters,
            routes: Routes::default(),
            watch,
            callers: Callers::default(),
            slots: Slots::new(Instant::now()),
            forgot: Instant::now(),
            spans,
            statistics,
        })
    }

    /// The loop.
    fn work(&mut self, server: &mut Server, signals: &SignalFd) {
        loop {
            if let Ok(Some(signal)) = signals.read_signal() {
                log::info!(signal = signal.ssi_signo; "stopping");
                return;
            }
            let changed = wait(self, server, signals);
            if changed {
                self.watch.follower().read();
            }
            if self.watch.follower().due() <= Instant::now() {
                self.watch.survey(&self.copies);
            }
            if self.slots.due() <= Instant::now() && !server.is_answering() {
                self.take_back();
            }
            self.drain(false);
            server.serve(self);
        }
    }

    /// Takes spans out of their ring, and sends them on when there are enough, or for long enough.
    fn drain(&mut self, last: bool) {
        let Some(mut spans) = self.spans.take() else {
            return;
        };
        loop {
            let before = spans.waiting.len();
            if before == 0 {
                spans.since = Instant::now();
            }
            spans.ring.drain(BATCH, &mut spans.waiting);
            let full = spans.waiting.len() >= BATCH;
            let due = last || full || spans.since.elapsed() >= GATHER;
            if due && !spans.waiting.is_empty() {
                let offset = unix_offset();
                let body = encode(&spans.waiting, self, &mut spans.ids, offset);
                spans.exporter.send(body, spans.waiting.len());
                spans.waiting.clear();
            }
            if !full {
                break;
            }
        }
        self.spans = Some(spans);
    }

    fn stop(mut self) {
        self.drain(true);
        // Detached first, so that what is watched is free while the last spans are sent.
        drop(self.watch);
        drop(self.copies);
        log::info!("detached");
        if let Some(spans) = self.spans {
            spans.exporter.finish(LAST_SPANS);
        }
    }

    fn map(&self, name: &str) -> Option<&Map> {
        self.copies[0].maps.get(name)
    }

    fn entries(&self, name: &str) -> Entries {
        let entries = self.map(name).map(Map::entries);
        match entries {
            Some(Ok(entries)) => entries,
            Some(Err(error)) => {
                log::warn!("{}", crate::error::text(&error));
                Entries::default()
            }
            None => Entries::default(),
        }
    }

    fn refresh_routes(&mut self) {
        if let Some(map) = self.copies[0].maps.get("ROUTES")
            && let Err(error) = self.routes.refresh(map)
        {
            log::warn!("{}", crate::error::text(&error));
        }
    }

    /// Takes slots back that nobody asks for, and forgets containers that nothing is counted for.
    /// So memory has a bound whether anybody scrapes or not.
    fn take_back(&mut self) {
        let entries = ["SERIES_KEYS", "ROUTES"].map(|name| self.entries(name));
        let keys: Vec<u64> = entries[0].values().map(|key| word(key, 0)).collect();
        let routes: Vec<_> = entries[1].values().collect();
        let hash = offset_of!(Route, hash);
        let hashes: Vec<_> = routes.iter().map(|route| word(route, hash)).collect();
        if keys.len() != layout::SERIES || hashes.len() != layout::ROUTES {
            // They could not be read, which is logged.
            return self.slots.put_off(Instant::now());
        }
        let look = Present {
            counters: &self.counters,
            containers: self.watch.containers(),
        };
        let plan = self.slots.plan(Instant::now(), &keys, &hashes, &look);
        let forgets = self.forgot.elapsed() >= FORGET && self.watch.containers().has_gone();
        if plan.is_empty() && !forgets {
            return;
        }
        // Names first: what is taken back has none afterwards.
        self.refresh_routes();
        let containers = self.container_labels(&entries[0], &self.entries("PEERS"));
        if plan.is_empty() {
            return;
        }
        let groups = groups(&entries[0], &self.routes, &containers, &self.counters);
        let Ok(tables) = Tables::of(&self.copies[0]) else {
            return;
        };
        let (freed, done) = plan.carry_out(&tables, &keys, &routes, &self.counters);
        self.slots.fold(&groups, &freed);
        if let Err(error) = done {
            log::warn!("{}", crate::error::text(&error));
        }
    }

    /// Labels of the containers that something is counted for; others that are gone are forgotten.
    fn container_labels(
        &mut self,
        keys: &Entries,
        peers: &Entries,
    ) -> BTreeMap<u16, ContainerLabels> {
        self.forgot = Instant::now();
        let of_keys = keys.values().filter_map(|key| {
            let key = word(key, 0);
            (key != 0).then(|| series_parts(key).0)
        });
        let of_peers = peers.iter().filter_map(|(key, _)| Some(caller(key)?.0));
        let counted: BTreeSet<u16> = of_keys
            .chain(of_peers)
            .filter(|number| *number != 0)
            .collect();
        let containers = self.watch.containers();
        containers.forget_all_but(&counted);
        counted
            .into_iter()
            .filter_map(|number| Some((number, container_labels(containers.get(number)?))))
            .collect()
    }

    /// Learns the pods of callers that are new.
    fn refresh_callers(&mut self, peers: &Entries) {
        let asked = peers.iter().filter_map(|(key, _)| Some(caller(key)?.1));
        let asked: Vec<_> = asked.collect();
        self.callers.refresh(self.watch.node(), &asked);
    }

    /// The families that are small.
    fn rest(&mut self) -> String {
        let mut out = String::with_capacity(4 * 1024);
        self.lost(&mut out);
        let name = "flora_http_requests_forgotten_total";
        family(
            &mut out,
            name,
            "counter",
            "Requests of series that are shown no more: they were quiet, and their slots were wanted.",
        );
        sample(&mut out, name, "", self.slots.forgotten());
        let name = "flora_containers";
        family(
            &mut out,
            name,
            "gauge",
            "Control groups and containers that are watched and told apart.",
        );
        sample(&mut out, name, "", self.watch.containers().present());
        self.facts(&mut out);
        process::render(&mut out);
        out
    }

    fn lost(&self, out: &mut String) {
        let name = "flora_lost_total";
        family(
            out,
            name,
            "counter",
            "What could not be seen or told apart, by reason.",
        );
        let lost = self.entries("LOST");
        let mut values = lost.values();
        for reason in layout::LOST {
            let value = values.next().and_then(|value| value.try_into().ok());
            line(
                out,
                name,
                &[("reason", reason)],
                value.map_or(0, u64::from_ne_bytes),
            );
        }
        let export = self.spans.as_ref().map_or(0, |spans| spans.exporter.lost());
        line(out, name, &[("reason", "export")], export);
    }

    fn facts(&self, out: &mut String) {
        let first = &self.copies[0];
        let name = "flora_build_info";
        family(
            out,
            name,
            "gauge",
            "Version of the agent, and the hash of its kernel programs.",
        );
        let version = env!("CARGO_PKG_VERSION");
        line(
            out,
            name,
            &[("version", version), ("object_sha256", &first.hash)],
            1,
        );
        if self.copies.len() > 1 {
            let name = "flora_diagnostic_copies";
            family(
                out,
                name,
                "gauge",
                "DIAGNOSTIC: how often the programs run on every packet.",
            );
            sample(out, name, "", self.copies.len());
        }
        let name = "flora_bpf_map_bytes";
        family(
            out,
            name,
            "gauge",
            "Kernel memory of a map. Not in it: the state of connections, 0.4 KiB each, and 2.4 KiB of those with split, chunked or pipelined messages.",
        );
        for (map, memory) in first
            .maps
            .iter()
            .filter_map(|(name, map)| Some((name, map.memory()?)))
        {
            line(out, name, &[("map", map)], memory);
        }
        let programs: Vec<_> = first
            .programs
            .iter()
            .filter_map(|(name, loaded)| Some((name.as_str(), loaded.program.info().ok()?)))
            .collect();
        let name = "flora_bpf_program_verified_instructions";
        family(
            out,
            name,
            "gauge",
            "Instructions that the kernel's verifier went through; 0 where it does not say.",
        );
        for (program, info) in &programs {
            line(
                out,
                name,
                &[("program", program)],
                info.verified_instructions,
            );
        }
        if self.statistics.is_some() {
            let name = "flora_bpf_program_run_seconds_total";
            family(
                out,
                name,
                "counter",
                "DIAGNOSTIC: time in a program, including that of measuring it.",
            );
            for (program, info) in &programs {
                line(
                    out,
                    name,
                    &[("program", program)],
                    seconds(info.run_nanoseconds),
                );
            }
            let name = "flora_bpf_program_runs_total";
            family(out, name, "counter", "DIAGNOSTIC: runs of a program.");
            for (program, info) in &programs {
                line(out, name, &[("program", program)], info.runs);
            }
        }
    }
}

fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    let mut rendered = String::new();
    for (name, value) in labels {
        label(&mut rendered, name, value);
    }
    sample(out, name, &rendered, value);
}

/// Waits until there is something to do. True when control groups have changed.
fn wait(agent: &mut Agent, server: &Server, signals: &SignalFd) -> bool {
    use std::os::fd::AsFd;
    let follower = agent.watch.follower();
    let mut due = follower.due();
    if !server.is_answering() {
        due = due.min(agent.slots.due());
    }
    due = server.due().map_or(due, |other| due.min(other));
    if agent.spans.is_some() {
        due = due.min(Instant::now() + DRAIN);
    }
    // Rounded up, so that what is due is due when this returns.
    let timeout = due.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    let follower = agent.watch.follower();
    let mut descriptors = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    let follows = follower.descriptor().map(|descriptor| {
        descriptors.push(PollFd::new(descriptor, PollFlags::POLLIN));
        descriptors.len() - 1
    });
    for (descriptor, flags) in server.descriptors() {
        descriptors.push(PollFd::new(descriptor, flags));
    }
    // An interruption is looked into like anything else.
    let _ = poll(&mut descriptors, timeout);
    follows.is_some_and(|index| descriptors[index].any().unwrap_or(false))
}

/// What series look like to the agent.
struct Present<'a> {
    counters: &'a Counters,
    containers: &'a Containers,
}

impl Look for Present<'_> {
    fn bytes(&self, slot: usize) -> u64 {
        let slot = Parts::slot(slot);
        let of = |field| self.counters.sum(&slot, field);
        of(Field::REQUEST_BYTES).wrapping_add(of(Field::RESPONSE_BYTES))
    }

    fn is_unfinished(&self, slot: usize) -> bool {
        self.counters.unfinished(&Parts::slot(slot)) > 0
    }

    fn is_gone(&self, container: u16) -> bool {
        // 0 is what has no number.
        container != 0 && self.containers.is_gone(container)
    }
}

/// A word of a map's value.
fn word(value: &[u8], at: usize) -> u64 {
    let bytes = value
        .get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_ne_bytes)
}

impl Names for Agent {
    fn route(&mut self, number: u16) -> RouteName {
        if self.routes.get(number).is_none() && number != layout::OTHER {
            self.refresh_routes();
        }
        self.routes.name(number)
    }

    fn container(&mut self, number: u16) -> Option<&Container> {
        self.watch.containers().get(number)
    }
}

impl Site for Agent {
    fn metrics(&mut self) -> Box<dyn Body> {
        // Keys first: a key's route is written before the key is.
        let keys = self.entries("SERIES_KEYS");
        self.refresh_routes();
        let peers = self.entries("PEERS");
        self.refresh_callers(&peers);
        let containers = self.container_labels(&keys, &peers);
        let mut groups = groups(&keys, &self.routes, &containers, &self.counters);
        self.slots.add_past(&mut groups);
        self.slots.shown();
        let rest = self.rest();
        let counters = Rc::clone(&self.counters);
        Box::new(Scrape::new(
            counters,
            groups,
            containers,
            &peers,
            &self.callers,
            rest,
        ))
    }
}

/// What to add to CLOCK_MONOTONIC for the time since 1970, in nanoseconds.
fn unix_offset() -> u64 {
    let now = |clock| {
        clock_gettime(clock).map_or(0, |time| {
            (time.tv_sec() as u64).wrapping_mul(1_000_000_000) + time.tv_nsec() as u64
        })
    };
    now(ClockId::CLOCK_REALTIME).wrapping_sub(now(ClockId::CLOCK_MONOTONIC))
}

/// A random number, from what each hash map is seeded with.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}
