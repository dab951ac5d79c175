//! When a validator proposes, votes and decides: algorithm 1 of the paper.

use super::{Event, MS, Nanos, PRECOMMIT, PREVOTE, Proposal, Run, Step, Validator, Vote};
use crate::consensus::Timeouts;

impl Run<'_> {
    /// Begins the height when the interval is over and there is work.
    pub(super) fn begin(&mut self, now: Nanos, node: u16) {
        let at = &self.nodes[usize::from(node)];
        let (height, waits) =
            (at.height, at.step == Step::Wait && at.round == 0 && !self.gone[usize::from(node)]);
        if waits && self.bodies[height as usize].complete(node) {
            let before = height.checked_sub(1).and_then(|before| self.decided[before as usize]);
            let earliest = before.map_or(0, |(proposed, _)| proposed + self.question.interval_ms * MS);
            self.queue.push(now.max(earliest), Event::Start { node, height, round: 0 });
        }
    }

    pub(super) fn enter(&mut self, now: Nanos, node: u16, height: u32) {
        let at = &mut self.nodes[usize::from(node)];
        if at.height + 1 == height {
            at.rounds.rotate_left(1);
            at.rounds[2] = Vec::new();
        } else {
            at.rounds = Default::default();
        }
        (at.height, at.round, at.step, at.locked, at.valid) = (height, 0, Step::Wait, None, None);
        self.begin(now, node);
        self.check(now, node);
    }

    /// Starts the round at which the validator is.
    pub(super) fn start(&mut self, now: Nanos, node: u16) {
        if self.gone[usize::from(node)] {
            return;
        }
        let at = &mut self.nodes[usize::from(node)];
        let (height, round) = (at.height, at.round);
        at.step = Step::Propose;
        let timeout = self.after(now, self.question.timeouts.propose_ms, round);
        self.queue.push(timeout, Event::Timeout { node, height, round, step: Step::Propose });
        self.propose(now, node);
        self.check(now, node);
    }

    /// Proposes, once it is the validator's turn and it has the bodies.
    pub(super) fn propose(&mut self, now: Nanos, node: u16) {
        let Validator { height, round, step, .. } = self.nodes[usize::from(node)];
        let turn = self.proposer(height, round) == node && step == Step::Propose;
        if turn && self.bodies[height as usize].complete(node) && self.proposal(height, round).is_none() {
            let valid = self.nodes[usize::from(node)].valid;
            let proposal = Proposal {
                value: valid.map_or(round, |(_, value)| value),
                polka: valid.map(|(polka, _)| polka),
                at: now,
            };
            let rounds = &mut self.proposals[height as usize];
            rounds.resize(rounds.len().max(usize::from(round) + 1), None);
            rounds[usize::from(round)] = Some(proposal);
            (0..self.parts).for_each(|part| {
                self.queue.push(now, Event::Part { to: node, from: node, height, round, part });
            });
            if self.proposals[height as usize].iter().flatten().count() == 1 {
                self.submit(now, height + 2);
            }
        }
    }

    /// A vote has been checked: note it, pass it on, and see what follows.
    #[expect(clippy::too_many_arguments, reason = "a vote has that many fields")]
    pub(super) fn voted(
        &mut self,
        now: Nanos,
        node: u16,
        from: u16,
        height: u32,
        round: u8,
        author: u16,
        kind: usize,
        vote: Vote,
    ) {
        let Some(known) = self.round(node, height, round) else { return };
        if known.votes[kind][usize::from(author)].replace(vote).is_some() {
            return;
        }
        known.counts[kind] += 1;
        self.send(now, node, from, height, round, author, kind as u8, vote);
        let at = &mut self.nodes[usize::from(node)];
        if height == at.height {
            // A third of the validators is further: so are we.
            let there = at.rounds[1].get(usize::from(round)).map_or(0, |known| known.counts[PREVOTE]);
            if round > at.round && 3 * u32::from(there) > u32::from(self.validators) {
                (at.round, at.step) = (round, Step::Wait);
                self.start(now, node);
            }
            self.check(now, node);
        }
    }

    /// Votes, and notes the own vote at once.
    pub(super) fn vote(&mut self, now: Nanos, node: u16, kind: usize, vote: Vote) {
        let at = &mut self.nodes[usize::from(node)];
        at.step = if kind == PREVOTE { Step::Prevote } else { Step::Precommit };
        let (height, round) = (at.height, at.round);
        self.voted(now, node, node, height, round, node, kind, vote);
    }

    /// Votes of this round for this, or for anything.
    pub(super) fn tally(&self, node: u16, round: u8, kind: usize, wanted: Option<Vote>) -> bool {
        let at = &self.nodes[usize::from(node)];
        let Some(known) = at.rounds[1].get(usize::from(round)) else { return false };
        let count = match wanted {
            None => usize::from(known.counts[kind]),
            // Not worth counting while it cannot be enough.
            Some(_) if 3 * usize::from(known.counts[kind]) <= 2 * usize::from(self.validators) => 0,
            Some(vote) => known.votes[kind].iter().filter(|cast| **cast == Some(vote)).count(),
        };
        3 * count > 2 * usize::from(self.validators)
    }

    /// Applies the paper's rules as far as they apply (algorithm 1; its lines are named).
    pub(super) fn check(&mut self, now: Nanos, node: u16) {
        if self.gone[usize::from(node)] {
            return;
        }
        let Validator { height, round, .. } = self.nodes[usize::from(node)];
        // 49: decide, whatever the round.
        let rounds = self.nodes[usize::from(node)].rounds[1].len() as u8;
        for of in 0..rounds {
            if let Some(Proposal { value, at, .. }) = self.proposal(height, of)
                && self.tally(node, of, PRECOMMIT, Some(Some(value)))
            {
                return self.decide(now, node, height, of, at);
            }
        }
        self.prepare(now, node);
        let proposal = self.proposal(height, round);
        let checked = self.round(node, height, round).is_some_and(|known| known.rebuilt);
        let Validator { step, locked, .. } = self.nodes[usize::from(node)];
        if step == Step::Propose
            && checked
            && let Some(Proposal { value, polka, .. }) = proposal
        {
            // 22 and 28.
            let free =
                locked.is_none_or(|(since, mine)| mine == value || polka.is_some_and(|polka| polka >= since));
            return self.vote(now, node, PREVOTE, free.then_some(value));
        }
        if checked
            && step >= Step::Prevote
            && let Some(Proposal { value, .. }) = proposal
        {
            // 36.
            if self.tally(node, round, PREVOTE, Some(Some(value))) {
                let at = &mut self.nodes[usize::from(node)];
                at.valid = Some((round, value));
                if step == Step::Prevote {
                    at.locked = Some((round, value));
                    return self.vote(now, node, PRECOMMIT, Some(value));
                }
            }
        }
        // 44.
        if step == Step::Prevote && self.tally(node, round, PREVOTE, Some(None)) {
            return self.vote(now, node, PRECOMMIT, None);
        }
        // 34 and 47.
        let Timeouts { prevote_ms, precommit_ms, .. } = self.question.timeouts;
        for (kind, milliseconds, of) in
            [(PREVOTE, prevote_ms, Step::Prevote), (PRECOMMIT, precommit_ms, Step::Precommit)]
        {
            let due = (kind == PRECOMMIT || step == of) && self.tally(node, round, kind, None);
            let timeout = self.after(now, milliseconds, round);
            if due
                && let Some(known) = self.round(node, height, round)
                && !std::mem::replace(&mut known.waited[kind], true)
            {
                self.queue.push(timeout, Event::Timeout { node, height, round, step: of });
            }
        }
    }

    /// Rebuilds the square, once proposal and bodies are there.
    pub(super) fn prepare(&mut self, now: Nanos, node: u16) {
        let Validator { height, round, .. } = self.nodes[usize::from(node)];
        let bodies = self.bodies[height as usize].complete(node);
        let rebuild = self.rebuild;
        if let Some(known) = self.round(node, height, round)
            && bodies
            && known.lacking == 0
            && !std::mem::replace(&mut known.rebuilding, true)
        {
            self.queue.push(now + rebuild, Event::Rebuilt { node, height, round });
        }
    }

    pub(super) fn decide(&mut self, now: Nanos, node: u16, height: u32, round: u8, proposed: Nanos) {
        let at = height as usize;
        if self.decided[at].is_none() {
            self.decided[at] = Some((proposed, now));
            self.failed += if height == 0 { 0 } else { u64::from(round) };
        }
        if self.proposer(height + 1, 0) == node
            && let Some((_, decided)) = &mut self.decided[at]
        {
            *decided = now;
        }
        if at + 1 < self.decided.len() {
            self.enter(now, node, height + 1);
        }
    }

    pub(super) fn timeout(&mut self, now: Nanos, node: u16, height: u32, round: u8, step: Step) {
        let at = &mut self.nodes[usize::from(node)];
        if self.gone[usize::from(node)] || at.height != height || at.round != round {
            return;
        }
        match step {
            // 57 and 61.
            Step::Propose if at.step == Step::Propose => self.vote(now, node, PREVOTE, None),
            Step::Prevote if at.step == Step::Prevote => self.vote(now, node, PRECOMMIT, None),
            // 65.
            Step::Precommit => {
                (at.round, at.step) = (round + 1, Step::Wait);
                self.start(now, node);
            }
            _ => {}
        }
    }

    pub(super) fn after(&self, now: Nanos, milliseconds: u64, round: u8) -> Nanos {
        let Timeouts { delta_ms, .. } = self.question.timeouts;
        now + (milliseconds + delta_ms * u64::from(round)) * MS
    }

    pub(super) fn proposer(&self, height: u32, round: u8) -> u16 {
        ((height + u32::from(round)) % u32::from(self.validators)) as u16
    }

    pub(super) fn proposal(&self, height: u32, round: u8) -> Option<Proposal> {
        self.proposals.get(height as usize)?.get(usize::from(round)).copied().flatten()
    }
}
