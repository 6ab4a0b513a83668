//! What the target app promises to the outside, checked from the outside.
//!
//! Every test starts the program of its own and talks to it over TCP, so the suite holds for twins
//! in other languages too: `TARGET_APP=./my-app cargo test -p target-app --test contract`. The
//! promises themselves are written down in README.md.

mod app;
mod client;
mod reference;

mod delivery;
mod lifecycle;
mod load;
mod metrics;
mod negotiation;
mod objects;
mod ours;
mod protocol;
mod query;
