//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;

use clap::Parser;
use clap::builder::TypedValueParser as _;

use crate::query::LIMIT;

/// The application under load: random JSON objects, CPU-intensive tasks, plain or gzip.
///
/// It stands for the service somebody wants to observe. Benchmarks run it with and without an
/// observability agent and compare what it costs.
///
///   GET /objects   a JSON array of random objects; ?objects=N and ?work=N override the counts,
///                  up to 10000 each; gzip if the client accepts it
///   GET /healthz   200 as soon as requests are answered
///   GET /metrics   requests answered and the costs of the process, as Prometheus text
///
/// The n-th request for objects is answered the same by every process with the same seed.
/// On SIGTERM and SIGINT it finishes the requests in flight and exits with 0.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, verbatim_doc_comment)]
pub struct Args {
    /// Address and port to listen on
    ///
    /// With port 0 the kernel chooses one. The address is printed to stderr, as
    /// "listening on http://127.0.0.1:8080".
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,

    /// Objects in an answer; 20 make about 4.8 kB of JSON
    #[arg(long, env, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=i64::from(LIMIT)))]
    pub objects: u32,

    /// CPU-intensive tasks per request
    ///
    /// One of them sorts and hashes 16 KiB of random numbers, which takes some 20 to 40 µs.
    #[arg(long, env, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=i64::from(LIMIT)))]
    pub work: u32,

    /// What everything random is drawn from
    #[arg(long, env, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Worker threads [default: one for each CPU available]
    ///
    /// With 1 everything runs in a single thread.
    #[arg(long, env, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024).map(usize::from))]
    pub threads: Option<usize>,

    /// Seconds a client may keep the server waiting
    ///
    /// A connection is closed when the head of its next request isn't complete after this time,
    /// or when it hasn't taken any more of an answer for this time.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    pub patience: u32,

    /// CPU time that every request for objects burns on top, in nanoseconds
    ///
    /// A synthetic agent of known cost: whoever measures this process must find it again. Exact on
    /// average over requests, to about a hundredth.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000_000))]
    pub burn_nanoseconds: u32,

    /// Memory that is held from the start on top, in bytes, its page tables included
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub hold_bytes: usize,
}

impl Args {
    /// How many threads to start.
    pub fn threads(&self) -> usize {
        let available = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.unwrap_or_else(available)
    }
}

/// An address, or a name such as `localhost:8080` that stands for one.
fn address(text: &str) -> Result<SocketAddr, String> {
    let addresses = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; expected something like 127.0.0.1:8080"))?;
    addresses
        .into_iter()
        .next()
        .ok_or_else(|| "the name has no address".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn addresses() {
        assert_eq!(
            address("127.0.0.1:0"),
            Ok(SocketAddr::from(([127, 0, 0, 1], 0)))
        );
        assert_eq!(address("[::1]:80").map(|address| address.port()), Ok(80));
        for text in ["", "8080", "127.0.0.1", "127.0.0.1:65536", ":::"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
