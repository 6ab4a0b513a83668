//! Connecting to a cluster, and what its API server answers, in words.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// The oldest minor version of Kubernetes 1 whose API has all that is used.
pub const MINOR_MIN: u32 = 29;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take; nothing that is asked streams.
const ANSWER: Duration = Duration::from_secs(30);

/// Which cluster is meant.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The kubeconfig file; `KUBECONFIG` or `~/.kube/config` without it, and inside a cluster the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; its current one without it.
    pub context: Option<String>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No kubeconfig, or one that can't be used.
    #[error(
        "cannot use {what}: {source}; name a kubeconfig with --kubeconfig FILE or KUBECONFIG, a context with --context NAME"
    )]
    Config {
        /// Which file.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody answers.
    #[error(
        "the API server {url} does not answer: {message}; see whether `kubectl get nodes` works with the same kubeconfig"
    )]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        message: String,
    },
    /// It answers, but not to us.
    #[error(
        "the API server {url} refuses this kubeconfig's user: {message}; renew its credentials"
    )]
    Unauthorized {
        /// Its address.
        url: String,
        /// Why.
        message: String,
    },
    /// Too old, or no Kubernetes.
    #[error(
        "the API server {url} says it is version {version}, and 1.{MINOR_MIN} or newer is needed; use another cluster, or update this one"
    )]
    Version {
        /// Its address.
        url: String,
        /// What it says.
        version: String,
    },
}

/// A request that the API server refused, or did not answer.
#[derive(Debug)]
pub struct ApiError {
    /// What was asked, with the object: `get pod flora-bench-1/target`.
    pub action: String,
    /// Why.
    pub source: Box<kube::Error>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot {}: {}", self.action, reason(&self.source))
    }
}

// Without a source: the text has the reason already, in the API server's own words.
impl std::error::Error for ApiError {}

impl ApiError {
    /// An error of something that was tried.
    pub fn new(action: impl Into<String>, source: kube::Error) -> Self {
        ApiError {
            action: action.into(),
            source: Box::new(source),
        }
    }

    /// The status code, where there was an answer.
    pub fn code(&self) -> Option<u16> {
        code(&self.source)
    }
}

/// The status code of an answer that is an error; none where there was no answer.
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the same request may well succeed a moment later.
pub fn is_transient(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => true,
        _ => false,
    }
}

/// The reason alone, without how the library calls it.
pub fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("status {}", status.code),
        error => chain(error),
    }
}

/// An error with its causes, each once: a cause that the text above it holds is left out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// A connection that was tried, and what is at its other end.
pub struct Connection {
    /// The connection.
    pub client: Client,
    /// The API server's address.
    pub url: String,
    /// The context's own namespace.
    pub default_namespace: String,
    /// The version that the API server says, such as `v1.34.4`.
    pub version: String,
}

/// Connects, and asks for the version.
///
/// # Errors
/// When there is no kubeconfig, nobody answers, or the version is too old.
pub async fn connect(access: &Access) -> Result<Connection, ConnectError> {
    let mut config = config(access).await?;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(ANSWER);
    config.write_timeout = Some(ANSWER);
    config.reset_reader_on_write = true;
    let url = config.cluster_url.to_string();
    let url = url.trim_end_matches('/').to_owned();
    let default_namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| ConnectError::Config {
        what: described(access),
        source: error.into(),
    })?;
    let info = client.apiserver_version().await;
    let info = info.map_err(|error| match code(&error) {
        Some(401 | 403) => ConnectError::Unauthorized {
            url: url.clone(),
            message: reason(&error),
        },
        _ => ConnectError::Unreachable {
            url: url.clone(),
            message: reason(&error),
        },
    })?;
    if !is_supported(&info.major, &info.minor) {
        return Err(ConnectError::Version {
            url,
            version: info.git_version,
        });
    }
    Ok(Connection {
        client,
        url,
        default_namespace,
        version: info.git_version,
    })
}

/// Whether a version is new enough. Clouds write `29+` for their own builds.
fn is_supported(major: &str, minor: &str) -> bool {
    let digits = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    };
    match (digits(major), digits(minor)) {
        (Some(1), Some(minor)) => minor >= MINOR_MIN,
        (Some(major), _) => major > 1,
        _ => false,
    }
}

async fn config(access: &Access) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions {
        context: access.context.clone(),
        ..KubeConfigOptions::default()
    };
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ConnectError::Config {
        what: described(access),
        source,
    };
    match (&access.kubeconfig, &access.context) {
        (Some(path), _) => {
            let file = Kubeconfig::read_from(path).map_err(|error| failed(error.into()))?;
            let config = Config::from_custom_kubeconfig(file, &options).await;
            config.map_err(|error| failed(error.into()))
        }
        (None, Some(_)) => {
            let config = Config::from_kubeconfig(&options).await;
            config.map_err(|error| failed(error.into()))
        }
        (None, None) => Config::infer().await.map_err(|error| failed(error.into())),
    }
}

fn described(access: &Access) -> String {
    let file = match (&access.kubeconfig, std::env::var_os("KUBECONFIG")) {
        (Some(path), _) => format!("the kubeconfig {}", path.display()),
        (None, Some(path)) => format!("the kubeconfig {}", path.to_string_lossy()),
        (None, None) => "a kubeconfig (~/.kube/config)".into(),
    };
    match &access.context {
        Some(context) => format!("the context `{context}` of {file}"),
        None => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_clouds_are_read_too() {
        for (major, minor, supported) in [
            ("1", "29", true),
            ("1", "29+", true),
            ("1", "34", true),
            ("1", "28", false),
            ("2", "0", true),
            ("", "", false),
        ] {
            assert_eq!(is_supported(major, minor), supported, "{major}.{minor}");
        }
    }
}
