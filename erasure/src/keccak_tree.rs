//! Trees that an EVM checks cheaply: RFC 6962's shape (RFC 9162, section 2.1.1) in keccak-256, leaf
//! keccak256(0x00 ‖ bytes), inner keccak256(0x01 ‖ left ‖ right).

use std::ops::Range;

use crate::{
    Digest,
    commitment::{entry_inner, entry_leaf},
    keccak256,
    tree::{Tree, root_of_range},
};

/// A tree with all of its nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeccakTree(Option<Tree>);

impl KeccakTree {
    /// The tree over these leaves' bytes, in their order.
    #[must_use]
    pub fn new<L: AsRef<[u8]>>(leaves: impl IntoIterator<Item = L>) -> Self {
        let leaves: Vec<_> = leaves.into_iter().map(|leaf| entry_leaf(leaf.as_ref())).collect();
        Self((!leaves.is_empty()).then(|| Tree::new(leaves, entry_inner)))
    }

    /// The root; keccak-256 of nothing where there is no leaf.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.0.as_ref().map_or_else(|| keccak256(&[]), Tree::root)
    }

    /// The nodes that, with the leaves of `range`, give the root: bottom up, left before right.
    #[must_use]
    pub fn siblings(&self, range: Range<usize>) -> Vec<Digest> {
        self.0.as_ref().map_or_else(Vec::new, |tree| tree.siblings(range))
    }
}

/// The root of a tree of `count` leaves of which these lie from `start` on; none when they do not fit the tree, or the
/// siblings are not as many as [`KeccakTree::siblings`] gives.
#[must_use]
pub fn keccak_root_of_range<L: AsRef<[u8]>>(
    count: usize,
    start: usize,
    leaves: impl IntoIterator<Item = L>,
    siblings: &[Digest],
) -> Option<Digest> {
    let leaves = leaves.into_iter().map(|leaf| entry_leaf(leaf.as_ref())).collect();
    root_of_range(entry_inner, count, start, leaves, siblings)
}

/// A tree that only grows: the roots of the complete trees that it is made of, one for each bit of the number of
/// leaves, largest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeccakFrontier {
    leaves: u64,
    peaks: Vec<Digest>,
}

impl KeccakFrontier {
    /// Leaves so far.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: &[u8]) {
        let mut node = entry_leaf(leaf);
        for _ in 0..self.leaves.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = entry_inner(&left, &node);
            }
        }
        self.peaks.push(node);
        self.leaves += 1;
    }

    /// The root of the tree over all leaves, as of a [`KeccakTree`].
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(smallest) = peaks.next() else { return keccak256(&[]) };
        peaks.fold(*smallest, |right, left| entry_inner(left, &right))
    }

    /// leaves: u64 BE ‖ peaks: 32 each, as many as the number has bits set.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&self.leaves.to_be_bytes()[..], self.peaks.as_flattened()].concat()
    }

    /// Reads what [`Self::encode`] wrote; none for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (leaves, peaks) = bytes.split_first_chunk::<8>()?;
        let leaves = u64::from_be_bytes(*leaves);
        let (peaks, rest) = peaks.as_chunks::<32>();
        let fits = rest.is_empty() && peaks.len() == leaves.count_ones() as usize;
        fits.then(|| Self { leaves, peaks: peaks.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frontier_grows_into_the_same_tree_and_ranges_lead_to_its_root() {
        let leaves: Vec<_> = (0u32..40).map(u32::to_be_bytes).collect();
        let mut frontier = KeccakFrontier::default();
        assert_eq!(frontier.root(), KeccakTree::new::<&[u8]>([]).root());
        for count in 1..=leaves.len() {
            frontier.push(&leaves[count - 1]);
            let tree = KeccakTree::new(&leaves[..count]);
            assert_eq!(frontier.root(), tree.root());
            assert_eq!(KeccakFrontier::decode(&frontier.encode()), Some(frontier.clone()));
            for range in [0..count, count / 2..count, 0..count.div_ceil(3)] {
                let siblings = tree.siblings(range.clone());
                let root = |start| keccak_root_of_range(count, start, &leaves[range.clone()], &siblings);
                assert_eq!(root(range.start), Some(tree.root()));
                assert_ne!(root(range.start + 1), Some(tree.root()));
            }
        }
        assert_eq!(KeccakFrontier::decode(&frontier.encode()[1..]), None);
        assert_eq!(KeccakFrontier::decode(&[&[0; 7][..], &[1]].concat()), None);
    }
}
