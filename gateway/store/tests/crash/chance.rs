//! Chance that can be repeated.

use std::hash::{BuildHasher, RandomState};

/// Numbers that follow from a seed.
pub(crate) struct Chance(u64);

impl Chance {
    /// From `STORE_SEED` when that is set, and from anything otherwise. The seed is printed, so that a failure can be repeated as
    /// far as the clock lets it.
    pub(crate) fn new(of: &str) -> Chance {
        let given = std::env::var("STORE_SEED").ok().map(|seed| seed.parse().expect("STORE_SEED is a number"));
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(()));
        println!("{of}: STORE_SEED={seed}");
        Chance(seed)
    }

    /// Another that follows from this one.
    pub(crate) fn split(&mut self) -> Chance {
        Chance(self.next())
    }

    pub(crate) fn of(seed: u64) -> Chance {
        Chance(seed)
    }

    /// As in splitmix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
