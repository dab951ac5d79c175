//! Who votes, with what power, and whose turn it is to propose.

use std::cmp::Reverse;
use std::sync::Arc;

use arc_malachitebft_core_types as core;
use arc_malachitebft_core_types::{Height as _, Round};
use arc_malachitebft_signing_ed25519::PublicKey;
use tendermint::{account, validator};

use crate::context::{Address, Height, WeftContext};

/// One validator of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validator {
    address: Address,
    public_key: PublicKey,
    power: u64,
}

impl core::Validator<WeftContext> for Validator {
    fn address(&self) -> &Address {
        &self.address
    }

    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn voting_power(&self) -> u64 {
        self.power
    }
}

/// Why a Tendermint validator set cannot run consensus. The application is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidatorSetError {
    /// Nobody could propose.
    #[error("the validator set is empty")]
    Empty,
    /// Votes are signed with ed25519 only.
    #[error("validator {0} has no valid ed25519 key")]
    Key(account::Id),
    /// A validator without power would never count and never propose.
    #[error("validator {0} has no voting power")]
    NoPower(account::Id),
    /// An address appears twice.
    #[error("validator {0} appears twice")]
    Twice(account::Id),
    /// Tendermint caps the sum of powers.
    #[error("total voting power is {got}, at most {limit}")]
    TooMuchPower {
        /// Tendermint's cap.
        limit: u64,
        /// The sum, saturated.
        got: u64,
    },
}

const MAX_POWER: u64 = validator::Set::MAX_TOTAL_VOTING_POWER;

/// A validator set that is not empty, in Tendermint's order (power down, address up). Cheap to
/// clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValidatorSet(Arc<Vec<Validator>>);

impl TryFrom<&validator::Set> for ValidatorSet {
    type Error = ValidatorSetError;

    fn try_from(set: &validator::Set) -> Result<Self, ValidatorSetError> {
        let mut validators = Vec::<Validator>::with_capacity(set.validators().len());
        for info in set.validators() {
            let key = info.pub_key.ed25519().and_then(|key| key.as_bytes().try_into().ok());
            let public_key = key
                .and_then(|bytes| PublicKey::from_bytes(bytes).ok())
                .ok_or(ValidatorSetError::Key(info.address))?;
            if info.power() == 0 {
                return Err(ValidatorSetError::NoPower(info.address));
            }
            let address = Address::from(info.address);
            if validators.iter().any(|known| known.address == address) {
                return Err(ValidatorSetError::Twice(info.address));
            }
            validators.push(Validator { address, public_key, power: info.power() });
        }
        validators.sort_by_key(|validator| (Reverse(validator.power), validator.address));
        let total = validators.iter().fold(0, |sum: u64, v| sum.saturating_add(v.power));
        match total {
            0 => Err(ValidatorSetError::Empty),
            got if got > MAX_POWER => Err(ValidatorSetError::TooMuchPower { limit: MAX_POWER, got }),
            _ => Ok(Self(Arc::new(validators))),
        }
    }
}

impl ValidatorSet {
    /// Whose turn it is to propose, by power and without state.
    ///
    /// Turn `t = height + round` falls on the fractional part of `t / φ`, scaled to the total
    /// power and looked up in the running sum of powers. Multiples of the golden ratio fill the
    /// unit interval more evenly than any other sequence: over any stretch of turns each validator
    /// gets its share of power up to a logarithmic error, and one with less than 38 % of the power
    /// never has two turns in a row, so a dead proposer costs one round.
    pub(crate) fn proposer(&self, height: Height, round: Round) -> &Validator {
        /// 2^64 / φ, odd.
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let turn = height.as_u64().wrapping_add(u64::from(round.as_u32().unwrap_or(0)));
        let total: u128 = self.0.iter().map(|v| u128::from(v.power)).sum();
        let mut left = (u128::from(turn.wrapping_mul(GOLDEN)) * total) >> 64;
        for validator in self.0.iter() {
            match left.checked_sub(u128::from(validator.power)) {
                Some(rest) => left = rest,
                None => return validator,
            }
        }
        &self.0[0]
    }
}

impl core::ValidatorSet<WeftContext> for ValidatorSet {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.0.iter().map(|validator| validator.power).sum()
    }

    fn get_by_address(&self, address: &Address) -> Option<&Validator> {
        self.0.iter().find(|validator| validator.address == *address)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.0.get(index)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use arc_malachitebft_core_types::Validator as _;

    use super::*;

    fn height(height: u64) -> Height {
        Height::new(height).unwrap()
    }

    fn set(powers: &[u64]) -> ValidatorSet {
        let key = |seed: u8| {
            let key = arc_malachitebft_signing_ed25519::PrivateKey::from([seed; 32]);
            tendermint::PublicKey::from_raw_ed25519(key.public_key().as_bytes()).unwrap()
        };
        let infos = powers
            .iter()
            .zip(1..)
            .map(|(power, seed)| validator::Info::new(key(seed), (*power).try_into().unwrap()));
        ValidatorSet::try_from(&validator::Set::without_proposer(infos.collect())).unwrap()
    }

    #[test]
    fn equal_validators_never_propose_twice_in_a_row_and_share_alike() {
        let set = set(&[1_000_000; 4]);
        let turn = |t: u64| *set.proposer(height(t), Round::new(0)).address();
        let mut counts = std::collections::BTreeMap::new();
        for t in 1..=1_000 {
            assert_ne!(turn(t), turn(t + 1));
            *counts.entry(turn(t)).or_insert(0) += 1;
        }
        assert!(counts.len() == 4 && counts.values().all(|n| (245..=255).contains(n)), "{counts:?}");
    }

    #[test]
    fn turns_follow_power() {
        let set = set(&[70, 20, 10]);
        let turns = |power| {
            (0..1_000u32).filter(|r| set.proposer(height(7), Round::new(*r)).voting_power() == power).count()
        };
        for (power, expected) in [(70, 700), (20, 200), (10, 100)] {
            assert!(turns(power).abs_diff(expected) <= 5, "{power}: {}", turns(power));
        }
    }

    #[test]
    fn a_set_without_validators_is_refused() {
        let empty = validator::Set::without_proposer(Vec::new());
        assert_eq!(ValidatorSet::try_from(&empty), Err(ValidatorSetError::Empty));
    }
}
