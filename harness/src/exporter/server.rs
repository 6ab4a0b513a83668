//! Serves the latest readings on a loopback port, and whatever else of ours is
//! asked for by GET ([`serve`]).

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::{Exposed, render};

/// Connections that are served at once; a scraper needs one.
const CONNECTIONS: usize = 8;

/// The least that hyper accepts, in bytes; a scraper's header has a few hundred.
const HEADER_BYTES: usize = 8192;

/// How long a request's header may take to arrive.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// The exporter can't listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on a loopback port for the harness's own metrics: {source}")]
pub struct ExporterError {
    #[from]
    source: io::Error,
}

/// What is shown now. Cheap to clone; every clone publishes to the same place.
#[derive(Clone, Debug, Default)]
pub struct Publisher(Arc<Mutex<Vec<Exposed>>>);

impl Publisher {
    /// Replaces what is shown. Text is made only when somebody asks for it.
    pub fn publish(&self, exposed: Vec<Exposed>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = exposed;
    }

    fn text(&self) -> String {
        render(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A server of `/metrics` on a free loopback port, until it is dropped.
#[derive(Debug)]
pub struct Exporter {
    address: SocketAddr,
    publisher: Publisher,
    server: JoinHandle<()>,
}

impl Exporter {
    /// Starts it on the current runtime.
    ///
    /// # Errors
    /// [`ExporterError`] when no port can be had.
    pub async fn start() -> Result<Self, ExporterError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let publisher = Publisher::default();
        let shown = publisher.clone();
        let server = tokio::spawn(serve(
            listener,
            Arc::new(move |uri: &Uri| answer(uri, &shown)),
        ));
        Ok(Exporter {
            address,
            publisher,
            server,
        })
    }

    /// Where it listens, for the scrape file.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle for whoever takes the readings.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Replaces what is shown.
    pub fn publish(&self, exposed: Vec<Exposed>) {
        self.publisher.publish(exposed);
    }
}

/// Stops it; connections that are open are closed with it.
impl Drop for Exporter {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What a path is answered with; none is "not found".
pub type Answer = (&'static str, Bytes);
/// Answers GET requests.
pub type Handler = dyn Fn(&Uri) -> Option<Answer> + Send + Sync;

/// Answers GET requests on a listener, until it is dropped. Connections and
/// what is read of each are bounded; a request's body is never read.
pub async fn serve(listener: TcpListener, handler: Arc<Handler>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&handler)));
            }
            Err(error) => {
                // Out of file descriptors, most likely; trying again at once would spin.
                log::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
    }
}

async fn connection(stream: TcpStream, handler: Arc<Handler>) {
    let service = service_fn(|request| {
        let response = respond(&request, &handler);
        async { Ok::<_, Infallible>(response) }
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = result {
        log::debug!("a connection ended early: {error}");
    }
}

fn respond(request: &Request<Incoming>, handler: &Arc<Handler>) -> Response<Full<Bytes>> {
    let plain = |text: &'static str| ("text/plain", Bytes::from_static(text.as_bytes()));
    let (status, name, (value, body)) = if !matches!(*request.method(), Method::GET | Method::HEAD)
    {
        (
            StatusCode::METHOD_NOT_ALLOWED,
            ALLOW,
            ("GET, HEAD", Bytes::new()),
        )
    } else {
        match handler(request.uri()) {
            Some(answer) => (StatusCode::OK, CONTENT_TYPE, answer),
            None => (StatusCode::NOT_FOUND, CONTENT_TYPE, plain("see /metrics\n")),
        }
    };
    Response::builder()
        .status(status)
        .header(name, value)
        .body(Full::new(body))
        .expect("status and headers are constants")
}

/// The type of Prometheus text.
pub const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

fn answer(uri: &Uri, publisher: &Publisher) -> Option<Answer> {
    (uri.path() == "/metrics").then(|| (PROMETHEUS_TEXT, publisher.text().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::Family;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // An over-long header is refused while it is still being sent; the
        // reset may then come after the answer.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    }

    #[tokio::test]
    async fn the_latest_publication_is_served() {
        let exporter = Exporter::start().await.unwrap();
        let one = |value| {
            vec![Exposed {
                family: Family::CpuUsageSecondsTotal,
                labels: vec![("container", "target".to_owned())],
                value,
                unix_ms: 7,
            }]
        };
        exporter.publish(one(1.0));
        exporter.publisher().publish(one(2.0));
        let answer = exchange(exporter.address(), &get("/metrics")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("version=0.0.4"), "{answer}");
        let line = "container_cpu_usage_seconds_total{container=\"target\"} 2 7\n";
        assert!(answer.ends_with(line), "{answer}");
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        let exporter = Exporter::start().await.unwrap();
        assert!(exporter.address().ip().is_loopback());
        let answer = exchange(exporter.address(), &get("/")).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        let post =
            "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
        let answer = exchange(exporter.address(), post).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("allow: GET, HEAD"), "{answer}");
        let long = format!(
            "GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n",
            "x".repeat(64 * 1024)
        );
        let answer = exchange(exporter.address(), &long).await;
        assert!(!answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    #[tokio::test]
    async fn dropping_it_frees_the_port() {
        let exporter = Exporter::start().await.unwrap();
        let address = exporter.address();
        drop(exporter);
        // The task is aborted when the runtime gets to it.
        for _ in 0..1000 {
            if TcpStream::connect(address).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{address} is still open");
    }
}
