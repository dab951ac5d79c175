//! Squares that are built before their proposal comes.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::time::Duration;

use super::*;
use crate::test_chain::{TestChain, blob};

#[test]
fn a_proposal_of_what_the_pool_holds_is_judged_by_the_square_built_ahead() {
    let mut chain = TestChain::new("weft-ahead");
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &chain.genesis).unwrap();
    let node = Node::open(chain.genesis.clone(), store, Metrics::default(), chain::RULES_VERSION).unwrap();
    let [a, b, c, d] = [1, 2, 3, 4].map(|at| chain.transaction(1, at, 50, vec![blob(at, vec![at; 10_000])]));
    let heights = [
        ("the same as in the pool", vec![&a], &a, 1),
        ("less than the pool holds", vec![&b, &c], &c, 1),
        ("the same, but nothing was built so soon after", vec![], &b, 1),
        ("the same again", vec![&d], &d, 2),
    ];
    for ((what, offered, proposed, prepared), height) in heights.into_iter().zip(1..) {
        for candidate in offered {
            node.admit(candidate.clone()).unwrap();
        }
        node.prepare(chain.proposer).unwrap();
        let proposed = std::slice::from_ref(proposed);
        let valid = chain.propose(&node.store, proposed, Duration::from_secs(1));
        let judged = node.validate(&valid.proposal(&chain.genesis), proposed).unwrap();
        let header = judged.block.header.hash();
        assert_eq!(header, valid.block.header.hash(), "{what}");
        assert_eq!(node.metrics.proposals_prepared.get(), prepared, "{what}");
        node.commit(height, header, chain.decide(&valid)).unwrap();
    }
}
