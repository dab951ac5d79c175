//! How bodies, proposals and votes get to the others.

use super::{Carries, Event, Nanos, Run, Step, Vote};
use crate::bodies::{Bodies, Haul, Roads, present};
use crate::events::EventQueue;

impl Run<'_> {
    /// Bodies of this height come in at validators at random.
    pub(super) fn submit(&mut self, now: Nanos, height: u32) {
        if (height as usize) < self.bodies.len() {
            for body in 0..self.body_count {
                let to = present(&self.gone, &mut self.rng);
                self.queue.push(now, Event::Haul { height, haul: Haul::Body { to, body } });
            }
        }
    }

    pub(super) fn announce(&mut self, now: Nanos, from: u16, height: u32, body: u16) {
        let (_, mut roads, queue) = self.roads();
        let push = &mut |at, haul| queue.push(at, Event::Haul { height, haul });
        roads.announce(now, from, body, push);
    }

    fn roads(&mut self) -> (&mut [Bodies], Roads<'_>, &mut EventQueue<Event>) {
        let Self { network, neighbours, gone, part_bytes, .. } = self;
        (&mut self.bodies, Roads { network, neighbours, gone, bytes: *part_bytes }, &mut self.queue)
    }

    /// A body of this height moves; a validator that has all of them goes on.
    pub(super) fn haul(&mut self, now: Nanos, height: u32, haul: Haul) {
        let (bodies, mut roads, queue) = self.roads();
        let push = &mut |at, haul| queue.push(at, Event::Haul { height, haul });
        let bodies = &mut bodies[height as usize];
        let got = bodies.handle(now, haul, &mut roads, push).filter(|node| bodies.complete(*node));
        if let Some(node) = got.filter(|node| self.nodes[usize::from(*node)].height == height) {
            self.begin(now, node);
            self.propose(now, node);
            self.check(now, node);
        }
    }

    pub(super) fn part(&mut self, now: Nanos, to: u16, from: u16, height: u32, round: u8, part: u16) {
        if self.gone[usize::from(to)] {
            return;
        }
        let Some(known) = self.round(to, height, round) else { return };
        if std::mem::replace(&mut known.parts[usize::from(part)], true) {
            return;
        }
        known.lacking -= 1;
        self.forward(now, to, from, height, round, part);
        // Whoever hears of a proposal has work.
        let at = &self.nodes[usize::from(to)];
        if at.height == height && at.round == round && at.step == Step::Wait {
            self.start(now, to);
        }
        self.check(now, to);
    }

    pub(super) fn forward(&mut self, now: Nanos, node: u16, from: u16, height: u32, round: u8, part: u16) {
        for at in 0..self.neighbours(node) {
            let to = self.neighbours[usize::from(node)][at];
            if to != from {
                let at = match self.carries {
                    Carries::Digests => {
                        self.network.latency(node.into(), to.into()).map(|latency| now + latency)
                    }
                    Carries::Bodies => self.network.transfer(now, node.into(), to.into(), self.part_bytes),
                };
                self.push(at, Event::Part { to, from: node, height, round, part });
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a vote has that many fields")]
    pub(super) fn send(
        &mut self,
        now: Nanos,
        node: u16,
        from: u16,
        height: u32,
        round: u8,
        author: u16,
        kind: u8,
        vote: Vote,
    ) {
        for at in 0..self.neighbours(node) {
            let to = self.neighbours[usize::from(node)][at];
            if to != from {
                let at = self.network.latency(node.into(), to.into()).map(|latency| now + latency);
                self.push(at, Event::Vote { to, from: node, height, round, author, kind, vote });
            }
        }
    }

    fn neighbours(&self, node: u16) -> usize {
        self.neighbours[usize::from(node)].len()
    }
}
