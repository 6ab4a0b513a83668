//! Spans: single requests on their way to a trace collector.
//!
//! Kernel programs put them into a ring without waking anybody; a timer of the
//! agent's loop takes them out, and a thread of its own sends them.
//!
//! # Layout
//! - [`ring`]: takes spans out of the ring
//! - [`json`]: the little JSON that is needed
//! - [`encode`]: spans as OTLP
//! - [`endpoint`]: where a collector listens
//! - [`export`]: sends them, in the background

pub mod encode;
pub mod endpoint;
pub mod export;
pub mod json;
pub mod ring;
