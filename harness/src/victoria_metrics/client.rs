//! A Prometheus-compatible server's HTTP API: queries, raw samples, pushed samples.
//!
//! The query half works with Prometheus too; [`Client::import`],
//! [`Client::flush`] and [`Client::reload`] are VictoriaMetrics' own.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

/// How long one exchange may take. Queries here touch a few series of a few
/// seconds; what takes longer is a server that is not there.
const EXCHANGE: Duration = Duration::from_secs(10);

/// An address that can't be a server's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ServerUrlError {
    /// It is no URL at all.
    #[error("`{url}` is not a URL ({reason}); expected something like http://127.0.0.1:8428")]
    Invalid {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS is not built in.
    #[error(
        "https is not built in; for {host} forward a local port (`kubectl port-forward`, `ssh -L`) or use a proxy, and give its http:// address"
    )]
    Tls {
        /// The host that was asked for.
        host: String,
    },
    /// Another protocol.
    #[error("`{scheme}` is not supported; expected http://")]
    Scheme {
        /// The scheme that was given.
        scheme: String,
    },
    /// A user name or password. The text does not repeat it.
    #[error(
        "credentials in the URL would end up in logs and records; use an address that needs none"
    )]
    Credentials,
    /// Something after the path.
    #[error("`?{0}` after the path is not supported; give the address alone")]
    Query(String),
}

/// A server's base address: `http://host:port`, possibly with a path prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(Url);

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |reason: String| ServerUrlError::Invalid {
            // A password must not reach the terminal by way of an error.
            url: text
                .rsplit_once('@')
                .map_or(text, |(_, host)| host)
                .to_owned(),
            reason,
        };
        let mut url = Url::parse(text.trim()).map_err(|error| invalid(error.to_string()))?;
        match url.scheme() {
            "http" => {}
            "https" => {
                return Err(ServerUrlError::Tls {
                    host: url.host_str().unwrap_or_default().to_owned(),
                });
            }
            // `localhost:8428` parses as the scheme `localhost`.
            scheme if !text.contains("://") => {
                return Err(invalid(format!("`{scheme}:` is not a scheme")));
            }
            scheme => {
                return Err(ServerUrlError::Scheme {
                    scheme: scheme.to_owned(),
                });
            }
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ServerUrlError::Credentials);
        }
        if let Some(query) = url.query() {
            return Err(ServerUrlError::Query(query.to_owned()));
        }
        url.set_fragment(None);
        // `Url::join` replaces whatever follows the last slash.
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(ServerUrl(url))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl ServerUrl {
    /// The address of a child on a loopback port.
    pub fn loopback(port: u16) -> Self {
        format!("http://127.0.0.1:{port}")
            .parse()
            .expect("a loopback address with a port is a URL")
    }

    /// An endpoint below the prefix, as `api/v1/query`.
    fn endpoint(&self, path: &str) -> Url {
        self.0
            .join(path)
            .expect("endpoints are plain relative paths")
    }

    /// Where Prometheus remote write goes, for `K6_PROMETHEUS_RW_SERVER_URL`.
    pub fn remote_write(&self) -> String {
        self.endpoint("api/v1/write").into()
    }

    fn is_loopback(&self) -> bool {
        match self.0.host_str() {
            Some("localhost") => true,
            Some(host) => host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback()),
            None => false,
        }
    }
}

/// An exchange with a server that failed. Every text names the address, and
/// the PromQL where there was one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The HTTP client can't be set up.
    #[error("cannot set up an HTTP client: {reason}")]
    Setup {
        /// Why.
        reason: String,
    },
    /// No answer, or half of one.
    #[error("no answer from {url}{}: {reason}", of(promql))]
    Exchange {
        /// The endpoint.
        url: String,
        /// The query, if it was one.
        promql: Option<String>,
        /// Why, from the outermost cause to the innermost.
        reason: String,
    },
    /// An answer that says no.
    #[error("{url} answered {status}{}: {message}", of(promql))]
    Refused {
        /// The endpoint.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The query, if it was one.
        promql: Option<String>,
        /// The server's own words.
        message: String,
    },
    /// An answer in another form than Prometheus' API has.
    #[error("{url} answered{} in an unexpected form: {reason}", of(promql))]
    Form {
        /// The endpoint.
        url: String,
        /// The query, if it was one.
        promql: Option<String>,
        /// What was unexpected.
        reason: String,
    },
    /// It did not become ready.
    #[error("{url} was not ready within {seconds} s; last: {last}")]
    NotReady {
        /// The endpoint.
        url: String,
        /// How long it had, in seconds.
        seconds: f64,
        /// What the last attempt came to.
        last: String,
    },
}

fn of(promql: &Option<String>) -> String {
    promql
        .as_ref()
        .map(|promql| format!(" to `{promql}`"))
        .unwrap_or_default()
}

/// One value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Its own timestamp, in seconds since the epoch (kept by servers to the millisecond).
    pub time: f64,
    /// In the unit of the metric's name.
    pub value: f64,
}

/// A series and its values, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels, the name as `__name__`.
    pub labels: BTreeMap<String, String>,
    /// Its values. Never empty, and never a stale marker (NaN).
    pub points: Vec<Point>,
}

/// A client of one server.
#[derive(Clone, Debug)]
pub struct Client {
    server: ServerUrl,
    http: reqwest::Client,
}

impl Client {
    /// A client of `server`. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ClientError::Setup`].
    pub fn new(server: ServerUrl) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder().timeout(EXCHANGE);
        // A proxy from the environment has no business with the loopback interface.
        if server.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ClientError::Setup {
            reason: crate::error::text(&error),
        })?;
        Ok(Client { server, http })
    }

    /// The server's address.
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// Waits until the server answers `/health`, asking every 50 ms.
    ///
    /// A child needs a few tens of milliseconds. The caller should also watch
    /// the child itself: one that has exited will never be ready.
    ///
    /// # Errors
    /// [`ClientError::NotReady`] with what the last attempt came to.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), ClientError> {
        let url = self.server.endpoint("health");
        let deadline = Instant::now() + timeout;
        loop {
            let last = match self.send(self.http.get(url.clone()), &url, None).await {
                Ok(_) => return Ok(()),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(ClientError::NotReady {
                    url: url.into(),
                    seconds: timeout.as_secs_f64(),
                    last,
                });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A PromQL expression at one moment (seconds since the epoch; `None` is
    /// now). A scalar comes back as one series without labels.
    ///
    /// # Errors
    /// [`ClientError`] with the address and the expression.
    pub async fn query(&self, promql: &str, time: Option<f64>) -> Result<Vec<Series>, ClientError> {
        let mut arguments = vec![("query", promql.to_owned())];
        arguments.extend(time.map(|time| ("time", seconds(time))));
        self.ask("api/v1/query", promql, &arguments).await
    }

    /// The raw samples of a selector in `[start, end]`, both in seconds since
    /// the epoch: what was ingested, with its own timestamps, nothing
    /// interpolated or extrapolated.
    ///
    /// This is an instant query with a range selector, which Prometheus and
    /// VictoriaMetrics both answer with samples as they are stored.
    ///
    /// # Errors
    /// [`ClientError`] with the address and the expression.
    pub async fn raw(
        &self,
        selector: &str,
        start: f64,
        end: f64,
    ) -> Result<Vec<Series>, ClientError> {
        // The range is open on its left side in Prometheus ≥ 3 and closed
        // before, and servers keep milliseconds: ask for more, keep what is inside.
        let range = ((end - start).max(0.0) * 1e3).ceil() as u64 + 2;
        let promql = format!("{selector}[{range}ms]");
        let mut series = self.query(&promql, Some(end + 0.001)).await?;
        for one in &mut series {
            one.points.retain(|p| (start..=end).contains(&p.time));
        }
        series.retain(|one| !one.points.is_empty());
        Ok(series)
    }

    /// A PromQL expression at every `step` from `start` to `end` (seconds since
    /// the epoch), for pictures.
    ///
    /// # Errors
    /// [`ClientError`] with the address and the expression.
    pub async fn query_range(
        &self,
        promql: &str,
        start: f64,
        end: f64,
        step: Duration,
    ) -> Result<Vec<Series>, ClientError> {
        let arguments = [
            ("query", promql.to_owned()),
            ("start", seconds(start)),
            ("end", seconds(end)),
            ("step", seconds(step.as_secs_f64())),
        ];
        self.ask("api/v1/query_range", promql, &arguments).await
    }

    /// Pushes samples in Prometheus text form, each line with its timestamp in
    /// milliseconds ([`exporter::render`](crate::exporter::render) writes such text).
    ///
    /// VictoriaMetrics answers 204 even when it skips a line that it can't
    /// read, so a push is proved only by a query.
    ///
    /// # Errors
    /// [`ClientError`] with the address.
    pub async fn import(&self, exposition: String) -> Result<(), ClientError> {
        let url = self.server.endpoint("api/v1/import/prometheus");
        let request = self.http.post(url.clone()).body(exposition);
        self.send(request, &url, None).await.map(drop)
    }

    /// Makes everything that was ingested visible to queries. Otherwise
    /// VictoriaMetrics holds fresh rows back for about a second.
    ///
    /// # Errors
    /// [`ClientError`]; a server behind a proxy may forbid it, and then waiting does the same.
    pub async fn flush(&self) -> Result<(), ClientError> {
        let url = self.server.endpoint("internal/force_flush");
        self.send(self.http.get(url.clone()), &url, None)
            .await
            .map(drop)
    }

    /// Makes a child read its scrape file again, which it does within moments.
    ///
    /// # Errors
    /// [`ClientError`] with the address.
    pub async fn reload(&self) -> Result<(), ClientError> {
        let url = self.server.endpoint("-/reload");
        self.send(self.http.post(url.clone()), &url, None)
            .await
            .map(drop)
    }

    async fn ask(
        &self,
        path: &str,
        promql: &str,
        arguments: &[(&str, String)],
    ) -> Result<Vec<Series>, ClientError> {
        let url = self.server.endpoint(path);
        let request = self.http.get(url.clone()).query(arguments);
        let body = self.send(request, &url, Some(promql)).await?;
        parse(&body).map_err(|reason| ClientError::Form {
            url: url.into(),
            promql: Some(promql.to_owned()),
            reason,
        })
    }

    /// One exchange: the body of a 2xx answer.
    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
        promql: Option<&str>,
    ) -> Result<String, ClientError> {
        let promql = promql.map(str::to_owned);
        let result = async {
            let response = request.send().await?;
            let status = response.status();
            Ok((status, response.text().await?))
        };
        let (status, body) = match result.await {
            Ok(answer) => answer,
            Err(error) => {
                let error: reqwest::Error = error;
                return Err(ClientError::Exchange {
                    url: url.to_string(),
                    promql,
                    reason: crate::error::text(&error.without_url()),
                });
            }
        };
        if status.is_success() {
            return Ok(body);
        }
        Err(ClientError::Refused {
            url: url.to_string(),
            status: status.as_u16(),
            promql,
            message: refusal(&body),
        })
    }
}

/// A time as the API takes it: seconds with milliseconds.
fn seconds(time: f64) -> String {
    format!("{time:.3}")
}

/// Why a server refused: the API's `error`, or the beginning of whatever it sent.
fn refusal(body: &str) -> String {
    #[derive(Deserialize)]
    struct WireRefusal {
        error: String,
    }
    match serde_json::from_str::<WireRefusal>(body) {
        Ok(refusal) => refusal.error,
        Err(_) if body.trim().is_empty() => "no further words".to_owned(),
        Err(_) => body.trim().chars().take(300).collect(),
    }
}

#[derive(Deserialize)]
struct WireAnswer {
    data: WireData,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum WireData {
    Vector(Vec<WireVector>),
    Matrix(Vec<WireMatrix>),
    Scalar(WirePoint),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct WireVector {
    metric: BTreeMap<String, String>,
    value: WirePoint,
}

#[derive(Deserialize)]
struct WireMatrix {
    metric: BTreeMap<String, String>,
    values: Vec<WirePoint>,
}

/// `[seconds, "value"]`.
#[derive(Deserialize)]
struct WirePoint(f64, String);

impl TryFrom<WirePoint> for Point {
    type Error = String;

    fn try_from(WirePoint(time, text): WirePoint) -> Result<Self, String> {
        // Rust reads `NaN`, `+Inf` and `-Inf` as Prometheus writes them.
        let value = text
            .parse()
            .map_err(|_| format!("`{text}` is not a number"))?;
        Ok(Point { time, value })
    }
}

/// The series of an answer of `/api/v1/query` or `/api/v1/query_range`.
pub(crate) fn parse(body: &str) -> Result<Vec<Series>, String> {
    let answer: WireAnswer = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let parts = match answer.data {
        WireData::Matrix(parts) => parts,
        WireData::Vector(parts) => parts
            .into_iter()
            .map(|one| WireMatrix {
                metric: one.metric,
                values: vec![one.value],
            })
            .collect(),
        WireData::Scalar(point) => vec![WireMatrix {
            metric: BTreeMap::new(),
            values: vec![point],
        }],
        WireData::String(_) => return Err("a string instead of numbers".to_owned()),
    };
    let mut series = Vec::with_capacity(parts.len());
    for part in parts {
        let mut points = Vec::with_capacity(part.values.len());
        for point in part.values {
            let point = Point::try_from(point)?;
            // A stale marker says that the series ended; it is no reading.
            if !point.value.is_nan() {
                points.push(point);
            }
        }
        points.sort_by(|a, b| a.time.total_cmp(&b.time));
        if !points.is_empty() {
            series.push(Series {
                labels: part.metric,
                points,
            });
        }
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_a_prefix() {
        let plain: ServerUrl = "http://127.0.0.1:8428".parse().unwrap();
        assert_eq!(plain.to_string(), "http://127.0.0.1:8428");
        assert_eq!(plain.remote_write(), "http://127.0.0.1:8428/api/v1/write");
        let prefixed: ServerUrl = "http://vm.bench/select/0/prometheus/".parse().unwrap();
        assert_eq!(prefixed.to_string(), "http://vm.bench/select/0/prometheus");
        assert_eq!(
            prefixed.endpoint("api/v1/query").as_str(),
            "http://vm.bench/select/0/prometheus/api/v1/query"
        );
        assert!(plain.is_loopback() && !prefixed.is_loopback());
        assert!(
            "http://[::1]:8428"
                .parse::<ServerUrl>()
                .unwrap()
                .is_loopback()
        );
    }

    #[test]
    fn addresses_that_cannot_work_say_what_to_do() {
        let error = |text: &str| text.parse::<ServerUrl>().unwrap_err();
        assert!(matches!(error("https://vm:8428"), ServerUrlError::Tls { host } if host == "vm"));
        assert!(
            error("https://vm:8428")
                .to_string()
                .contains("port-forward")
        );
        assert!(matches!(error("ftp://vm"), ServerUrlError::Scheme { .. }));
        assert!(matches!(
            error("localhost:8428"),
            ServerUrlError::Invalid { .. }
        ));
        assert!(matches!(error("nothing"), ServerUrlError::Invalid { .. }));
        assert!(matches!(error("http://vm/?x=1"), ServerUrlError::Query(_)));
        for text in ["http://user:hunter2@vm/", "http://user:hunter2@:x/"] {
            assert!(!error(text).to_string().contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn raw_samples_lose_stale_markers() {
        // Captured from VictoriaMetrics 1.79.5 after the target had gone.
        let series = parse(
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"http_requests_total","job":"target"},"values":[[1795478734.409,"4082"],[1795478735.409,"5081"],[1795478736.41,"NaN"]]}]}}"#,
        )
        .unwrap();
        assert_eq!(series.len(), 1);
        assert_eq!(series[0].labels["job"], "target");
        assert_eq!(series[0].points.len(), 2);
        assert_eq!(
            series[0].points[1],
            Point {
                time: 1795478735.409,
                value: 5081.0
            }
        );
    }

    #[test]
    fn vectors_and_scalars_are_series_of_one() {
        let vector = parse(r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[5,"1.5"]}]}}"#).unwrap();
        assert_eq!(
            vector[0].points,
            [Point {
                time: 5.0,
                value: 1.5
            }]
        );
        let scalar =
            parse(r#"{"status":"success","data":{"resultType":"scalar","result":[5,"+Inf"]}}"#)
                .unwrap();
        assert_eq!(scalar[0].points[0].value, f64::INFINITY);
        let none = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert_eq!(parse(none).unwrap(), []);
    }

    #[test]
    fn other_forms_are_errors() {
        assert!(parse("<html>").is_err());
        assert!(
            parse(r#"{"data":{"resultType":"vector","result":[{"metric":{},"value":[5,"x"]}]}}"#)
                .is_err()
        );
        assert!(parse(r#"{"data":{"resultType":"string","result":[5,"x"]}}"#).is_err());
    }

    #[test]
    fn refusals_are_quoted() {
        assert_eq!(
            refusal(r#"{"status":"error","errorType":"422","error":"no such function"}"#),
            "no such function"
        );
        assert_eq!(refusal("missing route"), "missing route");
        assert_eq!(refusal(""), "no further words");
        let error = ClientError::Refused {
            url: "http://vm/api/v1/query".into(),
            status: 422,
            promql: Some("sum(".into()),
            message: "unexpected end".into(),
        };
        assert_eq!(
            error.to_string(),
            "http://vm/api/v1/query answered 422 to `sum(`: unexpected end"
        );
    }
}
