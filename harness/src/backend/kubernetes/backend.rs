//! What lives for a whole run in a cluster: nodes that are taken, namespaces,
//! observers, VictoriaMetrics; and all of it given back.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::{join_all, try_join_all};
use k8s_openapi::api::core::v1::{Namespace, Node, ServiceAccount};
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::apply::Kinds;
use super::clean::{self, Held};
use super::client::{self, Access, ApiError, Connection};
use super::groups::{self, Arrangement, Candidate, Group};
use super::images::Images;
use super::lease::{self, Claim};
use super::load::{LoadOrder, Starter};
use super::manifest::{self, Document};
use super::metrics::Metrics;
use super::object::{self, Run};
use super::observer::Observers;
use super::provisioner::Provisioner;
use super::system::{self, Site, Stage, System};
use super::wait::{self, State};
use super::{Cluster, ClusterError, load, metrics, observer, owner};
use crate::backend::{Backend, Cancel, LoadRequest, Observed, Sink, TrialError};
use crate::clock::RunClock;
use crate::experiment::Limits;
use crate::fingerprint::{self, Accounting, Fingerprint, Machine, Program};
use crate::load::LoadSpec;
use crate::plan::{LoadDriver, LoadPlan, Plan, TrialPlan};
use crate::sample::Sample;
use crate::scenario::{BASELINE, Scenario, TWIN};
use crate::terminal::say;
use crate::trial::TrialRecord;

/// A rate that no target reaches, so that what k6 gets answered is what the target can do.
const CALIBRATION_RATE: f64 = 50_000.0;
/// How long the capacity is measured, in seconds.
const CALIBRATION: f64 = 3.0;
/// How long a namespace may take to be ready, or to go.
const NAMESPACE: std::time::Duration = std::time::Duration::from_secs(90);

/// What is asked of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which cluster.
    pub access: Access,
    /// Which nodes may be taken; any free one without it.
    pub node_selector: Option<String>,
    /// The run's namespace; a new one without it.
    pub namespace: Option<String>,
    /// Which image stands for which program.
    pub images: Images,
    /// Who starts k6; the operator where its kind is served, without it.
    pub starter: Option<Starter>,
    /// How many arms run at the same time.
    pub parallel: usize,
    /// Where nodes come from.
    pub provisioner: Provisioner,
}

/// An arm's place on a lane: what a [`Site`] there borrows.
#[derive(Clone, Debug)]
pub struct Spot {
    namespace: String,
    group: Group,
    monitoring: Group,
}

impl Spot {
    /// The site of one trial; nothing is limited there.
    pub fn site<'a>(
        &'a self,
        backend: &'a KubernetesBackend,
        arm: &'a Scenario,
        trial: u32,
    ) -> Site<'a> {
        Site {
            cluster: &backend.cluster,
            arm,
            documents: backend.documents(&arm.name),
            trial,
            namespace: &self.namespace,
            group: &self.group,
            monitoring: &self.monitoring,
            limits: Limits::default(),
        }
    }

    /// Its node.
    pub fn node(&self) -> &str {
        &self.group.nodes[0]
    }
}

/// A cluster.
pub struct KubernetesBackend {
    /// The cluster, and what is the run's there.
    pub cluster: Cluster,
    /// Turns true when the run is to end early.
    pub cancel: Cancel,
    /// Node observers, where they may run.
    pub observers: Option<Observers>,
    /// VictoriaMetrics, where it runs.
    pub metrics: Option<Metrics>,
    settings: Settings,
    version: String,
    starter: Starter,
    arrangement: Option<Arrangement>,
    documents: BTreeMap<String, Vec<Document>>,
    nodes: Vec<Node>,
    /// What is to be given back.
    held: Held,
    renewal: Option<JoinHandle<()>>,
    /// Which of the leases is another run's by now, once one is.
    lost: watch::Sender<Option<String>>,
    programs: Vec<Program>,
    limitations: Vec<String>,
}

/// What bringing an arm up once has shown.
struct Tried {
    /// Requests per second that its target can answer, where that was measured.
    capacity: Option<f64>,
    /// What took part.
    programs: Vec<Program>,
    /// Pods of its agent on other nodes than its target's.
    elsewhere: usize,
}

impl KubernetesBackend {
    /// Connects to a cluster; nothing is changed there yet.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn connect(
        settings: Settings,
        clock: RunClock,
        cancel: Cancel,
    ) -> Result<Self, ClusterError> {
        let Connection {
            client, version, ..
        } = client::connect(&settings.access).await?;
        let owner = owner::current();
        let namespace = settings
            .namespace
            .clone()
            .unwrap_or_else(|| default_namespace(&owner));
        Ok(KubernetesBackend {
            cluster: Cluster {
                client,
                run: Run { namespace, owner },
                images: settings.images.clone(),
                kinds: Kinds::default(),
                clock,
            },
            cancel,
            observers: None,
            metrics: None,
            settings,
            version,
            starter: Starter::Job,
            arrangement: None,
            documents: BTreeMap::new(),
            nodes: Vec::new(),
            held: Held::default(),
            renewal: None,
            lost: watch::Sender::new(None),
            programs: Vec::new(),
            limitations: Vec::new(),
        })
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.arranged().lanes.len()
    }

    /// The node of a lane.
    pub fn lane_node(&self, lane: usize) -> &str {
        &self.arranged().lanes[lane]
    }

    /// The namespace of a lane. Arms that run at the same time have one each, so
    /// that objects of one name don't meet.
    pub fn namespace(&self, lane: usize) -> String {
        let own = &self.cluster.run.namespace;
        if lane == 0 || self.settings.parallel <= 1 {
            return own.clone();
        }
        format!("{own}-{}", lane + 1)
    }

    /// The documents of an arm's manifests.
    pub fn documents(&self, arm: &str) -> &[Document] {
        self.documents.get(arm).map_or(&[], Vec::as_slice)
    }

    /// The group of the load.
    pub fn load_group(&self) -> Group {
        Group {
            name: groups::LOAD.into(),
            nodes: vec![self.arranged().load.clone()],
        }
    }

    /// The group of VictoriaMetrics and intake: the load's, where there is no third node.
    pub fn monitoring(&self) -> Group {
        let arranged = self.arranged();
        let shared = arranged.monitoring == arranged.load;
        Group {
            name: if shared {
                groups::LOAD
            } else {
                groups::MONITORING
            }
            .into(),
            nodes: vec![arranged.monitoring.clone()],
        }
    }

    /// Thousandths of a CPU that each k6 gets on the load's node.
    pub(super) fn load_millicpus(&self) -> u32 {
        let load = &self.arranged().load;
        let node = self
            .nodes
            .iter()
            .find(|node| node.metadata.name.as_ref() == Some(load));
        let allocatable = node
            .and_then(|node| node.status.as_ref()?.allocatable.as_ref()?.get("cpu"))
            .and_then(|cpu| object::millicpus(&cpu.0));
        load::share(allocatable, self.settings.parallel.min(self.lanes()))
    }

    /// The same in CPU seconds per second.
    pub(super) fn load_cores(&self) -> f64 {
        f64::from(self.load_millicpus()) / 1000.0
    }

    /// Where an arm is brought up on a lane.
    pub fn spot(&self, arm: &Scenario, lane: usize) -> Spot {
        Spot {
            namespace: self.namespace(lane),
            group: Group {
                name: arm.name.clone(),
                nodes: vec![self.lane_node(lane).to_owned()],
            },
            monitoring: self.monitoring(),
        }
    }

    /// Who starts k6.
    pub fn starter(&self) -> Starter {
        self.starter
    }

    fn arranged(&self) -> &Arrangement {
        let arrangement = self.arrangement.as_ref();
        arrangement.expect("nodes are arranged before anything is brought up")
    }

    /// Waits for what ends a run early: an interrupt, or a lease that is another run's by now.
    pub(super) fn ended(&self) -> impl Future<Output = TrialError> + use<> {
        let (mut cancel, mut lost) = (self.cancel.clone(), self.lost.subscribe());
        async move {
            tokio::select! {
                _ = cancel.wait_for(|cancelled| *cancelled) => TrialError::Interrupted,
                Ok(how) = lost.wait_for(Option::is_some) => {
                    let how = how.clone().unwrap_or_default();
                    ClusterError::Missing(format!(
                        "{how}: this run did not renew it in time, as when its machine sleeps, so its nodes may be another's; measure anew"
                    ))
                    .into()
                }
            }
        }
    }

    /// Takes what the run needs of the cluster.
    async fn take(&mut self, arms: &[Scenario]) -> Result<(), ClusterError> {
        if self.arrangement.is_some() {
            return Ok(());
        }
        let cleaned = clean::leftovers(&self.cluster.client).await?;
        for thing in &cleaned.removed {
            say(format_args!("removed what an earlier run left: {thing}"));
        }
        // What can't be used is found before anything is changed.
        self.read_manifests(arms)?;
        self.namespace_is_free().await?;
        let made = self.make_nodes(arms.len()).await?;
        let selector = made.or(self.settings.node_selector.clone());
        self.take_nodes(selector.as_deref(), arms.len()).await?;
        self.make_namespaces().await?;
        self.starter = match self.settings.starter {
            Some(starter) => starter,
            None => load::starter(&self.cluster).await?,
        };
        self.deploy().await;
        Ok(())
    }

    fn read_manifests(&mut self, arms: &[Scenario]) -> Result<(), ClusterError> {
        for arm in arms.iter().filter(|arm| arm.name != TWIN) {
            let documents = manifest::documents(arm)?;
            self.documents.insert(arm.name.clone(), documents);
        }
        let twin = self.documents.get(BASELINE).cloned().unwrap_or_default();
        self.documents.insert(TWIN.to_owned(), twin);
        Ok(())
    }

    /// Has nodes made for the run, where they are not there already. Gives the selector that they match.
    async fn make_nodes(&mut self, arms: usize) -> Result<Option<String>, ClusterError> {
        if self.settings.provisioner == Provisioner::Existing {
            return Ok(None);
        }
        // They may take a quarter of an hour to come, and until one is taken no other lease says
        // that the run lives.
        self.held.own_lease = true;
        let owner = &self.cluster.run.owner;
        lease::claim(&self.cluster.client, &lease::of_run(owner), owner).await?;
        self.keep_leases();
        // The pods that ask for nodes need it.
        let own = self.cluster.run.namespace.clone();
        self.held.namespaces.push(own.clone());
        self.create_namespace(&own).await?;
        let nodes = Provisioner::nodes(arms);
        self.settings
            .provisioner
            .provide(&self.cluster, nodes)
            .await
    }

    /// Takes nodes for the arms, for load and for monitoring.
    async fn take_nodes(
        &mut self,
        selector: Option<&str>,
        arms: usize,
    ) -> Result<(), ClusterError> {
        let client = self.cluster.client.clone();
        let owner = self.cluster.run.owner.clone();
        let nodes = groups::nodes(&client, selector).await?;
        let candidates = candidates(&client, &nodes).await?;
        let together = self.settings.parallel.min(arms);
        let arranged = groups::arrange(&candidates, arms, together)?;
        self.limitations
            .extend(arranged.limitations.iter().cloned());
        for node in arranged.nodes() {
            // Noted down before, so that an interrupt in between leaves nothing.
            self.held.nodes.insert(node.clone());
            match lease::claim(&client, &lease::of_node(&node), &owner).await? {
                Claim::Taken => {}
                Claim::Held(holder) => {
                    self.held.nodes.remove(&node);
                    return Err(ClusterError::Missing(format!(
                        "node {node} was just taken by {holder}; start again, or name other nodes with --node-selector"
                    )));
                }
            }
        }
        self.keep_leases();
        let held = &self.held.nodes;
        let taken = |node: &Node| {
            let name = node.metadata.name.as_ref();
            name.is_some_and(|name| held.contains(name))
        };
        self.nodes = nodes.into_iter().filter(taken).collect();
        self.arrangement = Some(arranged);
        for lane in 0..self.lanes() {
            groups::take(&client, self.lane_node(lane), &owner, groups::NOBODY).await?;
        }
        for group in [self.load_group(), self.monitoring()] {
            groups::take(&client, &group.nodes[0], &owner, &group.name).await?;
        }
        Ok(())
    }

    /// Renews every lease of the run from now on. Where one is lost, whatever is under way ends.
    fn keep_leases(&mut self) {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        let owner = self.cluster.run.owner.clone();
        let names = self.held.leases(&owner);
        let kept = lease::keep(self.cluster.client.clone(), names, owner);
        let lost = self.lost.clone();
        self.renewal = Some(tokio::spawn(async move {
            lost.send_replace(Some(kept.await));
        }));
    }

    /// A namespace for each lane, as far as they are not there yet.
    async fn make_namespaces(&mut self) -> Result<(), ClusterError> {
        let lanes = 0..self.lanes();
        let mut namespaces: Vec<String> = lanes.map(|lane| self.namespace(lane)).collect();
        namespaces.dedup();
        namespaces.retain(|namespace| !self.held.namespaces.contains(namespace));
        // Noted down before, so that an interrupt in between leaves nothing.
        self.held.namespaces.extend(namespaces.iter().cloned());
        try_join_all(namespaces.iter().map(|name| self.create_namespace(name))).await?;
        Ok(())
    }

    /// Deploys what a run can do without, and says so: node observers and VictoriaMetrics.
    async fn deploy(&mut self) {
        match observer::deploy(&self.cluster, &self.arranged().lanes).await {
            Ok(observers) => self.observers = Some(observers),
            Err(error) => self.limitations.push(format!(
                "There was no node observer ({error}): CPU time and memory are the kubelets' own figures, of every ten to fifteen seconds."
            )),
        }
        match metrics::deploy(&self.cluster, &self.monitoring()).await {
            Ok(metrics) => self.metrics = Some(metrics),
            Err(error) => self.limitations.push(format!(
                "There was no VictoriaMetrics in the cluster: {error}"
            )),
        }
    }

    async fn namespace_is_free(&self) -> Result<(), ClusterError> {
        let name = &self.cluster.run.namespace;
        let api: Api<Namespace> = Api::all(self.cluster.client.clone());
        let found = api.get_opt(name).await;
        let found = found.map_err(|error| ApiError::new(format!("get namespace {name}"), error))?;
        match found {
            None => Ok(()),
            Some(_) => Err(ClusterError::Missing(format!(
                "the namespace {name} exists and is not this run's; leave --namespace out, or name one that does not exist"
            ))),
        }
    }

    /// Creates one of the run's own; whoever calls has noted down that it is.
    async fn create_namespace(&self, name: &str) -> Result<(), ClusterError> {
        let client = self.cluster.client.clone();
        let namespace = serde_json::to_value(object::namespace(&self.cluster.run, name));
        let namespace: Namespace = namespace
            .and_then(serde_json::from_value)
            .expect("the program's own objects are well-formed");
        let api: Api<Namespace> = Api::all(client.clone());
        let created = api.create(&PostParams::default(), &namespace).await;
        created.map_err(|error| ApiError::new(format!("create namespace {name}"), error))?;
        // No pod can be made before it is there.
        let accounts: Api<ServiceAccount> = Api::namespaced(client, name);
        let what = format!("the account `default` of namespace {name}");
        wait::until(&what, NAMESPACE, || async {
            let found = accounts.get_opt("default").await;
            let found = found.map_err(|error| ApiError::new(format!("get {what}"), error))?;
            Ok(match found {
                Some(_) => State::Ready,
                None => State::NotYet("it is not made yet".into()),
            })
        })
        .await?;
        Ok(())
    }

    /// Brings an arm up once, has it answer a checked request, and finds the
    /// baseline's capacity if asked to.
    async fn try_arm(
        &self,
        arm: &Scenario,
        lane: usize,
        calibrate: bool,
    ) -> Result<Tried, TrialError> {
        let mut stage = Stage::default();
        let spot = self.spot(arm, lane);
        let site = spot.site(self, arm, 0);
        let order = LoadOrder {
            name: "calibration".into(),
            trial: 0,
            arm: arm.name.clone(),
            spec: LoadSpec::new(
                &arm.load,
                &system::url(arm, site.namespace),
                CALIBRATION_RATE,
                CALIBRATION / 2.0,
                CALIBRATION,
            ),
            images: load::LoadImages::of(&self.cluster.images),
            group: self.load_group(),
            millicpus: self.load_millicpus(),
            remote_write: None,
        };
        let calibration = calibrate.then_some(&order);
        let outcome = tokio::select! {
            biased;
            error = self.ended() => Err(error),
            outcome = self.try_system(site, calibration, &mut stage) => outcome,
        };
        stage.down(&site).await;
        site.vacate().await;
        outcome
    }

    async fn try_system(
        &self,
        site: Site<'_>,
        calibration: Option<&LoadOrder>,
        stage: &mut Stage,
    ) -> Result<Tried, TrialError> {
        let system = System::up(site, stage).await?;
        let pods: Vec<_> = std::iter::once(&system.target)
            .chain(&system.agent)
            .chain(&system.elsewhere)
            .collect();
        let images = system::images(&self.cluster, &pods).await;
        let mut tried = Tried {
            capacity: None,
            programs: images
                .iter()
                .map(|(image, id)| program(image, id))
                .collect(),
            elsewhere: system.elsewhere.len(),
        };
        if system.prove(site).await? == Some(0.0) {
            let described = system.telemetry.as_ref().map(|reader| reader.describe());
            return Err(ClusterError::Missing(format!(
                "the agent of {} did not account for a request that the target answered ({} stays 0)",
                site.arm.name,
                described.unwrap_or_default()
            ))
            .into());
        }
        let Some(order) = calibration else {
            return Ok(tried);
        };
        stage.note(load::objects(&self.cluster.run, self.starter, order));
        let outcome = load::run(&self.cluster, self.starter, order).await?;
        if outcome.result.completed == 0 {
            return Err(ClusterError::Load(format!(
                "the target answered no request: {}",
                outcome.result.failures.join("; ")
            ))
            .into());
        }
        tried.capacity = Some(outcome.result.completed as f64 / outcome.result.window_seconds);
        Ok(tried)
    }

    /// Keeps what an arm has shown, and says what its figures do without.
    fn note(&mut self, arm: &str, tried: Tried) {
        for program in tried.programs {
            if !self.programs.contains(&program) {
                self.programs.push(program);
            }
        }
        let (pods, are) = match tried.elsewhere {
            0 => return,
            1 => ("1 pod".to_owned(), "was"),
            more => (format!("{more} pods"), "were"),
        };
        self.limitations.push(format!(
            "{pods} of the agent of {arm} {are} on other nodes than its target's: what they cost is in no figure, as a node pays for its own alone."
        ));
    }

    /// Gives everything back. May be called again.
    pub async fn give_back(&mut self) {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        self.observers = None;
        self.metrics = None;
        let Cluster { client, run, .. } = &self.cluster;
        let cleaned = clean::of(client, &run.owner, &self.held).await;
        for failed in &cleaned.failed {
            log::warn!(
                "could not give back {failed}; `flora-bench clean --backend kubernetes` tries again"
            );
        }
        if cleaned.failed.is_empty() {
            self.held = Held::default();
            self.arrangement = None;
        }
    }
}

/// What is known of nodes before any is taken, with the leases that other runs hold of them.
async fn candidates(client: &kube::Client, nodes: &[Node]) -> Result<Vec<Candidate>, ApiError> {
    let mut held: BTreeMap<String, String> = BTreeMap::new();
    for one in lease::list(client).await? {
        if let Some(node) = lease::node(&one).filter(|_| !lease::is_over(&one)) {
            held.insert(node.to_owned(), lease::holder(&one));
        }
    }
    let candidates = nodes.iter().map(|node| {
        let mut candidate = Candidate::of(node);
        if let Some(holder) = held.get(&candidate.name) {
            let refusal = format!("{} is taken by the run of {holder}", candidate.name);
            candidate.refusal.get_or_insert(refusal);
        }
        candidate
    });
    Ok(candidates.collect())
}

/// The namespace of a run that is given none.
fn default_namespace(owner: &str) -> String {
    use sha2::{Digest, Sha256};
    let hash = crate::program::hex(&Sha256::digest(owner.as_bytes()));
    format!("flora-bench-{}", &hash[..8])
}

/// An image that took part. Its version is its tag; its digest stands for the program's.
fn program(image: &str, id: &str) -> Program {
    let name = manifest::without_tag(image);
    let tag = image[name.len()..].trim_start_matches([':', '@']);
    let digest = id
        .rsplit_once("sha256:")
        .map(|(_, digest)| digest.to_owned());
    Program {
        name: name.to_owned(),
        version: if tag.is_empty() { "latest" } else { tag }.to_owned(),
        sha256: digest,
        command: None,
    }
}

impl Backend for KubernetesBackend {
    async fn preflight(
        &mut self,
        arms: &[Scenario],
        load: LoadRequest,
    ) -> Result<LoadPlan, TrialError> {
        let ended = self.ended();
        tokio::select! {
            taken = self.take(arms) => taken?,
            error = ended => return Err(error),
        }
        let mut capacity = None;
        let arms: Vec<&Scenario> = arms.iter().filter(|arm| arm.name != TWIN).collect();
        // As many at the same time as there will be in a trial, each on a lane of its own.
        for together in arms.chunks(self.settings.parallel.max(1)) {
            let tried = together.iter().enumerate().map(|(lane, arm)| {
                let calibrate = arm.name == BASELINE && load.rate.is_none();
                self.try_arm(arm, lane, calibrate)
            });
            // All of them to the end: one that is dropped would leave its objects.
            let tried = join_all(tried).await;
            for (arm, tried) in together.iter().zip(tried) {
                let tried = tried?;
                capacity = tried.capacity.or(capacity);
                self.note(&arm.name, tried);
            }
        }
        load.settled(LoadDriver::K6, capacity)
    }

    fn fingerprint(&self, arms: &[Scenario]) -> Fingerprint {
        let kubernetes = Program {
            name: "kubernetes".into(),
            version: self.version.clone(),
            sha256: None,
            command: None,
        };
        Fingerprint {
            harness: fingerprint::harness(),
            machine: self.machine(),
            cgroups: "of each node's own".into(),
            cpu_sets: BTreeMap::new(),
            accounting: match &self.observers {
                Some(_) => Accounting {
                    cpu: "node observer".into(),
                    memory: "node observer".into(),
                },
                None => Accounting {
                    cpu: "kubelet cAdvisor".into(),
                    memory: "kubelet cAdvisor".into(),
                },
            },
            programs: std::iter::once(kubernetes)
                .chain(self.programs.iter().cloned())
                .collect(),
            scenario_files: arms
                .iter()
                .map(|arm| (arm.name.clone(), arm.file_sha256.clone()))
                .collect(),
        }
    }

    fn limitations(&self) -> Vec<String> {
        self.limitations.clone()
    }

    async fn begin(&mut self, plan: &Plan, directory: &Path) -> Result<(), TrialError> {
        self.take(&plan.arms).await?;
        // Records are published, and whose host it was is nobody's concern.
        let run = Run {
            owner: owner::hidden(&self.cluster.run.owner),
            ..self.cluster.run.clone()
        };
        let (images, provisioner) = (&self.cluster.images, &self.settings.provisioner);
        let text = super::show::plan(plan, &run, images, self.starter, provisioner)?;
        let path = directory.join("objects.yaml");
        std::fs::write(&path, text).map_err(|source| {
            TrialError::Record(crate::record::RecordError::Write { path, source })
        })
    }

    async fn batch(
        &mut self,
        plan: &Plan,
        trials: &[TrialPlan],
        sink: &mut dyn Sink,
    ) -> Vec<Result<Observed, TrialError>> {
        match (&plan.experiment, trials) {
            (Some(experiment), [trial]) => {
                vec![self.run_search(plan, experiment, trial, sink).await]
            }
            _ => self.run_batch(plan, trials, sink).await,
        }
    }

    async fn conclude(&mut self, _: &[TrialRecord]) -> Vec<Sample> {
        Vec::new()
    }

    async fn release(&mut self) {
        self.give_back().await;
    }
}

impl KubernetesBackend {
    /// The arms' nodes, as far as they say what they are.
    fn machine(&self) -> Machine {
        let lanes = self
            .arrangement
            .as_ref()
            .map(|one| one.lanes.clone())
            .unwrap_or_default();
        let of_lanes = self.nodes.iter().filter(|node| {
            let name = node.metadata.name.as_ref();
            name.is_some_and(|name| lanes.contains(name))
        });
        let mut infos = of_lanes.filter_map(|node| {
            let status = node.status.as_ref()?;
            Some((
                status.node_info.clone()?,
                status.capacity.clone().unwrap_or_default(),
            ))
        });
        let Some((info, capacity)) = infos.next() else {
            return fingerprint::machine(0);
        };
        let quantity = |name: &str| capacity.get(name).map(|quantity| quantity.0.clone());
        let memory = quantity("memory").unwrap_or_default();
        Machine {
            cpu_model: format!("{} nodes of {}", lanes.len(), info.architecture),
            cpus: quantity("cpu")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            memory_bytes: memory
                .strip_suffix("Ki")
                .and_then(|number| number.parse::<u64>().ok())
                .unwrap_or(0)
                * 1024,
            kernel: format!("{} {}", info.kernel_version, info.container_runtime_version),
            os: format!("{}, kubelet {}", info.os_image, info.kubelet_version),
            virtualised: true,
            governor: None,
        }
    }
}
