//! What every command that measures shares.
//!
//! # Layout
//! - `options`: what the command line says
//! - `planning`: from there and scenarios to a plan
//! - `bench`: a place to carry it out, and whether it came to its end

mod bench;
mod options;
mod planning;

pub use self::bench::{Bench, End, block_on, judge, lock, reported};
pub use self::options::{BackendName, GroupsName, LoadName, Options};
pub use self::planning::{announce, arms, describe, name_of};
