//! What the fuzz targets of this crate run, and `fuzz_run` a bounded number of times: each panics when something is
//! accepted that should not be.

use std::{fmt::Debug, num::NonZeroUsize, sync::LazyLock};

use chain::{
    Accusation, Address, Attestation, AttestationData, Attesters, Block, Certificate, CertifiedBlock,
    Checkpoint, Evidence, Genesis, HeaderHint, HistoryProof, LightBlock, NetworkConfig, Parameters, Parent,
    Proposal, Reason, Reservation, Roster, Signals, SnapshotHead, SquareBuilder, State, StateChunk,
    StateError, StateKey, StateProof, StateStore, Submission, Transaction, TxId, TxStatus, Unbonding,
    UnprovenValue, Upgrade, Validator,
};
use fuzzing::{chosen, largest_allocation};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    fuzz_seeds::{HONEST, SCENE},
    support::key,
};

/// The largest allocation that `bytes` of input justify. Two bytes of protobuf are an empty signature of a commit, which
/// takes 80 in memory, in a vector that doubles.
fn justified(bytes: usize) -> usize {
    4_096 + 80 * bytes
}

/// Decodes within the memory that the input justifies.
fn frugal<T>(data: &[u8], decode: impl FnOnce(&[u8]) -> T) -> T {
    let (decoded, largest) = largest_allocation(|| decode(data));
    let limit = justified(data.len());
    assert!(largest <= limit, "{}: {largest} bytes for {}", std::any::type_name::<T>(), data.len());
    decoded
}

/// Where a value has several encodings, decoding leads to one that stays.
fn settles<T: PartialEq + Debug, E: Debug>(
    data: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(value) = frugal(data, &decode) {
        let again = decode(&encode(&value)).expect("what was decoded is encoded in a way that decodes");
        assert_eq!(again, value);
    }
}

fn json<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    settles(data, |bytes| serde_json::from_slice::<T>(bytes), |value| serde_json::to_vec(value).unwrap());
}

fn decode(data: &[u8]) {
    macro_rules! canonical {
        ($($type:ty),*) => {$(
            if let Ok(value) = frugal(data, <$type>::decode) {
                assert_eq!(value.encode(), data, stringify!($type));
            }
        )*};
    }
    canonical!(Transaction, Submission, Evidence, HeaderHint, Accusation);
    canonical!(AttestationData, Attestation, Certificate, HistoryProof, Attesters);
    canonical!(StateProof, UnprovenValue, StateChunk);
    canonical!(Validator, Roster, Unbonding, Reservation, Upgrade, Signals);

    // Protobuf of Tendermint's: known by the hashes of what it holds, not by its bytes.
    settles(data, LightBlock::decode, LightBlock::encode);
    settles(data, SnapshotHead::decode, SnapshotHead::encode);
    settles(data, Block::decode, Block::encode);
    let known = SCENE.known();
    let hash = known.hash().as_bytes().try_into().unwrap();
    settles(data, |bytes| LightBlock::decode_for(bytes, known), |block| block.encode_for(&hash));
    settles(data, |bytes| CertifiedBlock::decode_for(bytes, known), |block| block.encode_for(Some(&hash)));
    let header = &SCENE.last().signed_header.header;
    settles(data, |bytes| Proposal::decode(header.clone(), bytes), Proposal::encode_body);

    json::<LightBlock>(data);
    json::<Parameters>(data);
    json::<NetworkConfig>(data);
    json::<TxStatus>(data);
    json::<Reason>(data);
    json::<chain::UnknownRules>(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let genesis = |bytes: &[u8]| Genesis::from_json(std::str::from_utf8(bytes).unwrap());
    settles(data, genesis, |genesis| serde_json::to_vec(genesis).unwrap());
    if let Ok(genesis) = Genesis::from_json(text) {
        // What passes the checks makes a chain.
        genesis.validator_set().unwrap();
        chain::StateUpdate::genesis(&genesis).unwrap();
        let _ = (genesis.fee_rules(), genesis.domain(), genesis.supply().unwrap());
    }
    if let Ok(key) = text.parse::<StateKey>() {
        assert_eq!(key.to_string(), text);
    }
    let _ = (text.parse::<Address>(), text.parse::<TxId>(), text.parse::<Checkpoint>());
}

static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| SCENE.encoded());

/// Decodes `data`, and a valid object as changed by it, as everything that has an encoding. What decodes encodes to the
/// same bytes, or, where the format is not canonical, to bytes that decode to the same.
pub(crate) fn decoders(data: &[u8]) {
    decode(data);
    if let Some((_, bytes)) = chosen(&SEEDS, data) {
        decode(&bytes);
    }
}

/// Verifies a valid object as changed by `data`: it establishes what it did before, or nothing.
pub(crate) fn verifiers(data: &[u8]) {
    let Some((honest, bytes)) = chosen(&HONEST, data) else { return };
    let is_another = || HONEST.iter().any(|other| other.bytes == bytes);
    if let Some(claim) = (honest.check)(&bytes).filter(|_| !is_another()) {
        assert_eq!(claim, honest.claim, "seed {} after {data:?}", data[0]);
    }
}

/// The state of [`SCENE`] of which some records are others.
struct Damaged<'a> {
    script: &'a [u8],
}

impl Damaged<'_> {
    /// A record, changed if the script's first byte says so of its key.
    fn record(&self, key: &[u8], record: &[u8]) -> Vec<u8> {
        let [every, script @ ..] = self.script else { return record.to_vec() };
        let sum = key.iter().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
        if sum % 8 == every % 8 { fuzzing::edited(record, key, script) } else { record.to_vec() }
    }
}

impl StateStore for Damaged<'_> {
    fn node(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let node = SCENE.updates.iter().flat_map(|update| &update.nodes).find(|(k, _)| k == key);
        Ok(node.map(|(key, node)| self.record(key, node)))
    }

    fn value(&self, hash: &[u8; 32], at_most: chain::Height) -> Result<Option<Vec<u8>>, StateError> {
        let updates = SCENE.updates.iter().filter(|update| update.version <= at_most).rev();
        let value = updates.flat_map(|update| &update.values).find(|(h, _)| h == hash);
        Ok(value.and_then(|(hash, value)| Some(self.record(hash, value.as_ref()?))))
    }
}

/// Reads a state whose records are damaged as `data` tells: errors, but no panic.
pub(crate) fn states(data: &[u8]) {
    let store = Damaged { script: data };
    let state = State::at(&store, 5);
    let _ =
        (state.root(), state.excess(), state.burned(), state.reserved(), state.upgrade(), state.signals());
    let _ = (state.attesters(), state.next_attesters(), state.history());
    for account in [1, 2, 66, 100, 101].map(|seed| key(seed).address()) {
        let _ = (state.balance(&account), state.validator(&account));
    }
    for (key, _) in &SCENE.proven {
        let _ = state.prove(key);
    }
    if let Ok(chunks) = state.chunks() {
        // What a damaged tree says of its order has no end that one could wait for.
        chunks.take(64).for_each(drop);
    }
    let (head, genesis) = (&SCENE.light[4], &SCENE.genesis);
    let Ok(parent) = Parent::new(state, Some(head.signed_header.clone()), chain::RULES_VERSION) else {
        return;
    };
    let (proposer, mut squares) =
        (head.validators.validators()[0].address, SquareBuilder::new(NonZeroUsize::MIN));
    let _ = chain::propose(genesis, &parent, state, SCENE.late(), proposer, SCENE.now, &mut squares);
}
