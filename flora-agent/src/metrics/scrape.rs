//! One answer to `GET /metrics`, made piece by piece.
//!
//! A full table of series is megabytes of text, which are never in memory at
//! once: each piece is made when the one before has been sent.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use flora_agent_common::layout::{BUCKETS, bucket_end, series_parts};

use super::counters::{Counters, Field, Histogram, Parts};
use super::peers::{Caller, callers};
use super::routes::{RouteName, Routes, UNKNOWN};
use super::text::{family, label, sample, seconds};
use crate::bpf::map::Entries;
use crate::http::Body;
use crate::kubernetes::callers::Callers;
use crate::watch::containers::Container;

/// From this size on, a piece is sent.
const PIECE_BYTES: usize = 8 * 1024;

/// The longest path of a control group that is shown.
const LONGEST_GROUP: usize = 512;

/// The labels of a container, as text.
#[derive(Clone, Debug, Default)]
pub struct ContainerLabels {
    /// Those that its series bear.
    pub series: String,
    /// All that is known of it.
    pub all: String,
}

/// What is one series to the reader.
#[derive(Debug)]
pub struct Group {
    /// Its labels, rendered.
    pub labels: String,
    /// What it is the sum of.
    pub parts: Parts,
}

/// An answer under way.
#[derive(Debug)]
pub struct Scrape {
    counters: Rc<Counters>,
    groups: Vec<Group>,
    callers: Vec<Caller>,
    containers: BTreeMap<u16, ContainerLabels>,
    /// All that is known of each, once: two control groups can be the same to the reader.
    infos: Vec<String>,
    rest: String,
    family: usize,
    item: usize,
}

/// The labels of a container; those that it has not are left out.
///
/// A series is named as Kubernetes names its container, so that it goes on when
/// that is started anew; elsewhere by control group and process.
pub fn container_labels(container: &Container) -> ContainerLabels {
    let mut place = String::new();
    label(&mut place, "cgroup", ending(&container.group));
    if let Some(process) = &container.process {
        label(&mut place, "process", process);
    }
    if let Some(uid) = &container.identity.pod_uid {
        label(&mut place, "pod_uid", uid);
    }
    if let Some(id) = &container.identity.container_id {
        label(&mut place, "container_id", id);
    }
    let Some(names) = &container.names else {
        return ContainerLabels {
            series: place.clone(),
            all: place,
        };
    };
    let mut series = String::new();
    names.label(&mut series);
    ContainerLabels {
        all: format!("{series},{place}"),
        series,
    }
}

/// The end of a path that is too long: there is the container's id.
fn ending(path: &str) -> &str {
    let mut start = path.len().saturating_sub(LONGEST_GROUP);
    while !path.is_char_boundary(start) {
        start += 1;
    }
    &path[start..]
}

/// Slots by their labels: two whose labels are the same are one series.
pub fn groups(
    keys: &Entries,
    routes: &Routes,
    containers: &BTreeMap<u16, ContainerLabels>,
    counters: &Counters,
) -> Vec<Group> {
    let mut groups: BTreeMap<String, Parts> = BTreeMap::new();
    for (slot, key) in keys.values().enumerate() {
        let key = key.try_into().map_or(0, u64::from_ne_bytes);
        let labels = match (slot, key) {
            // What found no slot of its own.
            (0, 0) if counters.of_slot(0).requests() == 0 => continue,
            (0, 0) => series_labels("", &RouteName::other(), 0),
            (_, 0) => continue,
            _ => {
                let (container, route, status) = series_parts(key);
                let container = containers
                    .get(&container)
                    .map_or("", |labels| labels.series.as_str());
                series_labels(container, &routes.name(route), status)
            }
        };
        groups.entry(labels).or_default().slots.push(slot);
    }
    groups
        .into_iter()
        .map(|(labels, parts)| Group { labels, parts })
        .collect()
}

/// Takes all that is known of each container, once.
fn infos(containers: &mut BTreeMap<u16, ContainerLabels>) -> Vec<String> {
    let all = containers
        .values_mut()
        .map(|labels| std::mem::take(&mut labels.all));
    let all: BTreeSet<String> = all.collect();
    all.into_iter().collect()
}

fn series_labels(container: &str, route: &RouteName, status: u16) -> String {
    let mut labels = container.to_owned();
    label(&mut labels, "method", route.method);
    label(&mut labels, "route", &route.path);
    match status {
        0 => label(&mut labels, "status", UNKNOWN),
        status => label(&mut labels, "status", &status.to_string()),
    }
    labels
}

impl Scrape {
    /// Begins an answer. `rest` is text that is shown as it is.
    pub fn new(
        counters: Rc<Counters>,
        groups: Vec<Group>,
        mut containers: BTreeMap<u16, ContainerLabels>,
        peers: &Entries,
        pods: &Callers,
        rest: String,
    ) -> Self {
        Scrape {
            counters,
            groups,
            callers: callers(peers, pods, &containers),
            infos: infos(&mut containers),
            containers,
            rest,
            family: 0,
            item: 0,
        }
    }

    /// Writes an item of a family; none when the family has no more.
    fn write(&mut self, out: &mut String) -> Option<()> {
        let Self {
            counters,
            groups,
            item,
            ..
        } = self;
        match self.family {
            0 => {
                let group = groups.get(*item)?;
                let name = "flora_http_requests_total";
                if *item == 0 {
                    family(
                        out,
                        name,
                        "counter",
                        "Requests that were answered; counted when the answer begins.",
                    );
                }
                sample(out, name, &group.labels, counters.requests(&group.parts));
            }
            1 => {
                let group = groups.get(*item)?;
                let name = "flora_http_request_duration_seconds";
                if *item == 0 {
                    family(
                        out,
                        name,
                        "histogram",
                        "From the first byte of a request to the last of its answer.",
                    );
                }
                let values = counters.histogram(&group.parts, Field::LAST);
                histogram(out, name, &group.labels, &values);
            }
            2 => {
                let group = groups.get(*item)?;
                let name = "flora_http_response_first_byte_seconds";
                if *item == 0 {
                    family(
                        out,
                        name,
                        "histogram",
                        "From the first byte of a request to the first of its answer.",
                    );
                }
                let values = counters.histogram(&group.parts, Field::FIRST);
                histogram(out, name, &group.labels, &values);
            }
            3 => {
                let group = groups.get(*item)?;
                let name = "flora_http_request_bytes_total";
                if *item == 0 {
                    family(out, name, "counter", "Bytes of requests, heads included.");
                }
                let bytes = counters.sum(&group.parts, Field::REQUEST_BYTES);
                sample(out, name, &group.labels, bytes);
            }
            4 => {
                let group = groups.get(*item)?;
                let name = "flora_http_response_bytes_total";
                if *item == 0 {
                    family(out, name, "counter", "Bytes of answers, heads included.");
                }
                let bytes = counters.sum(&group.parts, Field::RESPONSE_BYTES);
                sample(out, name, &group.labels, bytes);
            }
            5 | 6 => self.caller(out)?,
            7 => self.container(out)?,
            8 => {
                if *item > 0 {
                    return None;
                }
                let name = "flora_http_responses_unfinished";
                family(
                    out,
                    name,
                    "gauge",
                    "Answers that have begun and not ended: under way, or cut off.",
                );
                let unfinished: u64 = groups
                    .iter()
                    .map(|group| counters.unfinished(&group.parts))
                    .sum();
                sample(out, name, "", unfinished);
                out.push_str(&self.rest);
            }
            _ => return None,
        }
        self.item += 1;
        Some(())
    }

    fn caller(&self, out: &mut String) -> Option<()> {
        let caller = self.callers.get(self.item)?;
        let (name, help, count) = if self.family == 5 {
            (
                "flora_peer_connections_total",
                "Connections by caller on which a request was answered. Bounded: the callers heard of last.",
                caller.connections,
            )
        } else {
            (
                "flora_peer_requests_total",
                "Requests by caller that were answered. Bounded: the callers heard of last.",
                caller.requests,
            )
        };
        if self.item == 0 {
            family(out, name, "counter", help);
        }
        let container = self.containers.get(&caller.container);
        let mut labels = container.map_or_else(String::new, |labels| labels.series.clone());
        caller.label(&mut labels);
        sample(out, name, &labels, count);
        Some(())
    }

    fn container(&self, out: &mut String) -> Option<()> {
        let labels = self.infos.get(self.item)?;
        let name = "flora_container_info";
        if self.item == 0 {
            family(
                out,
                name,
                "gauge",
                "All that is known of a container that something is counted for.",
            );
        }
        sample(out, name, labels, 1);
        Some(())
    }
}

fn histogram(out: &mut String, name: &str, labels: &str, values: &Histogram) {
    let bucket_name = format!("{name}_bucket");
    let mut sum = 0;
    let mut line = String::with_capacity(labels.len() + 32);
    for (index, count) in values.buckets.iter().enumerate().take(BUCKETS) {
        sum += count;
        line.clear();
        line.push_str(labels);
        match bucket_end(index) {
            Some(end) => label(&mut line, "le", &seconds(end).to_string()),
            None => label(&mut line, "le", "+Inf"),
        }
        sample(out, &bucket_name, &line, sum);
    }
    sample(
        out,
        &format!("{name}_sum"),
        labels,
        seconds(values.nanoseconds),
    );
    sample(out, &format!("{name}_count"), labels, sum);
}

impl Body for Scrape {
    fn next(&mut self, out: &mut String) {
        while out.len() < PIECE_BYTES && self.family < 9 {
            if self.write(out).is_none() {
                self.family += 1;
                self.item = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let mut buckets = [0; BUCKETS];
        buckets[0] = 2;
        buckets[BUCKETS - 1] = 3;
        let mut out = String::new();
        let values = Histogram {
            buckets,
            nanoseconds: 1_500_000_000,
        };
        histogram(&mut out, "d", "a=\"b\"", &values);
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[0], "d_bucket{a=\"b\",le=\"0.000016384\"} 2");
        assert_eq!(lines[BUCKETS - 1], "d_bucket{a=\"b\",le=\"+Inf\"} 5");
        assert_eq!(
            &lines[BUCKETS..],
            ["d_sum{a=\"b\"} 1.5", "d_count{a=\"b\"} 5"]
        );
    }

    #[test]
    fn labels_of_a_series() {
        let route = RouteName {
            method: "GET",
            path: "/a".to_owned(),
        };
        assert_eq!(
            series_labels("cgroup=\"/x\"", &route, 204),
            "cgroup=\"/x\",method=\"GET\",route=\"/a\",status=\"204\""
        );
        assert_eq!(
            series_labels("", &RouteName::other(), 0),
            "method=\"_OTHER\",route=\"_OTHER\",status=\"_OTHER\""
        );
    }

    fn container(group: &str, names: Option<crate::kubernetes::Names>) -> Container {
        Container::example(group, Some("app"), names)
    }

    #[test]
    fn a_container_by_its_names_or_its_place() {
        let labels = container_labels(&container("/a", None));
        assert_eq!(labels.series, "cgroup=\"/a\",process=\"app\"");
        assert_eq!(labels.all, labels.series);
        let names = crate::kubernetes::Names::new("shop", "cart-0");
        let labels = container_labels(&container("/a", names));
        let series = "namespace=\"shop\",pod=\"cart-0\",workload=\"cart\"";
        assert_eq!(labels.series, series);
        assert_eq!(
            labels.all,
            format!("{series},cgroup=\"/a\",process=\"app\"")
        );
    }

    /// A line that is there twice would have Prometheus refuse all of them.
    #[test]
    fn a_control_group_that_came_back_is_told_of_once() {
        let labels = container_labels(&container("/a", None));
        let other = container_labels(&container("/b", None));
        let all = [labels.all.clone(), other.all.clone()];
        let mut containers = BTreeMap::from([(1, labels.clone()), (2, other), (3, labels)]);
        assert_eq!(infos(&mut containers), all);
    }

    #[test]
    fn long_paths_are_cut_at_their_beginning() {
        let path = format!("/{}/{}", "ä".repeat(400), "c".repeat(64));
        let labels = container_labels(&container(&path, None));
        assert!(labels.series.len() < LONGEST_GROUP + 150);
        assert!(labels.series.contains(&"c".repeat(64)));
    }
}
