//! A plan's objects as text: what `--dry-run` prints, and what a run keeps beside its records.

use kube::core::DynamicObject;

use super::groups::{self, Group};
use super::images::Images;
use super::load::{self, LoadOrder, Starter};
use super::metrics::{self, Metrics};
use super::object::{self, Run};
use super::provisioner::Provisioner;
use super::target::Place;
use super::{ClusterError, manifest, observer, system};
use crate::experiment::Limits;
use crate::plan::Plan;
use crate::scenario::TWIN;

/// Every object that a plan applies, once for each arm, as YAML documents with
/// what they are for before them. A Secret's values are not shown.
///
/// # Errors
/// When an arm can't run in a cluster, or a manifest can't be used.
pub fn plan(
    plan: &Plan,
    run: &Run,
    images: &Images,
    starter: Starter,
    provisioner: &Provisioner,
) -> Result<String, ClusterError> {
    let monitoring = Group::named(groups::MONITORING);
    let mut text = String::new();
    let namespace = object::namespace(run, &run.namespace);
    section(&mut text, "the run's namespace", &[namespace]);
    let nodes = Provisioner::nodes(plan.arms.len());
    section(
        &mut text,
        "the run's nodes",
        &provisioner.objects(run, images, nodes),
    );
    section(&mut text, "node observers", &observer::objects(run, images));
    section(
        &mut text,
        "VictoriaMetrics",
        &metrics::objects(run, images, &monitoring),
    );
    for arm in plan.arms.iter().filter(|arm| arm.name != TWIN) {
        let group = Group::named(&arm.name);
        let number = plan
            .trials
            .iter()
            .find(|trial| trial.arm == arm.name)
            .map_or(1, |trial| trial.trial);
        let place = Place {
            run,
            namespace: &run.namespace,
            trial: number,
            group: &group,
            limits: plan
                .experiment
                .map_or(Limits::default(), |experiment| experiment.question.limits()),
        };
        let documents = manifest::documents(arm)?;
        let hidden = |_: &str| Some("(from the environment)".to_owned());
        let objects = system::objects(&place, images, arm, &documents, &monitoring, hidden)?;
        section(
            &mut text,
            &format!("intake of {}", arm.name),
            &objects.intake,
        );
        let agent = (format!("agent of {}", arm.name), &objects.agent);
        let target = (format!("target of {}", arm.name), &objects.target);
        let parts = match objects.agent_first {
            true => [agent, target],
            false => [target, agent],
        };
        for (what, objects) in parts {
            section(&mut text, &what, objects);
        }
        // The steps of a search write theirs nowhere.
        let written = plan.experiment.is_none();
        let order = LoadOrder {
            remote_write: written.then(|| Metrics::own(run).remote_write),
            ..LoadOrder::of(plan, arm, number, &run.namespace, images)
        };
        let load = load::objects(run, starter, &order);
        section(&mut text, &format!("load on {}", arm.name), &load);
    }
    Ok(text)
}

fn section(text: &mut String, what: &str, objects: &[DynamicObject]) {
    for object in objects {
        let yaml = serde_saphyr::to_string(object).unwrap_or_else(|error| format!("# {error}\n"));
        text.push_str(&format!("# {what}\n{yaml}---\n"));
    }
}
