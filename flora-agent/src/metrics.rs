//! What is counted, and how it is shown.
//!
//! # Layout
//! - [`text`]: the text format of Prometheus
//! - [`counters`]: the histograms and sums that kernel programs keep
//! - [`routes`]: routes, their changing parts taken out
//! - [`slots`]: slots that are taken back
//! - [`peers`]: who called
//! - [`scrape`]: one answer to `GET /metrics`
//! - [`process`]: this process

pub mod counters;
pub mod peers;
pub mod process;
pub mod routes;
pub mod scrape;
pub mod slots;
pub mod text;
