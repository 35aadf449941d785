//! Random numbers that can be repeated, and how much a test does.

use std::time::Duration;

/// Random numbers that a seed repeats (`SplitMix64`).
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Independent dice, so that the order of threads does not change what each of them throws.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.roll())
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end).unwrap()).unwrap()
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.roll().is_multiple_of(chances)
    }

    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap();
        Duration::from_micros(self.roll() % (micros + 1))
    }
}

/// What the environment says, or the default.
pub(crate) fn scale(variable: &str, default: u64) -> u64 {
    said(variable).map_or(default, |number| number.parse().expect("a number"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs a test says what it does and how long it may take"
)]
pub(crate) fn said(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}
