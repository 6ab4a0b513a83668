//! What Flora's kernel programs and its agent share.
//!
//! # Layout
//! - [`layout`]: the values in the maps
//! - [`method`]: request methods
//! - [`word`]: eight bytes at a time
//! - [`head`]: the head of a message that lies in one segment
//! - [`machine`]: messages byte by byte, whatever the segments
//! - [`table`]: its transitions
//! - [`chunks`]: many small chunks
//! - [`connection`]: requests and the responses that answer them
//! - [`heads`]: several of them in a segment
//! - `simulation`: a connection without a kernel, for tests
//! - [`template`]: paths with their changing parts taken out
#![cfg_attr(not(any(test, feature = "simulation")), no_std)]

pub mod chunks;
pub mod connection;
pub mod head;
pub mod heads;
pub mod layout;
pub mod machine;
pub mod method;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod table;
pub mod template;
pub mod word;
