//! The program under test as a child process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::{Client, Response};
use crate::metrics::Scrape;

/// How long anything may take before a test calls it a hang. No test expects anything to be fast.
pub const GUARD: Duration = Duration::from_secs(20);

/// Tries until there is something, or panics saying what there should have been.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(start.elapsed() < GUARD, "still waiting for: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The program `TARGET_APP` names, or the one built from this package.
fn program() -> PathBuf {
    let Some(program) = std::env::var_os("TARGET_APP").map(PathBuf::from) else {
        return PathBuf::from(env!("CARGO_BIN_EXE_target-app"));
    };
    // Tests run in the package's folder, but the name was most likely given from the root.
    let from_root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(&program);
    if program.exists() || !from_root.exists() {
        program
    } else {
        from_root
    }
}

/// Whether the program under test is the one built from this package. If not, says which test
/// doesn't apply to it.
pub fn is_ours(test: &str) -> bool {
    let ours = std::env::var_os("TARGET_APP").is_none();
    if !ours {
        // Not `eprintln!`, which the test runner would keep to itself.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: only this package promises it, and TARGET_APP is set"
        );
    }
    ours
}

/// The program, not started yet, without any setting from outside.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for variable in ["OBJECTS", "WORK", "SEED", "THREADS"] {
        command.env_remove(variable);
    }
    command
}

/// Runs the program until it ends by itself; its exit code, and everything it wrote.
pub fn run(args: &[&str]) -> (Option<i32>, String) {
    let mut child = command(args)
        .spawn()
        .expect("the program under test starts");
    let start = Instant::now();
    // What it writes is little enough to wait in the pipe.
    while child
        .try_wait()
        .expect("the child can be waited for")
        .is_none()
    {
        if start.elapsed() > GUARD {
            child.kill().expect("the child can be killed");
            panic!("{args:?} should have ended by itself");
        }
        thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("the output can be read");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// A running program, killed when the test ends.
pub struct App {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    stderr: Arc<Mutex<String>>,
}

impl App {
    /// Starts it with these flags, on a port the kernel chooses.
    pub fn start(args: &[&str]) -> Self {
        Self::spawn(command(&["--listen", "127.0.0.1:0"]).args(args))
    }

    /// Starts it and waits for the line that says where it listens.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .spawn()
            .expect("the program under test starts");
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let stderr = Arc::new(Mutex::new(String::new()));
        let (send, receive) = mpsc::channel();
        let log = Arc::clone(&stderr);
        // Ends with the child, and until then keeps its stderr from filling up.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("listening on http://") {
                    let _ = send.send(address.trim().parse::<SocketAddr>());
                }
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        // From here on the child is killed whatever happens.
        let mut app = Self {
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            stderr,
        };
        let address = receive
            .recv_timeout(GUARD)
            .expect("stderr says \"listening on http://ADDRESS:PORT\"");
        app.address = address.expect("the address after \"listening on http://\" can be read");
        app
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.address).expect("the program under test takes connections")
    }

    /// Answer to a GET on a connection of its own.
    pub fn get(&self, target: &str) -> Response {
        self.connect().get(target)
    }

    /// What `/metrics` says.
    pub fn scrape(&self) -> Scrape {
        Scrape::new(&self.get("/metrics"))
    }

    /// Waits until as many requests with these labels are counted as expected, and makes sure that
    /// they don't become more.
    pub fn expect_count(&self, method: &str, route: &str, status: u16, expected: f64) {
        let mut last = 0.0;
        eventually(
            &format!("{expected} counted {method} {route} {status}"),
            || {
                last = self.scrape().requests(method, route, status);
                (last >= expected).then_some(())
            },
        );
        assert_eq!(last, expected, "counted {method} {route} {status}");
        assert_eq!(self.scrape().requests(method, route, status), expected);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid is positive"));
        kill(pid, signal).expect("the child is there to be signalled");
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            assert!(start.elapsed() < limit, "still running after {limit:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("stderr of the program under test:\n{log}");
        }
    }
}
