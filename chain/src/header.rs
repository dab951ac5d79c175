//! Tendermint headers: what a light client carries, and verification by the stock light-client verifier.

use std::{cmp::Ordering, time::Duration};

use prost::Message;
use serde::Serialize;
use tendermint::{Hash, Time, block::signed_header::SignedHeader, validator};
use tendermint_light_client_verifier::{
    ProdVerifier, Verdict, Verifier,
    options::Options,
    types::{TrustThreshold, TrustedBlockState, UntrustedBlockState},
};
use tendermint_proto::v0_38::types as raw;

use crate::{
    Height,
    certificate::{Certificate, Certified},
    codec::{DecodeError, fixed},
    genesis::Checkpoint,
    upgrade::UnknownRules,
};

/// Longest encoding of a light block: 10,000 validators with their signatures and keys fit.
const LIGHT_BLOCK_BYTES: usize = 4 * 1024 * 1024;

/// A header with its commit and the validator sets that it names; nothing has been checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LightBlock {
    /// The header and the signatures over it.
    pub signed_header: SignedHeader,
    /// The set that signed it.
    pub validators: validator::Set,
    /// The set that signs the next one.
    pub next_validators: validator::Set,
}

#[derive(Clone, PartialEq, Message)]
struct LightBlockMessage {
    #[prost(message, optional, tag = "1")]
    signed_header: Option<raw::SignedHeader>,
    /// Left out where the reader has it.
    #[prost(message, optional, tag = "2")]
    validators: Option<raw::ValidatorSet>,
    /// Left out where it equals `validators`.
    #[prost(message, optional, tag = "3")]
    next_validators: Option<raw::ValidatorSet>,
}

impl LightBlock {
    /// The header's height.
    pub fn height(&self) -> Height {
        self.signed_header.header.height.value()
    }

    /// The same without the signatures of its commit, for readers who have a certificate instead.
    pub fn without_commit(mut self) -> Self {
        self.signed_header.commit.signatures.clear();
        self
    }

    /// Whether signatures come with it.
    pub fn has_commit(&self) -> bool {
        !self.signed_header.commit.signatures.is_empty()
    }

    /// Protobuf: Tendermint's `SignedHeader` in field 1, its `ValidatorSet` in 2 and, where it changes, in 3.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_leaving_out(false)
    }

    /// As [`Self::encode`], without field 2 where the reader has that set: the one with the hash `known`.
    pub fn encode_for(&self, known: &[u8; 32]) -> Vec<u8> {
        self.encode_leaving_out(self.signed_header.header.validators_hash == Hash::Sha256(*known))
    }

    fn encode_leaving_out(&self, validators: bool) -> Vec<u8> {
        LightBlockMessage {
            signed_header: Some(self.signed_header.clone().into()),
            validators: (!validators).then(|| self.validators.clone().into()),
            next_validators: (self.next_validators != self.validators)
                .then(|| self.next_validators.clone().into()),
        }
        .encode_to_vec()
    }

    /// Reads what [`Self::encode`] wrote; at most 4 MiB.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_with(bytes, None)
    }

    /// Reads what [`Self::encode_for`] wrote for a reader that has the set `known`. As every light block, what comes
    /// out is unverified: whoever leaves out another set made a light block whose header names other validators.
    pub fn decode_for(bytes: &[u8], known: &validator::Set) -> Result<Self, DecodeError> {
        Self::decode_with(bytes, Some(known))
    }

    fn decode_with(bytes: &[u8], known: Option<&validator::Set>) -> Result<Self, DecodeError> {
        if bytes.len() > LIGHT_BLOCK_BYTES {
            let limit = LIGHT_BLOCK_BYTES;
            return Err(DecodeError::TooMany { field: "light_block.bytes", limit, got: bytes.len() });
        }
        let message = LightBlockMessage::decode(bytes)?;
        let bad =
            |field| move |error: tendermint::Error| DecodeError::Field { field, reason: error.to_string() };
        let signed_header = message.signed_header.ok_or(DecodeError::Missing("signed_header"))?;
        let validators: validator::Set = match (message.validators, known) {
            (Some(set), _) => set.try_into().map_err(bad("validators"))?,
            (None, Some(known)) => known.clone(),
            (None, None) => return Err(DecodeError::Missing("validators")),
        };
        Ok(Self {
            signed_header: signed_header.try_into().map_err(bad("signed_header"))?,
            next_validators: match message.next_validators {
                Some(set) => set.try_into().map_err(bad("next_validators"))?,
                None => validators.clone(),
            },
            validators,
        })
    }

    fn untrusted(&self) -> UntrustedBlockState<'_> {
        UntrustedBlockState {
            signed_header: &self.signed_header,
            validators: &self.validators,
            next_validators: Some(&self.next_validators),
        }
    }

    /// The sets are those that the header names.
    fn check_sets(&self) -> Result<(), HeaderError> {
        let header = &self.signed_header.header;
        if self.validators.hash() != header.validators_hash
            || self.next_validators.hash() != header.next_validators_hash
        {
            return Err(HeaderError::Invalid(
                "the validator sets are not those that the header names".into(),
            ));
        }
        Ok(())
    }
}

/// A header without its commit, and the certificate that stands in for it; nothing has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedBlock {
    /// The certificate.
    pub certificate: Certificate,
    /// The header and its validator sets, without signatures.
    pub block: LightBlock,
}

impl CertifiedBlock {
    /// certificate's length: u16 BE ‖ certificate ‖ [`LightBlock::encode_for`] a reader that has the set `known`.
    pub fn encode_for(&self, known: Option<&[u8; 32]>) -> Vec<u8> {
        let certificate = self.certificate.encode();
        let block = known.map_or_else(|| self.block.encode(), |known| self.block.encode_for(known));
        [&(certificate.len() as u16).to_be_bytes()[..], &certificate, &block].concat()
    }

    /// Reads what [`Self::encode_for`] wrote.
    pub fn decode_for(bytes: &[u8], known: &validator::Set) -> Result<Self, DecodeError> {
        let short = || DecodeError::Length { field: "certified", expected: 2, got: bytes.len() };
        let (len, rest) = bytes.split_first_chunk::<2>().ok_or_else(short)?;
        let (certificate, block) =
            rest.split_at_checked(u16::from_be_bytes(*len).into()).ok_or_else(short)?;
        let block = LightBlock::decode_for(block, known)?.without_commit();
        Ok(Self { certificate: Certificate::decode(certificate)?, block })
    }
}

/// What gossip says of a new header: that it exists. Commits of one header differ from node to node, so the header
/// itself would spread once for each; the hint has the same bytes everywhere. It proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderHint {
    /// The height.
    pub height: Height,
    /// The header's hash.
    pub hash: [u8; 32],
}

impl HeaderHint {
    /// `height: u64 BE ‖ hash`.
    pub fn encode(&self) -> Vec<u8> {
        [&self.height.to_be_bytes()[..], &self.hash].concat()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (height, hash) = bytes.split_at_checked(8).ok_or(DecodeError::Length {
            field: "header_hint",
            expected: 40,
            got: bytes.len(),
        })?;
        Ok(Self { height: u64::from_be_bytes(fixed("height", height)?), hash: fixed("hash", hash)? })
    }
}

/// Which headers are taken for verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustOptions {
    /// How old a header may be to verify others from it; below the chain's unbonding period.
    pub trusting_period: Duration,
    /// How far ahead of the local clock a header may be.
    pub clock_drift: Duration,
    /// The newest version of the rules that the reader knows: what later ones say of a block may mean something else.
    pub newest_rules: u64,
}

/// A light block that is a checkpoint, or follows from one through signatures or hashes, and whose block follows rules
/// that its reader knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedHeader {
    block: LightBlock,
    hash: [u8; 32],
    data_root: [u8; 32],
}

impl VerifiedHeader {
    fn new(block: LightBlock, newest_rules: u64) -> Result<Self, HeaderError> {
        UnknownRules::check(block.signed_header.header.version.app, block.height(), newest_rules)?;
        let missing = |what: &str| HeaderError::Invalid(format!("the header has no {what}"));
        let Hash::Sha256(hash) = block.signed_header.header.hash() else { return Err(missing("hash")) };
        let Some(Hash::Sha256(data_root)) = block.signed_header.header.data_hash else {
            return Err(missing("data root"));
        };
        Ok(Self { block, hash, data_root })
    }

    /// The checkpoint's own header, if it is the one and young enough.
    pub fn from_checkpoint(
        block: LightBlock,
        chain_id: &str,
        checkpoint: &Checkpoint,
        now: Time,
        options: &TrustOptions,
    ) -> Result<Self, HeaderError> {
        let header = &block.signed_header.header;
        if header.chain_id.as_str() != chain_id {
            return Err(HeaderError::Chain { expected: chain_id.into(), got: header.chain_id.to_string() });
        }
        if header.hash() != Hash::Sha256(checkpoint.hash) || block.height() != checkpoint.height {
            return Err(HeaderError::NotTheCheckpoint {
                height: checkpoint.height,
                expected: hex::encode(checkpoint.hash),
                got: header.hash().to_string().to_lowercase(),
            });
        }
        check_age(header.time, now, options)?;
        block.check_sets()?;
        Self::new(block, options.newest_rules)
    }

    /// A later header, adjacent or not, signed by enough of the stake that this one trusts.
    pub fn advance(&self, block: LightBlock, now: Time, options: &TrustOptions) -> Result<Self, HeaderError> {
        let header = &self.block.signed_header.header;
        check_age(header.time, now, options)?;
        let trusted = TrustedBlockState {
            chain_id: &header.chain_id,
            header_time: header.time,
            height: header.height,
            next_validators: &self.block.next_validators,
            next_validators_hash: header.next_validators_hash,
        };
        let stock = Options {
            trust_threshold: TrustThreshold::ONE_THIRD,
            trusting_period: options.trusting_period,
            clock_drift: options.clock_drift,
        };
        match ProdVerifier::default().verify_update_header(block.untrusted(), trusted, &stock, now) {
            Verdict::Success => Self::new(block, options.newest_rules),
            Verdict::NotEnoughTrust(_) => {
                Err(HeaderError::NotEnoughTrust { from: self.height(), to: block.height() })
            }
            Verdict::Invalid(detail) => Err(HeaderError::Invalid(detail.to_string())),
        }
    }

    /// A later header for which a certificate vouches: the caller trusts the attesters that it was verified with,
    /// because a header that it trusts commits to them. Of the light block's commit nothing is kept.
    pub fn certified(
        &self,
        block: LightBlock,
        certified: &Certified,
        now: Time,
        options: &TrustOptions,
    ) -> Result<Self, HeaderError> {
        let (trusted, header) = (&self.block.signed_header.header, &block.signed_header.header);
        check_age(trusted.time, now, options)?;
        let invalid = |reason: &str| Err(HeaderError::Invalid(reason.into()));
        if header.hash() != Hash::Sha256(certified.data().header) {
            return invalid("the certificate is for another header");
        }
        if block.height() <= self.height() || header.time <= trusted.time {
            return invalid("the header is not later than the trusted one");
        }
        if (now + options.clock_drift).is_ok_and(|latest| header.time > latest) {
            return invalid("the header is of the future");
        }
        block.check_sets()?;
        Self::new(block.without_commit(), options.newest_rules)
    }

    /// The header just before, which this one names by its hash.
    pub fn step_back(&self, block: LightBlock) -> Result<Self, HeaderError> {
        let named = self.block.signed_header.header.last_block_id.map(|id| id.hash);
        let follows =
            block.height().checked_add(1).map(|next| next.cmp(&self.height())) == Some(Ordering::Equal);
        if !follows || named != Some(block.signed_header.header.hash()) {
            return Err(HeaderError::NotThePredecessor { height: self.height() });
        }
        block.check_sets()?;
        // Rules do not go back.
        Self::new(block, self.header().version.app)
    }

    /// Refuses a header that is too old to verify others from.
    pub(crate) fn check_age(&self, now: Time, options: &TrustOptions) -> Result<(), HeaderError> {
        check_age(self.time(), now, options)
    }

    /// Height.
    pub fn height(&self) -> Height {
        self.block.height()
    }

    /// The header's time.
    pub fn time(&self) -> Time {
        self.block.signed_header.header.time
    }

    /// The header's hash.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The data root that the block's square has.
    pub fn data_root(&self) -> [u8; 32] {
        self.data_root
    }

    /// The header.
    pub fn header(&self) -> &tendermint::block::Header {
        &self.block.signed_header.header
    }

    /// The header with its validator sets, and the commit that it was verified by, if it was one.
    pub fn light_block(&self) -> &LightBlock {
        &self.block
    }
}

fn check_age(time: Time, now: Time, options: &TrustOptions) -> Result<(), HeaderError> {
    let age = now.duration_since(time).unwrap_or_default();
    if age >= options.trusting_period {
        return Err(HeaderError::TooOld {
            age_seconds: age.as_secs(),
            limit_seconds: options.trusting_period.as_secs(),
        });
    }
    Ok(())
}

/// Why a header is not verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Of another chain.
    #[error("the header is of chain '{got}', expected '{expected}'")]
    Chain {
        /// Wanted.
        expected: String,
        /// Found.
        got: String,
    },
    /// Not the header that the checkpoint names. The peer is at fault, or the checkpoint is of another chain.
    #[error("header {height} has hash {got}, the checkpoint says {expected}")]
    NotTheCheckpoint {
        /// The checkpoint's height.
        height: Height,
        /// Its hash.
        expected: String,
        /// What came.
        got: String,
    },
    /// The trusted header is too old to start from: validators that signed it may have left with their stake.
    #[error(
        "the trusted header is {age_seconds} s old, the trusting period is {limit_seconds} s; \
         get a newer checkpoint from a source you trust"
    )]
    TooOld {
        /// Its age.
        age_seconds: u64,
        /// Age allowed.
        limit_seconds: u64,
    },
    /// Too little of the trusted stake signed; headers in between may bridge it.
    #[error("too little of the stake trusted at {from} signed {to}; verify a header in between")]
    NotEnoughTrust {
        /// Trusted height.
        from: Height,
        /// Wanted height.
        to: Height,
    },
    /// It is as it should be, but its block follows rules that this build does not know.
    #[error(transparent)]
    UnknownRules(#[from] UnknownRules),
    /// A signature, hash, height or time is wrong. The peer is at fault.
    #[error("invalid header: {0}")]
    Invalid(String),
    /// Not the header that the later one names.
    #[error("the header is not the predecessor that header {height} names")]
    NotThePredecessor {
        /// The later header's height.
        height: Height,
    },
}
