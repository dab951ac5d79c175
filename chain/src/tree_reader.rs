//! Reads the state's tree for jmt, which takes for granted that every record is there and whole: what is not ends in an
//! error here, where jmt would panic.

use std::cell::RefCell;

use anyhow::{Context as _, ensure};
use jmt::{
    JellyfishMerkleTree, KeyHash, ValueHash,
    storage::{LeafNode, Node, NodeKey, TreeReader},
};
use sha2::Sha256;

use crate::state::{StateError, StateStore};

/// Nibbles of a key hash: no path is longer.
const KEY_NIBBLES: usize = 64;

/// The records of a store.
pub(crate) struct Reader<'a, S>(pub(crate) &'a S);

impl<S: StateStore> TreeReader for Reader<'_, S> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        let Some(bytes) = self.0.node(&borsh::to_vec(key)?)? else { return Ok(None) };
        let node = borsh::from_slice(&bytes)?;
        check(key, &node, &bytes).with_context(|| format!("the node at {key:?} is damaged"))?;
        Ok(Some(node))
    }

    fn get_value_option(&self, at_most: u64, key: KeyHash) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.0.value(&key.0, at_most)?)
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("only a tree being restored has a rightmost leaf")
    }
}

/// What jmt asserts of a node that it made itself.
fn check(key: &NodeKey, node: &Node, bytes: &[u8]) -> anyhow::Result<()> {
    let path = key.nibble_path();
    match node {
        Node::Null => ensure!(path.num_nibbles() == 0, "an empty node below the root"),
        Node::Leaf(leaf) => {
            let nibbles = leaf.key_hash().0.into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
            ensure!(path.nibbles().map(u8::from).zip(nibbles).all(|(a, b)| a == b), "a leaf of another path");
        }
        Node::Internal(internal) => {
            ensure!(path.num_nibbles() < KEY_NIBBLES, "children deeper than any key");
            let (mut count, mut leaves) = (0u64, 0usize);
            for (_, child) in internal.children_sorted() {
                count += 1;
                leaves = leaves.checked_add(child.leaf_count()).context("too many leaves")?;
            }
            ensure!(leaves == internal.leaf_count(), "another number of leaves than its children's");
            ensure!(
                count > 1 || internal.children_sorted().any(|(_, child)| !child.is_leaf()),
                "a lone leaf"
            );
            // Borsh ends in the number of children, which jmt shows nowhere, and that of leaves: u64 LE each.
            let said = bytes.len().checked_sub(16).and_then(|at| bytes.get(at..at + 8));
            ensure!(said == Some(&count.to_le_bytes()), "another number of children than it has");
        }
    }
    Ok(())
}

/// A reader that gives an empty leaf for a node that cannot be read: jmt unwraps what lies beside the path of a proof.
pub(crate) struct Lenient<'a, S> {
    reader: Reader<'a, S>,
    failed: RefCell<Option<anyhow::Error>>,
}

impl<S: StateStore> TreeReader for Lenient<'_, S> {
    fn get_node(&self, key: &NodeKey) -> anyhow::Result<Node> {
        Ok(self.reader.get_node(key).unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            Node::Leaf(LeafNode::new(KeyHash([0; 32]), ValueHash([0; 32])))
        }))
    }

    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        self.reader.get_node_option(key)
    }

    fn get_value_option(&self, at_most: u64, key: KeyHash) -> anyhow::Result<Option<Vec<u8>>> {
        self.reader.get_value_option(at_most, key)
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        self.reader.get_rightmost_leaf()
    }
}

type Tree<'a, R> = JellyfishMerkleTree<'a, R, Sha256>;

fn failed(error: &anyhow::Error) -> StateError {
    StateError::Store(format!("{error:#}"))
}

/// What `read` finds in the tree of `store`.
pub(crate) fn read<'a, S: StateStore, T>(
    store: &'a S,
    read: impl FnOnce(&Tree<'_, Reader<'a, S>>) -> anyhow::Result<T>,
) -> Result<T, StateError> {
    read(&Tree::new(&Reader(store))).map_err(|error| failed(&error))
}

/// The proof that `prove` makes of the tree of `store`; an error if any node of it could not be read.
pub(crate) fn prove<'a, S: StateStore, T>(
    store: &'a S,
    prove: impl FnOnce(&Tree<'_, Lenient<'a, S>>) -> anyhow::Result<T>,
) -> Result<T, StateError> {
    let reader = Lenient { reader: Reader(store), failed: RefCell::default() };
    let proof = prove(&Tree::new(&reader));
    match reader.failed.into_inner() {
        Some(error) => Err(failed(&error)),
        None => proof.map_err(|error| failed(&error)),
    }
}
