//! The agent against real sockets in real control groups.
//!
//! These need root. Where they can't run they say so, and with
//! `FLORA_BENCH_REQUIRE_ALL` set they fail instead.

mod accuracy;
mod bystanders;
mod cost;
mod cycles;
mod errors;
mod follow;
mod kubernetes;
mod lifecycle;
mod node;
mod outbound;
mod refusals;
mod requests;
mod secrets;
mod server;
mod slots;
mod soak;
mod spans;
mod support;
