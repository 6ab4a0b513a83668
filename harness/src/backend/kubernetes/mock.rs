//! An API server of a test's own: it answers as told, and keeps what it was asked.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Cluster;
use super::images::Images;
use super::object::Run;
use crate::clock::RunClock;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Method, path and query: `GET /api/v1/namespaces/bench/pods?labelSelector=…`.
    pub what: String,
    /// Its body; null without one.
    pub body: Value,
}

/// Requests so far, in their order.
pub type Log = Arc<Mutex<Vec<Asked>>>;

/// Starts one. `answer` gets each request and how many equal ones came before;
/// what it gives is sent as it is.
pub async fn cluster(
    answer: impl Fn(&Asked, usize) -> (u16, String) + Send + Sync + 'static,
) -> (Cluster, Log) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let log: Log = Log::default();
    let (kept, answer) = (Arc::clone(&log), Arc::new(answer));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
            let service = service_fn(move |request: Request<Incoming>| {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                async move {
                    let what = format!("{} {}", request.method(), request.uri());
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                    let asked = Asked { what, body };
                    let before = {
                        let mut kept = kept.lock().unwrap();
                        let same = kept.iter().filter(|other| other.what == asked.what).count();
                        kept.push(asked.clone());
                        same
                    };
                    let (status, text) = answer(&asked, before);
                    let response = Response::builder()
                        .status(status)
                        .header("content-type", "application/json")
                        .body(Full::new(Bytes::from(text)))
                        .unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let cluster = Cluster {
        client: kube::Client::try_from(config).unwrap(),
        run: run(),
        images: Images::default(),
        clock: RunClock::start(),
    };
    (cluster, log)
}

/// The run of every test.
pub fn run() -> Run {
    Run {
        namespace: "bench".into(),
        owner: "host-1-2".into(),
    }
}

/// A list of objects.
pub fn list(items: Vec<Value>) -> String {
    let list = json!({
        "kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items,
    });
    list.to_string()
}

/// A refusal, as API servers say it.
pub fn refusal(code: u16, reason: &str, message: &str) -> (u16, String) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    (code, status.to_string())
}
