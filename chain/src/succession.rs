//! What follows a block: which header, and which commit of the previous one.

use std::time::Duration;

use erasure::Digest;
use tendermint::{
    AppHash, Hash, Time, account,
    block::{self, Commit, Header, header::Version, signed_header::SignedHeader},
    chain,
    crypto::default::Sha256,
    merkle::simple_hash_from_byte_vectors,
    validator,
};
use tendermint_light_client_verifier::operations::{ProdVotingPowerCalculator, VotingPowerCalculator};
use tendermint_proto::v0_38::types::CommitSig as RawCommitSig;

use crate::{
    Height,
    block::BlockError,
    genesis::Genesis,
    proposal::body_hash,
    state::{State, StateError, StateStore},
    state_key::StateKey,
    transaction::TxId,
    upgrade::{UnknownRules, Upgrade},
};

/// Tendermint's block protocol version.
const BLOCK_PROTOCOL: u64 = 11;

/// How far ahead of the local clock a fresh proposal's time may be, in seconds.
const FUTURE_SECONDS: u64 = 2;

/// What the next block builds on.
#[derive(Clone, Debug)]
pub struct Parent {
    /// Root of the state after the previous block.
    pub state_root: Digest,
    /// The previous header with a commit for it; none for the first block.
    pub last: Option<SignedHeader>,
    /// The set that signed the previous header.
    pub last_validators: validator::Set,
    /// The set that signs the next block.
    pub validators: validator::Set,
    /// The set that signs the one after.
    pub next_validators: validator::Set,
    /// The last upgrade of the rules that was agreed on.
    pub upgrade: Upgrade,
    /// The newest version of the rules that the build on top of this knows.
    pub newest_rules: u64,
}

impl Parent {
    /// What builds on `state`, the state after the header `last`, in a build that knows the rules up to `newest_rules`.
    pub fn new<S: StateStore>(
        state: State<'_, S>,
        last: Option<SignedHeader>,
        newest_rules: u64,
    ) -> Result<Self, StateError> {
        let set = |key| state.roster(key).and_then(|roster| roster.set());
        Ok(Self {
            state_root: state.root()?,
            last,
            last_validators: set(StateKey::ValidatorsLast)?,
            validators: set(StateKey::Validators)?,
            next_validators: set(StateKey::ValidatorsNext)?,
            upgrade: state.upgrade()?,
            newest_rules,
        })
    }

    /// Height of the block that builds on this.
    pub fn next_height(&self) -> Height {
        self.last.as_ref().map_or(1, |last| last.header.height.value() + 1)
    }

    /// The version of the rules that the next block follows. What differs by version takes it from here.
    pub fn rules(&self) -> Result<u64, UnknownRules> {
        let height = self.next_height();
        UnknownRules::check(self.upgrade.version_at(height), height, self.newest_rules)
    }

    /// Time that the next header has to exceed.
    pub(crate) fn time(&self, genesis: &Genesis) -> Time {
        self.last.as_ref().map_or(genesis.time, |last| last.header.time)
    }
}

/// Whether a header's time is further ahead of the clock than a validator votes for now. Clocks differ, so this
/// never makes a block invalid.
pub fn is_early(header: &Header, now: Time) -> bool {
    (now + Duration::from_secs(FUTURE_SECONDS)).is_ok_and(|latest| header.time > latest)
}

/// The header that follows from the parent, all but what depends on the block's transactions.
pub(crate) fn expected_header(
    genesis: &Genesis,
    parent: &Parent,
    proposer: account::Id,
    time: Time,
) -> Result<Header, BlockError> {
    let height = block::Height::try_from(parent.next_height()).map_err(|_| BlockError::Header("height"))?;
    let empty = simple_hash_from_byte_vectors::<Sha256>(&[] as &[Vec<u8>]);
    Ok(Header {
        version: Version { block: BLOCK_PROTOCOL, app: parent.rules()? },
        chain_id: chain::Id::try_from(genesis.chain_id.as_str())
            .map_err(|_| BlockError::Header("chain_id"))?,
        height,
        time,
        last_block_id: parent.last.as_ref().map(|last| last.commit.block_id),
        last_commit_hash: Some(commit_hash(parent.last.as_ref().map(|last| &last.commit))),
        data_hash: None,
        validators_hash: parent.validators.hash(),
        next_validators_hash: parent.next_validators.hash(),
        consensus_hash: genesis.parameters.hash(),
        app_hash: AppHash::try_from(parent.state_root.to_vec())
            .map_err(|_| BlockError::Header("app_hash"))?,
        last_results_hash: Some(Hash::Sha256(empty)),
        evidence_hash: None,
        proposer_address: proposer,
    })
}

/// Tendermint's hash of a commit: its signatures as leaves.
fn commit_hash(commit: Option<&Commit>) -> Hash {
    let signatures: Vec<Vec<u8>> = commit
        .map(|commit| {
            commit
                .signatures
                .iter()
                .map(|signature| prost::Message::encode_to_vec(&RawCommitSig::from(signature.clone())))
                .collect()
        })
        .unwrap_or_default();
    Hash::Sha256(simple_hash_from_byte_vectors::<Sha256>(&signatures))
}

pub(crate) fn check_header(
    genesis: &Genesis,
    parent: &Parent,
    header: &Header,
    ids: &[TxId],
    last_commit: Option<&Commit>,
) -> Result<(), BlockError> {
    let expected = expected_header(genesis, parent, header.proposer_address, header.time)?;
    let checks = [
        ("version", header.version == expected.version),
        ("chain_id", header.chain_id == expected.chain_id),
        ("height", header.height == expected.height),
        ("validators_hash", header.validators_hash == expected.validators_hash),
        ("next_validators_hash", header.next_validators_hash == expected.next_validators_hash),
        ("consensus_hash", header.consensus_hash == expected.consensus_hash),
        ("app_hash", header.app_hash == expected.app_hash),
        ("last_results_hash", header.last_results_hash == expected.last_results_hash),
        ("last_commit_hash", header.last_commit_hash == Some(commit_hash(last_commit))),
        ("last_block_id", header.last_block_id == last_commit.map(|commit| commit.block_id)),
        ("evidence_hash", header.evidence_hash == Some(body_hash(ids, last_commit))),
        ("proposer_address", parent.validators.validator(header.proposer_address).is_some()),
    ];
    if let Some((field, _)) = checks.into_iter().find(|(_, holds)| !holds) {
        return Err(BlockError::Header(field));
    }
    if header.time <= parent.time(genesis) {
        return Err(BlockError::Time);
    }
    match (&parent.last, last_commit) {
        (None, None) => Ok(()),
        (Some(last), Some(commit)) => verify_last_commit(&last.header, commit, &parent.last_validators),
        _ => Err(BlockError::LastCommit("present exactly from height 2 on".into())),
    }
}

/// More than two thirds of `validators` signed `header` in `commit`.
pub fn verify_last_commit(
    header: &Header,
    commit: &Commit,
    validators: &validator::Set,
) -> Result<(), BlockError> {
    let bad = |error: String| BlockError::LastCommit(error);
    if commit.block_id.hash != header.hash() {
        return Err(bad("signs another header".into()));
    }
    if commit.signatures.len() != validators.validators().len() {
        return Err(bad(format!(
            "{} signatures for {} validators",
            commit.signatures.len(),
            validators.validators().len()
        )));
    }
    let signed = SignedHeader::new(header.clone(), commit.clone()).map_err(|error| bad(error.to_string()))?;
    ProdVotingPowerCalculator::default()
        .check_signers_overlap(&signed, validators)
        .map_err(|error| bad(error.to_string()))
}
