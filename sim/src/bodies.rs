//! Which nodes have which bodies of a block, and how those travel: announced to neighbours, and pulled by them.
//!
//! ```text
//!  Body ─ new ─▶ Announce ─ first ─▶ Pull ─ there ─▶ Body
//!                                     └─ gone, cut off ─▶ Overdue ─ a neighbour has it ─▶ Pull
//! ```

use erasure::{SHARE_BYTES, Width};

use crate::events::Nanos;
use crate::network::{MS, Network};
use crate::rng::Rng;

/// The most bytes of a body, or of a part of a block.
const PART_BYTES: usize = 256 * 1024;

/// In how many parts of how many bytes a full block travels.
pub(crate) fn parts(width: Width) -> (u16, u64) {
    let block = width.shares() * SHARE_BYTES;
    let bytes = block.min(PART_BYTES);
    (block.div_ceil(bytes) as u16, bytes as u64)
}

/// How long it takes until a node knows that whom it asked for a body does not answer.
const PATIENCE: Nanos = 2_000 * MS;

/// A body on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Haul {
    Announce { to: u16, from: u16, body: u16 },
    Pull { to: u16, from: u16, body: u16 },
    Body { to: u16, body: u16 },
    Overdue { to: u16, body: u16 },
}

/// What bodies travel on.
pub(crate) struct Roads<'a> {
    pub(crate) network: &'a mut Network,
    pub(crate) neighbours: &'a [Vec<u16>],
    pub(crate) gone: &'a [bool],
    /// Bytes of a body.
    pub(crate) bytes: u64,
}

impl Roads<'_> {
    fn gone(&self, node: u16) -> bool {
        self.gone[usize::from(node)]
    }

    /// Tells all neighbours of a node that it has a body.
    pub(crate) fn announce(&mut self, now: Nanos, from: u16, body: u16, push: &mut impl FnMut(Nanos, Haul)) {
        for &to in &self.neighbours[usize::from(from)] {
            if let Some(latency) = self.network.latency(from.into(), to.into()) {
                push(now + latency, Haul::Announce { to, from, body });
            }
        }
    }

    fn pull(&mut self, now: Nanos, to: u16, from: u16, body: u16, push: &mut impl FnMut(Nanos, Haul)) {
        match self.network.latency(to.into(), from.into()) {
            Some(latency) => push(now + latency, Haul::Pull { to, from, body }),
            None => push(now + PATIENCE, Haul::Overdue { to, body }),
        }
    }
}

/// A node at random that is there, if any is.
pub(crate) fn present(gone: &[bool], rng: &mut Rng) -> u16 {
    let first = rng.below(gone.len() as u64) as usize;
    let mut others = (0..gone.len()).map(|step| (first + step) % gone.len());
    others.find(|node| !gone[*node]).unwrap_or(first) as u16
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

    /// Does what follows from an event. Says which node has got a body that it had not.
    pub(crate) fn handle(
        &mut self,
        now: Nanos,
        haul: Haul,
        roads: &mut Roads<'_>,
        push: &mut impl FnMut(Nanos, Haul),
    ) -> Option<u16> {
        match haul {
            Haul::Announce { to, from, body } => {
                if !roads.gone(to) && self.announced(to, body) {
                    roads.pull(now, to, from, body, push);
                }
            }
            Haul::Pull { to, from, body } => {
                // Who is gone does not occupy its link.
                let there = (!roads.gone(from)).then_some(&mut *roads.network);
                match there.and_then(|network| network.transfer(now, from.into(), to.into(), roads.bytes)) {
                    Some(arrival) => push(arrival, Haul::Body { to, body }),
                    None => push(now + PATIENCE, Haul::Overdue { to, body }),
                }
            }
            // Missed; asked for again once it is back.
            Haul::Body { to, body } if roads.gone(to) => push(now + PATIENCE, Haul::Overdue { to, body }),
            Haul::Body { to, body } => {
                if self.arrived(to, body) {
                    roads.announce(now, to, body, push);
                    return Some(to);
                }
            }
            Haul::Overdue { to, body } => {
                let has = |from: &&u16| self.has(**from, body) && !roads.gone(**from);
                let source = roads.neighbours[usize::from(to)].iter().find(has).copied();
                match source {
                    _ if !self.awaited(to, body) => {}
                    Some(from) if !roads.gone(to) => roads.pull(now, to, from, body, push),
                    _ => push(now + PATIENCE, Haul::Overdue { to, body }),
                }
            }
        }
        None
    }

    /// A neighbour says that it has a body. Whether to ask it.
    fn announced(&mut self, to: u16, body: u16) -> bool {
        let place = self.place(to, body);
        let first = self.held[place] == Held::No;
        if first {
            self.held[place] = Held::Asked;
        }
        first
    }

    /// A body came. Whether it is new.
    fn arrived(&mut self, to: u16, body: u16) -> bool {
        let place = self.place(to, body);
        let new = std::mem::replace(&mut self.held[place], Held::Yes) != Held::Yes;
        self.lacking[usize::from(to)] -= u16::from(new);
        new
    }

    /// Whether a body was asked for and has not come.
    fn awaited(&self, node: u16, body: u16) -> bool {
        self.held[self.place(node, body)] == Held::Asked
    }

    /// Whether a node has this body.
    pub(crate) fn has(&self, node: u16, body: u16) -> bool {
        self.held[self.place(node, body)] == Held::Yes
    }

    /// The bodies that no node has that is still there.
    pub(crate) fn lost(&self, gone: &[bool]) -> Vec<u16> {
        let has = |body: u16| (0..).zip(gone).any(|(node, gone)| !gone && self.has(node, body));
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
    fn a_node_that_is_gone_sends_nothing() {
        let mut network = Network::new(crate::Distance::Everywhere(10), Rng::new("weft/sim-test/4", [1]));
        (0..2).for_each(|_| network.add(8, 8));
        for gone in [true, false] {
            let mut pushed = Vec::new();
            let (neighbours, gone) = (vec![vec![1], vec![0]], [gone, false]);
            let mut roads =
                Roads { network: &mut network, neighbours: &neighbours, gone: &gone, bytes: 1_000 };
            let pull = Haul::Pull { to: 1, from: 0, body: 0 };
            Bodies::new(2, 1).handle(0, pull, &mut roads, &mut |at, haul| pushed.push((at, haul)));
            match pushed[..] {
                [(at, Haul::Overdue { to: 1, body: 0 })] if gone[0] => assert_eq!(at, PATIENCE),
                [(at, Haul::Body { to: 1, body: 0 })] if !gone[0] => assert_eq!(at, 11 * MS),
                _ => unreachable!("{pushed:?}"),
            }
            assert_eq!(network.carried(0)[0], if gone[0] { 0 } else { 1_000 });
        }
    }

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
