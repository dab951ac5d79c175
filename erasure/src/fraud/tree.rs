//! Complete trees with any set of their leaves: what a fraud proof about many cells shares.
//!
//! A proof lists, from left to right, the root of every largest subtree without a leaf of the set. The
//! number of these follows from the set, so it is known before a proof is read; the proof of no leaf is
//! the root itself.

use std::collections::HashMap;

use crate::{Digest, commitment::inner};

/// The root that a leaf and its path lead to.
pub(super) fn climb(place: usize, leaf: Digest, path: &[Digest]) -> Digest {
    path.iter().enumerate().fold(leaf, |node, (level, sibling)| {
        if place >> level & 1 == 0 { inner(&node, sibling) } else { inner(sibling, &node) }
    })
}

/// The largest subtrees of a tree of `size` leaves that hold none of the `places`: (first leaf, leaves).
/// The places ascend.
pub(super) fn gaps(size: usize, places: &[usize]) -> Vec<(usize, usize)> {
    fn visit(first: usize, size: usize, places: &[usize], gaps: &mut Vec<(usize, usize)>) {
        if places.is_empty() {
            gaps.push((first, size));
        } else if size > 1 {
            let middle = first + size / 2;
            let (left, right) = places.split_at(places.partition_point(|place| *place < middle));
            visit(first, size / 2, left, gaps);
            visit(middle, size / 2, right, gaps);
        }
    }
    let mut found = Vec::new();
    visit(0, size, places, &mut found);
    found
}

/// The root of a tree of `size` leaves of which `leaves` are at `places`; none when the numbers do not
/// fit.
pub(super) fn root(size: usize, places: &[usize], leaves: &[Digest], hashes: &[Digest]) -> Option<Digest> {
    fn visit(
        (first, size): (usize, usize),
        places: &[usize],
        leaves: &mut impl Iterator<Item = Digest>,
        hashes: &mut impl Iterator<Item = Digest>,
    ) -> Option<Digest> {
        if places.is_empty() {
            return hashes.next();
        }
        if size == 1 {
            return leaves.next();
        }
        let middle = first + size / 2;
        let (left, right) = places.split_at(places.partition_point(|place| *place < middle));
        let left = visit((first, size / 2), left, leaves, hashes)?;
        Some(inner(&left, &visit((middle, size / 2), right, leaves, hashes)?))
    }
    let (mut leaves, mut hashes) = (leaves.iter().copied(), hashes.iter().copied());
    let root = visit((0, size), places, &mut leaves, &mut hashes)?;
    (leaves.next().is_none() && hashes.next().is_none()).then_some(root)
}

/// What is known of a tree: roots of its subtrees by (first leaf, leaves).
#[derive(Default)]
pub(super) struct Known(HashMap<(usize, usize), Digest>);

impl Known {
    /// Nothing but the root of a tree of `size` leaves.
    pub(super) fn of_root(size: usize, root: Digest) -> Self {
        Self(HashMap::from([((0, size), root)]))
    }

    /// Adds what a leaf and its path tell.
    pub(super) fn learn(&mut self, place: usize, leaf: Digest, path: &[Digest]) {
        let (mut node, mut first, mut size) = (leaf, place, 1);
        for sibling in path {
            self.0.insert((first, size), node);
            self.0.insert((first ^ size, size), *sibling);
            node = if first & size == 0 { inner(&node, sibling) } else { inner(sibling, &node) };
            (first, size) = (first & !size, size * 2);
        }
        self.0.insert((first, size), node);
    }

    /// The proof of these places; none when too little is known.
    pub(super) fn prove(&self, size: usize, places: &[usize]) -> Option<Vec<Digest>> {
        gaps(size, places).iter().map(|gap| self.0.get(gap).copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn every_set_of_leaves_gives_the_root() {
        let leaves: Vec<Digest> = (0..8u8).map(|i| *blake3::hash(&[i]).as_bytes()).collect();
        let tree = Tree::new(leaves.clone(), inner);
        for set in 0..256usize {
            let places: Vec<usize> = (0..8).filter(|i| set >> i & 1 == 1).collect();
            let chosen: Vec<Digest> = places.iter().map(|i| leaves[*i]).collect();
            let mut known = Known::of_root(8, tree.root());
            places.iter().for_each(|i| known.learn(*i, leaves[*i], &tree.siblings(*i..i + 1)));
            let hashes = known.prove(8, &places).unwrap();
            assert_eq!(hashes.len(), gaps(8, &places).len());
            assert_eq!(root(8, &places, &chosen, &hashes), Some(tree.root()));
            assert_eq!(root(8, &places, &chosen, &[&hashes[..], &[[0; 32]]].concat()), None);
            assert_eq!(root(8, &places, &[&chosen[..], &[[0; 32]]].concat(), &hashes), None);
        }
        for (i, leaf) in leaves.iter().enumerate() {
            assert_eq!(climb(i, *leaf, &tree.siblings(i..i + 1)), tree.root());
        }
    }
}
