//! A state of which a record is gone or another: an error, and no panic.

use std::cell::Cell;

use chain::{Member, MemoryState, Parameters, Roster, State, StateError, StateKey, StateStore};

use crate::support::{Chain, key};

/// What becomes of a node's bytes.
type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;

/// A state in which one node, in the order of asking, is not as it was written.
struct Without<'a> {
    store: &'a MemoryState,
    left: Cell<usize>,
    damage: Damage,
}

impl StateStore for Without<'_> {
    fn node(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let left = self.left.get();
        self.left.set(left.wrapping_sub(1));
        let node = self.store.node(key)?;
        Ok(if left == 0 { node.and_then(self.damage) } else { node })
    }

    fn value(&self, hash: &[u8; 32], at_most: chain::Height) -> Result<Option<Vec<u8>>, StateError> {
        self.store.value(hash, at_most)
    }
}

#[test]
fn a_proof_is_an_error_when_any_node_that_it_needs_is_gone_or_damaged() {
    let chain = Chain::new(Parameters::default());
    let damages: [Damage; 4] = [
        |_| None,
        |node| Some(node[..node.len() / 2].to_vec()),
        // Another number of children; a leaf has none.
        |mut node| {
            let at = node.len() - 16;
            node[at] ^= 1;
            (node[0] == 1).then_some(node)
        },
        // An empty node below the root.
        |_| Some(vec![0]),
    ];
    for key in
        [StateKey::Account(key(1).address()), StateKey::Account(key(77).address()), StateKey::Validators]
    {
        let intact = Without { store: &chain.store, left: Cell::new(usize::MAX), damage: |_| None };
        State::at(&intact, 0).prove(&key).unwrap();
        let nodes = usize::MAX - intact.left.get();
        assert!(nodes > 2, "{nodes}");
        for (at, damage) in (0..nodes).flat_map(|at| damages.map(|damage| (at, damage))) {
            let store = Without { store: &chain.store, left: Cell::new(at), damage };
            let proof = State::at(&store, 0).prove(&key);
            let is_root = at == 0;
            // An empty root is a state without values.
            let empty = matches!(&proof, Ok((None, _))) && is_root;
            assert!(empty || matches!(proof, Err(StateError::Store(_))), "{key} {at}: {proof:?}");
        }
    }
}

#[test]
fn more_power_than_tendermint_counts_is_no_set() {
    let consensus = Chain::new(Parameters::default()).genesis.validators[0].public_key;
    let member = |seed: u8, power| Member { operator: key(seed).address(), consensus, power };
    for powers in [[1, u64::MAX / 2], [u64::MAX, u64::MAX]] {
        let roster = Roster(vec![member(1, powers[0]), member(2, powers[1])]);
        assert_eq!(roster.set(), Err(StateError::Malformed("validators")));
    }
}
