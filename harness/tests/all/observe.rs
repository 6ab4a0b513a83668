//! The node observer as a process, against a control group that the kernel fills.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flora_bench::observe::hierarchy::Hierarchies;
use flora_bench::observe::{About, NodeReading, PodReading};
use flora_bench::observer::process::ProcessObserver;
use flora_bench::observer::prometheus::Endpoint;
use flora_bench::sample::Reading;

use crate::support::{flora_bench, run, skip};

const UID: &str = "5b8d7c26-0ac5-4a4b-9e2c-2f4f6e1c2a10";

/// Of a pod that is not looked for, so that tests can run side by side.
const OTHER_UID: &str = "6f1d5b0e-93c7-4f0c-8f0d-1b7a52c7d9e4";

/// An observer on a free port, until it is dropped.
struct Observer {
    process: Child,
    base: String,
}

impl Observer {
    fn start(arguments: &[&str]) -> Observer {
        let process = flora_bench()
            .args(["observe", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // From here on it ends with the test, whatever comes.
        let mut observer = Observer {
            process,
            base: String::new(),
        };
        let mut said = String::new();
        let stderr = observer.process.stderr.as_mut().unwrap();
        BufReader::new(stderr).read_line(&mut said).unwrap();
        let url = said.find("http://").map(|at| said[at..].trim());
        let base = url.and_then(|url| url.strip_suffix("/readings"));
        observer.base = base.unwrap_or_else(|| panic!("{said}")).to_owned();
        observer
    }

    async fn get(&self, path: &str) -> String {
        let endpoint = Endpoint::new(format!("{}{path}", self.base));
        endpoint.text().await.unwrap()
    }

    async fn readings(&self, since: f64) -> Vec<NodeReading> {
        let text = self.get(&format!("/readings?since={since}")).await;
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn terminate(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.process.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A control group that looks like a pod's, with a process that computes in it.
struct Pod {
    directories: Vec<PathBuf>,
    process: Child,
}

impl Pod {
    fn start(uid: &str) -> std::io::Result<Pod> {
        let found =
            Hierarchies::find(Path::new("/sys/fs/cgroup")).map_err(std::io::Error::other)?;
        let mut roots: Vec<PathBuf> = [&found.cpuacct, &found.cpu, &found.memory, &found.v2]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        roots.dedup();
        let pod = format!("observe-test-{}/kubepods/pod{uid}", std::process::id());
        let mut join = String::new();
        let mut directories = Vec::new();
        for root in roots {
            let directory = root.join(&pod);
            fs::create_dir_all(&directory)?;
            join.push_str(&format!(
                "echo $$ > {}/cgroup.procs && ",
                directory.display()
            ));
            directories.push(directory);
        }
        let process = Command::new("sh")
            .args(["-c", &format!("{join} while :; do :; done")])
            .spawn()?;
        Ok(Pod {
            directories,
            process,
        })
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for directory in &self.directories {
            // The pod, `kubepods`, and what is above it.
            for path in directory.ancestors().take(3) {
                let _ = fs::remove_dir(path);
            }
        }
    }
}

fn pod(reading: &NodeReading) -> &PodReading {
    let found = reading.pods.iter().find(|pod| pod.uid == UID);
    found.unwrap_or_else(|| panic!("{reading:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pods_counters_are_the_kernels() {
    let computing = match Pod::start(UID) {
        Ok(pod) => pod,
        Err(error) => return skip("a_pods_counters_are_the_kernels", &error.to_string()),
    };
    let logs = tempfile::tempdir().unwrap();
    fs::create_dir(logs.path().join(format!("bench_target-0_{UID}"))).unwrap();
    let observer = Observer::start(&[
        "--logs",
        logs.path().to_str().unwrap(),
        "--namespace",
        "bench",
    ]);
    let about: About = serde_json::from_str(&observer.get("/about").await).unwrap();
    assert!(about.cpus >= 1 && about.boot_id.len() == 36, "{about:?}");

    let clock = ProcessObserver::new(computing.process.id());
    let cpu = || clock.read().unwrap()[0].1;
    let read =
        async || -> NodeReading { serde_json::from_str(&observer.get("/read").await).unwrap() };
    let own = ProcessObserver::new(observer.process.id());
    let own_cpu = || own.read().unwrap()[0].1;
    let (early, first, late, own_before) = (cpu(), read().await, cpu(), own_cpu());
    tokio::time::sleep(Duration::from_millis(3200)).await;
    let (earlier, last, later, own_after) = (cpu(), read().await, cpu(), own_cpu());

    // The group's counter goes as far as the process's own clock, read before and after it, within
    // a switch of tasks and the age of a reading (10 ms) at either end.
    let used = |reading: &NodeReading| pod(reading).values[&Reading::CpuUsageSecondsTotal];
    let counted = used(&last) - used(&first);
    let (least, most) = (earlier - late, later - early);
    assert!(least > 0.1, "the process has not computed: {least}");
    assert!(
        (least - 0.03..=most + 0.03).contains(&counted),
        "counted {counted} s, spent {least} to {most} s"
    );
    assert_eq!(pod(&last).name.as_deref(), Some("target-0"));

    // A reading a second, each with a clock of its own, and the edges besides.
    let kept = observer.readings(0.0).await;
    assert!((4..=8).contains(&kept.len()), "{}", kept.len());
    let rising = |pair: &[NodeReading]| {
        pair[0].monotonic < pair[1].monotonic
            && pod(&pair[0]).monotonic < pod(&pair[1]).monotonic
            && used(&pair[0]) <= used(&pair[1])
    };
    assert!(kept.windows(2).all(rising), "{kept:?}");
    assert!(kept.contains(&first) && kept.contains(&last));
    let since = observer.readings(first.monotonic).await;
    assert!(!since.contains(&first) && since.contains(&last));

    // The same for whoever scrapes.
    let text = observer.get("/metrics").await;
    let name = format!(
        r#"container_cpu_usage_seconds_total{{namespace="bench",pod="target-0",pod_uid="{UID}"}} "#
    );
    assert!(text.contains(&name), "{text}");

    // Observing must not be what is observed: 1 % of a CPU would be much.
    let cost = (own_after - own_before) / 3.2;
    assert!(cost < 0.01, "the observer used {cost} CPUs");
    assert_eq!(observer.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn pods_of_other_namespaces_are_not_read() {
    let _computing = match Pod::start(OTHER_UID) {
        Ok(pod) => pod,
        Err(error) => return skip("pods_of_other_namespaces_are_not_read", &error.to_string()),
    };
    let logs = tempfile::tempdir().unwrap();
    fs::create_dir(logs.path().join(format!("kube-system_dns-0_{OTHER_UID}"))).unwrap();
    let logs = logs.path().to_str().unwrap();
    let observer = Observer::start(&["--logs", logs, "--namespace", "bench"]);
    let reading: NodeReading = serde_json::from_str(&observer.get("/read").await).unwrap();
    assert!(reading.pods.is_empty(), "{reading:?}");
    assert!(reading.node[&Reading::NodeCpuIdleSecondsTotal] > 0.0);
}

#[test]
fn what_is_missing_is_named_with_its_exit_code() {
    let empty = tempfile::tempdir().unwrap();
    let root = empty.path().to_str().unwrap();
    let (code, _, stderr) = run(flora_bench().args(["observe", "--root", root]));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("hostPath"), "{stderr}");
    let (code, _, stderr) = run(flora_bench().args(["observe", "--namespace", "bench"]));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("--logs"), "{stderr}");
    let (code, _, stderr) = run(flora_bench().args(["observe", "--logs", "/nowhere/at/all"]));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("/nowhere/at/all"), "{stderr}");
}
