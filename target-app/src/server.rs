//! Connections: taking them, serving them, and letting them finish.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulShutdown;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::delivery::{Outbox, Stream};
use crate::handler::App;
use crate::watch::Watch;

/// Connections the kernel completes and keeps until they are taken.
const BACKLOG: u32 = 4096;

/// Connections served at a time. Those beyond wait in the backlog.
const MAX_CONNECTIONS: usize = 16_384;

/// The largest request head, in bytes. hyper answers a larger one with 431.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long requests in flight may take to finish after a signal to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How long to wait before trying again to take a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the server could not start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The address is taken, or not one of this machine.
    #[error(
        "failed to listen on {address}: {source}; choose another address with --listen, or stop the program that has this one"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// SIGTERM or SIGINT could not be taken over.
    #[error("failed to wait for signals: {0}")]
    Signal(#[source] io::Error),
}

/// Serves `app` on `address` until SIGTERM or SIGINT, then lets requests in flight finish.
///
/// A connection that keeps the server waiting for as long as `patience` is closed: before the head
/// of a request is complete, or before it takes more of an answer.
pub async fn run<W: Watch>(
    app: Arc<App>,
    address: SocketAddr,
    patience: Duration,
    watch: W,
) -> Result<(), ServerError> {
    // Before anyone is told that the server listens, since a signal may come right after.
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::Signal)?;
    let listener = listen(address).map_err(|source| ServerError::Listen { address, source })?;
    let bound = listener.local_addr().unwrap_or(address);
    eprintln!("listening on http://{bound}");

    let graceful = GracefulShutdown::new();
    let stopped = tokio::select! {
        never = accept(&listener, app, patience, &graceful, Arc::new(watch)) => match never {},
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    drop(listener);
    eprintln!("{stopped}: draining {} connections", graceful.count());
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        eprintln!("gave up on requests that took longer than {DRAIN:?} to finish");
    }
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restarted server must not wait for connections of the one before to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections, each into a task of its own. Never ends.
async fn accept<W: Watch>(
    listener: &TcpListener,
    app: Arc<App>,
    patience: Duration,
    graceful: &GracefulShutdown,
    watch: Arc<W>,
) -> Infallible {
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut failing = false;
    loop {
        let place = Arc::clone(&free)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((socket, _)) => {
                failing = false;
                let connection = connection(
                    socket,
                    Arc::clone(&app),
                    patience,
                    graceful,
                    Arc::clone(&watch),
                );
                tokio::spawn(async move {
                    // It ends with an error if the client breaks off or talks nonsense. That is
                    // the client's affair, which it has been told of if it still listens.
                    let _ = connection.await;
                    drop(place);
                });
            }
            // Mostly a lack of file descriptors, which serving the connections there are mends.
            Err(error) => {
                if !failing {
                    eprintln!("failed to take a connection, trying again: {error}");
                }
                failing = true;
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn connection<W: Watch>(
    socket: TcpStream,
    app: Arc<App>,
    patience: Duration,
    graceful: &GracefulShutdown,
    watch: Arc<W>,
) -> impl Future<Output = hyper::Result<()>> + use<W> {
    // Fails only on a socket that is gone already, which serving it will find out.
    let _ = socket.set_nodelay(true);
    let outbox = Arc::new(Outbox::default());
    let stream = Stream::new(socket, Arc::clone(&outbox), patience);
    let service = service_fn(move |request| {
        let watch = Arc::clone(&watch);
        let span = watch.begin(&request);
        let answer = Arc::clone(&app).answer(request, Arc::clone(&outbox));
        async move {
            let answer = answer.await;
            watch.end(span, answer.status());
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(stream, service);
    graceful.watch(connection)
}
