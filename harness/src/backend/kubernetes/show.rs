//! A plan's objects as text: what `--dry-run` prints, and what a run keeps beside its records.

use std::path::Path;

use kube::core::DynamicObject;
use serde_json::json;

use super::groups::{self, Group};
use super::images::Images;
use super::load::{self, LoadOrder, Starter};
use super::object::{Run, object};
use super::target::Place;
use super::{ClusterError, manifest, metrics, observer, system};
use crate::experiment::Limits;
use crate::load::LoadSpec;
use crate::plan::Plan;
use crate::scenario::{Scenario, TWIN};

/// Every object that a plan applies, once for each arm, as YAML documents with
/// what they are for before them. A Secret's values are not shown.
///
/// # Errors
/// When a manifest can't be used.
pub fn plan(
    plan: &Plan,
    run: &Run,
    images: &Images,
    starter: Starter,
) -> Result<String, ClusterError> {
    let monitoring = Group::named(groups::MONITORING);
    let mut text = String::new();
    section(&mut text, "the run's namespace", &[namespace(run)]);
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
        let documents = documents(arm)?;
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
        let order = LoadOrder {
            name: format!("t{number}-{}", arm.name),
            trial: number,
            arm: arm.name.clone(),
            spec: LoadSpec::new(
                &arm.load,
                &system::url(arm, &run.namespace),
                plan.load.rate,
                plan.warmup_seconds,
                plan.measure_seconds,
            ),
            images: load::LoadImages::of(images),
            group: Group::named(groups::LOAD),
            millicpus: load::MILLICPUS,
            remote_write: None,
        };
        let load = load::objects(run, starter, &order);
        section(&mut text, &format!("load on {}", arm.name), &load);
    }
    Ok(text)
}

fn documents(arm: &Scenario) -> Result<Vec<manifest::Document>, ClusterError> {
    let said = arm.kubernetes.as_ref();
    let files = said.map(|kubernetes| kubernetes.manifests.as_slice());
    let mut documents = Vec::new();
    for path in files.unwrap_or_default() {
        documents.extend(manifest::read(Path::new(path))?);
    }
    Ok(documents)
}

fn namespace(run: &Run) -> DynamicObject {
    let mut labels = run.labels("run", None);
    labels["pod-security.kubernetes.io/enforce"] = "privileged".into();
    object(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": run.namespace, "labels": labels},
    }))
}

fn section(text: &mut String, what: &str, objects: &[DynamicObject]) {
    for object in objects {
        let yaml = serde_saphyr::to_string(object).unwrap_or_else(|error| format!("# {error}\n"));
        text.push_str(&format!("# {what}\n{yaml}---\n"));
    }
}
