//! The intake: what exporters send is what it counts, whatever else they send.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use flora_bench::intake::{Addresses, SUBCOMMAND};

use crate::support::flora_bench;

pub mod encode;
mod limits;
mod protocols;
pub mod runs;

/// An intake of its own, ended with the test.
struct Intake {
    child: Child,
    at: Addresses,
}

impl Intake {
    fn start() -> Intake {
        let mut child = flora_bench()
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let at = serde_json::from_str(&line).unwrap();
        Intake { child, at }
    }

    /// Everything that it counted and is not 0: `name{labels} value` a line, without its prefix.
    fn counts(&self) -> Vec<String> {
        let (status, text) = get(&self.at.metrics, "/metrics");
        assert_eq!(status, 200);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter(|line| !line.ends_with(" 0"))
            .map(|line| line.replacen("flora_bench_intake_", "", 1))
            .collect()
    }

    /// One count, by its name and labels; 0 where there is none.
    fn count(&self, series: &str) -> u64 {
        let counts = self.counts();
        let found = counts
            .iter()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        found.unwrap_or(0)
    }

    /// Waits until a count is there.
    fn await_count(&self, series: &str, expected: u64) {
        for _ in 0..2000 {
            if self.count(series) == expected {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{series} is not {expected}: {:#?}", self.counts());
    }

    /// The most memory that it ever had resident, in bytes.
    fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() << 10
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // It ends by itself when nobody holds its input any more.
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        if !std::thread::panicking() {
            assert!(status.success(), "{status}");
        }
    }
}

/// Status and body of an answer.
type Answer = (u16, String);

fn get(address: &str, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    exchange(address, request.as_bytes())
}

fn post(address: &str, path: &str, content_type: &str, body: &[u8]) -> Answer {
    post_encoded(address, path, content_type, "identity", body)
}

fn post_encoded(
    address: &str,
    path: &str,
    content_type: &str,
    encoding: &str,
    body: &[u8],
) -> Answer {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
         Content-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    exchange(address, &[head.as_bytes(), body].concat())
}

/// Sends bytes and reads the answer; the intake may hang up before it has all of them.
fn exchange(address: &str, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    answer(&bytes)
}

fn answer(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}
