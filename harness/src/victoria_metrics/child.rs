//! VictoriaMetrics as a child process: the program, its command line, what it scrapes.
//!
//! Nothing here spawns: the backend does, in the cgroup of
//! [`Subject::VictoriaMetrics`](crate::sample::Subject::VictoriaMetrics), so
//! that its cost is a row of the ledger and not part of the remainder.

use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::program::{self, Invocation, ProgramError};

/// Names under which distributions (`victoria-metrics`) and the project's own
/// archives (`victoria-metrics-prod`) install it, in the order of preference.
const NAMES: [&str; 2] = ["victoria-metrics", "victoria-metrics-prod"];

/// Where it is when `PATH` is poor, as under a service manager.
const ELSEWHERE: [&str; 1] = ["/usr/bin/victoria-metrics"];

/// Below it are most ports that services are known by.
const QUIET: u16 = 10_000;

const ADVICE: &str = "install it (Debian, Ubuntu: `apt-get install victoria-metrics`) or name a server with --victoria-metrics URL";

/// Finds the program: `explicit`, else its names in `PATH`, else `/usr/bin/victoria-metrics`.
///
/// # Errors
/// [`ProgramError`] with what to install.
pub fn find_program(explicit: Option<&Path>) -> Result<PathBuf, ProgramError> {
    program::find(explicit, &NAMES, &ELSEWHERE, ADVICE)
}

/// The version in the program's own words, or its package's where the build
/// left it out: Debian's 1.79.5 answers `-version` with an empty line.
///
/// # Errors
/// [`ProgramError`] when it can't be run or no version can be found.
pub fn version(program: &Path) -> Result<String, ProgramError> {
    let said = program::output(program, &["-version"])?;
    if let Some(line) = said.lines().map(str::trim).find(|line| !line.is_empty()) {
        return Ok(line.to_owned());
    }
    packaged_version(program).ok_or_else(|| ProgramError::Version {
        path: program.to_owned(),
        output: "it prints an empty line and belongs to no package".to_owned(),
    })
}

/// What dpkg says of the package that owns the program, as `victoria-metrics 1.79.5+ds1-2`.
fn packaged_version(program: &Path) -> Option<String> {
    let dpkg = Path::new("/usr/bin/dpkg-query");
    let path = program.canonicalize().ok()?;
    let owner = program::output(dpkg, &["--search", path.to_str()?]).ok()?;
    let package = owner.split(':').next()?.trim();
    let format = "--showformat=${Package} ${Version}";
    let said = program::output(dpkg, &["--show", format, package]).ok()?;
    said.starts_with(&format!("{package} ")).then_some(said)
}

/// A TCP port of the loopback interface that nobody listens on.
///
/// It is bound to later, and by some again and again, so it is none of those that the kernel gives
/// to connections by itself: load makes many, and any of them might have it by then. Another
/// process may still take it; then the child exits at once with "address already in use", and
/// asking again is the remedy.
///
/// # Errors
/// Whatever `bind` says.
pub fn free_port() -> io::Result<u16> {
    const TRIES: usize = 100;
    let random = RandomState::new();
    let ports = QUIET..kernels_first();
    for attempt in 0..TRIES {
        let port = ports.start + (random.hash_one(attempt) % ports.len() as u64) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// The first port that the kernel gives to connections by itself (`ip_local_port_range`, see
/// ip-sysctl of the kernel's documentation), or what it is unless somebody changed it. Where these
/// begin so low that little is left, there is no better choice than one of them.
fn kernels_first() -> u16 {
    const FIRST: u16 = 32_768;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let first = range.and_then(|range| range.split_whitespace().next()?.parse().ok());
    first.filter(|first| *first > QUIET + 1000).unwrap_or(FIRST)
}

/// The command line of a VictoriaMetrics that serves one run.
///
/// It listens on the loopback interface and on one port only (the listeners of
/// Graphite, OpenTSDB and InfluxDB are off unless asked for, checked with `ss`
/// on 1.79.5), and its environment holds it to one thread of Go code at a time
/// so that it can't take more than a core from what is measured.
pub fn command(program: &Path, port: u16, storage: &Path, scrape_config: &Path) -> Invocation {
    let mut args: Vec<_> = [
        // The dots of `-flag=value` are VictoriaMetrics' usual form.
        format!("-httpListenAddr=127.0.0.1:{port}"),
        "-retentionPeriod=1d".to_owned(),
        // Without this the newest 30 s repeat an older value.
        "-search.latencyOffset=0s".to_owned(),
        "-search.disableCache".to_owned(),
        "-memory.allowedBytes=64MiB".to_owned(),
        // A scrape that comes between two readings exposes the same reading
        // again, with the same timestamp: keep one.
        "-dedup.minScrapeInterval=1ms".to_owned(),
        "-promscrape.config.strictParse".to_owned(),
        // The target must not spend CPU time on compressing its own metrics,
        // and its absence between trials is no news.
        "-promscrape.disableCompression".to_owned(),
        "-promscrape.suppressScrapeErrors".to_owned(),
        "-http.disableResponseCompression".to_owned(),
        "-http.maxGracefulShutdownDuration=1s".to_owned(),
        "-search.queryStats.lastQueriesCount=0".to_owned(),
        "-selfScrapeInterval=0s".to_owned(),
        "-loggerLevel=WARN".to_owned(),
    ]
    .map(Into::into)
    .into();
    for (flag, path) in [
        ("-storageDataPath=", storage),
        ("-promscrape.config=", scrape_config),
    ] {
        let mut arg = std::ffi::OsString::from(flag);
        arg.push(path);
        args.push(arg);
    }
    Invocation {
        program: program.to_owned(),
        args,
        env: vec![("GOMAXPROCS".to_owned(), "1".to_owned())],
    }
}

/// One thing that is scraped once a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeJob {
    /// Its name, which becomes the label `job`.
    pub name: String,
    /// Where it listens; the path is `/metrics`.
    pub address: SocketAddr,
}

/// The file for `-promscrape.config`: every job once a second.
///
/// Timestamps that an exporter states are kept. A reading's own clock is what a
/// difference must be divided by; the moment of the scrape can be a second later.
///
/// Trials that give the target another port write the file again and call
/// [`Client::reload`](super::Client::reload).
pub fn scrape_config(jobs: &[ScrapeJob]) -> String {
    let mut text =
        String::from("global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n\nscrape_configs:\n");
    for job in jobs {
        let name = yaml_string(&job.name);
        let address = yaml_string(&job.address.to_string());
        write!(
            text,
            "  - job_name: {name}\n    honor_timestamps: true\n    metrics_path: /metrics\n    static_configs:\n      - targets: [{address}]\n",
        )
        .expect("writing to a string");
    }
    text
}

/// A double-quoted YAML scalar. JSON's escapes are a subset of YAML's.
fn yaml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn one_loopback_listener_and_paths_of_the_run() {
        let invocation = command(
            Path::new("/usr/bin/victoria-metrics"),
            18428,
            Path::new("/run dir/vm"),
            Path::new("/run dir/scrape.yml"),
        );
        let args: Vec<_> = invocation
            .args
            .iter()
            .map(|a| a.to_str().unwrap())
            .collect();
        assert!(args.contains(&"-httpListenAddr=127.0.0.1:18428"));
        assert!(args.contains(&"-storageDataPath=/run dir/vm"));
        assert!(args.contains(&"-promscrape.config=/run dir/scrape.yml"));
        assert!(args.contains(&"-search.latencyOffset=0s"));
        assert_eq!(
            args.iter().filter(|a| a.contains("ListenAddr")).count(),
            1,
            "no other listener"
        );
        assert_eq!(invocation.env, [("GOMAXPROCS".into(), "1".into())]);
    }

    #[test]
    fn the_scrape_file_is_yaml_with_every_job() {
        let text = scrape_config(&[
            ScrapeJob {
                name: "target".into(),
                address: "127.0.0.1:8080".parse().unwrap(),
            },
            ScrapeJob {
                name: "odd \"name\": {x}".into(),
                address: "127.0.0.1:9100".parse().unwrap(),
            },
        ]);
        let file: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(file["global"]["scrape_interval"], "1s");
        let jobs = file["scrape_configs"].as_array().unwrap();
        assert_eq!(jobs.len(), 2);
        assert_eq!(jobs[0]["job_name"], "target");
        assert_eq!(jobs[0]["honor_timestamps"], true);
        assert_eq!(jobs[0]["static_configs"][0]["targets"][0], "127.0.0.1:8080");
        assert_eq!(jobs[1]["job_name"], "odd \"name\": {x}");
    }

    #[test]
    fn a_free_port_can_be_bound() {
        let ports: BTreeSet<_> = (0..50).map(|_| free_port().unwrap()).collect();
        assert!(ports.len() > 40, "{ports:?}");
        for port in ports {
            assert!((QUIET..kernels_first()).contains(&port), "{port}");
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
