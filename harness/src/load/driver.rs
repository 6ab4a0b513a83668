//! The built-in load driver: an open loop in a process of its own.
//!
//! Request `k` is due at `start + k / rate`, fixed in advance, whatever the
//! target does. Its duration counts from that moment, so a target that stalls
//! can't hide the wait behind requests that were never sent ("coordinated
//! omission"). What finds no free connection waits in a queue; what is still
//! there after the grace period is counted as dropped.
//!
//! One thread and one timer: `timerfd` gives the pacing the kernel's
//! high-resolution timers, where the runtime's own timers round to a
//! millisecond.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT_ENCODING, HOST, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::{LoadResult, LoadSpec, Period};
use crate::clock::monotonic_ns;

/// How long late answers are awaited after the window, at most.
pub const GRACE: Duration = Duration::from_secs(1);

/// How long after a turn an answer is in time, in seconds. Work that piled up in a turn is done in
/// its pause: a target that can't keep up would never be seen.
const IN_TIME_SECONDS: f64 = 0.05;

/// Which quantiles of the send lag are reported.
const LAG_QUANTILES: [f64; 2] = [0.5, 0.99];

/// Failures that are kept in words.
const FAILURES_KEPT: usize = 5;

/// What the parent tells the driver, one JSON line each on standard input.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Connect, then say [`Event::Ready`].
    Prepare(LoadSpec, Loop),
    /// Begin at this moment of `CLOCK_MONOTONIC`, in nanoseconds.
    Start(u64),
}

/// When the next request is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loop {
    /// At times fixed in advance.
    Open,
    /// As soon as the last answer is there, on every connection: finds the capacity.
    Closed,
}

/// What the driver says, one JSON line each on standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Every connection stands.
    Ready,
    /// The load is over.
    Result(LoadResult),
}

/// Runs the driver: reads commands, sends load, says what came of it.
///
/// # Errors
/// When the parent's words can't be read or the target can't be reached at all.
pub fn main() -> anyhow::Result<()> {
    // Not a `LocalSet`: that wakes its thread by a system call whenever a task
    // in it becomes ready, twice a request.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())?;
    runtime.block_on(drive())
}

async fn drive() -> anyhow::Result<()> {
    let mut commands = BufReader::new(tokio::io::stdin()).lines();
    let mut next = async || -> anyhow::Result<Option<Command>> {
        Ok(match commands.next_line().await? {
            Some(line) => Some(serde_json::from_str(&line)?),
            None => None,
        })
    };
    // A closed pipe means that the harness is gone; there is nothing to do then.
    let Some(Command::Prepare(spec, kind)) = next().await? else {
        return Ok(());
    };
    let session = Rc::new(Session::new(spec, kind)?);
    let mut senders = Vec::new();
    for _ in 0..session.spec.connections {
        senders.push(Some(session.connect().await?));
    }
    say(&Event::Ready)?;
    let Some(Command::Start(start_ns)) = next().await? else {
        return Ok(());
    };
    // A task of its own, as above: waking the outermost future takes a system call.
    let run = tokio::task::spawn_local(session.run(start_ns, senders));
    let result = tokio::select! {
        result = run => result??,
        // Reading on notices a harness that dies under load.
        _ = next() => return Ok(()),
    };
    say(&Event::Result(result))?;
    // Whoever watches takes an exit for a failure while others are still under load.
    next().await?;
    Ok(())
}

fn say(event: &Event) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, event)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// The measured part of the load.
#[derive(Clone, Debug, Default)]
struct Window {
    stretches: Vec<Stretch>,
}

/// One stretch of it, in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    open: u64,
    close: u64,
    /// Until when they are in time: who keeps up with the rate has answered by then.
    in_time: u64,
    /// Until when answers belong to it.
    settled: u64,
}

impl Window {
    fn new(periods: &[Period], start_ns: u64) -> Self {
        let stretch = |period: &Period| {
            let open = start_ns + nanos(period.start_seconds);
            let close = open + nanos(period.seconds);
            Stretch {
                open,
                close,
                in_time: close + nanos(period.pause_seconds.min(IN_TIME_SECONDS)),
                settled: close + nanos(period.pause_seconds),
            }
        };
        let measured = periods.iter().filter(|period| period.measured);
        Window {
            stretches: measured.map(stretch).collect(),
        }
    }

    /// The last stretch that has begun by then.
    fn begun(&self, ns: u64) -> Option<&Stretch> {
        let after = self.stretches.partition_point(|stretch| stretch.open <= ns);
        self.stretches.get(after.checked_sub(1)?)
    }

    /// Whether a request that is due then belongs to it.
    fn sends(&self, ns: u64) -> bool {
        self.begun(ns).is_some_and(|stretch| ns < stretch.close)
    }

    /// Whether an answer that comes then belongs to it.
    fn settles(&self, ns: u64) -> bool {
        self.begun(ns).is_some_and(|stretch| ns < stretch.settled)
    }

    /// Whether an answer that comes then shows that the target keeps up.
    fn is_in_time(&self, ns: u64) -> bool {
        self.begun(ns).is_some_and(|stretch| ns < stretch.in_time)
    }

    /// Whether answers may belong to a stretch that has ended.
    fn pauses(&self) -> bool {
        self.stretches.iter().any(|s| s.settled > s.close)
    }

    fn end(&self) -> u64 {
        self.stretches.last().map_or(0, |stretch| stretch.settled)
    }

    fn seconds(&self) -> f64 {
        let sum: u64 = self.stretches.iter().map(|s| s.close - s.open).sum();
        sum as f64 / 1e9
    }
}

struct Tally {
    window: Window,
    offered: u64,
    completed: u64,
    completed_in_time: u64,
    answered_total: u64,
    failed: u64,
    failures: Vec<String>,
    /// Requests that were taken from the queue and not finished.
    in_flight: u64,
    /// Nanoseconds from the intended start to the last byte.
    durations: Histogram<u64>,
    /// Nanoseconds from the intended start to a connection.
    send_lag: Histogram<u64>,
}

struct Session {
    spec: LoadSpec,
    kind: Loop,
    address: String,
    host: HeaderValue,
    path: Uri,
    /// Intended starts of requests that wait for a connection.
    queue: RefCell<VecDeque<u64>>,
    arrivals: Notify,
    tally: RefCell<Tally>,
    connections: Vec<Connection>,
}

/// What is known of one connection from outside its task.
#[derive(Default)]
struct Connection {
    /// When its request was sent, in nanoseconds; 0 while it is free.
    since: Cell<u64>,
    overdue: Notify,
}

/// A histogram of nanoseconds with a resolution of 1 µs or 0.1 %, whichever is coarser, up to ten minutes.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 600_000_000_000, 3).expect("the bounds are valid")
}

impl Session {
    fn new(spec: LoadSpec, kind: Loop) -> anyhow::Result<Self> {
        let uri: Uri = spec.url.parse()?;
        let authority = uri
            .authority()
            .ok_or_else(|| anyhow::anyhow!("`{}` has no host", spec.url))?
            .clone();
        let address = match authority.port_u16() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:80"),
        };
        Ok(Session {
            kind,
            address,
            host: HeaderValue::from_str(authority.as_str())?,
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .parse()?,
            queue: RefCell::new(VecDeque::new()),
            arrivals: Notify::new(),
            tally: RefCell::new(Tally {
                window: Window::default(),
                offered: 0,
                completed: 0,
                completed_in_time: 0,
                answered_total: 0,
                failed: 0,
                failures: Vec::new(),
                in_flight: 0,
                durations: histogram(),
                send_lag: histogram(),
            }),
            connections: (0..spec.connections)
                .map(|_| Connection::default())
                .collect(),
            spec,
        })
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its errors come out of the request that was on the connection.
        tokio::task::spawn_local(connection);
        Ok(sender)
    }

    async fn run(
        self: Rc<Self>,
        start_ns: u64,
        senders: Vec<Option<SendRequest<Empty<Bytes>>>>,
    ) -> anyhow::Result<LoadResult> {
        let periods = self.spec.periods();
        let window = Window::new(&periods, start_ns);
        let end_ns = window.end();
        self.tally.borrow_mut().window = window;
        let mut workers: Vec<_> = senders
            .into_iter()
            .enumerate()
            .map(|(n, sender)| tokio::task::spawn_local(self.clone().work(n, sender, start_ns)))
            .collect();
        workers.push(tokio::task::spawn_local(self.clone().watch_overdue()));
        match self.kind {
            Loop::Open => {
                let timer = Timer::new()?;
                for period in periods {
                    let open_ns = start_ns + nanos(period.start_seconds);
                    self.pace(&timer, open_ns, open_ns + nanos(period.seconds))
                        .await?;
                }
                crate::clock::sleep_until_ns(end_ns).await;
            }
            Loop::Closed => crate::clock::sleep_until_ns(end_ns).await,
        }
        self.drain().await;
        for worker in workers {
            worker.abort();
        }
        Ok(self.result())
    }

    /// Puts each request of a period into the queue when it is due.
    async fn pace(&self, timer: &Timer, start_ns: u64, close_ns: u64) -> anyhow::Result<()> {
        let interval_ns = 1e9 / self.spec.rate;
        let total = ((close_ns - start_ns) as f64 / interval_ns).ceil() as u64;
        let mut sent = 0u64;
        while sent < total {
            let due_ns = start_ns + (sent as f64 * interval_ns) as u64;
            timer.until(due_ns).await?;
            // The clock decides, not the timer: a late wake-up owes all that was due meanwhile.
            let due = (((monotonic_ns().saturating_sub(start_ns)) as f64 / interval_ns) as u64 + 1)
                .min(total);
            while sent < due {
                let intended = start_ns + (sent as f64 * interval_ns) as u64;
                self.queue.borrow_mut().push_back(intended);
                self.arrivals.notify_one();
                let mut tally = self.tally.borrow_mut();
                if tally.window.sends(intended) {
                    tally.offered += 1;
                }
                sent += 1;
            }
        }
        Ok(())
    }

    /// Waits for what is under way, but not longer than the grace period.
    async fn drain(&self) {
        let deadline = monotonic_ns() + GRACE.as_nanos() as u64;
        while monotonic_ns() < deadline {
            if self.queue.borrow().is_empty() && self.tally.borrow().in_flight == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the wait of requests that take too long. One look in a while at all
    /// connections, because a timer for each request would cost a system call
    /// each.
    async fn watch_overdue(self: Rc<Self>) {
        let limit_ns = nanos(self.spec.timeout_seconds);
        let pause = Duration::from_nanos(limit_ns / 20)
            .clamp(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            tokio::time::sleep(pause).await;
            let now = monotonic_ns();
            for connection in &self.connections {
                let since = connection.since.get();
                if since > 0 && now.saturating_sub(since) > limit_ns {
                    connection.overdue.notify_waiters();
                }
            }
        }
    }

    /// One connection's life: takes the oldest request, sends it, reads the answer.
    async fn work(
        self: Rc<Self>,
        n: usize,
        mut sender: Option<SendRequest<Empty<Bytes>>>,
        start_ns: u64,
    ) {
        let connection = &self.connections[n];
        if self.kind == Loop::Closed {
            crate::clock::sleep_until_ns(start_ns).await;
        }
        loop {
            let intended = match self.kind {
                Loop::Open => self.next_arrival().await,
                Loop::Closed => {
                    let now = monotonic_ns();
                    let mut tally = self.tally.borrow_mut();
                    if now >= tally.window.end() {
                        return;
                    }
                    if tally.window.sends(now) {
                        tally.offered += 1;
                    }
                    now
                }
            };
            {
                let mut tally = self.tally.borrow_mut();
                tally.in_flight += 1;
                let now = monotonic_ns();
                connection.since.set(now);
                if tally.window.sends(intended) {
                    tally
                        .send_lag
                        .saturating_record(now.saturating_sub(intended));
                }
            }
            let outcome = tokio::select! {
                biased;
                outcome = self.request(&mut sender) => Some(outcome),
                () = connection.overdue.notified() => None,
            };
            connection.since.set(0);
            let outcome = outcome.unwrap_or_else(|| {
                // The answer may still come; the connection can't be used again.
                sender = None;
                Err(anyhow::anyhow!(
                    "no answer within {} s",
                    self.spec.timeout_seconds
                ))
            });
            self.record(intended, outcome);
        }
    }

    async fn next_arrival(&self) -> u64 {
        loop {
            if let Some(intended) = self.queue.borrow_mut().pop_front() {
                return intended;
            }
            self.arrivals.notified().await;
        }
    }

    async fn request(&self, slot: &mut Option<SendRequest<Empty<Bytes>>>) -> anyhow::Result<()> {
        if slot.as_ref().is_none_or(|sender| sender.is_closed()) {
            *slot = None;
            *slot = Some(self.connect().await?);
        }
        let sender = slot.as_mut().expect("just connected");
        sender.ready().await?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.path.clone();
        request.headers_mut().insert(HOST, self.host.clone());
        if self.spec.gzip {
            request
                .headers_mut()
                .insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => {
                *slot = None;
                return Err(error.into());
            }
        };
        let status = response.status();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Err(error) = frame {
                *slot = None;
                return Err(error.into());
            }
        }
        if !status.is_success() {
            anyhow::bail!("the target answered {status}");
        }
        Ok(())
    }

    fn record(&self, intended: u64, outcome: anyhow::Result<()>) {
        let now = monotonic_ns();
        let mut tally = self.tally.borrow_mut();
        tally.in_flight -= 1;
        match outcome {
            Ok(()) => {
                tally.answered_total += 1;
                if tally.window.settles(now) {
                    tally.completed += 1;
                }
                if tally.window.is_in_time(now) {
                    tally.completed_in_time += 1;
                }
                if tally.window.sends(intended) {
                    let duration = now.saturating_sub(intended);
                    tally.durations.saturating_record(duration);
                }
            }
            Err(error) => {
                if tally.window.sends(intended) {
                    tally.failed += 1;
                }
                if tally.failures.len() < FAILURES_KEPT {
                    tally.failures.push(format!("{error:#}"));
                }
            }
        }
    }

    fn result(&self) -> LoadResult {
        let tally = self.tally.borrow();
        let unsent = self
            .queue
            .borrow()
            .iter()
            .filter(|intended| tally.window.sends(**intended))
            .count() as u64;
        let finished = tally.durations.len() + tally.failed + unsent;
        LoadResult {
            offered: tally.offered,
            completed: tally.completed,
            completed_in_time: tally.window.pauses().then_some(tally.completed_in_time),
            answered_total: tally.answered_total,
            // What was sent and not answered within the grace period failed.
            failed: tally.failed + tally.offered.saturating_sub(finished),
            dropped: unsent,
            window_seconds: tally.window.seconds(),
            send_lag: LAG_QUANTILES
                .into_iter()
                .filter(|_| !tally.send_lag.is_empty())
                .map(|q| (q, tally.send_lag.value_at_quantile(q) as f64 / 1e9))
                .collect(),
            buckets: tally
                .durations
                .iter_recorded()
                .map(|bucket| {
                    (
                        bucket.value_iterated_to() as f64 / 1e9,
                        bucket.count_at_value(),
                    )
                })
                .collect(),
            quantiles: Vec::new(),
            failures: tally.failures.clone(),
        }
    }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// A one-shot kernel timer on the monotonic clock.
struct Timer {
    fd: AsyncFd<TimerHandle>,
}

struct TimerHandle(TimerFd);

impl AsRawFd for TimerHandle {
    fn as_raw_fd(&self) -> RawFd {
        use std::os::fd::AsFd;
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    fn new() -> io::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        // SAFETY: the handle owns its descriptor, is moved into the `AsyncFd`,
        // and is never replaced or closed while registered.
        #[allow(unsafe_code)]
        let fd = unsafe {
            AsyncFd::register_with_interest(TimerHandle(timer), tokio::io::Interest::READABLE)
        }
        .map_err(io::Error::from)?;
        Ok(Timer { fd })
    }

    /// Returns when `CLOCK_MONOTONIC` shows `due_ns`, at once when it has passed.
    async fn until(&self, due_ns: u64) -> io::Result<()> {
        if monotonic_ns() >= due_ns {
            // A moment for answers that wait to be read, or a backlog would starve them.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let due = TimeSpec::from_duration(Duration::from_nanos(due_ns));
        self.fd.get_ref().0.set(
            Expiration::OneShot(due),
            TimerSetTimeFlags::TFD_TIMER_ABSTIME,
        )?;
        // Not read: the runtime asks for edges, and setting the timer again
        // clears it. A readiness left over from an earlier time shows by the clock.
        while monotonic_ns() < due_ns {
            self.fd.readable().await?.clear_ready();
        }
        Ok(())
    }
}
