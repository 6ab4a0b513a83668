//! Slots of routes and series that are taken back when nobody asks for what is in them.
//!
//! Kernel programs give slots out and can't know when one is wanted no more. So the agent looks
//! at them once in a while, and while more than half are taken it goes on like this:
//!
//! 1. It closes what nothing was counted in for long. No program finds it any more; what is asked
//!    for after all gets another slot.
//! 2. In the next round, a second or more later, no program runs that has found it before. What
//!    was counted stays with the series that bears the same labels, where there is one; otherwise
//!    it is [forgotten](Slots::forgotten). Only now the slot is emptied, and free.
//!
//! A program asks before each use whether a slot is still that of its series, so nothing is counted
//! for another, and all that was counted is shown or forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;
use std::rc::Rc;
use std::time::{Duration, Instant};

use flora_agent_common::layout::{
    OTHER, ROUTES, Route, SERIES, TAKEN_BACK, closed_key, is_closed, next_generation, route_parts,
    series_parts,
};

use super::counters::{Counters, Past};
use super::routes::generation;
use super::scrape::Group;
use crate::bpf::map::{Map, MapError};
use crate::load::{LoadError, Loaded};

/// Between two looks while half of the slots are free.
const REGULAR: Duration = Duration::from_secs(5);

/// Between two looks while they are not.
const CROWDED: Duration = Duration::from_secs(2);

/// Between two rounds: an age for a program that runs for microseconds.
const APART: Duration = Duration::from_secs(1);

/// Scrapes that have shown all that was counted for a container that is gone: two, as many have two scrapers.
const SHOWN: u8 = 2;

/// When nobody scrapes, so long is enough: what is older Prometheus shows to nobody.
const UNSHOWN: Duration = Duration::from_secs(5 * 60);

/// How long nothing is counted in a series of a container that is there, before it is closed.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// How long no series is of a route: until the first answer of a new one there is none.
const UNUSED: Duration = Duration::from_secs(5);

/// What is known of a series.
#[derive(Clone, Copy, Debug)]
struct Seen {
    key: u64,
    /// Bytes that were counted, which grow with every answer.
    bytes: u64,
    /// Since when both are so.
    since: Instant,
    /// Scrapes since.
    shown: u8,
}

/// What series look like now.
pub trait Look {
    /// Bytes that were counted in a slot.
    fn bytes(&self, slot: usize) -> u64;
    /// Whether an answer is under way there.
    fn is_unfinished(&self, slot: usize) -> bool;
    /// Whether a container is gone.
    fn is_gone(&self, container: u16) -> bool;
}

/// Slots to close, and slots that are free from now on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    close_series: Vec<usize>,
    close_routes: Vec<usize>,
    free_series: Vec<usize>,
    free_routes: Vec<usize>,
}

/// When slots are taken back, and what was counted in them.
#[derive(Debug)]
pub struct Slots {
    seen: Vec<Option<Seen>>,
    /// Since when no series is of a route, by its slot.
    unused: Vec<Option<Instant>>,
    past: BTreeMap<String, Rc<Past>>,
    forgotten: u64,
    due: Instant,
}

impl Slots {
    /// The first look is a while from now.
    pub fn new(now: Instant) -> Self {
        Slots {
            seen: vec![None; SERIES],
            unused: vec![None; ROUTES],
            past: BTreeMap::new(),
            forgotten: 0,
            due: now + REGULAR,
        }
    }

    /// When the next look is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Nothing can be done now.
    pub fn put_off(&mut self, now: Instant) {
        self.due = now + REGULAR;
    }

    /// Requests of series that are shown no more.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Everything was shown to a scraper.
    pub fn shown(&mut self) {
        for seen in self.seen.iter_mut().flatten() {
            seen.shown = seen.shown.saturating_add(1);
        }
    }

    /// What is to be done now, by the keys of the series and the hashes of the routes.
    pub fn plan(&mut self, now: Instant, keys: &[u64], hashes: &[u64], look: &dyn Look) -> Plan {
        let mut plan = Plan::default();
        let taken = |values: &[u64]| values.iter().filter(|value| **value != 0).count();
        let crowded = 2 * taken(keys) > SERIES || 2 * taken(hashes) > ROUTES;
        let mut used = BTreeSet::from([usize::from(OTHER)]);
        for (slot, key) in keys.iter().enumerate().filter(|(_, key)| **key != 0) {
            used.insert(usize::from(route_parts(series_parts(*key).1).0));
            if is_closed(*key) {
                self.seen[slot] = None;
                plan.free_series.push(slot);
            } else if !crowded {
                self.seen[slot] = None;
            } else if self.is_quiet(now, slot, *key, look) {
                plan.close_series.push(slot);
            }
        }
        for (slot, hash) in hashes.iter().enumerate() {
            if !crowded || *hash == 0 || used.contains(&slot) {
                self.unused[slot] = None;
            } else if *hash != TAKEN_BACK {
                let since = *self.unused[slot].get_or_insert(now);
                if now >= since + UNUSED {
                    plan.close_routes.push(slot);
                }
            }
            if *hash == TAKEN_BACK && !used.contains(&slot) {
                plan.free_routes.push(slot);
            }
        }
        // What is closed now is freed in the next round, and what is freed leaves routes unused.
        self.due = now
            + match (plan.is_empty(), crowded) {
                (false, _) => APART,
                (true, true) => CROWDED,
                (true, false) => REGULAR,
            };
        plan
    }

    /// Whether nothing was counted in a series for so long that it can go.
    fn is_quiet(&mut self, now: Instant, slot: usize, key: u64, look: &dyn Look) -> bool {
        let fresh = Seen {
            key,
            bytes: look.bytes(slot),
            since: now,
            shown: 0,
        };
        let seen = self.seen[slot].get_or_insert(fresh);
        if (seen.key, seen.bytes) != (key, fresh.bytes) {
            *seen = fresh;
        }
        let quiet = now.duration_since(seen.since);
        if look.is_gone(series_parts(key).0) {
            seen.shown >= SHOWN || quiet >= UNSHOWN
        } else {
            quiet >= QUIET && !look.is_unfinished(slot)
        }
    }

    /// Slots were freed in which so much was counted: it stays where another slot has the same
    /// labels. `groups` are the series as they were before.
    pub fn fold(&mut self, groups: &[Group], freed: &BTreeMap<usize, Past>) {
        for group in groups {
            for past in group.parts.slots.iter().filter_map(|slot| freed.get(slot)) {
                match self.past.get_mut(&group.labels) {
                    Some(sum) => Rc::make_mut(sum).add(past),
                    None => {
                        let past = Rc::new(past.clone());
                        self.past.insert(group.labels.clone(), past);
                    }
                }
            }
        }
        let stays = |group: &&Group| {
            group
                .parts
                .slots
                .iter()
                .any(|slot| !freed.contains_key(slot))
        };
        let staying = groups.iter().filter(stays);
        self.keep(staying.map(|group| group.labels.as_str()).collect());
    }

    /// Adds what was counted before to series as they are now.
    pub fn add_past(&mut self, groups: &mut [Group]) {
        self.keep(groups.iter().map(|group| group.labels.as_str()).collect());
        for group in groups {
            group.parts.past = self.past.get(&group.labels).map(Rc::clone);
        }
    }

    /// Forgets what was counted for labels that no series bears.
    fn keep(&mut self, labels: BTreeSet<&str>) {
        let forgotten = &mut self.forgotten;
        self.past.retain(|of, past| {
            let stays = labels.contains(of.as_str());
            if !stays {
                *forgotten += past.requests();
            }
            stays
        });
    }
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Plan::default()
    }

    /// Does it; what was counted in the slots that are free now.
    pub fn carry_out(
        &self,
        tables: &Tables,
        keys: &[u64],
        routes: &[&[u8]],
        counters: &Counters,
    ) -> (BTreeMap<usize, Past>, Result<(), MapError>) {
        let mut freed = BTreeMap::new();
        let mut work = || {
            for slot in &self.free_series {
                let past = counters.of_slot(*slot);
                tables.free_series(*slot, counters)?;
                freed.insert(*slot, past);
            }
            for slot in &self.free_routes {
                tables.free_route(*slot, routes[*slot])?;
            }
            for slot in &self.close_series {
                tables.close_series(*slot, keys[*slot])?;
            }
            for slot in &self.close_routes {
                tables.close_route(*slot, routes[*slot])?;
            }
            if !(self.free_series.is_empty() && self.free_routes.is_empty()) {
                log::debug!(
                    series = self.free_series.len(), routes = self.free_routes.len();
                    "slots are free again"
                );
            }
            tables.next_round()
        };
        let done = work();
        (freed, done)
    }
}

/// The maps that slots are in.
#[derive(Debug)]
pub struct Tables<'a> {
    keys: &'a Map,
    routes: &'a Map,
    owners: &'a Map,
    series: &'a Map,
    round: &'a Map,
}

impl<'a> Tables<'a> {
    /// Those of a loaded object.
    ///
    /// # Errors
    /// When it lacks one.
    pub fn of(loaded: &'a Loaded) -> Result<Self, LoadError> {
        Ok(Tables {
            keys: loaded.map("SERIES_KEYS")?,
            routes: loaded.map("ROUTES")?,
            owners: loaded.map("OWNERS")?,
            series: loaded.map("SERIES")?,
            round: loaded.map("ROUND")?,
        })
    }

    fn close_series(&self, slot: usize, key: u64) -> Result<(), MapError> {
        set(self.keys, slot, &closed_key(key).to_ne_bytes())
    }

    fn close_route(&self, slot: usize, value: &[u8]) -> Result<(), MapError> {
        let mut value = value.to_vec();
        let at = offset_of!(Route, hash);
        value[at..at + 8].copy_from_slice(&TAKEN_BACK.to_ne_bytes());
        set(self.routes, slot, &value)
    }

    fn free_series(&self, slot: usize, counters: &Counters) -> Result<(), MapError> {
        self.emptied(ROUTES + slot, || {
            counters.clear(self.series, slot)?;
            set(self.keys, slot, &0u64.to_ne_bytes())
        })
    }

    fn free_route(&self, slot: usize, value: &[u8]) -> Result<(), MapError> {
        let mut empty = vec![0; value.len()];
        let at = offset_of!(Route, generation);
        let generation = next_generation(generation(value));
        empty[at..at + 2].copy_from_slice(&generation.to_ne_bytes());
        self.emptied(slot, || set(self.routes, slot, &empty))
    }

    /// Empties a slot while it is nobody's: it looks free before all of it is written.
    fn emptied(
        &self,
        owner: usize,
        empty: impl Fn() -> Result<(), MapError>,
    ) -> Result<(), MapError> {
        set(self.owners, owner, &0u64.to_ne_bytes())?;
        empty()?;
        self.owners.remove(&(owner as u32).to_ne_bytes())
    }

    /// Has connections look for their routes anew.
    fn next_round(&self) -> Result<(), MapError> {
        let mut round = [0; 8];
        self.round.lookup(&0u32.to_ne_bytes(), &mut round)?;
        let next = u64::from_ne_bytes(round).wrapping_add(1);
        set(self.round, 0, &next.to_ne_bytes())
    }
}

fn set(map: &Map, slot: usize, value: &[u8]) -> Result<(), MapError> {
    map.update(&(slot as u32).to_ne_bytes(), value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::counters::Parts;
    use flora_agent_common::layout::{route_number, series_key};

    /// A container that stays, and one that is gone.
    const STAYS: u16 = 1;
    const GONE: u16 = 2;

    /// Series as a test has them, by slot.
    #[derive(Default)]
    struct Series {
        bytes: BTreeMap<usize, u64>,
        unfinished: BTreeSet<usize>,
    }

    impl Look for Series {
        fn bytes(&self, slot: usize) -> u64 {
            self.bytes.get(&slot).copied().unwrap_or(1)
        }

        fn is_unfinished(&self, slot: usize) -> bool {
            self.unfinished.contains(&slot)
        }

        fn is_gone(&self, container: u16) -> bool {
            container == GONE
        }
    }

    /// The first slots of a container that is gone, further ones of one that stays, others free.
    fn keys(gone: usize, stays: usize) -> Vec<u64> {
        let mut keys = vec![0; SERIES];
        for (slot, key) in keys.iter_mut().enumerate().skip(1).take(gone + stays) {
            let container = if slot <= gone { GONE } else { STAYS };
            *key = series_key(container, route_number(1, 3), 200 + slot as u16);
        }
        keys
    }

    /// The first slots of routes are taken.
    fn hashes(taken: usize) -> Vec<u64> {
        let mut hashes = vec![0; ROUTES];
        hashes[1..=taken].fill(7);
        hashes
    }

    /// A round after a while.
    fn after(
        slots: &mut Slots,
        now: &mut Instant,
        more: Duration,
        keys: &[u64],
        series: &Series,
    ) -> Plan {
        *now += more;
        slots.plan(*now, keys, &hashes(1), series)
    }

    #[test]
    fn nothing_is_taken_back_while_half_is_free() {
        let mut now = Instant::now();
        let mut slots = Slots::new(now);
        for _ in 0..5 {
            slots.shown();
            let keys = keys(SERIES / 2, 0);
            let plan = after(&mut slots, &mut now, QUIET, &keys, &Series::default());
            assert!(plan.is_empty(), "{plan:?}");
            assert_eq!(slots.due(), now + REGULAR);
        }
    }

    #[test]
    fn series_of_a_container_that_is_gone_come_back_when_they_were_shown() {
        let mut now = Instant::now();
        let mut slots = Slots::new(now);
        let mut keys = keys(3, SERIES / 2);
        let mut series = Series::default();
        let mut next = |slots: &mut Slots, keys: &[u64], series: &Series| {
            after(slots, &mut now, Duration::from_secs(10), keys, series)
        };
        assert!(next(&mut slots, &keys, &series).is_empty());
        slots.shown();
        assert!(next(&mut slots, &keys, &series).is_empty());
        // Another answer in one of them: that is not shown yet.
        slots.shown();
        series.bytes.insert(2, 2);
        let plan = next(&mut slots, &keys, &series);
        assert_eq!(plan.close_series, [1, 3]);
        for slot in [1, 3] {
            keys[slot] = closed_key(keys[slot]);
        }
        let plan = next(&mut slots, &keys, &series);
        assert_eq!((plan.free_series, plan.close_series), (vec![1, 3], vec![]));
        for slot in [1, 3] {
            keys[slot] = 0;
        }
        slots.shown();
        slots.shown();
        assert_eq!(next(&mut slots, &keys, &series).close_series, [2]);
    }

    #[test]
    fn what_nobody_scrapes_comes_back_too() {
        let mut now = Instant::now();
        let mut slots = Slots::new(now);
        let keys = keys(1, SERIES / 2);
        let series = Series::default();
        let zero = Duration::ZERO;
        assert!(after(&mut slots, &mut now, zero, &keys, &series).is_empty());
        let plan = after(&mut slots, &mut now, UNSHOWN, &keys, &series);
        assert_eq!(plan.close_series, [1]);
    }

    #[test]
    fn series_of_a_container_that_is_there_come_back_when_they_are_quiet() {
        let mut now = Instant::now();
        let mut slots = Slots::new(now);
        let keys = keys(0, SERIES / 2 + 1);
        let mut series = Series::default();
        series.unfinished.insert(1);
        for round in 1..9 {
            series.bytes.insert(2, round);
            let plan = after(&mut slots, &mut now, QUIET / 8, &keys, &series);
            assert!(plan.is_empty(), "{plan:?}");
            slots.shown();
        }
        let plan = after(&mut slots, &mut now, QUIET / 8, &keys, &series);
        assert_eq!(plan.close_series, Vec::from_iter(3..=SERIES / 2 + 1));
        assert_eq!(slots.due(), now + APART);
    }

    #[test]
    fn routes_come_back_when_no_series_is_of_them() {
        let mut now = Instant::now();
        let mut slots = Slots::new(now);
        // All series are of the first, of another generation than it may be here.
        let keys = keys(0, 1);
        let mut hashes = hashes(ROUTES / 2 + 1);
        let mut next = |slots: &mut Slots, keys: &[u64], hashes: &[u64]| {
            now += UNUSED;
            slots.plan(now, keys, hashes, &Series::default())
        };
        assert!(next(&mut slots, &keys, &hashes).is_empty());
        let plan = next(&mut slots, &keys, &hashes);
        assert_eq!(plan.close_routes, Vec::from_iter(2..=ROUTES / 2 + 1));
        hashes[2..].fill(0);
        hashes[2..4].fill(TAKEN_BACK);
        // One was asked for after all.
        let mut keys = keys;
        keys[9] = series_key(STAYS, route_number(3, 0), 200);
        let plan = next(&mut slots, &keys, &hashes);
        assert_eq!((plan.free_routes, plan.close_routes), (vec![2], vec![]));
    }

    #[test]
    fn what_was_counted_is_shown_or_forgotten() {
        let group = |labels: &str, slots: &[usize]| Group {
            labels: labels.to_owned(),
            parts: Parts {
                slots: slots.to_vec(),
                past: None,
            },
        };
        let mut slots = Slots::new(Instant::now());
        let mut groups = [group("a", &[1, 2, 3]), group("b", &[4])];
        let freed = BTreeMap::from([
            (1, Past::example(10)),
            (2, Past::example(20)),
            (4, Past::example(5)),
        ]);
        slots.fold(&groups, &freed);
        // No other slot has the labels of the last.
        assert_eq!(slots.forgotten(), 5);
        groups[0] = group("a", &[3]);
        slots.add_past(&mut groups[..1]);
        let past = |groups: &[Group]| groups[0].parts.past.as_ref().map(|past| past.requests());
        assert_eq!(past(&groups), Some(30));
        slots.fold(&groups[..1], &BTreeMap::from([(3, Past::example(7))]));
        assert_eq!(slots.forgotten(), 42);
        slots.add_past(&mut groups);
        assert_eq!(past(&groups), None);
    }
}
