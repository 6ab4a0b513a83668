//! Takes a reading a second and serves what is kept. One thread.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Uri;
use hyper::body::Bytes;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::reading::About;
use super::ring::Ring;
use super::watch::{Watcher, now};
use super::{KEPT, NodeReading, ObserveError, PERIOD_SECONDS, POD_READINGS, Scope, exposition};
use crate::clock::unix_seconds;
use crate::error;
use crate::exporter::server::{Answer, PROMETHEUS_TEXT, serve};
use crate::fingerprint::{self, VERSION};
use crate::terminal::say;

/// Readings in one answer: two minutes of them.
pub const LINES: usize = 120;
/// The least time between two readings that are asked for, in seconds.
const ASKED: f64 = 0.01;

const JSON: &str = "application/json";
const JSON_LINES: &str = "application/x-ndjson";

struct State {
    watcher: Watcher,
    ring: Ring,
}

impl State {
    /// Takes a reading and keeps it.
    fn read(&mut self) -> Result<Arc<NodeReading>, ObserveError> {
        let reading = Arc::new(self.watcher.read()?);
        self.ring.push(Arc::clone(&reading));
        Ok(reading)
    }
}

/// Observes until SIGTERM or SIGINT.
///
/// # Errors
/// [`ObserveError`] with what to mount, or the address that is taken.
pub fn main(listen: SocketAddr, scope: Scope) -> Result<(), ObserveError> {
    let mut watcher = Watcher::open(scope)?;
    let source = watcher.source();
    let cpus = watcher.read()?.node;
    let cpus = cpus.get(&crate::sample::Reading::NodeCpus).copied();
    let state = Arc::new(Mutex::new(State {
        watcher,
        ring: Ring::new(KEPT, POD_READINGS),
    }));
    let failed = |source| ObserveError::Listen {
        address: listen,
        source,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        say(format_args!(
            "observing by {source}, serving http://{address}/readings"
        ));
        let about = About {
            version: VERSION.into(),
            boot_id: boot_id(),
            cgroups: source.into(),
            cpus: cpus.unwrap_or(fingerprint::allowed_cpus().len() as f64) as u32,
            period_seconds: PERIOD_SECONDS,
            unix: 0.0,
            monotonic: 0.0,
        };
        let shown = Arc::clone(&state);
        let handler = move |uri: &Uri| answer(uri, &shown, &about);
        tokio::select! {
            () = serve(listener, Arc::new(handler)) => {}
            () = read_on(&state) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// Takes a reading a second. One that fails is told once and tried again.
async fn read_on(state: &Mutex<State>) {
    let mut ticks = interval(Duration::from_secs_f64(PERIOD_SECONDS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut told = false;
    loop {
        ticks.tick().await;
        match lock(state).read() {
            Ok(_) => told = false,
            Err(error) if !told => {
                log::warn!("no reading: {}", error::text(&error));
                told = true;
            }
            Err(_) => {}
        }
    }
}

fn answer(uri: &Uri, state: &Mutex<State>, about: &About) -> Option<Answer> {
    match uri.path() {
        "/readings" => {
            let since = query(uri, "since").unwrap_or(0.0);
            let kept = lock(state).ring.since(since, LINES);
            let mut lines = Vec::new();
            for reading in kept {
                lines.extend(json(&*reading));
                lines.push(b'\n');
            }
            Some((JSON_LINES, lines.into()))
        }
        "/read" => {
            let mut state = lock(state);
            let latest = state.ring.latest().cloned();
            let reading = match latest.filter(|latest| now() - latest.monotonic < ASKED) {
                Some(latest) => latest,
                None => state.read().ok()?,
            };
            Some((JSON, json(&*reading).into()))
        }
        "/about" => {
            let about = About {
                unix: unix_seconds(),
                monotonic: now(),
                ..about.clone()
            };
            Some((JSON, json(&about).into()))
        }
        "/metrics" => {
            let latest = lock(state).ring.latest().cloned()?;
            Some((PROMETHEUS_TEXT, exposition::text(&latest).into()))
        }
        "/healthz" => Some(("text/plain", Bytes::from_static(b"ok\n"))),
        _ => None,
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("readings are numbers and names")
}

/// A number of the query; one that can't be read counts as missing.
fn query(uri: &Uri, name: &str) -> Option<f64> {
    let pairs = uri.query()?.split('&');
    let mut values = pairs.filter_map(|pair| pair.split_once('='));
    values.find(|(key, _)| *key == name)?.1.parse().ok()
}

fn boot_id() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.unwrap_or_default().trim().to_owned()
}
