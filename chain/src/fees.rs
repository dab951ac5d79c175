//! The fee market: a base fee per share that follows EIP-4844's exponential of the excess over a target.
//!
//! `base_fee(excess) = MIN_BASE_FEE · e^(excess / update_fraction)`, integers only. A block that counts `used`
//! shares moves the excess by `used − target`, target being half the capacity and update_fraction 101 targets,
//! so that one full block raises the price by at most 1 % (e^(1/101) < 1.01) and a nano of rounding, a hundred
//! blocks by 2.7.
//!
//! What is reserved counts as used in every block, whether it is used or not, and what comes out of a reservation
//! does not count again. Of `limit` reservable shares a block, the one after `reserved` costs
//! `base_fee · e^(8 · reserved / limit)` a block: the first the base fee, the last 2,981 times as much. A purchase
//! pays the integral, so that splitting it saves nothing.

use erasure::{ForeignKind, shares_for};

use crate::{Amount, genesis::Parameters};

/// Lowest base fee per share, in nano: large enough that 1 % of it is a whole number.
pub const MIN_BASE_FEE: u64 = 1_000;

/// Largest exponent: a price 2.6·10^10 times the floor. A full protocol-limit block at this price fits 64 bits.
const MAX_EXPONENT: u64 = 24;

/// Full blocks' worth of excess, beyond the target, that raise the price by a factor e.
const BLOCKS_PER_E: u64 = 101;

/// One part in so many of the capacity can be reserved.
pub(crate) const RESERVABLE_PART: u64 = 4;

/// The last reservable share costs e to this power times the base fee.
const RESERVATION_EXPONENT: u64 = 8;

/// Bytes of hashing for which one share is charged.
const FOREIGN_BYTES_PER_SHARE: u64 = 256 * 1024;

/// Shares charged for checking one KZG opening.
const KZG_SHARES: u64 = 8;

/// The market's constants, derived from the chain's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeRules {
    /// Counted shares that a block holds at most.
    pub capacity: u64,
    /// Counted shares at which the price stands still.
    pub target: u64,
    /// Excess per factor e.
    pub update_fraction: u64,
    /// The excess is clamped here.
    pub excess_max: u64,
}

impl FeeRules {
    /// The rules of a chain with these parameters.
    pub fn new(parameters: &Parameters) -> Self {
        let capacity = parameters.width().shares() as u64;
        let target = capacity / 2;
        let update_fraction = target * BLOCKS_PER_E;
        Self { capacity, target, update_fraction, excess_max: update_fraction * MAX_EXPONENT }
    }

    /// The base fee per share, in nano, at this excess.
    pub fn base_fee(&self, excess: u64) -> u64 {
        fake_exponential(MIN_BASE_FEE, excess.min(self.excess_max), self.update_fraction)
    }

    /// Shares a block that all reservations together may hold.
    pub fn reservable(&self) -> u64 {
        self.capacity / RESERVABLE_PART
    }

    /// What `rate` shares a block cost for `blocks` blocks while others hold `reserved`, in nano.
    pub fn reservation_price(&self, base_fee: u64, reserved: u64, rate: u64, blocks: u64) -> Amount {
        let limit = self.reservable().max(1);
        let up_to = |shares: u64| {
            let factor = u128::from(base_fee) * u128::from(limit);
            exponential(factor, u128::from(RESERVATION_EXPONENT * shares.min(limit)), limit.into())
        };
        let integral = up_to(reserved.saturating_add(rate)).saturating_sub(up_to(reserved));
        let price = integral.saturating_mul(blocks.into()).div_ceil(RESERVATION_EXPONENT.into());
        Amount::try_from(price).unwrap_or(Amount::MAX)
    }

    /// The excess after a block that counted `used` shares, those of reservations left out and the reserved rate added.
    pub fn next(&self, excess: u64, used: u64) -> u64 {
        excess.saturating_add(used.min(self.capacity)).saturating_sub(self.target).min(self.excess_max)
    }

    /// The cap per share that covers the base fee through the next `horizon` blocks, whatever they hold.
    ///
    /// The quoted price is that of the next block; `horizon − 1` full blocks can precede the last one covered,
    /// and `horizon` are counted so that a block decided while the quote travels is covered too.
    pub fn guaranteed_cap(&self, excess: u64, horizon: u64) -> u64 {
        let growth = horizon.saturating_mul(self.capacity - self.target);
        self.base_fee(excess.saturating_add(growth).min(self.excess_max))
    }

    /// The base fee per share after `horizon` blocks that count `used` shares each: a forecast, not a promise.
    pub fn expected_base_fee(&self, excess: u64, horizon: u64, used: u64) -> u64 {
        let used = used.min(self.capacity);
        let up = horizon.saturating_mul(used.saturating_sub(self.target));
        let down = horizon.saturating_mul(self.target.saturating_sub(used));
        self.base_fee(excess.min(self.excess_max).saturating_add(up).saturating_sub(down))
    }
}

/// `factor · e^(numerator / denominator)` by its Taylor series, as EIP-4844 defines it.
fn fake_exponential(factor: u64, numerator: u64, denominator: u64) -> u64 {
    u64::try_from(exponential(factor.into(), numerator.into(), denominator.into())).unwrap_or(u64::MAX)
}

fn exponential(factor: u128, numerator: u128, denominator: u128) -> u128 {
    let mut term = factor * denominator;
    let mut sum = 0u128;
    let mut i = 1u128;
    while term > 0 {
        sum += term;
        term = term * numerator / (denominator * i);
        i += 1;
    }
    sum / denominator
}

/// Shares that one blob of `len` bytes counts, with commitments of these kinds: its bytes, one share for each
/// 256 KiB hashed per foreign commitment, eight for each KZG opening.
pub fn blob_shares(len: u64, foreign: impl IntoIterator<Item = ForeignKind>) -> u64 {
    let checking: u64 = foreign
        .into_iter()
        .map(|kind| match kind {
            ForeignKind::Eip4844 => KZG_SHARES,
            ForeignKind::Keccak256 | ForeignKind::Sha256 | ForeignKind::Celestia | ForeignKind::AnyTrust => {
                len.div_ceil(FOREIGN_BYTES_PER_SHARE)
            }
        })
        .sum();
    shares_for(len).saturating_add(checking)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules() -> FeeRules {
        FeeRules::new(&Parameters::default())
    }

    #[test]
    fn a_full_block_raises_the_price_by_at_most_one_percent_and_a_hundred_by_e() {
        let rules = rules();
        let mut excess = 0;
        for _ in 0..5_000 {
            let before = rules.base_fee(excess);
            excess = rules.next(excess, rules.capacity);
            let after = rules.base_fee(excess);
            // Both sides are rounded down to whole nano.
            assert!(after * 100 <= (before + 1) * 101, "{before} to {after}");
        }
        assert_eq!(excess, rules.excess_max);
        let hundred = rules.guaranteed_cap(0, 100);
        assert!((2_650..2_720).contains(&hundred), "{hundred}");
        assert!(rules.base_fee(rules.excess_max).checked_mul(512 * 512).is_some());
    }

    #[test]
    fn an_empty_chain_falls_to_the_floor() {
        let rules = rules();
        assert_eq!(rules.base_fee(rules.next(rules.target, 0)), MIN_BASE_FEE);
    }

    #[test]
    fn sizes_have_no_cliff() {
        assert_eq!(blob_shares(1, []), 1);
        assert_eq!(blob_shares(513, []), 2);
        assert_eq!(blob_shares(262_145, [ForeignKind::Keccak256, ForeignKind::Sha256]), 513 + 4);
        assert_eq!(blob_shares(262_144, [ForeignKind::Eip4844, ForeignKind::Eip4844]), 512 + 16);
    }

    proptest! {
        #[test]
        fn the_guaranteed_cap_covers_every_sequence_of_blocks(
            start in 0u64..20_000_000,
            blocks in prop::collection::vec(0u64..=16_384, 0..60),
        ) {
            let rules = rules();
            let cap = rules.guaranteed_cap(start, blocks.len() as u64);
            let mut excess = start.min(rules.excess_max);
            for used in blocks {
                prop_assert!(rules.base_fee(excess) <= cap);
                excess = rules.next(excess, used);
            }
            prop_assert!(rules.base_fee(excess) <= cap);
        }

        #[test]
        fn a_forecast_is_what_such_blocks_lead_to_and_never_above_the_cap(
            start in 0u64..20_000_000, horizon in 1u64..=100, used in 0u64..=20_000,
        ) {
            let rules = rules();
            let start = start.min(rules.excess_max);
            let forecast = rules.expected_base_fee(start, horizon, used);
            prop_assert!(forecast <= rules.guaranteed_cap(start, horizon));
            let end = (0..horizon).fold(start, |excess, _| rules.next(excess, used));
            prop_assert_eq!(forecast, rules.base_fee(end));
        }
    }
}
