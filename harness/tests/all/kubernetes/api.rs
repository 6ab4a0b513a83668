//! An API server of the test's own: it answers what the test says and keeps what it was asked.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// What is answered: a status and a body; none where the test has nothing to say.
type Answer = dyn Fn(&str, &str, &Value) -> Option<(u16, Value)> + Send + Sync;

/// A server that runs until the test ends.
pub struct ApiServer {
    port: u16,
    asked: Arc<Mutex<Vec<(String, String)>>>,
    directory: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl ApiServer {
    /// Starts one. What `answer` passes over is answered as an empty cluster of a
    /// version that is supported would.
    pub fn start(
        answer: impl Fn(&str, &str, &Value) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Answer> = Arc::new(answer);
        let kept = Arc::clone(&asked);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                    async move { Ok::<_, Infallible>(respond(request, &*answer, &kept).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        ApiServer {
            port,
            asked,
            directory: tempfile::tempdir().unwrap(),
            _runtime: runtime,
        }
    }

    /// A kubeconfig that leads there.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig(
            self.directory.path(),
            &format!("http://127.0.0.1:{}", self.port),
        )
    }

    /// Requests that change something: method and path. Reviews of rights change nothing.
    pub fn changes(&self) -> Vec<(String, String)> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|(method, path)| method != "GET" && !path.contains("accessreviews"))
            .cloned()
            .collect()
    }
}

async fn respond(
    request: Request<Incoming>,
    answer: &Answer,
    kept: &Mutex<Vec<(String, String)>>,
) -> Response<Full<Bytes>> {
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    kept.lock().unwrap().push((method.clone(), path.clone()));
    let (status, value) = answer(&method, &path, &body).unwrap_or_else(|| empty(&method, &path));
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(value.to_string())))
        .unwrap()
}

/// What a cluster answers in which there is nothing.
fn empty(method: &str, path: &str) -> (u16, Value) {
    match path {
        "/version" => (200, version("34")),
        _ if method == "GET" && !is_one(path) => (
            200,
            json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}),
        ),
        _ => (404, status(404, "not found")),
    }
}

/// Whether a path names one object.
fn is_one(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    // /api/v1/nodes, /apis/GROUP/VERSION/nodes, and the same in a namespace.
    let kind = if parts[0] == "api" { 2 } else { 3 };
    let kind = match parts.get(kind) {
        Some(&"namespaces") if parts.len() > kind + 2 => kind + 2,
        _ => kind,
    };
    parts.len() > kind + 1
}

/// What `/version` answers.
pub fn version(minor: &str) -> Value {
    json!({
        "major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.0"), "gitCommit": "",
        "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
    })
}

/// An error as an API server words it.
pub fn status(code: u16, message: &str) -> Value {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        _ => "Unknown",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

/// A node that is ready, with these taints.
pub fn node(name: &str, taints: Value) -> Value {
    json!({
        "metadata": {"name": name, "resourceVersion": "1"},
        "spec": {"taints": taints},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// What a list of nodes answers.
pub fn nodes(nodes: &[Value]) -> Value {
    json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": nodes})
}

/// A kubeconfig for a server.
pub fn kubeconfig(directory: &Path, server: &str) -> PathBuf {
    let path = directory.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: '{server}'}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}
