//! Who is not watched pays nothing.

use std::hint::black_box;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::cost::cpu_nanoseconds;
use crate::server::{Client, Server};
use crate::support::{Agent, Group, needs_root};

/// Pairs with the agent and without it, in turn.
const PAIRS: usize = 8;
/// Student's t for 7 degrees of freedom, 95 %.
const T: f64 = 2.365;
/// The same, 99.9 %: what fails a run must not be chance.
const STRICT: f64 = 5.408;
/// A machine with neighbours can't tell less apart in so short a time.
const ALLOWED: f64 = 0.05;

/// CPU time of this thread, in nanoseconds.
fn mine() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64
}

/// The least of five tries, which neighbours disturb least.
fn least(mut cost: impl FnMut() -> f64) -> f64 {
    (0..5).map(|_| cost()).fold(f64::INFINITY, f64::min)
}

fn system_calls() -> f64 {
    least(|| {
        let before = mine();
        for _ in 0..50_000 {
            black_box(nix::unistd::getppid());
        }
        mine() - before
    })
}

/// On one connection throughout: the time of a server's thread that has ended is in no sum.
fn requests(server: &Server, client: &mut Client) -> f64 {
    least(|| {
        let before = mine() + cpu_nanoseconds(server.pid()) as f64;
        for _ in 0..300 {
            client.get("/bystander");
        }
        mine() + cpu_nanoseconds(server.pid()) as f64 - before
    })
}

/// Keeps this thread, and all threads that a process has by now, on one CPU.
fn share_a_cpu(pid: u32) {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).unwrap();
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(first.unwrap()).unwrap();
    sched_setaffinity(this, &one).unwrap();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let name = task.unwrap().file_name();
        let thread = name.to_str().and_then(|name| name.parse().ok()).unwrap();
        sched_setaffinity(Pid::from_raw(thread), &one).unwrap();
    }
}

/// Mean and half the width of the 95 % interval of some log-ratios.
fn interval(ratios: &[f64]) -> (f64, f64) {
    let n = ratios.len() as f64;
    let mean = ratios.iter().sum::<f64>() / n;
    let variance = ratios.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, T * (variance / n).sqrt())
}

#[test]
fn what_is_not_watched_costs_what_it_did() {
    needs_root!("what_is_not_watched_costs_what_it_did");
    let (watched, other) = (Group::new(), Group::new());
    let server = Server::start(&other);
    let mut client = server.connect();
    // Its thread is there once it has answered.
    client.get("/bystander");
    // Whether two CPUs take part would decide what a request costs, so it is one.
    share_a_cpu(server.pid());
    let mut ratios = [Vec::new(), Vec::new()];
    for pair in 0..PAIRS {
        let mut costs = [[0.0; 2]; 2];
        // First with it, then without, then the other way round.
        for with in [pair % 2 == 0, pair % 2 == 1] {
            let agent = with.then(|| Agent::watch(&watched, &[]));
            costs[usize::from(with)] = [system_calls(), requests(&server, &mut client)];
            drop(agent);
        }
        for (which, ratios) in ratios.iter_mut().enumerate() {
            ratios.push((costs[1][which] / costs[0][which]).ln());
        }
    }
    for (what, ratios) in ["system calls", "requests"].iter().zip(&ratios) {
        let (mean, half) = interval(ratios);
        println!(
            "{what} of a bystander: {:+.1} % ({:+.1} to {:+.1} %, 95 %, {PAIRS} pairs)",
            100.0 * mean.exp_m1(),
            100.0 * (mean - half).exp_m1(),
            100.0 * (mean + half).exp_m1()
        );
        assert!(
            ratios.iter().all(|ratio| ratio.is_finite()),
            "{what}: {ratios:?}"
        );
        assert!(mean - half / T * STRICT < ALLOWED, "{what}: {ratios:?}");
    }
}
