//! The engine's types, made of Tendermint's.

use std::fmt;

use arc_malachitebft_core_types as core;
use arc_malachitebft_core_types::{LinearTimeouts, NilOrVal, Round, SignedExtension, VoteType};
use arc_malachitebft_signing_ed25519::{Ed25519, Signature};
use bytes::Bytes;
use tendermint::{account, block};

use crate::block_ref::BlockRef;
use crate::validators::{Validator, ValidatorSet};

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

/// A proposed payload, with its proposer's signature. Payloads are small, so one part is all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) height: Height,
    /// The round it was first proposed in; later rounds refer to it by its id.
    pub(crate) round: Round,
    pub(crate) proposer: Address,
    /// [`Payload::encode`](crate::Payload::encode).
    pub(crate) payload: Bytes,
    /// Of the fresh proposal of the payload's block in this round, see [`crate::signing`]. `None` for
    /// a payload that came through sync: it is decided and not relayed.
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
        Proposal { height, round, value, pol_round, address }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<BlockRef>, address: Address) -> Vote {
        Vote { vote_type: VoteType::Prevote, height, round, value, address }
    }

    fn new_precommit(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<BlockRef>,
        address: Address,
    ) -> Vote {
        Vote { vote_type: VoteType::Precommit, height, round, value, address }
    }
}
