//! What the figures promise, tried on thousands of simulated runs whose truth is known.
//! Every test has a seed and gives the same figures each time.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::stats::permutation::permutation_p_of;
use crate::stats::{Pair, detectable_ratio, effect};

const RUNS: u32 = 10_000;
const GAUSSIAN: f64 = 0.03;
/// The arm costs so much more than its references.
const TRUTH: f64 = 0.02;

/// Where a cost's distance from its true value comes from, as a logarithm.
enum Noise {
    Gaussian(f64),
    /// Drawn from what identical baselines were recorded to differ by.
    Recorded(Vec<f64>),
}

impl Noise {
    fn recorded() -> Noise {
        #[derive(Deserialize)]
        struct Recorded {
            log_deviations: Vec<f64>,
        }
        let recorded: Recorded =
            serde_json::from_str(include_str!("../../../tests/fixtures/noise.json")).unwrap();
        Noise::Recorded(recorded.log_deviations)
    }

    fn draw(&self, rng: &mut impl Rng) -> f64 {
        match self {
            Noise::Gaussian(deviation) => deviation * normal(rng),
            Noise::Recorded(deviations) => deviations[rng.random_range(0..deviations.len())],
        }
    }
}

/// Box & Muller (1958), "A note on the generation of random normal deviates".
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// A run of an arm that truly costs `ratio` more, on a machine whose mood
/// changes from block to block by a tenth.
fn run(rng: &mut ChaCha8Rng, noise: &Noise, blocks: u32, references: u32, ratio: f64) -> Vec<Pair> {
    (1..=blocks)
        .map(|block| {
            let level = 1e-4 * (0.1 * normal(rng)).exp();
            let reference = (0..references).map(|_| level * noise.draw(rng).exp());
            Pair {
                block,
                reference: reference.collect(),
                value: level * (1.0 + ratio) * noise.draw(rng).exp(),
            }
        })
        .collect()
}

/// The share of simulated runs of which something holds.
fn share(seed: u64, runs: u32, mut holds: impl FnMut(&mut ChaCha8Rng) -> bool) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    f64::from((0..runs).map(|_| u32::from(holds(&mut rng))).sum::<u32>()) / f64::from(runs)
}

/// An interval of 95 % holds the truth in 93 to 97 of 100 runs.
fn assert_covers(noise: &Noise, what: &str) {
    for references in [1, 2] {
        for blocks in [5, 8, 20] {
            let covered = share(u64::from(blocks), RUNS, |rng| {
                let effect = effect(&run(rng, noise, blocks, references, TRUTH), 0.95).unwrap();
                let (low, high) = effect.interval.unwrap();
                low <= TRUTH && TRUTH <= high
            });
            println!("{what}, {blocks} blocks, {references} references: covered {covered}");
            assert!(
                (0.93..=0.97).contains(&covered),
                "{what}, {blocks} blocks: {covered}"
            );
        }
    }
}

#[test]
fn intervals_cover_under_gaussian_noise() {
    assert_covers(&Noise::Gaussian(GAUSSIAN), "Gaussian noise");
}

#[test]
fn intervals_cover_under_recorded_noise() {
    assert_covers(&Noise::recorded(), "recorded noise");
}

/// Of arms that cost nothing, one in twenty has p ≤ 0.05, tried or drawn.
#[test]
fn chances_claim_no_more_than_they_say() {
    for (what, noise) in [
        ("Gaussian noise", Noise::Gaussian(GAUSSIAN)),
        ("recorded noise", Noise::recorded()),
    ] {
        for (blocks, runs) in [(8, 20_000), (20, 20_000)] {
            let claimed = share(u64::from(blocks), runs, |rng| {
                let seed = rng.random();
                permutation_p_of(&run(rng, &noise, blocks, 2, 0.0), seed, 399).unwrap() <= 0.05
            });
            println!("{what}, {blocks} blocks: {claimed} falsely claimed");
            assert!(claimed <= 0.06, "{what}, {blocks} blocks: {claimed}");
            assert!(claimed >= 0.035, "{what}, {blocks} blocks: {claimed}");
        }
    }
}

/// An effect of just the detectable size is found about as often as was asked:
/// by the interval, and by the permutation test.
#[test]
fn detectable_effects_are_found() {
    const POWER: f64 = 0.8;
    // Of a difference between one cost and the mean of two.
    let deviation = GAUSSIAN * 1.5f64.sqrt();
    let noise = Noise::Gaussian(GAUSSIAN);
    for blocks in [5, 8, 20] {
        let ratio = detectable_ratio(deviation, blocks, 0.95, POWER).unwrap();
        let by_interval = share(u64::from(blocks), 4_000, |rng| {
            let effect = effect(&run(rng, &noise, blocks, 2, ratio), 0.95).unwrap();
            effect.interval.unwrap().0 > 0.0
        });
        let by_chance = share(u64::from(blocks), 2_000, |rng| {
            let seed = rng.random();
            permutation_p_of(&run(rng, &noise, blocks, 2, ratio), seed, 999).unwrap() <= 0.05
        });
        println!("{blocks} blocks: {by_interval} found by interval, {by_chance} by permutation");
        assert!(
            (0.75..=0.85).contains(&by_interval),
            "{blocks} blocks: {by_interval}"
        );
        assert!(by_chance >= 0.75, "{blocks} blocks: {by_chance}");
    }
}
