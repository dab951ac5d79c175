//! The authenticated state: a Jellyfish Merkle tree whose root is the next header's `app_hash`.
//!
//! | key | value |
//! | --- | --- |
//! | `account/` ‖ address | balance: u64 BE |
//! | `excess` | fee market excess: u64 BE |
//! | `burned` | nano burned since genesis: u64 BE |
//! | `once/` ‖ keccak256("weft/once/1" ‖ sender ‖ salt ‖ valid_until: u64 BE) | the height that included such a transaction, at least until it has expired: u64 BE |
//! | `seen/` ‖ height: u64 BE | hashes whose `once/` that height's block deletes, 32 bytes each: those of transactions included 10,000 heights before that could wait more than 100 heights, then of those included 100 before that could not; ascending each |
//! | `reserved` | shares a block that all reservations hold: u64 BE |
//! | `reservation/` ‖ id: 32 | [`Reservation::encode`] |
//! | `reservations-until/` ‖ height: u64 BE | ids of reservations that end at that height, 32 bytes each |
//! | `validators-last`, `validators`, `validators-next` | [`Roster::encode`] of the set that signed the latest block, that signs the next, that signs the one after |
//! | `validator/` ‖ operator | [`Validator::encode`] |
//! | `consensus-key/` ‖ Tendermint address, `attestation-key/` ‖ keccak-256 of the key | operator: 20 |
//! | `unbonding/` ‖ place: u64 BE | [`Unbonding::encode`](crate::Unbonding::encode) |
//! | `unbonding-start`, `unbonding-end` | first place not paid out, first place free: u64 BE |
//! | `attesters`, `attesters-next` | [`Attesters::encode`] of the epoch of the latest block, and of the next once it is fixed |
//! | `history` | [`KeccakFrontier::encode`] over height: u64 BE ‖ data root of the epoch's blocks before the latest |
//! | `upgrade` | [`Upgrade::encode`] of the last upgrade that was agreed on; none before the first |
//! | `signals` | [`Signals::encode`] of what operators signalled for the next one |
//!
//! A height is a version of the tree; what a block does not touch is shared with the version before.

use std::collections::BTreeMap;

use erasure::KeccakFrontier;
use jmt::{KeyHash, storage::NodeBatch};
use sha2::Sha256;

use crate::{
    Amount, Height,
    address::Address,
    attesters::Attesters,
    genesis::Genesis,
    reservation::{Reservation, ReservationId},
    staking::{Roster, Validator},
    state_key::StateKey,
    transaction::Payload,
    tree_reader,
    upgrade::{Signals, Upgrade},
};

/// Where the tree's nodes and values are kept. Implementations read what earlier [`StateUpdate`]s wrote.
pub trait StateStore {
    /// The node stored under exactly this key.
    fn node(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;
    /// The newest value of the hashed key whose version is at most `at_most`; `None` also for a deleted one.
    fn value(&self, key_hash: &[u8; 32], at_most: Height) -> Result<Option<Vec<u8>>, StateError>;
}

/// Why the state could not be read. This node's storage is at fault; the node cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The store failed, or holds other bytes than were written.
    #[error("state storage: {0}")]
    Store(String),
    /// A value has the wrong form.
    #[error("state value {0} is malformed")]
    Malformed(&'static str),
}

/// Values by key, before a block or in the middle of one, and what they mean.
pub(crate) trait Values {
    /// The bytes under `key`.
    fn value(&self, key: StateKey) -> Result<Option<Vec<u8>>, StateError>;

    fn number(&self, key: StateKey, name: &'static str) -> Result<u64, StateError> {
        match self.value(key)? {
            None => Ok(0),
            Some(bytes) => bytes.try_into().map(u64::from_be_bytes).map_err(|_| StateError::Malformed(name)),
        }
    }

    fn balance(&self, address: &Address) -> Result<Amount, StateError> {
        self.number(StateKey::Account(*address), "account")
    }

    fn reserved(&self) -> Result<u64, StateError> {
        self.number(StateKey::Reserved, "reserved")
    }

    fn validator(&self, operator: &Address) -> Result<Option<Validator>, StateError> {
        self.value(StateKey::Validator(*operator))?.map(|bytes| Validator::decode(&bytes)).transpose()
    }

    fn upgrade(&self) -> Result<Upgrade, StateError> {
        let agreed = self.value(StateKey::Upgrade)?.map(|bytes| Upgrade::decode(&bytes)).transpose()?;
        Ok(agreed.unwrap_or(Upgrade::GENESIS))
    }

    fn signals(&self) -> Result<Signals, StateError> {
        let given = self.value(StateKey::Signals)?.map(|bytes| Signals::decode(&bytes)).transpose()?;
        Ok(given.unwrap_or_default())
    }

    fn reservation(&self, id: &ReservationId) -> Result<Option<Reservation>, StateError> {
        self.value(StateKey::Reservation(*id))?.map(|bytes| Reservation::decode(&bytes)).transpose()
    }
}

impl<S: StateStore> Values for State<'_, S> {
    fn value(&self, key: StateKey) -> Result<Option<Vec<u8>>, StateError> {
        let hash = KeyHash::with::<Sha256>(key.bytes());
        tree_reader::read(self.store, |tree| tree.get(hash, self.version))
    }
}

/// Changes over a state that has not been written yet.
#[derive(Debug)]
pub(crate) struct Draft<'a, S> {
    state: State<'a, S>,
    changes: BTreeMap<StateKey, Option<Vec<u8>>>,
}

impl<S: StateStore> Values for Draft<'_, S> {
    fn value(&self, key: StateKey) -> Result<Option<Vec<u8>>, StateError> {
        match self.changes.get(&key) {
            Some(value) => Ok(value.clone()),
            None => self.state.value(key),
        }
    }
}

impl<'a, S: StateStore> Draft<'a, S> {
    pub(crate) fn over(state: State<'a, S>) -> Self {
        Self { state, changes: BTreeMap::new() }
    }

    /// The state before any change.
    pub(crate) fn before(&self) -> &State<'a, S> {
        &self.state
    }

    pub(crate) fn put(&mut self, key: StateKey, value: Vec<u8>) {
        self.changes.insert(key, Some(value));
    }

    pub(crate) fn put_number(&mut self, key: StateKey, number: u64) {
        self.put(key, number.to_be_bytes().to_vec());
    }

    /// Deletes what is there.
    pub(crate) fn delete(&mut self, key: StateKey) -> Result<(), StateError> {
        self.changes.remove(&key);
        if self.state.value(key)?.is_some() {
            self.changes.insert(key, None);
        }
        Ok(())
    }

    /// Writes the changes as version `version`.
    pub(crate) fn finish(self, version: Height) -> Result<StateUpdate, StateError> {
        self.state.update(version, self.changes)
    }
}

/// The state after one height.
#[derive(Debug)]
pub struct State<'a, S> {
    store: &'a S,
    version: Height,
}

impl<S> Clone for State<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for State<'_, S> {}

impl<'a, S: StateStore> State<'a, S> {
    /// The state after the block of `version`, 0 for genesis.
    pub fn at(store: &'a S, version: Height) -> Self {
        Self { store, version }
    }

    /// The height after which this is the state.
    pub fn version(&self) -> Height {
        self.version
    }

    pub(crate) fn store(&self) -> &'a S {
        self.store
    }

    /// The root, `app_hash` of the next header.
    pub fn root(&self) -> Result<[u8; 32], StateError> {
        tree_reader::read(self.store, |tree| Ok(tree.get_root_hash(self.version)?.0))
    }

    /// An account's balance; zero for one never touched.
    pub fn balance(&self, address: &Address) -> Result<Amount, StateError> {
        Values::balance(self, address)
    }

    /// The fee market's excess.
    pub fn excess(&self) -> Result<u64, StateError> {
        self.number(StateKey::Excess, "excess")
    }

    /// Nano burned since genesis.
    pub fn burned(&self) -> Result<Amount, StateError> {
        self.number(StateKey::Burned, "burned")
    }

    /// Shares a block that all reservations hold.
    pub fn reserved(&self) -> Result<u64, StateError> {
        Values::reserved(self)
    }

    /// A reservation that is not over.
    pub fn reservation(&self, id: &ReservationId) -> Result<Option<Reservation>, StateError> {
        Values::reservation(self, id)
    }

    /// A validator, by its operator's account, that has stake or had it within the unbonding period.
    pub fn validator(&self, operator: &Address) -> Result<Option<Validator>, StateError> {
        Values::validator(self, operator)
    }

    /// A set with its operators: `key` is one of the three that hold sets.
    pub fn roster(&self, key: StateKey) -> Result<Roster, StateError> {
        Roster::decode(&self.value(key)?.ok_or(StateError::Malformed("validators"))?)
    }

    /// Who attests in the epoch of the latest block. Checks all keys.
    pub fn attesters(&self) -> Result<Attesters, StateError> {
        Attesters::decode(&self.attesters_bytes()?)
    }

    /// Who attests in the next epoch, once that is fixed. Checks all keys.
    pub fn next_attesters(&self) -> Result<Option<Attesters>, StateError> {
        self.next_attesters_bytes()?.map(|bytes| Attesters::decode(&bytes)).transpose()
    }

    /// [`Attesters::encode`] of [`Self::attesters`].
    pub fn attesters_bytes(&self) -> Result<Vec<u8>, StateError> {
        Ok(self.value(StateKey::Attesters)?.unwrap_or_default())
    }

    /// [`Attesters::encode`] of [`Self::next_attesters`].
    pub fn next_attesters_bytes(&self) -> Result<Option<Vec<u8>>, StateError> {
        self.value(StateKey::AttestersNext)
    }

    /// The tree of the epoch's data roots before the latest block's.
    pub fn history(&self) -> Result<KeccakFrontier, StateError> {
        match self.value(StateKey::History)? {
            None => Ok(KeccakFrontier::default()),
            Some(bytes) => KeccakFrontier::decode(&bytes).ok_or(StateError::Malformed("history")),
        }
    }

    /// The last upgrade that was agreed on, in force or still to come.
    pub fn upgrade(&self) -> Result<Upgrade, StateError> {
        Values::upgrade(self)
    }

    /// What operators signalled for the next upgrade.
    pub fn signals(&self) -> Result<Signals, StateError> {
        Values::signals(self)
    }

    /// Whether the transaction, or another of its sender, salt and last height, is in the chain and has not expired.
    pub fn has_seen(&self, payload: &Payload) -> Result<bool, StateError> {
        Ok(payload.valid_until > self.version && self.value(StateKey::Once(payload.once()))?.is_some())
    }

    /// Writes `changes` (`None` deletes) as version `version`.
    pub(crate) fn update(
        &self,
        version: Height,
        changes: BTreeMap<StateKey, Option<Vec<u8>>>,
    ) -> Result<StateUpdate, StateError> {
        let changes = changes.into_iter().map(|(key, value)| (KeyHash::with::<Sha256>(key.bytes()), value));
        let (root, batch) = tree_reader::read(self.store, |tree| tree.put_value_set(changes, version))?;
        let (nodes, values) = written(&batch.node_batch)?;
        let stale = batch.stale_node_index_batch.iter().map(|stale| bytes(&stale.node_key));
        Ok(StateUpdate { version, root: root.0, nodes, values, stale: stale.collect::<Result<_, _>>()? })
    }
}

fn bytes<T: borsh::BorshSerialize>(value: &T) -> Result<Vec<u8>, StateError> {
    borsh::to_vec(value).map_err(|error| StateError::Store(error.to_string()))
}

type Nodes = Vec<(Vec<u8>, Vec<u8>)>;
type HashedValues = Vec<([u8; 32], Option<Vec<u8>>)>;

/// What a batch of the tree writes, as a [`StateUpdate`] has it.
pub(crate) fn written(batch: &NodeBatch) -> Result<(Nodes, HashedValues), StateError> {
    let nodes = batch.nodes().iter().map(|(key, node)| Ok((bytes(key)?, bytes(node)?)));
    let values = batch.values().iter().map(|((_, key), value)| (key.0, value.clone()));
    Ok((nodes.collect::<Result<_, StateError>>()?, values.collect()))
}

/// What one block changes in the store; writing all of it makes the next version readable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateUpdate {
    /// The height.
    pub version: Height,
    /// The root, `app_hash` of the next header.
    pub root: [u8; 32],
    /// Nodes to write: key, bytes.
    pub nodes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Values to write under (key hash, version); `None` marks a deletion.
    pub values: Vec<([u8; 32], Option<Vec<u8>>)>,
    /// Keys of nodes that no version from this one on needs.
    pub stale: Vec<Vec<u8>>,
}

impl StateUpdate {
    /// The state at genesis: the accounts' balances and the validators.
    pub fn genesis(genesis: &Genesis) -> Result<Self, StateError> {
        let empty = MemoryState::default();
        let mut draft = Draft::over(State::at(&empty, 0));
        draft.put_number(StateKey::Excess, 0);
        draft.put_number(StateKey::Burned, 0);
        for account in &genesis.accounts {
            draft.put_number(StateKey::Account(account.address), account.balance);
        }
        for (key, value) in crate::ledger::genesis_values(genesis)? {
            draft.put(key, value);
        }
        draft.finish(0)
    }
}

/// A state kept in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryState {
    nodes: BTreeMap<Vec<u8>, Vec<u8>>,
    values: BTreeMap<([u8; 32], Height), Option<Vec<u8>>>,
}

impl MemoryState {
    /// Applies one block's changes.
    pub fn apply(&mut self, update: StateUpdate) {
        self.nodes.extend(update.nodes);
        self.values.extend(update.values.into_iter().map(|(key, value)| ((key, update.version), value)));
    }
}

impl StateStore for MemoryState {
    fn node(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.nodes.get(key).cloned())
    }

    fn value(&self, key_hash: &[u8; 32], at_most: Height) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self
            .values
            .range((*key_hash, 0)..=(*key_hash, at_most))
            .next_back()
            .and_then(|(_, value)| value.clone()))
    }
}
