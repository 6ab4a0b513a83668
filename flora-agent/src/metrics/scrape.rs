//! One answer to `GET /metrics`, made piece by piece.
//!
//! A full table of series is megabytes of text, which are never in memory at
//! once: each piece is made when the one before has been sent.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::rc::Rc;

use flora_agent_common::layout::{BUCKETS, Peer, PeerKey, bucket_end, series_parts};
use std::mem::offset_of;

use super::counters::{Counters, Field, Histogram};
use super::routes::{RouteName, Routes, UNKNOWN};
use super::text::{family, label, sample, seconds};
use crate::bpf::map::Entries;
use crate::http::Body;
use crate::watch::containers::Container;

/// From this size on, a piece is sent.
const PIECE_BYTES: usize = 8 * 1024;

/// Slots that are one series to the reader.
#[derive(Debug)]
struct Group {
    labels: String,
    slots: Vec<usize>,
}

/// An answer under way.
#[derive(Debug)]
pub struct Scrape {
    counters: Rc<Counters>,
    groups: Vec<Group>,
    peers: Entries,
    containers: BTreeMap<u16, String>,
    rest: String,
    family: usize,
    item: usize,
}

/// The labels of a container; those that it has not are left out.
pub fn container_labels(container: &Container) -> String {
    let mut labels = String::new();
    label(&mut labels, "cgroup", &container.group);
    if let Some(process) = &container.process {
        label(&mut labels, "process", process);
    }
    if let Some(uid) = &container.identity.pod_uid {
        label(&mut labels, "pod_uid", uid);
    }
    if let Some(id) = &container.identity.container_id {
        label(&mut labels, "container_id", id);
    }
    labels
}

/// Slots by their labels: two whose labels are the same are one series.
fn groups(
    keys: &Entries,
    routes: &Routes,
    containers: &BTreeMap<u16, String>,
    counters: &Counters,
) -> Vec<Group> {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (slot, key) in keys.values().enumerate() {
        let key = key.try_into().map_or(0, u64::from_ne_bytes);
        let labels = match (slot, key) {
            // What found no slot of its own.
            (0, 0) if counters.requests(&[0]) == 0 => continue,
            (0, 0) => series_labels("", &RouteName::other(), 0),
            (_, 0) => continue,
            _ => {
                let (container, route, status) = series_parts(key);
                let container = containers.get(&container).map_or("", String::as_str);
                series_labels(container, &routes.name(route), status)
            }
        };
        groups.entry(labels).or_default().push(slot);
    }
    groups
        .into_iter()
        .map(|(labels, slots)| Group { labels, slots })
        .collect()
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
        keys: &Entries,
        routes: &Routes,
        containers: BTreeMap<u16, String>,
        peers: Entries,
        rest: String,
    ) -> Self {
        let groups = groups(keys, routes, &containers, &counters);
        Scrape {
            counters,
            groups,
            peers,
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
                sample(out, name, &group.labels, counters.requests(&group.slots));
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
                let values = counters.histogram(&group.slots, Field::LAST);
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
                let values = counters.histogram(&group.slots, Field::FIRST);
                histogram(out, name, &group.labels, &values);
            }
            3 => {
                let group = groups.get(*item)?;
                let name = "flora_http_request_bytes_total";
                if *item == 0 {
                    family(out, name, "counter", "Bytes of requests, heads included.");
                }
                let bytes = counters.sum(&group.slots, Field::REQUEST_BYTES);
                sample(out, name, &group.labels, bytes);
            }
            4 => {
                let group = groups.get(*item)?;
                let name = "flora_http_response_bytes_total";
                if *item == 0 {
                    family(out, name, "counter", "Bytes of answers, heads included.");
                }
                let bytes = counters.sum(&group.slots, Field::RESPONSE_BYTES);
                sample(out, name, &group.labels, bytes);
            }
            5 | 6 => self.peer(out)?,
            7 => {
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
                    .map(|group| counters.unfinished(&group.slots))
                    .sum();
                sample(out, name, "", unfinished);
                out.push_str(&self.rest);
            }
            _ => return None,
        }
        self.item += 1;
        Some(())
    }

    fn peer(&self, out: &mut String) -> Option<()> {
        let (name, help, field) = if self.family == 5 {
            (
                "flora_peer_connections_total",
                "Connections by caller that sent a request. Bounded: the callers heard of last.",
                offset_of!(Peer, connections),
            )
        } else {
            (
                "flora_peer_requests_total",
                "Requests by caller that were answered. Bounded: the callers heard of last.",
                offset_of!(Peer, requests),
            )
        };
        let (key, value) = self.peers.iter().nth(self.item)?;
        if self.item == 0 {
            family(out, name, "counter", help);
        }
        let at = offset_of!(PeerKey, container);
        let container = u32::from_ne_bytes(key.get(at..at + 4)?.try_into().ok()?);
        let container = self.containers.get(&(container as u16));
        let mut labels = container.cloned().unwrap_or_default();
        let address: [u8; 16] = key.get(..16)?.try_into().ok()?;
        label(&mut labels, "peer", &peer_text(address));
        let count = u64::from_ne_bytes(value.get(field..field + 8)?.try_into().ok()?);
        sample(out, name, &labels, count);
        Some(())
    }
}

/// An address as people write it.
pub fn peer_text(address: [u8; 16]) -> String {
    Ipv6Addr::from(address).to_canonical().to_string()
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
        while out.len() < PIECE_BYTES && self.family < 8 {
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

    #[test]
    fn addresses() {
        let four = std::net::Ipv4Addr::new(10, 0, 0, 7).to_ipv6_mapped();
        assert_eq!(peer_text(four.octets()), "10.0.0.7");
        assert_eq!(peer_text(Ipv6Addr::LOCALHOST.octets()), "::1");
    }
}
