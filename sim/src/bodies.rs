//! Which nodes have which bodies of a block, and which they wait for.

use erasure::{SHARE_BYTES, Width};

/// The most bytes of a body, or of a part of a block.
const PART_BYTES: usize = 256 * 1024;

/// In how many parts of how many bytes a full block travels.
pub(crate) fn parts(width: Width) -> (u16, u64) {
    let block = width.shares() * SHARE_BYTES;
    let bytes = block.min(PART_BYTES);
    (block.div_ceil(bytes) as u16, bytes as u64)
}

/// How a body is with a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    No,
    Asked,
    Yes,
}

/// The bodies of one block at all nodes.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    bodies: u16,
    held: Vec<Held>,
    lacking: Vec<u16>,
}

impl Bodies {
    /// Nobody has any.
    pub(crate) fn new(nodes: usize, bodies: u16) -> Self {
        let places = nodes * usize::from(bodies);
        Self { bodies, held: vec![Held::No; places], lacking: vec![bodies; nodes] }
    }

    fn place(&self, node: u16, body: u16) -> usize {
        usize::from(node) * usize::from(self.bodies) + usize::from(body)
    }

    /// A neighbour says that it has a body. Whether to ask it.
    pub(crate) fn announced(&mut self, to: u16, body: u16) -> bool {
        let place = self.place(to, body);
        let first = self.held[place] == Held::No;
        if first {
            self.held[place] = Held::Asked;
        }
        first
    }

    /// A body came. Whether it is new.
    pub(crate) fn arrived(&mut self, to: u16, body: u16) -> bool {
        let place = self.place(to, body);
        let new = std::mem::replace(&mut self.held[place], Held::Yes) != Held::Yes;
        self.lacking[usize::from(to)] -= u16::from(new);
        new
    }

    /// Whether a body was asked for and has not come.
    pub(crate) fn awaited(&self, node: u16, body: u16) -> bool {
        self.held[self.place(node, body)] == Held::Asked
    }

    /// Whether a node has this body.
    pub(crate) fn has(&self, node: u16, body: u16) -> bool {
        self.held[self.place(node, body)] == Held::Yes
    }

    /// The bodies that none of these nodes has.
    pub(crate) fn lost(&self, present: &[bool]) -> Vec<u16> {
        let has = |body: u16| (0..).zip(present).any(|(node, present)| *present && self.has(node, body));
        (0..self.bodies).filter(|body| !has(*body)).collect()
    }

    /// Whether a node has all of them.
    pub(crate) fn complete(&self, node: u16) -> bool {
        self.lacking[usize::from(node)] == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn parts_are_as_large_as_the_block_and_not_larger() {
        for width in [2, 4, 8, 16, 32, 64, 128, 256, 512].map(|k| Width::new(k).unwrap()) {
            let (count, bytes) = parts(width);
            assert_eq!(u64::from(count) * bytes, (width.shares() * SHARE_BYTES) as u64);
        }
        let of = |k| parts(Width::new(k).unwrap());
        assert_eq!([of(2), of(16), of(32), of(128)], [(1, 2_048), (1, 131_072), (2, 262_144), (32, 262_144)]);
    }
}
