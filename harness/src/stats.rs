//! Numbers in, estimates out. Pure: no clock, no files, and chance only from a given seed.
//!
//! Nothing here panics, and nothing that comes out is NaN, whatever goes in:
//! what cannot be estimated is `None`.
//!
//! # Layout
//! - [`mod@estimate`]: values of one kind → mean and interval
//! - [`mod@quantile`]: counted buckets → quantiles
//! - [`mod@effect`]: an arm beside its reference, block by block → ratio and interval
//! - [`welch()`]: two means of their own spread → their difference
//! - [`permutation`]: how often chance alone would look like that
//! - [`mod@holm`]: many such chances in one report → corrected ones
//! - [`power`]: what a number of blocks can see, and how many a change needs
//! - [`mod@slope`]: what one more of something costs
//! - [`mod@drift`]: whether costs moved while time went by
//! - `student`: the t distribution that most of them stand on

pub mod drift;
pub mod effect;
pub mod estimate;
pub mod holm;
pub mod permutation;
pub mod power;
pub mod quantile;
pub mod slope;
mod student;
#[cfg(test)]
mod tests;
mod welch;

pub use drift::{Drift, drift};
pub use effect::{Effect, Pair, effect};
pub use estimate::{Estimate, estimate};
pub use holm::holm;
pub use permutation::permutation_p;
pub use power::{blocks_for, detectable_ratio};
pub use quantile::quantile;
pub use slope::{Line, Mean, line, mean};
pub use welch::{Welch, welch};
