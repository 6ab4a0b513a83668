//! The dashboards: their form, and every query of theirs against a real VictoriaMetrics that holds
//! a real run, and what a real agent says.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flora_bench::victoria_metrics::{Client, Series, ServerUrl, child};
use flora_bench::workspace;
use serde_json::Value;

use crate::manifests::documents;
use crate::support::{flora_bench, repository, run, skip};

const DASHBOARDS: [&str; 2] = ["run", "flora-agent"];
/// A recorded run with an agent that was asked what it had seen.
const RUN: &str = "results/flora/middle";

fn dashboard(name: &str) -> Value {
    let path = format!("deploy/monitoring/dashboards/{name}.json");
    serde_json::from_str(&fs::read_to_string(repository().join(path)).unwrap()).unwrap()
}

/// The panels that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row")
}

#[test]
fn every_dashboard_is_provisioned_and_points_at_the_data_source() {
    let sources = documents(&repository().join("deploy/monitoring/provisioning/datasources.yaml"));
    let source = &sources[0]["datasources"][0];
    let kustomization =
        fs::read_to_string(repository().join("deploy/monitoring/kustomization.yaml"));
    let kustomization = kustomization.unwrap();
    let all = fs::read_dir(repository().join("deploy/monitoring/dashboards")).unwrap();
    assert_eq!(
        all.count(),
        DASHBOARDS.len(),
        "a dashboard that no test knows"
    );
    let mut uids = BTreeSet::new();
    for name in DASHBOARDS {
        assert!(
            kustomization.contains(&format!("dashboards/{name}.json")),
            "{name}"
        );
        let dashboard = dashboard(name);
        assert!(uids.insert(dashboard["uid"].as_str().unwrap().to_owned()));
        let mut parts: Vec<&Value> = dashboard["templating"]["list"]
            .as_array()
            .unwrap()
            .iter()
            .collect();
        for panel in panels(&dashboard) {
            parts.push(panel);
            parts.extend(panel["targets"].as_array().unwrap());
        }
        for part in parts {
            assert_eq!(part["datasource"]["uid"], source["uid"], "{name}: {part}");
            assert_eq!(part["datasource"]["type"], source["type"], "{name}: {part}");
        }
    }
}

#[test]
fn panels_lie_beside_each_other_and_say_what_they_show() {
    const UNITS: [&str; 7] = ["s", "bytes", "percentunit", "reqps", "Bps", "none", "short"];
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        let all = dashboard["panels"].as_array().unwrap();
        let mut cells = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in all {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: {panel}");
            assert!(
                !panel["title"].as_str().unwrap().is_empty(),
                "{name}: {panel}"
            );
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{name}: {panel}");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(
                        cells.insert((x, y)),
                        "{name}: {} lies on another",
                        panel["title"]
                    );
                }
            }
        }
        let variables: Vec<&str> = dashboard["templating"]["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variable| variable["name"].as_str().unwrap())
            .collect();
        for panel in panels(&dashboard) {
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
            assert!(UNITS.contains(&unit), "{name}: {unit}");
            let mut names = BTreeSet::new();
            for target in panel["targets"].as_array().unwrap() {
                assert!(
                    names.insert(target["refId"].as_str().unwrap()),
                    "{name}: {target}"
                );
                // Every word behind a dollar is a variable, of its own or of Grafana's.
                let expr = target["expr"].as_str().unwrap();
                for word in expr.split('$').skip(1) {
                    let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                    let word = &word[..end.unwrap_or(word.len())];
                    let known = ["__range", "__interval", "__rate_interval"].contains(&word);
                    assert!(
                        known || variables.contains(&word),
                        "{name}: ${word} in {expr}"
                    );
                }
            }
        }
    }
}

/// A child that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Running {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    Running(quiet.stderr(Stdio::null()).spawn().unwrap())
}

/// VictoriaMetrics with what it scrapes; its data go with `directory`.
async fn victoria_metrics(
    test: &str,
    directory: &Path,
    jobs: &[child::ScrapeJob],
) -> Option<(Running, Client)> {
    let Ok(program) = child::find_program(None) else {
        skip(test, "no victoria-metrics");
        return None;
    };
    let config = directory.join("scrape.yaml");
    fs::write(&config, child::scrape_config(jobs)).unwrap();
    let port = child::free_port().unwrap();
    let mut invocation = child::command(&program, port, &directory.join("data"), &config);
    // The recorded run is older than a day.
    invocation
        .args
        .retain(|arg| !arg.to_string_lossy().contains("retentionPeriod"));
    invocation.args.push("-retentionPeriod=100y".into());
    let running = start(
        Command::new(&invocation.program)
            .args(&invocation.args)
            .envs(invocation.env),
    );
    let client = Client::new(ServerUrl::loopback(port)).unwrap();
    client.wait_ready(Duration::from_secs(60)).await.unwrap();
    Some((running, client))
}

/// What a panel's queries are asked about.
struct Scene<'a> {
    client: &'a Client,
    variables: &'a [(&'a str, &'a str)],
    /// Seconds since the epoch.
    from: f64,
    to: f64,
}

impl Scene<'_> {
    /// Asks as Grafana does: once where the panel shows one moment, else at steps.
    async fn ask(&self, target: &Value) -> Vec<Series> {
        let range = format!("{}s", (self.to - self.from).ceil());
        let own = [
            ("__range", range.as_str()),
            ("__rate_interval", "20s"),
            ("__interval", "5s"),
        ];
        let mut expr = target["expr"].as_str().unwrap().to_owned();
        for (name, value) in own.iter().chain(self.variables) {
            expr = expr.replace(&format!("${name}"), value);
        }
        assert!(!expr.contains('$'), "{expr}");
        let series = if target["instant"] == true {
            self.client.query(&expr, Some(self.to)).await
        } else {
            let step = Duration::from_secs(5);
            self.client
                .query_range(&expr, self.from, self.to, step)
                .await
        };
        let mut series = series.unwrap();
        series.retain(|one| one.points.iter().any(|point| point.value.is_finite()));
        series
    }

    /// The titles of panels with a query that has no answer.
    async fn empty(&self, dashboard: &Value) -> Vec<String> {
        let mut empty = Vec::new();
        for panel in panels(dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                if self.ask(target).await.is_empty() {
                    empty.push(format!("{}: {}", panel["title"], target["expr"]));
                }
            }
        }
        empty
    }
}

fn recorded() -> PathBuf {
    let all = fs::read_dir(repository().join(RUN)).unwrap().flatten();
    all.map(|entry| entry.path()).next().unwrap()
}

#[tokio::test]
async fn the_dashboard_of_a_run_shows_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let name = "the_dashboard_of_a_run_shows_a_run";
    let Some((_running, client)) = victoria_metrics(name, directory.path(), &[]).await else {
        return;
    };
    let mut command = flora_bench();
    let (code, text, stderr) = run(command
        .arg("export")
        .arg(recorded())
        .args(["--as", "prometheus"]));
    assert_eq!(code, 0, "{stderr}");
    let values = text.lines().filter(|line| !line.starts_with('#'));
    let times: Vec<f64> = values
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() / 1e3)
        .collect();
    let first = times.iter().copied().fold(f64::INFINITY, f64::min);
    let last = times.iter().copied().fold(0.0, f64::max);
    client.import(text).await.unwrap();
    client.flush().await.unwrap();

    let trials = fs::read_to_string(recorded().join("trials.jsonl")).unwrap();
    let trials: Vec<Value> = trials
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let run = recorded();
    let run = run.file_name().unwrap().to_str().unwrap();
    let scene = Scene {
        client: &client,
        variables: &[("run", run), ("arm", ".*")],
        from: first.floor(),
        to: last.ceil() + 1.0,
    };
    let dashboard = dashboard("run");
    assert_eq!(scene.empty(&dashboard).await, Vec::<String>::new());

    // Every arm has its bar, and the bar is the mean of its trials.
    let bar = panels(&dashboard)
        .find(|panel| panel["title"] == "Target: CPU time per request")
        .unwrap();
    let arms: BTreeSet<&str> = trials
        .iter()
        .map(|trial| trial["arm"].as_str().unwrap())
        .collect();
    let shown = scene.ask(&bar["targets"][0]).await;
    assert_eq!(shown.len(), arms.len(), "{shown:?}");
    for series in shown {
        let of_arm: Vec<f64> = trials
            .iter()
            .filter(|trial| {
                trial["arm"] == series.labels["arm"].as_str() && trial["status"] == "valid"
            })
            .map(|trial| {
                let mut all = trial["statistics"].as_array().unwrap().iter();
                let cost = all
                    .find(|s| s["metric"] == "cpu_seconds_per_request" && s["subject"] == "target");
                cost.unwrap()["value"].as_f64().unwrap()
            })
            .collect();
        let mean = of_arm.iter().sum::<f64>() / of_arm.len() as f64;
        let shown = series.points[0].value;
        assert!(
            (shown / mean - 1.0).abs() < 1e-6,
            "{series:?}, expected {mean}"
        );
    }
}

/// A control group of version 2 for what is watched; gone with its owner.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Group> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[2] == "cgroup2").then(|| words[1].to_owned())
        })?;
        let path = Path::new(&mount).join(format!("flora-dashboard-{}", std::process::id()));
        fs::create_dir(&path).ok().map(|()| Group(path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let began = Instant::now();
        while fs::remove_dir(&self.0).is_err() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One request on a connection of its own; none while nobody listens.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn wait_for(port: u16, path: &str) {
    let began = Instant::now();
    while get(port, path).is_none() {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "nobody answers at {port}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test]
async fn the_dashboard_of_the_agent_shows_an_agent() {
    let name = "the_dashboard_of_the_agent_shows_an_agent";
    if !nix::unistd::geteuid().is_root() {
        return skip(name, "it loads eBPF programs, which needs root");
    }
    let Some(group) = Group::new() else {
        return skip(name, "no control group of version 2 can be made");
    };
    let directory = tempfile::tempdir().unwrap();
    let [agent_port, target_port] = [child::free_port().unwrap(), child::free_port().unwrap()];
    let job = child::ScrapeJob {
        name: "pods".into(),
        address: ([127, 0, 0, 1], agent_port).into(),
    };
    let Some((_running, client)) = victoria_metrics(name, directory.path(), &[job]).await else {
        return;
    };
    let program = |name: &str| workspace::provide(name).unwrap();
    // A socket belongs to the group of the process that makes it, so it is there from the start.
    let target = start(
        Command::new("sh")
            .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&group.0)
            .arg(program("target-app"))
            .args(["--listen", &format!("127.0.0.1:{target_port}")]),
    );
    let agent = start(
        Command::new(program("flora-agent"))
            .arg("--cgroup")
            .arg(&group.0)
            .args(["--listen", &format!("127.0.0.1:{agent_port}")]),
    );
    wait_for(target_port, "/healthz");
    wait_for(agent_port, "/healthz");

    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.unwrap().as_secs_f64()
    };
    let from = now();
    let dashboard = dashboard("flora-agent");
    loop {
        for path in [
            "/objects",
            "/objects?objects=1",
            "/healthz",
            "/nothing/4711",
        ] {
            get(target_port, path).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        if now() - from < 5.0 {
            continue;
        }
        client.flush().await.unwrap();
        let variables = [("namespace", ".*"), ("workload", ".*")];
        let scene = Scene {
            client: &client,
            variables: &variables,
            from,
            to: now(),
        };
        let empty = scene.empty(&dashboard).await;
        if empty.is_empty() {
            break;
        }
        assert!(now() - from < 60.0, "no answer to {empty:#?}");
    }
    drop((agent, target));
}
