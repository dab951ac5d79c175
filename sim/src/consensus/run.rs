//! One run: validators, their votes and their links.

use erasure::Width;

use super::{Carries, Consensus, Ran, Timeouts};
use crate::bodies::{Bodies, parts};
use crate::events::{EventQueue, Nanos};
use crate::network::{MS, Network, mesh, region};
use crate::rng::Rng;
use crate::scenario::{Fault, Group};

/// Neighbours that a validator connects to itself; as many connect to it on average.
const DIALS: u64 = 4;

/// How long it takes until a validator knows that whom it asked for a body does not answer.
const BODY_PATIENCE: Nanos = 2_000 * MS;

/// How often nodes tell each other how far they are, and fetch what they lack.
const SYNC: Nanos = 1_000 * MS;

/// When a run that has not got through its blocks is given up.
const END: Nanos = 600_000 * MS;

const PREVOTE: usize = 0;
const PRECOMMIT: usize = 1;

/// A value is named by the round that proposed it first.
type Vote = Option<u8>;

#[derive(Clone, Copy, Debug)]
enum Event {
    Fault {
        index: u16,
    },
    Start {
        node: u16,
        height: u32,
        round: u8,
    },
    Part {
        to: u16,
        from: u16,
        height: u32,
        round: u8,
        part: u16,
    },
    Announce {
        to: u16,
        from: u16,
        height: u32,
        body: u16,
    },
    Pull {
        to: u16,
        from: u16,
        height: u32,
        body: u16,
    },
    Body {
        to: u16,
        height: u32,
        body: u16,
    },
    Overdue {
        to: u16,
        height: u32,
        body: u16,
    },
    Rebuilt {
        node: u16,
        height: u32,
        round: u8,
    },
    Vote {
        to: u16,
        from: u16,
        height: u32,
        round: u8,
        author: u16,
        kind: u8,
        vote: Vote,
    },
    Timeout {
        node: u16,
        height: u32,
        round: u8,
        step: Step,
    },
    /// A region was healed, or validators are back.
    Sync,
    /// Whoever is two heights behind fetches what was decided.
    Status,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    /// The height has not begun.
    Wait,
    Propose,
    Prevote,
    Precommit,
}

/// What is proposed in a round: the same for all validators.
#[derive(Clone, Copy, Debug)]
struct Proposal {
    value: u8,
    /// The round of the polka that justifies it.
    polka: Option<u8>,
    at: Nanos,
}

/// What one validator knows of one round of its height.
#[derive(Clone, Debug)]
struct Round {
    parts: Vec<bool>,
    lacking: u16,
    rebuilding: bool,
    rebuilt: bool,
    votes: [Vec<Option<Vote>>; 2],
    counts: [u16; 2],
    waited: [bool; 2],
}

#[derive(Clone, Debug)]
struct Validator {
    height: u32,
    round: u8,
    step: Step,
    locked: Option<(u8, u8)>,
    valid: Option<(u8, u8)>,
    busy: Nanos,
    gone: bool,
    /// Rounds of the height before, which are still passed on; of this height; of the next one: votes come early.
    rounds: [Vec<Round>; 3],
}

pub(super) struct Run<'a> {
    question: &'a Consensus,
    carries: Carries,
    queue: EventQueue<Event>,
    network: Network,
    rng: Rng,
    validators: u16,
    neighbours: Vec<Vec<u16>>,
    parts: u16,
    part_bytes: u64,
    bodies: Vec<Bodies>,
    body_count: u16,
    rebuild: Nanos,
    nodes: Vec<Validator>,
    /// By height and round.
    proposals: Vec<Vec<Option<Proposal>>>,
    /// When each height's proposal that was decided was made, and when the next proposer had decided it.
    decided: Vec<Option<(Nanos, Nanos)>>,
    failed: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        question: &'a Consensus,
        carries: Carries,
        mbit: u64,
        width: Width,
        validators: u16,
        run: u32,
    ) -> Self {
        let name = [question.seed, run.into(), validators.into()];
        let mut rng = Rng::new("weft/sim-consensus/1", name);
        let mut network = Network::new(question.distance, Rng::new("weft/sim-consensus-network/1", name));
        network.loss = question.scenario.loss_permille;
        let nodes = usize::from(validators);
        (0..nodes).for_each(|_| network.add(mbit, mbit));
        let (count, part_bytes) = parts(width);
        let validator = Validator {
            height: 0,
            round: 0,
            step: Step::Wait,
            locked: None,
            valid: None,
            busy: 0,
            gone: false,
            rounds: Default::default(),
        };
        let heights = question.blocks as usize + 3;
        let mut this = Self {
            question,
            carries,
            queue: EventQueue::default(),
            neighbours: mesh(nodes, DIALS, &mut rng),
            network,
            rng,
            validators,
            parts: if carries == Carries::Bodies { count } else { 1 },
            part_bytes,
            bodies: vec![Bodies::new(nodes, if carries == Carries::Digests { count } else { 0 }); heights],
            body_count: if carries == Carries::Digests { count } else { 0 },
            rebuild: question.processing.commit(width),
            nodes: vec![validator; nodes],
            proposals: vec![Vec::new(); heights],
            decided: vec![None; heights],
            failed: 0,
        };
        for (index, fault) in question.scenario.faults.iter().enumerate() {
            this.queue.push(fault.at_ms() * MS, Event::Fault { index: index as u16 });
        }
        this.queue.push(SYNC, Event::Status);
        this.submit(0, 0);
        this.submit(0, 1);
        (0..validators).for_each(|node| this.begin(0, node));
        this
    }

    pub(super) fn finish(mut self) -> Ran {
        let last = self.question.blocks as usize + 1;
        while self.decided[last].is_none() {
            match self.queue.pop() {
                Some((now, event)) if now <= END => self.handle(now, event),
                _ => break,
            }
        }
        let blocks = f64::from(self.question.blocks.max(1));
        let times: Option<Vec<(Nanos, Nanos)>> = self.decided[1..=last].iter().copied().collect();
        let span = times.as_ref().and_then(|times| Some(times.last()?.0 - times.first()?.0));
        let taken = times.map(|times| times.iter().map(|(from, to)| to - from).sum::<Nanos>());
        Ran {
            block_ms: span.map(|span| span as f64 / blocks / 1e6),
            decision_ms: taken.map(|taken| taken as f64 / (blocks + 1.0) / 1e6),
            failed_rounds: self.failed as f64 / (blocks + 1.0),
        }
    }

    /// Bodies of this height come in at validators at random.
    fn submit(&mut self, now: Nanos, height: u32) {
        if (height as usize) < self.bodies.len() {
            for body in 0..self.body_count {
                let to = self.present();
                self.queue.push(now, Event::Body { to, height, body });
            }
        }
    }

    fn handle(&mut self, now: Nanos, event: Event) {
        match event {
            Event::Fault { index } => self.fault(now, usize::from(index)),
            Event::Start { node, height, round } => {
                let at = &self.nodes[usize::from(node)];
                if at.height == height && at.round == round && at.step == Step::Wait {
                    self.start(now, node);
                }
            }
            Event::Part { to, from, height, round, part } => self.part(now, to, from, height, round, part),
            Event::Announce { to, from, height, body } => {
                if !self.nodes[usize::from(to)].gone && self.bodies[height as usize].announced(to, body) {
                    self.pull(now, to, from, height, body);
                }
            }
            Event::Pull { to, from, height, body } => {
                let there = !self.nodes[usize::from(from)].gone;
                let arrival = there
                    .then(|| self.network.transfer(now, from.into(), to.into(), self.part_bytes))
                    .flatten();
                match arrival {
                    Some(at) => self.queue.push(at, Event::Body { to, height, body }),
                    None => self.queue.push(now + BODY_PATIENCE, Event::Overdue { to, height, body }),
                }
            }
            Event::Body { to, height, body } if self.nodes[usize::from(to)].gone => {
                // Missed; asked for again once it is back.
                self.queue.push(now + BODY_PATIENCE, Event::Overdue { to, height, body });
            }
            Event::Body { to, height, body } => {
                if self.bodies[height as usize].arrived(to, body) {
                    self.announce(now, to, height, body);
                    if self.bodies[height as usize].complete(to)
                        && self.nodes[usize::from(to)].height == height
                    {
                        self.begin(now, to);
                        self.propose(now, to);
                        self.check(now, to);
                    }
                }
            }
            Event::Overdue { to, height, body } => {
                let bodies = &self.bodies[height as usize];
                let has = |from: &&u16| bodies.has(**from, body) && !self.nodes[usize::from(**from)].gone;
                let source = self.neighbours[usize::from(to)].iter().find(has).copied();
                match source {
                    _ if !bodies.awaited(to, body) => {}
                    Some(from) if !self.nodes[usize::from(to)].gone => self.pull(now, to, from, height, body),
                    _ => self.queue.push(now + BODY_PATIENCE, Event::Overdue { to, height, body }),
                }
            }
            Event::Rebuilt { node, height, round } => {
                if let Some(known) = self.round(node, height, round) {
                    known.rebuilt = true;
                    self.check(now, node);
                }
            }
            Event::Vote { to, from, height, round, author, kind, vote } => {
                if !self.nodes[usize::from(to)].gone {
                    // One core checks one copy after the other.
                    let at = &mut self.nodes[usize::from(to)];
                    at.busy = at.busy.max(now) + self.question.processing.vote_check_nanos;
                    let done = at.busy;
                    self.voted(done, to, from, height, round, author, usize::from(kind), vote);
                }
            }
            Event::Timeout { node, height, round, step } => self.timeout(now, node, height, round, step),
            Event::Sync => self.sync(now),
            Event::Status => {
                let latest = self.nodes.iter().map(|node| node.height).max().unwrap_or(0);
                for node in 0..self.validators {
                    let at = &self.nodes[usize::from(node)];
                    if !at.gone && at.height + 1 < latest {
                        self.enter(now, node, latest);
                    }
                }
                self.queue.push(now + SYNC, Event::Status);
            }
        }
    }

    fn push(&mut self, at: Option<Nanos>, event: Event) {
        if let Some(at) = at {
            self.queue.push(at, event);
        }
    }

    fn fault(&mut self, now: Nanos, index: usize) {
        match &self.question.scenario.faults[index] {
            Fault::Leave { of: Group::Validators, percent, .. } => {
                let mut nodes: Vec<usize> = (0..self.nodes.len()).collect();
                self.rng.shuffle(&mut nodes);
                nodes.truncate((nodes.len() as u64 * percent).div_ceil(100) as usize);
                nodes.into_iter().for_each(|node| self.nodes[node].gone = true);
                self.resubmit(now);
            }
            Fault::Return { of: Group::Validators, .. } => {
                self.nodes.iter_mut().for_each(|node| node.gone = false);
                self.queue.push(now + SYNC, Event::Sync);
            }
            Fault::Loss { permille, .. } => self.network.loss = *permille,
            Fault::Cut { region: name, .. } => self.cut(name, true),
            Fault::Heal { region: name, .. } => {
                self.cut(name, false);
                self.queue.push(now + SYNC, Event::Sync);
            }
            // Full nodes and light clients have no part in this.
            _ => {}
        }
    }

    /// Whoever submitted what only those had that left submits it again.
    fn resubmit(&mut self, now: Nanos) {
        let present: Vec<bool> = self.nodes.iter().map(|node| !node.gone).collect();
        let latest = self.nodes.iter().map(|node| node.height).max().unwrap_or(0) + 1;
        for height in 0..=latest.min(self.bodies.len() as u32 - 1) {
            for body in self.bodies[height as usize].lost(&present) {
                let to = self.present();
                self.queue.push(now, Event::Body { to, height, body });
            }
        }
    }

    /// A validator at random that is there, if any is.
    fn present(&mut self) -> u16 {
        let first = self.rng.below(self.validators.into()) as u16;
        let mut others = (0..self.validators).map(|step| (first + step) % self.validators);
        others.find(|node| !self.nodes[usize::from(*node)].gone).unwrap_or(first)
    }

    fn cut(&mut self, name: &str, cut: bool) {
        if let Ok(region) = region(name) {
            self.network.cut[region] = cut;
        }
    }

    /// Who fell behind is at the height of the others, and hears the votes that it missed.
    fn sync(&mut self, now: Nanos) {
        let height = self.nodes.iter().map(|node| node.height).max().unwrap_or(0);
        for node in 0..self.validators {
            let at = &self.nodes[usize::from(node)];
            if at.gone {
                continue;
            }
            if at.height < height {
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
    fn wind_up(&mut self, now: Nanos, node: u16) {
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

    fn neighbours(&self, node: u16) -> usize {
        self.neighbours[usize::from(node)].len()
    }

    fn announce(&mut self, now: Nanos, from: u16, height: u32, body: u16) {
        for at in 0..self.neighbours(from) {
            let to = self.neighbours[usize::from(from)][at];
            let at = self.network.latency(from.into(), to.into()).map(|latency| now + latency);
            self.push(at, Event::Announce { to, from, height, body });
        }
    }

    fn pull(&mut self, now: Nanos, to: u16, from: u16, height: u32, body: u16) {
        match self.network.latency(to.into(), from.into()) {
            Some(latency) => self.queue.push(now + latency, Event::Pull { to, from, height, body }),
            None => self.queue.push(now + BODY_PATIENCE, Event::Overdue { to, height, body }),
        }
    }

    fn round(&mut self, node: u16, height: u32, round: u8) -> Option<&mut Round> {
        let (parts, nodes) = (self.parts, self.nodes.len());
        let at = &mut self.nodes[usize::from(node)];
        let rounds = at.rounds.get_mut((height + 1).checked_sub(at.height)? as usize)?;
        while rounds.len() <= usize::from(round) {
            rounds.push(Round {
                parts: vec![false; parts.into()],
                lacking: parts,
                rebuilding: false,
                rebuilt: false,
                votes: [vec![None; nodes], vec![None; nodes]],
                counts: [0, 0],
                waited: [false, false],
            });
        }
        rounds.get_mut(usize::from(round))
    }

    fn proposal(&self, height: u32, round: u8) -> Option<Proposal> {
        self.proposals.get(height as usize)?.get(usize::from(round)).copied().flatten()
    }

    fn proposer(&self, height: u32, round: u8) -> u16 {
        ((height + u32::from(round)) % u32::from(self.validators)) as u16
    }

    fn after(&self, now: Nanos, milliseconds: u64, round: u8) -> Nanos {
        let Timeouts { delta_ms, .. } = self.question.timeouts;
        now + (milliseconds + delta_ms * u64::from(round)) * MS
    }

    /// Begins the height when the interval is over and there is work.
    fn begin(&mut self, now: Nanos, node: u16) {
        let at = &self.nodes[usize::from(node)];
        let (height, waits) = (at.height, at.step == Step::Wait && at.round == 0 && !at.gone);
        if waits && self.bodies[height as usize].complete(node) {
            let before = height.checked_sub(1).and_then(|before| self.decided[before as usize]);
            let earliest = before.map_or(0, |(proposed, _)| proposed + self.question.interval_ms * MS);
            self.queue.push(now.max(earliest), Event::Start { node, height, round: 0 });
        }
    }

    fn enter(&mut self, now: Nanos, node: u16, height: u32) {
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
    fn start(&mut self, now: Nanos, node: u16) {
        let at = &mut self.nodes[usize::from(node)];
        if at.gone {
            return;
        }
        let (height, round) = (at.height, at.round);
        at.step = Step::Propose;
        let timeout = self.after(now, self.question.timeouts.propose_ms, round);
        self.queue.push(timeout, Event::Timeout { node, height, round, step: Step::Propose });
        self.propose(now, node);
        self.check(now, node);
    }

    /// Proposes, once it is the validator's turn and it has the bodies.
    fn propose(&mut self, now: Nanos, node: u16) {
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

    fn part(&mut self, now: Nanos, to: u16, from: u16, height: u32, round: u8, part: u16) {
        if self.nodes[usize::from(to)].gone {
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

    fn forward(&mut self, now: Nanos, node: u16, from: u16, height: u32, round: u8, part: u16) {
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
    fn send(
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

    /// A vote has been checked: note it, pass it on, and see what follows.
    #[expect(clippy::too_many_arguments, reason = "a vote has that many fields")]
    fn voted(
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
    fn vote(&mut self, now: Nanos, node: u16, kind: usize, vote: Vote) {
        let at = &mut self.nodes[usize::from(node)];
        at.step = if kind == PREVOTE { Step::Prevote } else { Step::Precommit };
        let (height, round) = (at.height, at.round);
        self.voted(now, node, node, height, round, node, kind, vote);
    }

    /// Votes of this round for this, or for anything.
    fn tally(&self, node: u16, round: u8, kind: usize, wanted: Option<Vote>) -> bool {
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
    fn check(&mut self, now: Nanos, node: u16) {
        if self.nodes[usize::from(node)].gone {
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
    fn prepare(&mut self, now: Nanos, node: u16) {
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

    fn decide(&mut self, now: Nanos, node: u16, height: u32, round: u8, proposed: Nanos) {
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

    fn timeout(&mut self, now: Nanos, node: u16, height: u32, round: u8, step: Step) {
        let at = &mut self.nodes[usize::from(node)];
        if at.gone || at.height != height || at.round != round {
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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;
    use crate::{Distance, Processing, Scenario};

    #[test]
    fn a_validator_that_is_gone_sends_nothing() {
        let question = Consensus {
            scenario: Scenario::calm().unwrap(),
            distance: Distance::World,
            validators: Vec::new(),
            widths: Vec::new(),
            mbits: Vec::new(),
            interval_ms: 1_000,
            timeouts: Timeouts::default(),
            processing: Processing::committed().unwrap(),
            blocks: 1,
            runs: 1,
            seed: 1,
        };
        let mut run = Run::new(&question, Carries::Digests, 100, Width::new(16).unwrap(), 4, 0);
        let pull = Event::Pull { to: 1, from: 2, height: 0, body: 0 };
        run.nodes[2].gone = true;
        run.handle(0, pull);
        assert_eq!((run.network.carried(2), run.network.carried(1)), ([0, 0], [0, 0]));
        run.nodes[2].gone = false;
        run.handle(0, pull);
        assert_ne!(run.network.carried(2), [0, 0]);
    }
}
