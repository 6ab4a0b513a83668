//! The intake itself: four listeners and a socket on loopback, one thread.

use std::convert::Infallible;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::body::{Encoding, Room, Sent};
use super::decode::{Endpoint, Format};
use super::exposition::Counts;
use super::refusal::Refusal;
use super::tally::Tally;
use super::{Addresses, grpc, statsd};
use crate::backend::kubernetes::intake;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Connections of one listener at a time; exporters use one or two, tracers a few.
const CONNECTIONS: usize = 64;
/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// What is read ahead of a connection.
const BUFFER: usize = 64 << 10;
/// Calls on one connection of HTTP/2 at a time.
const STREAMS: u32 = 16;
/// The longest datagram.
const DATAGRAM: usize = 64 << 10;

/// What a listener takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Surface {
    OtlpHttp,
    OtlpGrpc,
    Datadog,
    Metrics,
}

/// What all connections share.
#[derive(Default)]
struct State {
    counts: Mutex<Counts>,
    room: Room,
}

impl State {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the intake until its standard input ends: the harness is gone then. In
/// a cluster it listens on every address of its pod, until it is told to end.
///
/// # Errors
/// When no port can be had.
pub fn main(in_cluster: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(in_cluster))
}

async fn serve(in_cluster: bool) -> anyhow::Result<()> {
    let state = Arc::new(State::default());
    let mut addresses = Vec::new();
    let (address, ports) = match in_cluster {
        // Whether its nodes have IPv4 or IPv6, and the mapped form of the other.
        true => (IpAddr::from(Ipv6Addr::UNSPECIFIED), intake::ports()),
        false => (IpAddr::from(Ipv4Addr::LOCALHOST), [0; 5]),
    };
    for (surface, port) in [
        Surface::OtlpHttp,
        Surface::OtlpGrpc,
        Surface::Datadog,
        Surface::Metrics,
    ]
    .into_iter()
    .zip(ports)
    {
        let listener = TcpListener::bind((address, port)).await?;
        addresses.push(listener.local_addr()?.to_string());
        tokio::spawn(listen(listener, surface, Arc::clone(&state)));
    }
    let socket = UdpSocket::bind((address, ports[4])).await?;
    let statsd = socket.local_addr()?.to_string();
    tokio::spawn(datagrams(socket, Arc::clone(&state)));
    let [otlp_http, otlp_grpc, datadog, metrics] =
        <[String; 4]>::try_from(addresses).expect("one for each listener");
    let addresses = Addresses {
        otlp_http,
        otlp_grpc,
        datadog,
        statsd,
        metrics,
    };
    let mut out = std::io::stdout();
    serde_json::to_writer(&mut out, &addresses)?;
    out.write_all(b"\n")?;
    out.flush()?;
    if in_cluster {
        let mut terminate = signal(SignalKind::terminate())?;
        terminate.recv().await;
        return Ok(());
    }
    let mut input = tokio::io::stdin();
    while input.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

async fn listen(listener: TcpListener, surface: Surface, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, surface, Arc::clone(&state)));
            }
            Err(error) => {
                // Out of file descriptors, most likely; trying again at once would spin.
                log::warn!("the intake cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
    }
}

async fn connection(stream: TcpStream, surface: Surface, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(stream);
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(request, surface, &state).await) }
    });
    let ended = if surface == Surface::OtlpGrpc {
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(BUFFER as u32)
            .initial_connection_window_size(2 * BUFFER as u32)
            .max_concurrent_streams(STREAMS)
            .serve_connection(stream, service)
            .await
    } else {
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(BUFFER)
            .serve_connection(stream, service)
            .await
    };
    if let Err(error) = ended {
        log::debug!("a connection to the intake ended early: {error}");
    }
}

async fn answer(request: Request<Incoming>, surface: Surface, state: &State) -> Response<Body> {
    if surface == Surface::Metrics {
        return metrics(&request, state);
    }
    let format = content_type(&request);
    let outcome = match surface {
        Surface::OtlpGrpc => call(request, state).await,
        _ => post(request, surface, format, state).await,
    };
    if let Err(refusal) = outcome {
        *state.counts().rejected.entry(refusal).or_default() += 1;
    }
    match (surface, outcome) {
        (Surface::OtlpGrpc, outcome) => grpc::answer(outcome.map(|_| ())),
        (_, Ok(endpoint)) => taken(endpoint, format),
        (_, Err(refusal)) => response(refusal.status(), "text/plain", format!("{refusal}\n")),
    }
}

fn content_type(request: &Request<Incoming>) -> Option<Format> {
    let value = request.headers().get(CONTENT_TYPE)?;
    Format::of(value.to_str().ok()?)
}

/// Takes what is sent by HTTP.
async fn post(
    mut request: Request<Incoming>,
    surface: Surface,
    format: Option<Format>,
    state: &State,
) -> Result<Endpoint, Refusal> {
    let path = request.uri().path();
    let (endpoint, protocol) = match surface {
        Surface::Datadog => (Endpoint::datadog(path), "datadog"),
        _ => (Endpoint::otlp(path), "otlp_http"),
    };
    let endpoint = endpoint.ok_or(Refusal::Path)?;
    if endpoint == Endpoint::DatadogValidate {
        *state.counts().requests.entry(endpoint).or_default() += 1;
        return Ok(endpoint);
    }
    if request.method() != Method::POST {
        return Err(Refusal::Method);
    }
    let format = match (endpoint, format) {
        (_, Some(format)) => format,
        // Its agents don't always say.
        (Endpoint::DatadogOther | Endpoint::DatadogLogs, None) => Format::Json,
        (_, None) => return Err(Refusal::ContentType),
    };
    let header = |name| request.headers().get(name).map(HeaderValue::to_str);
    let encoding = match header(CONTENT_ENCODING) {
        Some(name) => name.ok().and_then(Encoding::of).ok_or(Refusal::Encoding)?,
        None => Encoding::Identity,
    };
    let length = header(CONTENT_LENGTH).and_then(|text| text.ok()?.parse().ok());
    let received = state.room.receive(request.body_mut(), length).await?;
    count(
        endpoint,
        format,
        protocol,
        (encoding, &received.bytes),
        state,
    )?;
    Ok(endpoint)
}

/// Takes a call of gRPC.
async fn call(mut request: Request<Incoming>, state: &State) -> Result<Endpoint, Refusal> {
    let endpoint = Endpoint::grpc(request.uri().path()).ok_or(Refusal::Path)?;
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        return Err(Refusal::ContentType);
    }
    let (received, encoding) = grpc::message(&mut request, &state.room).await?;
    count(
        endpoint,
        Format::Protobuf,
        "otlp_grpc",
        (encoding, &received.bytes),
        state,
    )?;
    Ok(endpoint)
}

/// Counts a body; one that is refused counts nothing, for its sender may send it again.
fn count(
    endpoint: Endpoint,
    format: Format,
    protocol: &str,
    (encoding, bytes): (Encoding, &[u8]),
    state: &State,
) -> Result<(), Refusal> {
    let mut tally = Tally::default();
    endpoint.count(format, protocol, Sent { bytes, encoding }, &mut tally)?;
    let mut counts = state.counts();
    counts.tally.merge(&tally);
    counts.bytes += bytes.len() as u64;
    *counts.requests.entry(endpoint).or_default() += 1;
    Ok(())
}

/// What each protocol answers where everything was taken.
fn taken(endpoint: Endpoint, format: Option<Format>) -> Response<Body> {
    match (endpoint, format) {
        (Endpoint::DatadogValidate, _) => response(
            StatusCode::OK,
            "application/json",
            "{\"valid\":true}".into(),
        ),
        (Endpoint::DatadogStats | Endpoint::DatadogSeries | Endpoint::DatadogSketches, _) => {
            response(
                StatusCode::ACCEPTED,
                "application/json",
                "{\"errors\":[]}".into(),
            )
        }
        // An empty message, whose fields all have their default.
        (_, Some(Format::Protobuf)) => {
            response(StatusCode::OK, "application/x-protobuf", String::new())
        }
        _ => response(StatusCode::OK, "application/json", "{}".into()),
    }
}

fn metrics(request: &Request<Incoming>, state: &State) -> Response<Body> {
    if request.uri().path() != "/metrics" {
        return response(StatusCode::NOT_FOUND, "text/plain", "see /metrics\n".into());
    }
    let text = state.counts().text();
    response(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        text,
    )
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

async fn datagrams(socket: UdpSocket, state: Arc<State>) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let Ok(length) = socket.recv(&mut buffer).await else {
            continue;
        };
        let mut counts = state.counts();
        counts.datagrams += 1;
        counts.bytes += length as u64;
        if let Err(refusal) = statsd::datagram(&buffer[..length], &mut counts.tally) {
            *counts.rejected.entry(refusal).or_default() += 1;
        }
    }
}
