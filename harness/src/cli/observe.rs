//! `flora-bench observe`: a node's counters, for measurements in a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::exit::{self, Failure};
use crate::observe::{Scope, server};

/// Read a cluster node's counters once a second and serve them.
///
/// Runs in a pod on every node that is measured; the Kubernetes backend puts
/// it there. CPU time, throttling, memory and OOM kills of pods and their
/// containers come from the host's control groups (version 1 or 2), the node's
/// own from /proc/stat. Serves, by GET:
///
///   /readings?since=SECONDS   JSON lines, read after this moment of the
///                             monotonic clock; at most 120, ask again for more
///   /read                     one reading, taken now
///   /about                    version, boot, clocks
///   /metrics                  the latest reading as Prometheus text
///   /healthz
///
/// Needs neither root nor a capability: only the host's /sys/fs/cgroup and, to
/// tell pods by namespace and name, the directory names of /var/log/pods, both
/// read-only.
///
/// Example:
///   flora-bench observe --listen 0.0.0.0:9101 --root /host/cgroup --logs /host/pods --namespace bench
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Where to listen. In a pod, 0.0.0.0 is the pod's own address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9101")]
    listen: SocketAddr,

    /// The host's /sys/fs/cgroup.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup")]
    root: PathBuf,

    /// The host's /var/log/pods, to tell pods by namespace and name; without it
    /// every pod is read, and known by its UID alone.
    #[arg(long, value_name = "PATH")]
    logs: Option<PathBuf>,

    /// Read the pods of this namespace only; may be given several times.
    #[arg(long = "namespace", value_name = "NAME", requires = "logs")]
    namespaces: Vec<String>,
}

/// Runs the command until SIGTERM or SIGINT.
///
/// # Errors
/// With exit code 3 when there is nothing to read, or the address is taken.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let scope = Scope {
        root: arguments.root,
        logs: arguments.logs,
        namespaces: arguments.namespaces,
    };
    server::main(arguments.listen, scope).map_err(|error| Failure::new(exit::MISSING, error))
}
