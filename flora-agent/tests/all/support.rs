//! What several modules use.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use prometheus_parse::{Sample, Scrape, Value};

/// Says loudly that a test did not run; where everything is required, fails.
pub fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
    assert!(
        std::env::var_os("FLORA_BENCH_REQUIRE_ALL").is_none(),
        "{test} must not be skipped here: {why}"
    );
}

/// Whether control groups can be made and programs attached; says so when not.
pub fn possible(test: &str) -> bool {
    if !nix::unistd::geteuid().is_root() {
        skip(
            test,
            "it makes control groups and loads eBPF programs, which needs root",
        );
        return false;
    }
    if mount().is_none() {
        skip(test, "no cgroup2 hierarchy is mounted");
        return false;
    }
    true
}

/// Skips the test around it where it can't run.
macro_rules! needs_root {
    ($test:literal) => {
        if !crate::support::possible($test) {
            return;
        }
    };
}
pub(crate) use needs_root;

pub fn mount() -> Option<PathBuf> {
    let mount = flora_agent::cgroup::mount::Mount::find().ok()?;
    Some(mount.point)
}

/// A control group that a test makes.
pub struct Group {
    pub path: PathBuf,
}

impl Group {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("flora-agent-test-{}-{number}", std::process::id());
        Self::at(mount().unwrap().join(name))
    }

    pub fn below(&self, name: &str) -> Self {
        Self::at(self.path.join(name))
    }

    fn at(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        Group { path }
    }

    pub fn add(&self, pid: u32) {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// As the agent names it.
    pub fn name(&self) -> String {
        let inner = self.path.strip_prefix(mount().unwrap()).unwrap();
        format!("/{}", inner.display())
    }

    /// Programs that are attached to it.
    pub fn attached(&self) -> u32 {
        let directory = fs::File::open(&self.path).unwrap();
        flora_agent::bpf::call::attached(&directory).unwrap()
    }

    /// Removes it, once its processes are gone.
    pub fn remove(&self) {
        let start = Instant::now();
        while let Err(error) = fs::remove_dir(&self.path) {
            if error.kind() == std::io::ErrorKind::NotFound {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "{}: {error}",
                self.path.display()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.remove();
        } else {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// A running agent.
pub struct Agent {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
    /// Takes its log down, to the end.
    reader: Option<thread::JoinHandle<()>>,
}

/// The program under test.
pub fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_flora-agent"))
}

/// What a run to the end came to: exit code, standard output, standard error.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

impl Agent {
    /// Starts one on a port of its own, and waits until it serves.
    pub fn start(options: &[&str]) -> Self {
        Self::start_as(command().args(options))
    }

    /// As [`Agent::start`], with an environment of its own.
    pub fn start_as(command: &mut Command) -> Self {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let copy = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = copy.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut agent = Agent {
            child,
            address: "127.0.0.1:0".parse().unwrap(),
            log,
            reader: Some(reader),
        };
        agent.address = agent.wait_for_log("metrics are served", |line| {
            let digits = |c: char| !c.is_ascii_digit() && c != '.' && c != ':';
            let start = line.find("127.0.0.1:")?;
            line[start..].split(digits).next()?.parse().ok()
        });
        agent
    }

    /// One for a control group.
    pub fn watch(group: &Group, options: &[&str]) -> Self {
        let mut all = vec!["--cgroup", group.path.to_str().unwrap()];
        all.extend(options);
        Self::start(&all)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a line with `text` of which `read` makes something.
    pub fn wait_for_log<T>(&self, text: &str, read: impl Fn(&str) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let log = self.log();
            let found = log
                .lines()
                .filter(|line| line.contains(text))
                .find_map(&read);
            if let Some(found) = found {
                return found;
            }
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "no {text:?} in\n{log}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn scrape_text(&self) -> String {
        get(self.address, "/metrics").1
    }

    pub fn scrape(&self) -> Metrics {
        Metrics::parse(&self.scrape_text())
    }

    /// Asks it to stop.
    pub fn terminate(mut self) -> (ExitStatus, String) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        (status, self.log())
    }

    /// Gives it no chance.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
    }
}

/// Status and body of an answer.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// What was scraped.
pub struct Metrics(Vec<Sample>);

impl Metrics {
    /// Reads the text format, by somebody else's reader.
    pub fn parse(text: &str) -> Self {
        // The parser takes the first closing brace for the labels' end, in quotes or not.
        let text = text.replace("{id}", ":id");
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
        Metrics(scrape.samples)
    }

    fn of<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            let has = |(label, value): &(&str, &str)| sample.labels.get(label) == Some(*value);
            sample.metric == name && labels.iter().all(has)
        })
    }

    /// The sum of all samples that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels)
            .map(|sample| match &sample.value {
                Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
                other => panic!("{name}: {other:?}"),
            })
            .sum()
    }

    /// The observations of a histogram.
    pub fn observations(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels)
            .map(|sample| match &sample.value {
                Value::Histogram(buckets) => buckets.last().unwrap().count,
                other => panic!("{name}: {other:?}"),
            })
            .sum()
    }

    /// The values of a label.
    pub fn values(&self, name: &str, label: &str) -> Vec<String> {
        let values = self
            .of(name, &[])
            .filter_map(|sample| sample.labels.get(label));
        let mut values: Vec<_> = values.map(str::to_owned).collect();
        values.sort();
        values.dedup();
        values
    }

    /// Requests that were counted.
    pub fn requests(&self, labels: &[(&str, &str)]) -> f64 {
        self.sum("flora_http_requests_total", labels)
    }

    /// What is counted as lost, whatever the reason.
    pub fn lost(&self) -> f64 {
        self.sum("flora_lost_total", &[])
    }
}

/// A line of `/proc/PID/status`, in KiB.
pub fn status(pid: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .unwrap()
}

/// Waits until something holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Closing this socket resets its connection, and drops what is not sent.
pub fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
