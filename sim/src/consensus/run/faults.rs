//! Who leaves, who is cut off, and how they catch up.

use super::{Event, Nanos, Run, SYNC, Step, Validator};
use crate::bodies::{Haul, present};
use crate::scenario::{Fault, Group};

impl Run<'_> {
    pub(super) fn fault(&mut self, now: Nanos, index: usize) {
        match &self.question.scenario.faults[index] {
            Fault::Leave { of: Group::Validators, percent, .. } => {
                let nodes = self.rng.some(0..self.gone.len(), *percent);
                nodes.into_iter().for_each(|node| self.gone[node] = true);
                self.resubmit(now);
            }
            Fault::Return { of: Group::Validators, .. } => {
                self.gone.fill(false);
                self.queue.push(now + SYNC, Event::Sync);
            }
            Fault::Loss { permille, .. } => self.network.loss = *permille,
            Fault::Cut { region: name, .. } => self.network.cut(name, true),
            Fault::Heal { region: name, .. } => {
                self.network.cut(name, false);
                self.queue.push(now + SYNC, Event::Sync);
            }
            // Full nodes and light clients have no part in this.
            _ => {}
        }
    }

    /// Whoever submitted what only those had that left submits it again.
    pub(super) fn resubmit(&mut self, now: Nanos) {
        let latest = self.nodes.iter().map(|node| node.height).max().unwrap_or(0) + 1;
        for height in 0..=latest.min(self.bodies.len() as u32 - 1) {
            for body in self.bodies[height as usize].lost(&self.gone) {
                let to = present(&self.gone, &mut self.rng);
                self.queue.push(now, Event::Haul { height, haul: Haul::Body { to, body } });
            }
        }
    }

    /// Who fell behind is at the height of the others, and hears the votes that it missed.
    pub(super) fn sync(&mut self, now: Nanos) {
        let height = self.nodes.iter().map(|node| node.height).max().unwrap_or(0);
        for node in 0..self.validators {
            if self.gone[usize::from(node)] {
                continue;
            }
            if self.nodes[usize::from(node)].height < height {
                self.enter(now, node, height);
            }
            // Bodies come in two heights ahead.
            for height in height..(height + 3).min(self.bodies.len() as u32) {
                for body in 0..self.body_count {
                    if self.bodies[height as usize].has(node, body) {
                        self.announce(now, node, height, body);
                    }
                }
            }
            self.wind_up(now, node);
            let rounds = self.nodes[usize::from(node)].rounds[1].clone();
            for (round, known) in (0..).zip(&rounds) {
                for (part, _) in (0..).zip(&known.parts).filter(|(_, here)| **here) {
                    self.forward(now, node, node, height, round, part);
                }
                for (kind, votes) in (0..).zip(&known.votes) {
                    for (author, vote) in (0..).zip(votes) {
                        if let Some(vote) = *vote {
                            self.send(now, node, node, height, round, author, kind, vote);
                        }
                    }
                }
            }
        }
    }

    /// Sets the timers that a validator that was gone has missed.
    pub(super) fn wind_up(&mut self, now: Nanos, node: u16) {
        let at = &mut self.nodes[usize::from(node)];
        at.rounds[1].iter_mut().for_each(|known| known.waited = [false, false]);
        let Validator { height, round, step, .. } = *at;
        match step {
            Step::Wait if round == 0 => self.begin(now, node),
            Step::Wait => self.start(now, node),
            Step::Propose => {
                let timeout = self.after(now, self.question.timeouts.propose_ms, round);
                self.queue.push(timeout, Event::Timeout { node, height, round, step });
                self.propose(now, node);
            }
            Step::Prevote | Step::Precommit => {}
        }
        self.check(now, node);
    }
}
