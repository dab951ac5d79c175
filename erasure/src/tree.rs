//! Merkle trees in RFC 6962's shape, and proofs of any set of their leaves.
//!
//! Nodes are paired level by level and a last node without a partner moves up as it is. That is RFC
//! 6962's shape (RFC 9162, section 2.1.1); over a power of two of leaves it is the complete binary
//! tree. A proof lists the nodes that its own leaves cannot give, bottom up, left before
//! right: which ones these are follows from the number of leaves and their places, so their number is
//! known before a proof is read.

use std::ops::Range;

use crate::{Digest, many};

/// Hash of a pair of nodes.
pub(crate) type Inner = fn(&Digest, &Digest) -> Digest;

/// A tree with all of its nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tree {
    /// From the leaves to the root; at least one level, the last one of length 1.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// The tree over at least one leaf.
    pub(crate) fn new(leaves: Vec<Digest>, inner: Inner) -> Self {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            levels.push(parents(level, inner));
        }
        Self { levels }
    }

    /// The complete BLAKE3 tree over a power of two of leaves.
    pub(crate) fn complete(leaves: Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let mut next = vec![[0; 32]; level.len() / 2];
            many::parents(level, &mut next);
            levels.push(next);
        }
        Self { levels }
    }

    pub(crate) fn root(&self) -> Digest {
        self.levels[self.levels.len() - 1][0]
    }

    /// All nodes, leaves included.
    pub(crate) fn nodes(&self) -> usize {
        self.levels.iter().map(Vec::len).sum()
    }

    pub(crate) fn leaf(&self, index: usize) -> Option<Digest> {
        self.levels[0].get(index).copied()
    }

    /// The nodes that, with the leaves of `range`, give the root.
    pub(crate) fn siblings(&self, range: Range<usize>) -> Vec<Digest> {
        self.siblings_of(range)
    }

    /// The nodes that, with the leaves at these places, give the root. The places ascend.
    pub(crate) fn siblings_of(&self, places: impl Iterator<Item = usize>) -> Vec<Digest> {
        let nodes = siblings_of_places(self.levels[0].len(), places).into_iter();
        nodes.map(|(level, index)| self.levels[level][index]).collect()
    }
}

fn parents(level: &[Digest], inner: Inner) -> Vec<Digest> {
    let pairs = level.chunks(2);
    pairs.map(|pair| if let [left, right] = pair { inner(left, right) } else { pair[0] }).collect()
}

/// The root over at least one leaf, without keeping the tree; the leaves are overwritten.
pub(crate) fn root(leaves: &mut [Digest], inner: Inner) -> Digest {
    let mut size = leaves.len();
    while size > 1 {
        for i in 0..size / 2 {
            leaves[i] = inner(&leaves[2 * i], &leaves[2 * i + 1]);
        }
        if size % 2 == 1 {
            leaves[size / 2] = leaves[size - 1];
        }
        size = size.div_ceil(2);
    }
    leaves[0]
}

/// (level, index) of the nodes that the leaves at these places, which ascend, cannot give.
pub(crate) fn siblings_of_places(count: usize, places: impl Iterator<Item = usize>) -> Vec<(usize, usize)> {
    let (mut size, mut places) = (count, places.collect::<Vec<usize>>());
    let mut siblings = Vec::new();
    for level in 0.. {
        if size <= 1 {
            break;
        }
        for (i, place) in places.iter().enumerate() {
            let partner = place ^ 1;
            let neighbour = if partner < *place { i.checked_sub(1) } else { Some(i + 1) };
            let given = neighbour.and_then(|i| places.get(i)) == Some(&partner);
            if partner < size && !given {
                siblings.push((level, partner));
            }
        }
        places.iter_mut().for_each(|place| *place /= 2);
        places.dedup();
        size = size.div_ceil(2);
    }
    siblings
}

/// How many siblings a proof of a range has.
pub(crate) fn sibling_count(count: usize, range: Range<usize>) -> usize {
    siblings_of_places(count, range).len()
}

/// The root of a tree of `count` leaves of which `leaves` start at `start`; none when the range does
/// not fit the tree or the siblings' number does not fit the range.
pub(crate) fn root_of_range(
    inner: Inner,
    count: usize,
    start: usize,
    leaves: Vec<Digest>,
    siblings: &[Digest],
) -> Option<Digest> {
    let end = start.checked_add(leaves.len())?;
    root_of_places(inner, count, (start..end).zip(leaves).collect(), siblings)
}

/// The root of a tree of `count` leaves of which these are at their places; none when there is none,
/// the places do not ascend or leave the tree, or the siblings' number does not fit them.
pub(crate) fn root_of_places(
    inner: Inner,
    count: usize,
    leaves: Vec<(usize, Digest)>,
    siblings: &[Digest],
) -> Option<Digest> {
    let ascending = leaves.is_sorted_by(|(a, _), (b, _)| a < b);
    if !ascending || leaves.last().is_none_or(|(place, _)| *place >= count) {
        return None;
    }
    let (mut size, mut nodes) = (count, leaves);
    let mut siblings = siblings.iter().copied();
    while size > 1 {
        let mut level = nodes.into_iter().peekable();
        nodes = Vec::with_capacity(level.len());
        while let Some((place, node)) = level.next() {
            let parent = if place % 2 == 1 {
                inner(&siblings.next()?, &node)
            } else if let Some((_, right)) = level.next_if(|(next, _)| *next == place + 1) {
                inner(&node, &right)
            } else if place + 1 < size {
                inner(&node, &siblings.next()?)
            } else {
                node
            };
            nodes.push((place / 2, parent));
        }
        size = size.div_ceil(2);
    }
    let (_, root) = nodes.first()?;
    siblings.next().is_none().then_some(*root)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;
    use crate::commitment::inner;

    /// RFC 9162, section 2.1.1: split at the largest power of two smaller than n.
    fn oracle(leaves: &[Digest]) -> Digest {
        match leaves {
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                *blake3::hash(&[oracle(left), oracle(right)].concat()).as_bytes()
            }
        }
    }

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes()).collect()
    }

    #[test]
    fn roots_agree_with_the_recursive_definition() {
        for count in 1..70 {
            let expected = oracle(&leaves(count));
            assert_eq!(Tree::new(leaves(count), inner).root(), expected);
            assert_eq!(root(&mut leaves(count), inner), expected);
        }
    }

    #[test]
    fn every_set_gives_the_root_and_no_other_range_does() {
        for count in 1..=17 {
            let tree = Tree::new(leaves(count), inner);
            for (start, end) in (0..count).flat_map(|a| (a + 1..=count).map(move |b| (a, b))) {
                let siblings = tree.siblings(start..end);
                assert_eq!(siblings.len(), sibling_count(count, start..end));
                let inside = leaves(count)[start..end].to_vec();
                let root = |count, start| root_of_range(inner, count, start, inside.clone(), &siblings);
                assert_eq!(root(count, start), Some(tree.root()));
                for other in (0..count + 2).filter(|other| *other != start) {
                    assert_ne!(root(count, other), Some(tree.root()));
                }
                let longer = [siblings.as_slice(), &[[0; 32]]].concat();
                assert_eq!(root_of_range(inner, count, start, inside.clone(), &longer), None);
            }
            assert_eq!(root_of_range(inner, count, 0, vec![], &[]), None);
            for set in 1..1usize << count.min(9) {
                let places = || (0..count).filter(move |place| set >> (place % 9) & 1 == 1);
                let chosen = places().map(|place| (place, leaves(count)[place]));
                let (chosen, siblings) = (chosen.collect::<Vec<_>>(), tree.siblings_of(places()));
                assert_eq!(root_of_places(inner, count, chosen.clone(), &siblings), Some(tree.root()));
                let longer = [siblings.as_slice(), &[[0; 32]]].concat();
                assert_eq!(root_of_places(inner, count, chosen.clone(), &longer), None);
                if chosen.len() > 1 {
                    let descending = chosen.into_iter().rev().collect();
                    assert_eq!(root_of_places(inner, count, descending, &siblings), None);
                }
            }
            assert_eq!(root_of_range(inner, count, usize::MAX, vec![[0; 32]], &[]), None);
        }
    }
}
