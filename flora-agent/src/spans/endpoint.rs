//! Where a collector listens.

use std::str::FromStr;

/// `http://host:port[/path]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port to connect to.
    pub address: String,
    /// What the `Host` header says.
    pub host: String,
    /// The path to post to.
    pub path: String,
}

/// Not an endpoint.
#[derive(Debug, thiserror::Error)]
#[error("{0}; an endpoint looks like http://127.0.0.1:4318")]
pub struct EndpointError(&'static str);

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("http://").ok_or(EndpointError(
            "only http:// is spoken, TLS is a collector's work",
        ))?;
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if host.is_empty() {
            return Err(EndpointError("there is no host in it"));
        }
        if host.contains('@') {
            return Err(EndpointError("a user in it is not supported"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(EndpointError(
                "there are spaces or other characters in it that don't belong",
            ));
        }
        let colon = host
            .rfind(':')
            .filter(|colon| *colon > host.rfind(']').unwrap_or(0));
        let address = match colon {
            Some(colon) if host[colon + 1..].parse::<u16>().is_err() => {
                return Err(EndpointError("the port is no number"));
            }
            Some(_) => host.to_owned(),
            None => format!("{host}:80"),
        };
        // The general endpoint: each signal has a path of its own below it.
        let path = format!("{}/v1/traces", path.trim_end_matches('/'));
        Ok(Endpoint {
            address,
            host: host.to_owned(),
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let parse = |text: &str| text.parse::<Endpoint>().map(|e| (e.address, e.path));
        let ok = |text: &str| parse(text).unwrap();
        assert_eq!(
            ok("http://127.0.0.1:4318"),
            ("127.0.0.1:4318".into(), "/v1/traces".into())
        );
        assert_eq!(
            ok("http://c/otlp/"),
            ("c:80".into(), "/otlp/v1/traces".into())
        );
        assert_eq!(ok("http://[::1]:4318/").0, "[::1]:4318");
        assert_eq!(ok("http://[::1]").0, "[::1]:80");
        for wrong in [
            "https://c",
            "c:4318",
            "http://",
            "http://c:x",
            "http://u@c",
            "http://c/\r\n",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
