//! Prometheus text, read from a program's `/metrics`.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus_parse::{Sample, Scrape, Value};

use crate::backend::kubernetes::client::reason;

/// An address that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {url}: {source}")]
pub struct ScrapeError {
    /// The address.
    pub url: String,
    /// Why.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// How long a program may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two looks at a program on this machine.
const POLL: Duration = Duration::from_millis(20);
/// The same through an API server, which has others to serve.
const PROXY_POLL: Duration = Duration::from_millis(250);

/// What serves Prometheus text.
#[derive(Clone)]
pub struct Endpoint {
    source: Source,
    /// The address, for messages.
    pub url: String,
}

#[derive(Clone)]
enum Source {
    /// A program that this process reaches.
    Http(reqwest::Client),
    /// Pods, each by its path at the API server; their texts are one.
    Pods(kube::Client, Vec<String>),
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({})", self.url)
    }
}

/// A client of programs on this machine, which are behind no proxy whatever the environment names.
pub fn client(timeout: Duration) -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(timeout)
        .build()
        .expect("a client without TLS can always be built")
}

impl Endpoint {
    /// For an address such as `http://127.0.0.1:8080/metrics`.
    pub fn new(url: String) -> Self {
        Endpoint {
            source: Source::Http(client(TIMEOUT)),
            url,
        }
    }

    /// For the same path of one or more pods, through the API server's proxy.
    pub fn pods(
        client: kube::Client,
        namespace: &str,
        pods: &[String],
        port: u16,
        path: &str,
    ) -> Self {
        let proxied =
            |pod: &String| format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}");
        Endpoint {
            source: Source::Pods(client, pods.iter().map(proxied).collect()),
            url: format!("port {port}{path} of {}", pods.join(", ")),
        }
    }

    /// How long to wait before it is asked again.
    pub fn poll(&self) -> Duration {
        match self.source {
            Source::Http(_) => POLL,
            Source::Pods(..) => PROXY_POLL,
        }
    }

    /// The text that it serves now.
    ///
    /// # Errors
    /// When there is no answer, or one that says that something is wrong.
    pub async fn text(&self) -> Result<String, ScrapeError> {
        let text = match &self.source {
            Source::Http(client) => self.get(client).await.map_err(Into::into),
            Source::Pods(client, paths) => proxied(client, paths).await,
        };
        text.map_err(|source| ScrapeError {
            url: self.url.clone(),
            source,
        })
    }

    async fn get(&self, client: &reqwest::Client) -> Result<String, reqwest::Error> {
        let response = client.get(&self.url).send().await?;
        response.error_for_status()?.text().await
    }
}

async fn proxied(
    client: &kube::Client,
    paths: &[String],
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut texts = String::new();
    for path in paths {
        let request = hyper::Request::get(path).body(Vec::new())?;
        let answer = tokio::time::timeout(TIMEOUT, client.request_text(request));
        let text = answer
            .await
            .map_err(|_| format!("no answer within {TIMEOUT:?}"))?;
        texts += &text.map_err(|error| reason(&error))?;
        texts.push('\n');
    }
    Ok(texts)
}

/// Sum of a counter over its series that have these labels and are otherwise `wanted`.
pub fn sum(
    text: &str,
    metric: &str,
    labels: &BTreeMap<String, String>,
    wanted: impl Fn(&Sample) -> bool,
) -> f64 {
    let Ok(scrape) = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))) else {
        return 0.0;
    };
    let series = scrape.samples.iter().filter(|sample| {
        sample.metric == metric
            && labels
                .iter()
                .all(|(name, value)| sample.labels.get(name) == Some(value))
            && wanted(sample)
    });
    series
        .map(|sample| match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
            _ => 0.0,
        })
        .sum()
}

/// One series of a text: its name, its labels, its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub metric: String,
    /// The labels, unescaped.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// Every series of a text. Labels may hold anything, such as the braces of a
/// route's pattern; lines that are none are passed over.
pub fn series(text: &str) -> impl Iterator<Item = Series> {
    text.lines().filter_map(|line| {
        if line.starts_with('#') {
            return None;
        }
        let end = line.find(['{', ' '])?;
        let (metric, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (name, value) = rest.split_once("=\"")?;
                let (value, behind) = quoted(value)?;
                labels.insert(name.trim().to_owned(), value);
                rest = behind.trim_start_matches([',', ' ']);
            }
            rest = &rest[1..];
        }
        Some(Series {
            metric: metric.to_owned(),
            labels,
            value: rest.split_whitespace().next()?.parse().ok()?,
        })
    })
}

/// A text up to its closing quote, unescaped, and what is behind.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_hold_anything() {
        let text = "# TYPE a counter\na 1\na{} 2\na{b=\"/x/{id}\",c=\"\\\"q\\\" \\\\ ,\"} 3 1700\nnonsense{\nb{x=\"";
        let read: Vec<Series> = series(text).collect();
        assert_eq!(read.len(), 3);
        let third = &read[2];
        assert_eq!(third.labels["b"], "/x/{id}");
        assert_eq!(third.labels["c"], "\"q\" \\ ,");
        assert_eq!(third.value, 3.0);
    }
}
