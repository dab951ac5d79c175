//! Stake: who validates, with which keys, and what is on its way out.
//!
//! ```text
//!  state after h     validators-last      validators          validators-next
//!  signs             block h              block h + 1         block h + 2, fixed from now on
//!
//!  Bond ─▶ stake ─▶ power (whole WEFT) in validators-next         Unbond ─▶ unbonding ── period ──▶ account
//! ```
//!
//! An account is one validator at most, its operator. One that contradicted itself (see [`Evidence`](crate::Evidence))
//! loses part of its stake and its place for good: its key is never taken again. A validator whose stake is gone keeps
//! its keys until the last of its unbonding is paid out, so that what it signed can still be held against it.

use tendermint::{
    account,
    crypto::{default::signature, signature::Verifier as _},
    validator,
};

use crate::{
    Amount, NANO_PER_WEFT,
    address::Address,
    bls::{AttestationKey, AttestationSecret, BlsError},
    codec::fixed,
    eip712::Domain,
    genesis::Genesis,
    state::StateError,
};

/// Unbondings that one validator may have under way.
pub const UNBONDINGS_LIMIT: usize = 16;

/// A new validator's keys, with proofs that it holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorKeys {
    /// ed25519, signs votes.
    pub consensus: [u8; 32],
    /// ed25519 signature of the consensus key over [`Self::message`].
    pub consensus_proof: [u8; 64],
    /// BLS12-381, signs attestations: compressed point of G2.
    pub attestation: [u8; 96],
    /// BLS12-381 signature of the attestation key over [`Self::message`], in a domain of its own.
    pub attestation_proof: [u8; 48],
}

impl ValidatorKeys {
    /// What both keys sign: `"weft/validator/1" ‖ domain separator ‖ operator ‖ consensus key ‖ attestation key`.
    pub fn message(
        domain: &Domain,
        operator: &Address,
        consensus: &[u8; 32],
        attestation: &[u8; 96],
    ) -> Vec<u8> {
        [b"weft/validator/1", &domain.separator()[..], operator.as_bytes(), consensus, attestation].concat()
    }

    /// The keys of `operator`, with their proofs; `sign` signs with the consensus key.
    pub fn prove(
        domain: &Domain,
        operator: &Address,
        consensus: [u8; 32],
        sign: impl FnOnce(&[u8]) -> [u8; 64],
        attestation: &AttestationSecret,
    ) -> Self {
        let key = *attestation.key().as_bytes();
        let message = Self::message(domain, operator, &consensus, &key);
        Self {
            consensus,
            consensus_proof: sign(&message),
            attestation: key,
            attestation_proof: attestation.prove_possession(&message),
        }
    }

    /// Checks both proofs.
    pub(crate) fn check(&self, domain: &Domain, operator: &Address) -> Result<(), KeysError> {
        let message = Self::message(domain, operator, &self.consensus, &self.attestation);
        let consensus =
            tendermint::PublicKey::from_raw_ed25519(&self.consensus).ok_or(KeysError::Consensus)?;
        let proof = tendermint::Signature::new(self.consensus_proof).ok().flatten();
        proof
            .and_then(|proof| signature::Verifier.verify(consensus, &message, &proof).ok())
            .ok_or(KeysError::Consensus)?;
        AttestationKey::from_bytes(self.attestation)?.check_possession(&message, &self.attestation_proof)?;
        Ok(())
    }
}

/// Why a validator's keys are refused. The submitter is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// No key, or a signature of another one.
    #[error("consensus_proof: the consensus key did not sign for this operator on this chain")]
    Consensus,
    /// No key, or a signature of another one.
    #[error("attestation_proof: {0}, for this operator on this chain")]
    Attestation(#[from] BlsError),
}

/// The consensus address of an ed25519 key, as Tendermint derives it.
pub(crate) fn consensus_address(key: &[u8; 32]) -> Result<account::Id, StateError> {
    tendermint::PublicKey::from_raw_ed25519(key)
        .map(account::Id::from)
        .ok_or(StateError::Malformed("consensus key"))
}

/// A validator as the state holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// ed25519 consensus key.
    pub consensus: [u8; 32],
    /// BLS12-381 attestation key; a validator of genesis may have none.
    pub attestation: Option<AttestationKey>,
    /// Bonded, in nano.
    pub stake: Amount,
    /// It contradicted itself: it has no place any more, and bonds nothing.
    pub slashed: bool,
    /// Places of its unbonding stake in the queue.
    pub unbonding: Vec<u64>,
}

/// [`Validator::encode`]: the attestation key follows.
const HAS_ATTESTATION: u8 = 1;

/// [`Validator::encode`]: the validator was slashed.
const SLASHED: u8 = 2;

impl Validator {
    /// Votes that its stake gives: whole WEFT.
    pub fn power(&self) -> u64 {
        self.stake / NANO_PER_WEFT
    }

    /// consensus: 32 ‖ stake: u64 ‖ flags: u8 (1 attestation key, 2 slashed) ‖ attestation: 96 or 0 ‖ unbonding: u64
    /// each.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = [&self.consensus[..], &self.stake.to_be_bytes()].concat();
        let attestation = if self.attestation.is_some() { HAS_ATTESTATION } else { 0 };
        bytes.push(attestation | if self.slashed { SLASHED } else { 0 });
        bytes.extend(self.attestation.iter().flat_map(|key| key.as_bytes()));
        bytes.extend(self.unbonding.iter().flat_map(|at| at.to_be_bytes()));
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let bad = || StateError::Malformed("validator");
        let (consensus, rest) = bytes.split_first_chunk::<32>().ok_or_else(bad)?;
        let (stake, rest) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let (flags, rest) = rest.split_first().ok_or_else(bad)?;
        if *flags > HAS_ATTESTATION | SLASHED {
            return Err(bad());
        }
        let (attestation, rest) = if flags & HAS_ATTESTATION == 0 {
            (None, rest)
        } else {
            let (key, rest) = rest.split_first_chunk::<96>().ok_or_else(bad)?;
            (Some(AttestationKey::from_bytes(*key).map_err(|_| bad())?), rest)
        };
        let unbonding = rest.chunks(8).map(|at| fixed("unbonding", at).map(u64::from_be_bytes));
        Ok(Self {
            consensus: *consensus,
            attestation,
            stake: u64::from_be_bytes(*stake),
            slashed: flags & SLASHED != 0,
            unbonding: unbonding.collect::<Result<_, _>>().map_err(|_| bad())?,
        })
    }
}

/// A validator in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whose account its fees go to.
    pub operator: Address,
    /// ed25519 consensus key.
    pub consensus: [u8; 32],
    /// Votes.
    pub power: u64,
}

/// A validator set with its operators, by operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster(pub Vec<Member>);

impl Roster {
    /// The set at genesis.
    pub(crate) fn genesis(genesis: &Genesis) -> Self {
        let member = |v: &crate::GenesisValidator| Member {
            operator: v.operator,
            consensus: v.public_key,
            power: u64::from(v.power),
        };
        let mut members: Vec<_> = genesis.validators.iter().map(member).collect();
        members.sort_by_key(|member| member.operator);
        Self(members)
    }

    /// As Tendermint knows it.
    pub fn set(&self) -> Result<validator::Set, StateError> {
        let bad = || StateError::Malformed("validators");
        let info = |member: &Member| {
            let key = tendermint::PublicKey::from_raw_ed25519(&member.consensus).ok_or_else(bad)?;
            Ok(validator::Info::new(key, member.power.try_into().map_err(|_| bad())?))
        };
        // What Tendermint panics at.
        if self.power() > validator::Set::MAX_TOTAL_VOTING_POWER {
            return Err(bad());
        }
        Ok(validator::Set::without_proposer(self.0.iter().map(info).collect::<Result<_, StateError>>()?))
    }

    /// The operator of the validator with this consensus address.
    pub fn operator(&self, validator: &account::Id) -> Option<Address> {
        let is_it = |member: &&Member| consensus_address(&member.consensus).is_ok_and(|id| id == *validator);
        self.0.iter().find(is_it).map(|member| member.operator)
    }

    /// Votes in all.
    pub fn power(&self) -> u64 {
        self.0.iter().fold(0, |sum, member| sum.saturating_add(member.power))
    }

    /// Sets one validator's power; without power it leaves.
    pub(crate) fn put(&mut self, member: Member) {
        self.0.retain(|other| other.operator != member.operator);
        if member.power > 0 {
            let at = self.0.partition_point(|other| other.operator < member.operator);
            self.0.insert(at, member);
        }
    }

    /// operator: 20 ‖ consensus key: 32 ‖ power: u64, each.
    pub fn encode(&self) -> Vec<u8> {
        let member = |m: &Member| [m.operator.as_bytes(), &m.consensus[..], &m.power.to_be_bytes()].concat();
        self.0.iter().flat_map(member).collect()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let (members, rest) = bytes.as_chunks::<60>();
        let member = |bytes: &[u8; 60]| {
            let bad = |_| StateError::Malformed("validators");
            Ok(Member {
                operator: Address::from_bytes(fixed("operator", &bytes[..20]).map_err(bad)?),
                consensus: fixed("consensus", &bytes[20..52]).map_err(bad)?,
                power: u64::from_be_bytes(fixed("power", &bytes[52..]).map_err(bad)?),
            })
        };
        if !rest.is_empty() {
            return Err(StateError::Malformed("validators"));
        }
        Ok(Self(members.iter().map(member).collect::<Result<_, StateError>>()?))
    }
}

/// Stake on its way back to its operator's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbonding {
    /// Whose.
    pub operator: Address,
    /// In nano.
    pub amount: Amount,
    /// Paid out in the first block after a header of this time or later, in seconds since 1970.
    pub release: u64,
}

impl Unbonding {
    /// operator: 20 ‖ amount: u64 ‖ release: u64.
    pub fn encode(&self) -> Vec<u8> {
        let numbers = [self.amount.to_be_bytes(), self.release.to_be_bytes()].concat();
        [&self.operator.as_bytes()[..], &numbers].concat()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let bad = |_| StateError::Malformed("unbonding");
        let bytes: [u8; 36] = fixed("unbonding", bytes).map_err(bad)?;
        Ok(Self {
            operator: Address::from_bytes(fixed("operator", &bytes[..20]).map_err(bad)?),
            amount: u64::from_be_bytes(fixed("amount", &bytes[20..28]).map_err(bad)?),
            release: u64::from_be_bytes(fixed("release", &bytes[28..]).map_err(bad)?),
        })
    }
}

/// Why stake cannot be bonded or unbonded now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StakingError {
    /// Keys are given once.
    #[error("keys: {0} is a validator already; bond more without keys")]
    HasKeys(Address),
    /// A new validator needs keys.
    #[error("keys: {0} is no validator; give the keys of one")]
    NoKeys(Address),
    /// Another validator has one of the keys.
    #[error("keys: the {0} key belongs to another validator; every validator has its own")]
    KeyTaken(&'static str),
    /// Below the minimum.
    #[error("stake: {stake} nano would be bonded, at least {minimum} are needed")]
    TooLittle {
        /// What would be.
        stake: Amount,
        /// What is needed.
        minimum: Amount,
    },
    /// Every place is taken by somebody with at least as much.
    #[error(
        "stake: all {limit} places are taken, the smallest by {least} WEFT; bond more than that, got {got}"
    )]
    Full {
        /// Places.
        limit: usize,
        /// The smallest power.
        least: u64,
        /// The power that asked.
        got: u64,
    },
    /// More than is bonded.
    #[error("stake: {got} nano cannot be unbonded, {stake} are bonded")]
    NotBonded {
        /// Bonded.
        stake: Amount,
        /// Asked for.
        got: Amount,
    },
    /// Too many under way.
    #[error("stake: at most {UNBONDINGS_LIMIT} unbondings at a time; wait until one is paid out")]
    TooMany,
    /// Nobody else would be left.
    #[error("stake: the last validator cannot leave")]
    Last,
    /// It contradicted itself.
    #[error("stake: {0} was slashed and bonds nothing until its stake is paid out; then with other keys")]
    Slashed(Address),
    /// No validator has this key, or had it within the unbonding period.
    #[error("evidence: no stake is bonded or unbonding with this consensus key")]
    Nobody,
    /// Genesis says so.
    #[error("evidence: slashing is off on this chain")]
    NoSlashing,
}
