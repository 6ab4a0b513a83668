//! The seeded generator every answer is drawn from.

/// What the state advances by with every number drawn: 2^64 divided by the golden ratio, made odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
///
/// A dozen lines in any language, so that every twin of this application draws the same numbers,
/// answers the same bytes and sorts the same blocks.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The generators of request number `n`, counted from 1: one for its objects, one for its work.
    ///
    /// The first starts at the `n`-th number of the generator started at `seed`, the other at the
    /// bitwise complement of that number. They are two so that the objects of a request do not
    /// depend on how much work it was asked for, nor its work on how many objects.
    pub fn of_request(seed: u64, n: u64) -> (Self, Self) {
        // The state is a plain sum, so the n-th number needs no walk through those before it.
        let start = Self::new(seed.wrapping_add(GAMMA.wrapping_mul(n.wrapping_sub(1)))).next();
        (Self::new(start), Self::new(!start))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number's remainder by `bound`. The bias is far below anything this application
    /// could show, and a remainder is the same in every language.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of `items`, drawn by [`Random::below`].
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers everyone's SplitMix64 gives for this seed (Rosetta Code, "Splitmix64").
    #[test]
    fn known_numbers() {
        let mut random = Random::new(1_234_567);
        let drawn: Vec<u64> = (0..5).map(|_| random.next()).collect();
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    #[test]
    fn a_request_starts_at_the_nth_number_of_the_seed() {
        let mut seeds = Random::new(7);
        for n in 1..=5 {
            let start = seeds.next();
            let (objects, work) = Random::of_request(7, n);
            assert_eq!((objects.state, work.state), (start, !start));
        }
    }

    #[test]
    fn any_seed_and_request_number_will_do() {
        for n in [0, 1, u64::MAX] {
            Random::of_request(u64::MAX, n).0.next();
        }
    }
}
