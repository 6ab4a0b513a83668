//! `flora-bench clean`: removes what an ended run left behind.

use clap::Args;

use super::cluster::Access;
use super::exit::{self, Failure};
use super::measure::{self, BackendName};
use crate::backend::TrialError;
use crate::backend::kubernetes::{self, ClusterError, client};
use crate::clean::{self, Cleaned};

/// Remove what a run left behind that could not clean up after itself.
///
/// Processes, control groups and work directories of runs that no longer
/// live; with --backend kubernetes, their namespaces and other objects in the
/// cluster, and the labels, taints and leases of nodes that they had taken. A
/// run that is going on is not touched; nor are results.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Where to look.
    #[arg(long, value_enum, default_value_t)]
    backend: BackendName,

    #[command(flatten)]
    access: Access,
}

/// Runs the command.
///
/// # Errors
/// When something can't be removed, the cluster can't be reached, or it is not
/// clear which is meant.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let cleaned = match arguments.backend {
        BackendName::Local => {
            let Access {
                kubeconfig,
                context,
            } = &arguments.access;
            if kubeconfig.is_some() || context.is_some() {
                return Err(Failure::message(
                    exit::USAGE,
                    "--kubeconfig and --context are about a cluster; add --backend kubernetes",
                ));
            }
            clean::leftovers()
        }
        BackendName::Kubernetes => measure::block_on(in_cluster(&arguments.access))?,
    };
    for thing in &cleaned.removed {
        super::print(&format!("removed {thing}\n"))?;
    }
    if !cleaned.failed.is_empty() {
        return Err(Failure::message(
            exit::MISSING,
            format!("could not remove {}", cleaned.failed.join("; ")),
        ));
    }
    if cleaned.removed.is_empty() {
        super::print("nothing was left behind\n")?;
    }
    Ok(())
}

async fn in_cluster(access: &Access) -> Result<Cleaned, Failure> {
    let cleaned = async {
        let connection = client::connect(&access.into()).await?;
        Ok::<_, ClusterError>(kubernetes::clean::leftovers(&connection.client).await?)
    };
    Ok(cleaned.await.map_err(TrialError::from)?)
}
