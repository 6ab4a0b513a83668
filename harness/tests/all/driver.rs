//! The built-in load driver against a server that the test controls.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flora_bench::clock::monotonic_ns;
use flora_bench::load::driver::{self, Event, Loop};
use flora_bench::load::{LoadResult, LoadSpec, Period};
use flora_bench::stats;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::support::measuring;

/// A server that answers as told, and counts.
struct Server {
    address: SocketAddr,
    served: Arc<AtomicU64>,
    gzip: Arc<AtomicU64>,
    runtime: tokio::runtime::Runtime,
}

/// What the n-th request (from 0) gets.
type Answer = fn(n: u64, since_first: Duration) -> (StatusCode, Duration);

impl Server {
    fn start(answer: Answer) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(AtomicU64::new(0));
        let gzip = Arc::new(AtomicU64::new(0));
        let counters = (served.clone(), gzip.clone());
        runtime.spawn(async move {
            let first = Arc::new(std::sync::OnceLock::new());
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (served, gzip) = counters.clone();
                let first = first.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let n = served.fetch_add(1, Ordering::Relaxed);
                        if request.headers().contains_key("accept-encoding") {
                            gzip.fetch_add(1, Ordering::Relaxed);
                        }
                        let since = first.get_or_init(Instant::now).elapsed();
                        let (status, delay) = answer(n, since);
                        async move {
                            if !delay.is_zero() {
                                tokio::time::sleep(delay).await;
                            }
                            let mut response = Response::new(Full::new(Bytes::from_static(b"[1]")));
                            *response.status_mut() = status;
                            Ok::<_, Infallible>(response)
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Server {
            address,
            served,
            gzip,
            runtime,
        }
    }

    fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

fn spec(server: &Server, rate: f64) -> LoadSpec {
    LoadSpec {
        url: format!("http://{}/objects", server.address),
        gzip: false,
        connections: 32,
        rate,
        warmup_seconds: 0.5,
        measure_seconds: 3.0,
        timeout_seconds: 10.0,
        periods: Vec::new(),
    }
}

/// Runs the driver as the harness does: a process, a line each way.
fn drive(spec: &LoadSpec, kind: Loop) -> LoadResult {
    let mut child = Command::new(env!("CARGO_BIN_EXE_flora-bench"))
        .arg("load-driver")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut tell = |command: &driver::Command| {
        writeln!(input, "{}", serde_json::to_string(command).unwrap()).unwrap();
    };
    let mut hear = || -> Event {
        let line = output.next().expect("the driver ended").unwrap();
        serde_json::from_str(&line).unwrap()
    };
    tell(&driver::Command::Prepare(spec.clone(), kind));
    assert!(matches!(hear(), Event::Ready));
    tell(&driver::Command::Start(monotonic_ns() + 20_000_000));
    let Event::Result(result) = hear() else {
        panic!("no result");
    };
    drop(input);
    assert!(child.wait().unwrap().success());
    result
}

#[test]
fn every_request_is_sent_counted_and_answered() {
    let _guard = measuring();
    let server = Server::start(|_, _| (StatusCode::OK, Duration::ZERO));
    let result = drive(&spec(&server, 1_000.0), Loop::Open);
    // 3 s at 1,000 per second, whatever the machine did meanwhile.
    assert_eq!(result.offered, 3_000);
    assert_eq!((result.failed, result.dropped), (0, 0));
    let recorded: u64 = result.buckets.iter().map(|(_, count)| count).sum();
    assert_eq!(recorded, 3_000, "each has a duration");
    assert_eq!(result.answered_total, 3_500, "warm-up included");
    assert_eq!(server.served(), 3_500);
    assert_eq!(server.gzip.load(Ordering::Relaxed), 0);
}

#[test]
fn fractional_rates_are_held() {
    let _guard = measuring();
    let server = Server::start(|_, _| (StatusCode::OK, Duration::ZERO));
    let mut spec = spec(&server, 333.3);
    spec.gzip = true;
    let result = drive(&spec, Loop::Open);
    // 333.3 × 3 = 999.9: the count can differ from it by less than one request.
    assert!(result.offered.abs_diff(1_000) <= 1, "{}", result.offered);
    assert_eq!(server.gzip.load(Ordering::Relaxed), server.served());
}

#[test]
fn who_needs_the_pause_for_a_turns_requests_is_not_in_time() {
    let _guard = measuring();
    // About 90 a second on one connection.
    let server = Server::start(|_, _| (StatusCode::OK, Duration::from_millis(10)));
    let turn = |start_seconds| Period {
        start_seconds,
        seconds: 0.5,
        pause_seconds: 1.0,
        measured: true,
    };
    let spec = LoadSpec {
        connections: 1,
        periods: vec![turn(0.0), turn(1.5)],
        ..spec(&server, 150.0)
    };
    let result = drive(&spec, Loop::Open);
    assert_eq!((result.offered, result.failed, result.dropped), (150, 0, 0));
    assert!(result.completed >= 140, "{}", result.completed);
    let in_time = result.completed_in_time.unwrap();
    assert!(in_time < 130, "{in_time}");
}

#[test]
fn a_stall_shows_as_the_wait_that_users_had() {
    let _guard = measuring();
    // From second 1 to second 2 nothing is answered.
    let server = Server::start(|_, since| {
        let stalled = (1.0..2.0).contains(&since.as_secs_f64());
        let rest = Duration::from_secs(2).saturating_sub(since);
        (StatusCode::OK, if stalled { rest } else { Duration::ZERO })
    });
    let result = drive(&spec(&server, 200.0), Loop::Open);
    assert_eq!((result.failed, result.dropped), (0, 0));
    let quantile = |q| stats::quantile(&result.buckets, q).unwrap();
    // A third of the window's requests fell into the stall, evenly: their waits
    // run from 0 to 1 s. A driver that waits before it sends ("coordinated
    // omission") would see 32 slow requests, 5 %.
    assert!(quantile(0.999) > 0.9, "{}", quantile(0.999));
    assert!(quantile(0.90) > 0.5, "{}", quantile(0.90));
    let slow: u64 = result
        .buckets
        .iter()
        .filter(|(bound, _)| *bound > 0.25)
        .map(|(_, count)| count)
        .sum();
    // A busy machine makes it more.
    assert!(slow >= 120, "{slow} of 600 waited over 250 ms");
}

#[test]
fn errors_are_counted_and_told() {
    let _guard = measuring();
    let server = Server::start(|n, _| {
        let status = if n % 10 == 0 {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        (status, Duration::ZERO)
    });
    let result = drive(&spec(&server, 500.0), Loop::Open);
    assert!((145..=155).contains(&result.failed), "{}", result.failed);
    assert!(result.failures[0].contains("503"), "{:?}", result.failures);
}

#[test]
fn a_server_that_cannot_keep_up_leaves_requests_unsent_and_counted() {
    let _guard = measuring();
    let server = Server::start(|_, _| (StatusCode::OK, Duration::from_millis(200)));
    let mut spec = spec(&server, 1_000.0);
    spec.connections = 4;
    spec.measure_seconds = 1.0;
    // Four connections at 200 ms each answer 20 per second.
    let result = drive(&spec, Loop::Open);
    assert_eq!(result.offered, 1_000);
    assert!(result.dropped > 900, "{}", result.dropped);
    let answered: u64 = result.buckets.iter().map(|(_, count)| count).sum();
    assert_eq!(answered + result.dropped + result.failed, 1_000);
}

#[test]
fn a_server_that_goes_away_is_an_error_not_a_hang() {
    let _guard = measuring();
    let server = Server::start(|_, _| (StatusCode::OK, Duration::ZERO));
    let spec = spec(&server, 100.0);
    let killer = std::thread::spawn(move || {
        while server.served() < 100 {
            std::thread::sleep(Duration::from_millis(10));
        }
        server.runtime.shutdown_background();
    });
    let result = drive(&spec, Loop::Open);
    killer.join().unwrap();
    assert!(result.failed > 0);
    assert_eq!(result.offered, 300);
}

#[test]
fn a_closed_loop_is_as_fast_as_the_server() {
    let _guard = measuring();
    let server = Server::start(|_, _| (StatusCode::OK, Duration::from_millis(20)));
    let mut spec = spec(&server, 1.0);
    spec.connections = 8;
    spec.measure_seconds = 1.0;
    let result = drive(&spec, Loop::Closed);
    // Eight at a time, 20 ms each or a little more: at most 400 per second.
    assert!(
        (20..=400).contains(&result.completed),
        "{}",
        result.completed
    );
    assert_eq!(result.failed, 0);
}

#[test]
fn a_driver_without_a_harness_ends() {
    let server = Server::start(|_, _| (StatusCode::OK, Duration::ZERO));
    let mut child = Command::new(env!("CARGO_BIN_EXE_flora-bench"))
        .arg("load-driver")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut long = spec(&server, 10.0);
    long.measure_seconds = 600.0;
    for command in [
        driver::Command::Prepare(long, Loop::Open),
        driver::Command::Start(monotonic_ns()),
    ] {
        writeln!(input, "{}", serde_json::to_string(&command).unwrap()).unwrap();
    }
    while server.served() == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(input);
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it goes on without its harness");
        std::thread::sleep(Duration::from_millis(20));
    }
}
