//! nginx: `sendfile`, several worker processes, thousands of connections. Its access log is the truth.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::client::{Client, FIELDS, request};
use super::{losses, same};
use crate::support::{Agent, Group, needs_root, skip, wait_until};

struct Nginx {
    child: Child,
    directory: tempfile::TempDir,
    address: SocketAddr,
}

impl Nginx {
    fn start(group: &Group, test: &str) -> Option<Self> {
        if Command::new("nginx")
            .arg("-v")
            .stderr(Stdio::null())
            .status()
            .is_err()
        {
            skip(test, "no nginx (Debian: nginx-light)");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let body = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        std::fs::write(at.join("large"), body.repeat(400_000)).unwrap();
        std::fs::write(at.join("small"), "small").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let path = at.display();
        let config = format!(
            "user root; daemon off; worker_processes 2; worker_rlimit_nofile 24000;
             pid {path}/pid; error_log {path}/error;
             events {{ worker_connections 12000; }}
             http {{
               log_format status '$status'; access_log {path}/access status;
               client_body_temp_path {path}/t1; proxy_temp_path {path}/t2; fastcgi_temp_path {path}/t3;
               uwsgi_temp_path {path}/t4; scgi_temp_path {path}/t5;
               sendfile on; tcp_nopush on; keepalive_requests 100000; keepalive_timeout 600;
               server {{ listen {address} backlog=4096; root {path}; default_type text/plain; }}
             }}"
        );
        std::fs::write(at.join("conf"), config).unwrap();
        let conf = at.join("conf");
        let mut child = Command::new("sh")
            .args(["-c", "read go && exec nginx -e \"$2\" -c \"$1\"", "sh"])
            .args([&conf, &at.join("error")])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        group.add(child.id());
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let nginx = Nginx {
            child,
            directory,
            address,
        };
        wait_until("nginx listens", || TcpStream::connect(address).is_ok());
        Some(nginx)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What it logged, by status, once it logged so many.
    fn served(&self, requests: u64) -> BTreeMap<u16, u64> {
        let mut served = BTreeMap::new();
        wait_until("all are logged", || {
            served.clear();
            for line in std::fs::read_to_string(self.file("access"))
                .unwrap()
                .lines()
            {
                *served.entry(line.parse().unwrap()).or_default() += 1;
            }
            served.values().sum::<u64>() == requests
        });
        served
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers.
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

#[test]
fn files_by_sendfile() {
    needs_root!("files_by_sendfile");
    let group = Group::new();
    let Some(nginx) = Nginx::start(&group, "files_by_sendfile") else {
        return;
    };
    let agent = Agent::watch(&group, &[]);
    let mut client = Client::connect(nginx.address);
    let length = std::fs::metadata(nginx.file("large")).unwrap().len();
    let mut requests = 0;
    for _ in 0..3 {
        client.send(&request("GET", "/large"));
        assert_eq!(client.answer(false).body.len() as u64, length);
        assert_eq!(client.get("/small"), 200);
        assert_eq!(client.get("/no/such"), 404);
        assert_eq!(client.ask("HEAD", "/large"), 200);
        let range = format!("GET /large HTTP/1.1\r\n{FIELDS}Range: bytes=38-70000\r\n\r\n");
        client.send(range.as_bytes());
        assert_eq!(client.answer(false).status, 206);
        client.send(&request("GET", "/small").repeat(16));
        for _ in 0..16 {
            assert_eq!(client.answer(false).status, 200);
        }
        requests += 5 + 16;
    }
    let mut last = Client::connect(nginx.address);
    last.send(b"GET /large HTTP/1.0\r\n\r\n");
    assert_eq!(last.answer(false).body.len() as u64, length);
    let metrics = agent.scrape();
    same(&nginx.served(requests + 1), &metrics);
    assert_eq!(metrics.lost(), 0.0, "{}", losses(&metrics));
}

#[test]
fn ten_thousand_connections() {
    needs_root!("ten_thousand_connections");
    const CONNECTIONS: usize = 10_000;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let enough = hard.max(15_000);
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, enough, enough) {
        return skip(
            "ten_thousand_connections",
            &format!("{enough} open files are not permitted: {error}"),
        );
    }
    let group = Group::new();
    let Some(nginx) = Nginx::start(&group, "ten_thousand_connections") else {
        return;
    };
    let agent = Agent::watch(&group, &[]);
    let mut clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| Client::connect(nginx.address))
        .collect();
    for _ in 0..2 {
        // All ask before the first reads.
        for client in &mut clients {
            client.send(&request("GET", "/small"));
        }
        for client in &mut clients {
            assert_eq!(client.answer(false).status, 200);
        }
    }
    let metrics = agent.scrape();
    same(&nginx.served(2 * CONNECTIONS as u64), &metrics);
    assert_eq!(metrics.lost(), 0.0, "{}", losses(&metrics));
    assert!(metrics.requests(&[]) == 20_000.0);
}
