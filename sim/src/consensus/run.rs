//! One run: validators, their votes and their links.
//!
//! | module | what |
//! | --- | --- |
//! | `rules` | when a validator proposes, votes and decides |
//! | `spread` | how bodies, proposals and votes get to the others |
//! | `faults` | who leaves, is cut off, and catches up |

mod faults;
mod rules;
mod spread;

use erasure::Width;

use super::{Carries, Consensus, Ran};
use crate::bodies::{Bodies, Haul, parts};
use crate::events::{EventQueue, Nanos};
use crate::network::{MS, Network, mesh};
use crate::rng::Rng;

/// Neighbours that a validator connects to itself; as many connect to it on average.
const DIALS: u64 = 4;

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
    Haul {
        height: u32,
        haul: Haul,
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
    gone: Vec<bool>,
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
            gone: vec![false; nodes],
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
            Event::Haul { height, haul } => self.haul(now, height, haul),
            Event::Rebuilt { node, height, round } => {
                if let Some(known) = self.round(node, height, round) {
                    known.rebuilt = true;
                    self.check(now, node);
                }
            }
            Event::Vote { to, from, height, round, author, kind, vote } => {
                if !self.gone[usize::from(to)] {
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
                    if !self.gone[usize::from(node)] && at.height + 1 < latest {
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
}
