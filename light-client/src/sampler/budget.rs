//! How many bytes a client may use: a bucket that leaks evenly over the day.
//!
//! It holds an hour's share and leaks the other twenty-three over a day, so that whatever is
//! afforded adds up to no more than the budget in *any* 24 hours. What cannot be refused, such as
//! headers, is charged too and may overdraw it; nothing else is afforded until that has leaked.

use std::num::NonZeroU64;
use std::time::Duration;

use super::types::Millis;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The budget of bytes a day holds this many buckets.
const BUCKETS_PER_DAY: u64 = 24;

/// Bytes that may be used a day, and those that weigh on it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    bytes_per_day: u64,
    charged_bytes: u64,
    at: Millis,
}

impl Budget {
    /// A budget of which nothing is used.
    pub fn new(bytes_per_day: NonZeroU64, now: Millis) -> Self {
        Self { bytes_per_day: bytes_per_day.get(), charged_bytes: 0, at: now }
    }

    /// Takes back what weighed on it before a restart.
    pub fn restore(&mut self, charged_bytes: u64, at: Millis) {
        (self.charged_bytes, self.at) = (charged_bytes, at);
    }

    /// Bytes a day.
    pub fn bytes_per_day(&self) -> u64 {
        self.bytes_per_day
    }

    /// What weighs on it, and when that was worked out.
    pub fn charged(&self) -> (u64, Millis) {
        (self.charged_bytes, self.at)
    }

    /// Bytes that may be used at once.
    pub fn left(&mut self, now: Millis) -> u64 {
        self.leak(now);
        self.bucket().saturating_sub(self.charged_bytes)
    }

    /// Counts bytes that were used.
    pub fn charge(&mut self, now: Millis, bytes: u64) {
        self.leak(now);
        self.charged_bytes = self.charged_bytes.saturating_add(bytes);
    }

    /// Whether so many bytes may be used now for the newest block.
    pub fn affords(&mut self, now: Millis, bytes: u64) -> bool {
        bytes <= self.left(now)
    }

    /// Whether so many bytes may be used now for an older block: half of the bucket is kept for
    /// the newest ones.
    pub fn affords_older(&mut self, now: Millis, bytes: u64) -> bool {
        bytes <= self.left_above_half(now)
    }

    /// Bytes that may be used at once without touching the half of the bucket that is kept for the
    /// newest blocks.
    pub fn left_above_half(&mut self, now: Millis) -> u64 {
        let kept = self.bucket() / 2;
        self.left(now).saturating_sub(kept)
    }

    /// The least budget a day that affords so many bytes at once.
    pub const fn least_for(bytes: u64) -> u64 {
        bytes.saturating_mul(BUCKETS_PER_DAY)
    }

    fn bucket(&self) -> u64 {
        self.bytes_per_day / BUCKETS_PER_DAY
    }

    fn leak(&mut self, now: Millis) {
        let per_day = u128::from(self.bytes_per_day - self.bucket());
        let leaked = now.since(self.at).as_millis() * per_day / DAY.as_millis();
        let leaked = u64::try_from(leaked).unwrap_or(u64::MAX);
        // Too little time for a byte is kept for the next call; a clock set back starts anew.
        if leaked > 0 || now < self.at {
            self.charged_bytes = self.charged_bytes.saturating_sub(leaked);
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use proptest::prelude::*;

    use super::*;

    const MB: u64 = 1_000_000;

    fn budget(bytes_per_day: u64) -> Budget {
        Budget::new(bytes_per_day.try_into().unwrap(), Millis(0))
    }

    #[test]
    fn what_overdraws_it_has_to_leak_first() {
        let mut budget = budget(24 * MB);
        assert!(budget.affords(Millis(0), MB) && !budget.affords(Millis(0), MB + 1));
        assert!(budget.affords_older(Millis(0), MB / 2) && !budget.affords_older(Millis(0), MB / 2 + 1));
        budget.charge(Millis(0), 2 * MB);
        assert_eq!(budget.left(Millis(0)), 0);
        // 23 MB leak a day: the 1 MB too many within 3,757 s.
        assert!(!budget.affords(Millis(3_756_000), 1));
        assert!(budget.affords(Millis(3_757_000), 1));
        // Asleep for a year: no more than the bucket.
        assert_eq!(budget.left(Millis(365 * 86_400_000)), MB);
    }

    #[test]
    fn a_clock_that_is_set_back_forgives_nothing() {
        let mut budget = budget(24 * MB);
        budget.charge(Millis(1_000_000), MB);
        assert_eq!(budget.left(Millis(0)), 0);
        assert_eq!(budget.left(Millis(86_400_000)), MB);
    }

    proptest! {
        /// Whenever bytes are used, and in whatever portions: no 24 hours see more than the budget.
        #[test]
        fn no_day_costs_more_than_the_budget(
            steps in proptest::collection::vec((0_u64..4_000_000, 1_u64..3 * MB), 1..200),
        ) {
            let mut budget = budget(24 * MB);
            let mut now = Millis(0);
            let mut used: Vec<(u64, u64)> = Vec::new();
            for (pause, bytes) in steps {
                now.0 += pause;
                if budget.affords(now, bytes) {
                    budget.charge(now, bytes);
                    used.push((now.0, bytes));
                }
                let day: u64 = used.iter().filter(|(at, _)| now.0 - at < 86_400_000).map(|(_, b)| b).sum();
                prop_assert!(day <= 24 * MB, "{day}");
            }
        }
    }
}
