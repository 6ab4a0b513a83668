//! How often chance alone would show a difference as large as the one seen.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::effect::Pair;

/// Up to this many assignments all are tried: 2¹⁶ with one reference, 3¹⁰ with two.
const EXACT_LIMIT: usize = 100_000;

/// Assignments drawn where they are too many to try.
const DRAWS: u32 = 20_000;

/// Log-ratios closer than this are equal: the same sum in another order differs by so much.
const TOLERANCE: f64 = 1e-12;

/// The chance of a mean log-ratio at least as far from zero, if the arm cost
/// what its references cost. Two-sided.
///
/// If it did, the arm's label could as well sit on any of a block's k + 1
/// costs, independently in every block. The share of those assignments with a
/// statistic |mean over blocks of (ln value − mean ln of the others)| as large
/// as the one observed is the p-value (Fisher 1935, "The Design of
/// Experiments", §21). No distribution is assumed.
///
/// Every assignment is tried where they number at most 100 000. Otherwise
/// 20 000 are drawn from `seed` and p = (hits + 1) ÷ (draws + 1), which counts
/// the observed one among them, so that p is never zero and the test never
/// claims more often than it says (Phipson & Smyth 2010, "Permutation p-values
/// should never be zero").
///
/// With one reference, n blocks reach no lower than 2¹⁻ⁿ: five blocks cannot go
/// below 0.0625. With a twin the least is 3⁻ⁿ.
///
/// None with fewer than two blocks, or any cost that is not finite and positive.
pub fn permutation_p(pairs: &[Pair], seed: u64) -> Option<f64> {
    permutation_p_of(pairs, seed, DRAWS)
}

/// [`permutation_p`] with another number of draws.
pub(super) fn permutation_p_of(pairs: &[Pair], seed: u64, draws: u32) -> Option<f64> {
    // The draws go to blocks by their number, whatever order they come in.
    let mut pairs: Vec<&Pair> = pairs.iter().collect();
    pairs.sort_by_key(|pair| pair.block);
    let blocks: Vec<Vec<f64>> = pairs
        .into_iter()
        .map(log_ratios)
        .collect::<Option<_>>()
        .filter(|blocks: &Vec<_>| blocks.len() >= 2)?;
    let observed = blocks.iter().map(|block| block[0]).sum::<f64>().abs();
    let least = observed * (1.0 - TOLERANCE) - TOLERANCE * blocks.len() as f64;
    let assignments = blocks
        .iter()
        .try_fold(1, |product: usize, block| product.checked_mul(block.len()))
        .filter(|assignments| *assignments <= EXACT_LIMIT);
    Some(match assignments {
        Some(all) => at_least(&blocks, 0.0, least) as f64 / all as f64,
        None => {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let hits = (0..draws)
                .filter(|_| {
                    let sum: f64 = blocks
                        .iter()
                        .map(|block| block[rng.random_range(0..block.len())])
                        .sum();
                    sum.abs() >= least
                })
                .count();
            (hits as f64 + 1.0) / (f64::from(draws) + 1.0)
        }
    })
}

/// The log-ratio of each of a block's costs to the others, the arm's own first.
fn log_ratios(pair: &Pair) -> Option<Vec<f64>> {
    let own = pair.log_ratio()?;
    let others = pair.reference.len() as f64;
    let sum: f64 = pair.reference.iter().map(|cost| cost.ln()).sum::<f64>() + pair.value.ln();
    let of_reference = pair
        .reference
        .iter()
        .map(|cost| cost.ln() - (sum - cost.ln()) / others);
    Some([own].into_iter().chain(of_reference).collect())
}

/// How many assignments of the blocks' labels add up to `least` or more, on
/// either side, when `sum` is there already.
fn at_least(blocks: &[Vec<f64>], sum: f64, least: f64) -> usize {
    match blocks {
        [] => usize::from(sum.abs() >= least),
        [block, rest @ ..] => block
            .iter()
            .map(|log_ratio| at_least(rest, sum + log_ratio, least))
            .sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(block: u32, reference: &[f64], value: f64) -> Pair {
        Pair {
            block,
            reference: reference.to_vec(),
            value,
        }
    }

    /// By hand: of the four signs of two equal log-ratios, two are as far out.
    #[test]
    fn two_blocks_by_hand() {
        let pairs = [pair(1, &[1.0], 2.0), pair(2, &[3.0], 6.0)];
        assert_eq!(permutation_p(&pairs, 0), Some(0.5));
    }

    /// By hand: only the label on both arms at once adds up to as much.
    #[test]
    fn a_twin_by_hand() {
        let pairs = [pair(1, &[1.0, 1.0], 2.0), pair(2, &[1.0, 1.0], 2.0)];
        assert_eq!(permutation_p(&pairs, 0), Some(1.0 / 9.0));
    }

    #[test]
    fn equal_costs_are_certain() {
        let pairs: Vec<_> = (0..30).map(|n| pair(n, &[0.1, 0.1], 0.1)).collect();
        assert_eq!(permutation_p(&pairs[..4], 0), Some(1.0));
        assert_eq!(permutation_p(&pairs, 0), Some(1.0));
    }

    #[test]
    fn one_block_says_nothing() {
        assert_eq!(permutation_p(&[pair(1, &[1.0], 2.0)], 0), None);
        assert_eq!(
            permutation_p(&[pair(1, &[1.0], 2.0), pair(2, &[0.0], 2.0)], 0),
            None
        );
    }

    #[test]
    fn a_seed_gives_the_same_draws_whatever_the_order() {
        let mut pairs: Vec<_> = (0..20)
            .map(|n| {
                pair(
                    n,
                    &[1.0, 1.0 + f64::from(n % 7) / 50.0],
                    1.02 + f64::from(n % 3) / 40.0,
                )
            })
            .collect();
        let forward = permutation_p(&pairs, 7);
        pairs.reverse();
        assert_eq!(forward, permutation_p(&pairs, 7));
        assert_ne!(forward, permutation_p(&pairs, 8));
    }
}
