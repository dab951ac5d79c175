//! The authenticated state: a Jellyfish Merkle tree whose root is the next header's `app_hash`.
//!
//! | key | value |
//! | --- | --- |
//! | `account/` ‖ address | balance: u64 BE |
//! | `excess` | fee market excess: u64 BE |
//! | `burned` | nano burned since genesis: u64 BE |
//! | `seen/` ‖ valid_until: u64 BE | ids of transactions that expire at that height, 32 bytes each |
//!
//! A height is a version of the tree; what a block does not touch is shared with the version before.

use std::collections::BTreeMap;

use jmt::{
    JellyfishMerkleTree, KeyHash,
    storage::{LeafNode, Node, NodeKey, TreeReader},
};
use sha2::Sha256;

use crate::{Amount, Height, address::Address, genesis::Genesis, transaction::TxId};

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

struct Reader<'a, S>(&'a S);

impl<S: StateStore> TreeReader for Reader<'_, S> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        let Some(bytes) = self.0.node(&borsh::to_vec(key)?)? else { return Ok(None) };
        Ok(Some(borsh::from_slice(&bytes)?))
    }

    fn get_value_option(&self, at_most: u64, key: KeyHash) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.0.value(&key.0, at_most)?)
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("only a tree being restored has a rightmost leaf")
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

pub(crate) fn account_key(address: &Address) -> Vec<u8> {
    [b"account/", &address.as_bytes()[..]].concat()
}

pub(crate) fn seen_key(valid_until: Height) -> Vec<u8> {
    [b"seen/", &valid_until.to_be_bytes()[..]].concat()
}

pub(crate) const EXCESS: &[u8] = b"excess";
pub(crate) const BURNED: &[u8] = b"burned";

impl<'a, S: StateStore> State<'a, S> {
    /// The state after the block of `version`, 0 for genesis.
    pub fn at(store: &'a S, version: Height) -> Self {
        Self { store, version }
    }

    /// The height after which this is the state.
    pub fn version(&self) -> Height {
        self.version
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let reader = Reader(self.store);
        JellyfishMerkleTree::<_, Sha256>::new(&reader)
            .get(KeyHash::with::<Sha256>(key), self.version)
            .map_err(|error| StateError::Store(format!("{error:#}")))
    }

    /// The root, `app_hash` of the next header.
    pub fn root(&self) -> Result<[u8; 32], StateError> {
        let reader = Reader(self.store);
        JellyfishMerkleTree::<_, Sha256>::new(&reader)
            .get_root_hash(self.version)
            .map(|root| root.0)
            .map_err(|error| StateError::Store(format!("{error:#}")))
    }

    fn number(&self, key: &[u8], name: &'static str) -> Result<u64, StateError> {
        match self.get(key)? {
            None => Ok(0),
            Some(bytes) => bytes.try_into().map(u64::from_be_bytes).map_err(|_| StateError::Malformed(name)),
        }
    }

    /// An account's balance; zero for one never touched.
    pub fn balance(&self, address: &Address) -> Result<Amount, StateError> {
        self.number(&account_key(address), "account")
    }

    /// The fee market's excess.
    pub fn excess(&self) -> Result<u64, StateError> {
        self.number(EXCESS, "excess")
    }

    /// Nano burned since genesis.
    pub fn burned(&self) -> Result<Amount, StateError> {
        self.number(BURNED, "burned")
    }

    /// Whether the transaction is in the chain, of those that have not expired.
    pub fn has_seen(&self, id: &TxId, valid_until: Height) -> Result<bool, StateError> {
        let ids = self.get(&seen_key(valid_until))?.unwrap_or_default();
        Ok(ids.chunks(32).any(|seen| seen == id.0))
    }

    /// Writes `changes` (`None` deletes) as version `version`.
    pub(crate) fn update(
        &self,
        version: Height,
        changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    ) -> Result<StateUpdate, StateError> {
        let failed = |error: String| StateError::Store(error);
        let reader = Reader(self.store);
        let tree = JellyfishMerkleTree::<_, Sha256>::new(&reader);
        let changes = changes.into_iter().map(|(key, value)| (KeyHash::with::<Sha256>(key), value));
        let (root, batch) = tree.put_value_set(changes, version).map_err(|e| failed(format!("{e:#}")))?;
        let bytes = |key: &NodeKey| borsh::to_vec(key).map_err(|e| failed(e.to_string()));
        let node = |node: &Node| borsh::to_vec(node).map_err(|e| failed(e.to_string()));
        Ok(StateUpdate {
            version,
            root: root.0,
            nodes: batch
                .node_batch
                .nodes()
                .iter()
                .map(|(k, n)| Ok((bytes(k)?, node(n)?)))
                .collect::<Result<_, StateError>>()?,
            values: batch
                .node_batch
                .values()
                .iter()
                .map(|((_, key), value)| (key.0, value.clone()))
                .collect(),
            stale: batch
                .stale_node_index_batch
                .iter()
                .map(|stale| bytes(&stale.node_key))
                .collect::<Result<_, _>>()?,
        })
    }
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
    /// The state at genesis: the accounts' balances.
    pub fn genesis(genesis: &Genesis) -> Result<Self, StateError> {
        let mut changes = BTreeMap::from([
            (EXCESS.to_vec(), Some(0u64.to_be_bytes().to_vec())),
            (BURNED.to_vec(), Some(0u64.to_be_bytes().to_vec())),
        ]);
        for account in &genesis.accounts {
            changes.insert(account_key(&account.address), Some(account.balance.to_be_bytes().to_vec()));
        }
        let empty = MemoryState::default();
        State::at(&empty, 0).update(0, changes)
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
