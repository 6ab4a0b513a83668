//! `GET /metrics`: what was answered, and what the process costs, as Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hyper::{Method, StatusCode};

use crate::process;

/// The content type of the text format, version 0.0.4.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Values of `method`. Anything else is "other", so that nobody can make the labels grow.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other",
];

/// Every status this application answers with.
const STATUSES: [StatusCode; 5] = [
    StatusCode::OK,
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/objects`
    Objects,
    /// `/healthz`
    Healthz,
    /// `/metrics`
    Metrics,
    /// Every other path.
    Other,
}

impl Route {
    const ALL: [Self; 4] = [Self::Objects, Self::Healthz, Self::Metrics, Self::Other];

    /// The route of a path.
    pub fn of(path: &str) -> Self {
        let known = Self::ALL.into_iter().find(|route| route.template() == path);
        known.unwrap_or(Self::Other)
    }

    /// The value of the label `route`.
    pub fn template(self) -> &'static str {
        match self {
            Self::Objects => "/objects",
            Self::Healthz => "/healthz",
            Self::Metrics => "/metrics",
            Self::Other => "other",
        }
    }
}

/// The labels of one answered request.
#[derive(Clone, Copy, Debug)]
pub struct Labels {
    method: usize,
    route: Route,
    status: usize,
}

impl Labels {
    /// The labels of a request that was answered with `status`, one of [`STATUSES`].
    pub fn new(method: &Method, route: Route, status: StatusCode) -> Self {
        let method = METHODS.iter().position(|known| *known == method.as_str());
        let status = STATUSES.iter().position(|known| *known == status);
        Self {
            method: method.unwrap_or(METHODS.len() - 1),
            route,
            status: status.expect("every status answered is in the list"),
        }
    }
}

/// `http_requests_total`: a counter for each combination of labels. They are few, so all of them
/// exist from the start and counting takes no lock.
#[derive(Debug, Default)]
pub struct Requests {
    counts: [[[AtomicU64; STATUSES.len()]; Route::ALL.len()]; METHODS.len()],
}

impl Requests {
    /// Counts one request.
    pub fn count(&self, labels: Labels) {
        self.counts[labels.method][labels.route as usize][labels.status].fetch_add(1, Relaxed);
    }

    /// Everything `/metrics` answers.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(4096);
        text.push_str(
            "# HELP http_requests_total Requests whose answer was handed to the kernel to the last byte.\n\
             # TYPE http_requests_total counter\n",
        );
        for (method, routes) in METHODS.iter().zip(&self.counts) {
            for (route, statuses) in Route::ALL.iter().zip(routes) {
                for (status, count) in STATUSES.iter().zip(statuses) {
                    let count = count.load(Relaxed);
                    // What is sure to come is shown from the start; of the rest, what has come.
                    let sure =
                        *method == "GET" && *route != Route::Other && *status == StatusCode::OK;
                    if count > 0 || sure {
                        let (route, status) = (route.template(), status.as_str());
                        writeln!(
                            text,
                            "http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {count}"
                        )
                        .expect("a string takes every line");
                    }
                }
            }
        }
        for metric in process::read() {
            let process::Metric {
                name,
                help,
                kind,
                value,
            } = metric;
            writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
            )
            .expect("a string takes every line");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded() {
        let requests = Requests::default();
        for method in ["GET", "get", "BREW", "PROPFIND"] {
            let method = Method::from_bytes(method.as_bytes()).expect("a token is a method");
            requests.count(Labels::new(
                &method,
                Route::of("/objects/1"),
                StatusCode::NOT_FOUND,
            ));
        }
        let text = requests.render();
        assert!(
            text.contains("{method=\"GET\",route=\"other\",status=\"404\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("{method=\"other\",route=\"other\",status=\"404\"} 3\n"),
            "{text}"
        );
    }

    #[test]
    fn every_combination_has_its_own_counter() {
        let requests = Requests::default();
        for method in METHODS {
            let method = Method::from_bytes(method.as_bytes()).expect("a token is a method");
            for route in Route::ALL {
                for status in STATUSES {
                    requests.count(Labels::new(&method, route, status));
                }
            }
        }
        let text = requests.render();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("http_"))
            .collect();
        assert_eq!(
            lines.len(),
            METHODS.len() * Route::ALL.len() * STATUSES.len()
        );
        assert!(lines.iter().all(|line| line.ends_with(" 1")), "{text}");
    }
}
