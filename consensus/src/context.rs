//! The engine's types, made of Tendermint's.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use arc_malachitebft_core_types as core;
use arc_malachitebft_core_types::{LinearTimeouts, NilOrVal, Round, SignedExtension, VoteType};
use arc_malachitebft_signing_ed25519::{Ed25519, PublicKey, Signature};
use bytes::Bytes;
use tendermint::{account, block, validator};

use crate::block_ref::BlockRef;

/// Ties the types together; the engine is generic over it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeftContext;

/// A block height, at most `i64::MAX` as in Tendermint; arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Height(u64);

impl Height {
    pub(crate) const MAX: u64 = i64::MAX as u64;

    /// `None` above `i64::MAX`.
    pub(crate) fn new(height: u64) -> Option<Self> {
        (height <= Self::MAX).then_some(Self(height))
    }

    pub(crate) fn to_block(self) -> block::Height {
        // The range is the same: the conversion does not fail.
        block::Height::try_from(self.0).unwrap_or_default()
    }
}

impl From<block::Height> for Height {
    fn from(height: block::Height) -> Self {
        Self(height.value())
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n).min(Self::MAX))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

/// A validator's address: the first 20 bytes of the SHA-256 of its ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(pub(crate) [u8; 20]);

impl Address {
    /// No validator has it: what a node without a vote calls itself.
    pub(crate) const NOBODY: Self = Self([0; 20]);

    pub(crate) fn to_account(self) -> account::Id {
        account::Id::new(self.0)
    }
}

impl From<account::Id> for Address {
    fn from(id: account::Id) -> Self {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(id.as_bytes());
        Self(bytes)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl core::Address for Address {}

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
            let key = info
                .pub_key
                .ed25519()
                .and_then(|key| key.as_bytes().try_into().ok());
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
            validators.push(Validator {
                address,
                public_key,
                power: info.power(),
            });
        }
        validators.sort_by_key(|validator| (Reverse(validator.power), validator.address));
        let total = validators
            .iter()
            .fold(0, |sum: u64, v| sum.saturating_add(v.power));
        match total {
            0 => Err(ValidatorSetError::Empty),
            got if got > MAX_POWER => Err(ValidatorSetError::TooMuchPower {
                limit: MAX_POWER,
                got,
            }),
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
        let turn = height
            .0
            .wrapping_add(u64::from(round.as_u32().unwrap_or(0)));
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
        self.0
            .iter()
            .find(|validator| validator.address == *address)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.0.get(index)
    }
}

/// A prevote or precommit. It has no field that cannot be derived again from a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) vote_type: VoteType,
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: NilOrVal<BlockRef>,
    pub(crate) address: Address,
}

impl core::Vote<WeftContext> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockRef> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockRef> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.vote_type
    }

    fn validator_address(&self) -> &Address {
        &self.address
    }

    fn extension(&self) -> Option<&SignedExtension<WeftContext>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<WeftContext>> {
        None
    }

    /// Extensions are disabled at every height; the engine never calls this.
    fn extend(self, _extension: SignedExtension<WeftContext>) -> Self {
        self
    }
}

/// The proposer's claim that a block is to be voted on in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: BlockRef,
    pub(crate) pol_round: Round,
    pub(crate) address: Address,
}

impl core::Proposal<WeftContext> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &BlockRef {
        &self.value
    }

    fn take_value(self) -> BlockRef {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &Address {
        &self.address
    }
}

/// A proposed payload and its proposer's signature. Payloads are small, so one part is all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) height: Height,
    /// The round it was first proposed in; later rounds refer to it by its id.
    pub(crate) round: Round,
    pub(crate) proposer: Address,
    /// [`Payload::encode`](crate::Payload::encode).
    pub(crate) payload: Bytes,
    /// `None` for a payload that came through sync: it is decided and not relayed.
    pub(crate) signature: Option<Signature>,
}

impl core::ProposalPart<WeftContext> for Part {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

impl core::Context for WeftContext {
    type Address = Address;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = LinearTimeouts;
    type Value = BlockRef;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Ed25519;

    fn select_proposer<'a>(
        &self,
        validators: &'a ValidatorSet,
        height: Height,
        round: Round,
    ) -> &'a Validator {
        validators.proposer(height, round)
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: BlockRef,
        pol_round: Round,
        address: Address,
    ) -> Proposal {
        Proposal {
            height,
            round,
            value,
            pol_round,
            address,
        }
    }

    fn new_prevote(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<BlockRef>,
        address: Address,
    ) -> Vote {
        Vote {
            vote_type: VoteType::Prevote,
            height,
            round,
            value,
            address,
        }
    }

    fn new_precommit(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<BlockRef>,
        address: Address,
    ) -> Vote {
        Vote {
            vote_type: VoteType::Precommit,
            height,
            round,
            value,
            address,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use arc_malachitebft_core_types::Validator as _;

    use super::*;

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
        let turn = |t: u64| *set.proposer(Height(t), Round::new(0)).address();
        let mut counts = std::collections::BTreeMap::new();
        for t in 1..=1_000 {
            assert_ne!(turn(t), turn(t + 1));
            *counts.entry(turn(t)).or_insert(0) += 1;
        }
        assert!(
            counts.len() == 4 && counts.values().all(|n| (245..=255).contains(n)),
            "{counts:?}"
        );
    }

    #[test]
    fn turns_follow_power() {
        let set = set(&[70, 20, 10]);
        let turns = |power| {
            (0..1_000u32)
                .filter(|r| set.proposer(Height(7), Round::new(*r)).voting_power() == power)
                .count()
        };
        for (power, expected) in [(70, 700), (20, 200), (10, 100)] {
            assert!(
                turns(power).abs_diff(expected) <= 5,
                "{power}: {}",
                turns(power)
            );
        }
    }

    #[test]
    fn a_set_without_validators_is_refused() {
        let empty = validator::Set::without_proposer(Vec::new());
        assert_eq!(
            ValidatorSet::try_from(&empty),
            Err(ValidatorSetError::Empty)
        );
    }
}
