//! Which cluster is meant, and what may be taken of it: the options of every command that goes there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::measure::LoadName;
use crate::backend::kubernetes::backend::Settings;
use crate::backend::kubernetes::client;
use crate::backend::kubernetes::images::Images;
use crate::backend::kubernetes::load::Starter;
use crate::backend::kubernetes::provisioner::{NodeClass, Provisioner};

/// Which cluster is meant.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct Access {
    /// The kubeconfig; KUBECONFIG or ~/.kube/config without it.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context in it; its current one without it.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

impl From<&Access> for client::Access {
    fn from(access: &Access) -> Self {
        client::Access {
            kubeconfig: access.kubeconfig.clone(),
            context: access.context.clone(),
        }
    }
}

/// What of a cluster a run may take, and what it brings there.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct Options {
    /// Which cluster.
    #[command(flatten)]
    pub access: Access,

    /// Labels of the nodes that may be taken, such as pool=bench; any free node without it.
    #[arg(long, value_name = "SELECTOR")]
    pub node_selector: Option<String>,

    /// The run's namespace, which must not exist; a name of its own without it.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// The image to use for a program (target-app, flora-bench, k6, …) or in
    /// place of one that a manifest names; may be given several times.
    #[arg(long = "image", value_name = "NAME=REFERENCE", value_parser = image)]
    pub images: Vec<(String, String)>,

    /// How many arms of a block run at the same time, each on nodes of its own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub parallel: Option<u32>,

    /// Where nodes come from.
    #[arg(long, value_enum, default_value_t)]
    pub provisioner: ProvisionerName,

    /// The cloud's node class that Karpenter makes nodes of, such as
    /// karpenter.k8s.aws/EC2NodeClass/default.
    #[arg(
        long,
        value_name = "GROUP/KIND/NAME",
        required_if_eq("provisioner", "karpenter")
    )]
    pub node_class: Option<NodeClass>,

    /// The type of every machine that Karpenter makes.
    #[arg(long, value_name = "TYPE", requires = "node_class")]
    pub instance_type: Option<String>,
}

/// Where nodes come from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum ProvisionerName {
    /// They are there already.
    #[default]
    Existing,
    /// Karpenter makes them for the run.
    Karpenter,
}

/// What is wrong with any of them where no cluster is meant.
pub const NO_CLUSTER: &str = "--kubeconfig, --context, --node-selector, --namespace, --image, --parallel, --provisioner, --node-class and --instance-type are about a cluster; add --backend kubernetes";

impl Options {
    /// Whether any of them was given.
    pub fn any(&self) -> bool {
        let Access {
            kubeconfig,
            context,
        } = &self.access;
        kubeconfig.is_some()
            || context.is_some()
            || self.node_selector.is_some()
            || !self.images.is_empty()
            || self.any_of_a_run()
    }

    /// Whether any was given that only a run can follow.
    pub fn any_of_a_run(&self) -> bool {
        let Options {
            access: _,
            node_selector: _,
            namespace,
            images: _,
            parallel,
            provisioner,
            node_class,
            instance_type,
        } = self;
        namespace.is_some()
            || parallel.is_some()
            || *provisioner != ProvisionerName::Existing
            || node_class.is_some()
            || instance_type.is_some()
    }

    /// Which image stands for which program.
    pub fn images(&self) -> Images {
        let given: BTreeMap<String, String> = self.images.iter().cloned().collect();
        Images::new(given)
    }

    /// What the backend is told; `load` says who starts k6.
    pub fn settings(&self, load: Option<LoadName>) -> Settings {
        Settings {
            access: (&self.access).into(),
            node_selector: self.node_selector.clone(),
            namespace: self.namespace.clone(),
            images: self.images(),
            starter: starter(load),
            parallel: self.parallel.unwrap_or(1) as usize,
            provisioner: self.provisioner(),
        }
    }

    /// Where nodes come from.
    pub fn provisioner(&self) -> Provisioner {
        match (self.provisioner, &self.node_class) {
            (ProvisionerName::Karpenter, Some(class)) => Provisioner::Karpenter(NodeClass {
                instance_type: self.instance_type.clone(),
                ..class.clone()
            }),
            _ => Provisioner::Existing,
        }
    }
}

/// Who starts k6, where the command line says it.
pub fn starter(load: Option<LoadName>) -> Option<Starter> {
    match load {
        Some(LoadName::K6Operator) => Some(Starter::Operator),
        Some(LoadName::K6Job) => Some(Starter::Job),
        _ => None,
    }
}

fn image(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, image)) if !name.is_empty() && !image.is_empty() => {
            Ok((name.to_owned(), image.to_owned()))
        }
        _ => {
            Err("expected NAME=REFERENCE, such as target-app=registry.example/target-app:1".into())
        }
    }
}
