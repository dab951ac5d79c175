//! Block time and throughput, against validators, block size and bandwidth.
//!
//! ```text
//!  proposer ─ proposal ─▶ validators ─ rebuild ─▶ prevotes ─ 2/3 ─▶ precommits ─ 2/3 ─▶ decided ─▶ next height
//!  digests: proposals are small; the bodies of the next block spread by announce and pull meanwhile
//!  whole bodies: the proposal is the block, pushed part by part to every neighbour
//! ```
//!
//! A model of Tendermint's normal case over a gossip mesh: nobody is faulty, every proposal is decided in its
//! first round. Small messages cost latency and a check at each neighbour, large ones queue on the links.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use erasure::{SHARE_BYTES, Width};
use serde::{Deserialize, Serialize};

use crate::Interval;
use crate::events::{EventQueue, Nanos};
use crate::network::Network;
use crate::rng::Rng;

/// Bytes of a body, or of a part of a block.
const PART_BYTES: usize = 256 * 1024;

/// Neighbours that a validator connects to itself; as many connect to it on average.
const DIALS: u64 = 4;

/// Heights of one run; the first one is not counted.
const HEIGHTS: u32 = 6;

/// Checking one copy of a vote: two ed25519 signatures, the sender's and the author's.
const VOTE_CHECK: Nanos = 100_000;

/// How long the work at a validator takes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Processing {
    /// Extending and committing a square, in nanoseconds a byte of original data.
    pub nanos_per_byte: f64,
    /// Where that comes from.
    pub source: String,
}

impl Default for Processing {
    /// `cargo run -p erasure --example commit_speed`: 95.3 ms for 8.4 MB on one core of a busy machine.
    fn default() -> Self {
        Self { nanos_per_byte: 11.4, source: "default: erasure's commit_speed example, k = 128".to_owned() }
    }
}

/// One line of `target/bench/erasure.json`.
#[derive(Debug, Deserialize)]
struct Bench {
    r#impl: String,
    op: String,
    k: u64,
    threads: u64,
    bytes: u64,
    seconds_median: f64,
}

impl Processing {
    /// Reads the benchmarks' `erasure.json`: Weft's slowest commit on one thread at the largest width. Without such
    /// a file, or such a line, the default.
    ///
    /// # Errors
    /// The file cannot be read, or is none of the benchmarks'.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let lines: Vec<Bench> =
            serde_json::from_str(&text).with_context(|| format!("{} is no benchmark", file.display()))?;
        let commits = lines.into_iter().filter(|line| {
            line.r#impl == "weft" && line.op.contains("commit") && line.threads == 1 && line.bytes > 0
        });
        let slowest =
            commits.max_by(|a, b| a.k.cmp(&b.k).then(a.seconds_median.total_cmp(&b.seconds_median)));
        Ok(slowest.map_or_else(Self::default, |line| Self {
            nanos_per_byte: line.seconds_median * 1e9 / line.bytes as f64,
            source: format!("{}, {} at k = {}", file.display(), line.op, line.k),
        }))
    }
}

/// What proposals carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Carries {
    /// Header and transaction ids; bodies travel ahead.
    Digests,
    /// The whole block.
    Bodies,
}

/// What to find out.
#[derive(Clone, Debug)]
pub struct Consensus {
    /// Numbers of validators.
    pub validators: Vec<u16>,
    /// Widths of full blocks.
    pub widths: Vec<Width>,
    /// Uplinks and downlinks, in megabits a second.
    pub mbits: Vec<u64>,
    /// Shortest time between two proposals, in milliseconds.
    pub interval_ms: u64,
    /// How long the work takes.
    pub processing: Processing,
    /// Runs of each, with networks of their own.
    pub runs: u32,
    /// What every random choice is derived from.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Pace {
    /// How long the work was taken to take.
    pub processing: Processing,
    /// Shortest time between two proposals, in milliseconds.
    pub interval_ms: u64,
    /// Runs of each.
    pub runs: u32,
    /// The question's seed.
    pub seed: u64,
    /// One for each combination.
    pub cases: Vec<Case>,
}

/// One combination.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Case {
    /// What proposals carry.
    pub carries: Carries,
    /// Validators.
    pub validators: u16,
    /// The width of the full blocks.
    pub width: usize,
    /// Megabits a second.
    pub mbit: u64,
    /// Bytes of original data in a block.
    pub block_bytes: u64,
    /// From one proposal to the next, in milliseconds: mean of the runs.
    pub block_ms: f64,
    /// 95 % interval of it.
    pub interval: Interval,
    /// Original data, in megabytes a second.
    pub megabytes_per_second: f64,
}

impl Consensus {
    /// How many runs the answer takes.
    #[must_use]
    pub fn asked(&self) -> u64 {
        let cases = 2 * self.validators.len() * self.widths.len() * self.mbits.len();
        cases as u64 * u64::from(self.runs)
    }

    /// Runs all combinations, on as many threads as there are cores. `progress` is told of each run.
    #[must_use]
    pub fn answer(&self, progress: &(dyn Fn() + Sync)) -> Pace {
        let mut questions = Vec::new();
        for carries in [Carries::Digests, Carries::Bodies] {
            for &mbit in &self.mbits {
                for &width in &self.widths {
                    questions
                        .extend(self.validators.iter().map(|&validators| (carries, mbit, width, validators)));
                }
            }
        }
        let cases = crate::parallel::map(questions.len() as u64, |at| {
            let (carries, mbit, width, validators) = questions[at as usize];
            let times: Vec<f64> = (0..self.runs)
                .map(|run| {
                    let time = Run::new(self, carries, mbit, width, validators, run).finish();
                    progress();
                    time
                })
                .collect();
            let (block_ms, interval) = Interval::of_mean(&times);
            let block_bytes = (width.shares() * SHARE_BYTES) as u64;
            Case {
                carries,
                validators,
                width: width.get(),
                mbit,
                block_bytes,
                block_ms,
                interval,
                megabytes_per_second: block_bytes as f64 / 1e3 / block_ms,
            }
        });
        Pace {
            processing: self.processing.clone(),
            interval_ms: self.interval_ms,
            runs: self.runs,
            seed: self.seed,
            cases,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A proposal, or a part of a block.
    Part {
        to: u16,
        from: u16,
        height: u32,
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
    Rebuilt {
        node: u16,
        height: u32,
    },
    Vote {
        to: u16,
        from: u16,
        height: u32,
        author: u16,
        precommit: bool,
    },
    Propose {
        height: u32,
    },
}

/// What one validator knows of one height.
#[derive(Clone, Debug, Default)]
struct Known {
    parts: Vec<bool>,
    lacking_parts: u16,
    bodies: Vec<bool>,
    lacking_bodies: u16,
    rebuilding: bool,
    votes: [Vec<bool>; 2],
    counts: [u16; 2],
    precommitted: bool,
    decided: bool,
}

struct Run {
    queue: EventQueue<Event>,
    network: Network,
    rng: Rng,
    validators: u16,
    neighbours: Vec<Vec<u16>>,
    carries: Carries,
    bodies: u16,
    rebuild: Nanos,
    interval: Nanos,
    known: Vec<Vec<Known>>,
    proposed: Vec<Nanos>,
    busy: Vec<Nanos>,
}

impl Run {
    fn new(
        question: &Consensus,
        carries: Carries,
        mbit: u64,
        width: Width,
        validators: u16,
        run: u32,
    ) -> Self {
        let name = [question.seed, run.into(), validators.into()];
        let mut rng = Rng::new("weft/sim-consensus/1", name);
        let mut network = Network::new(0.0, Rng::new("weft/sim-consensus-network/1", name));
        let nodes = usize::from(validators);
        (0..nodes).for_each(|_| network.add(mbit, mbit));
        let neighbours = crate::network::mesh(nodes, DIALS, &mut rng);
        let bytes = width.shares() * SHARE_BYTES;
        let bodies = bytes.div_ceil(PART_BYTES) as u16;
        let parts = if carries == Carries::Bodies { bodies } else { 1 };
        let fresh = Known {
            parts: vec![false; parts.into()],
            lacking_parts: parts,
            bodies: vec![false; bodies.into()],
            lacking_bodies: if carries == Carries::Digests { bodies } else { 0 },
            votes: [vec![false; nodes], vec![false; nodes]],
            ..Known::default()
        };
        let mut this = Self {
            queue: EventQueue::default(),
            network,
            rng,
            validators,
            neighbours,
            carries,
            bodies,
            rebuild: (question.processing.nanos_per_byte * bytes as f64) as Nanos,
            interval: question.interval_ms * 1_000_000,
            known: vec![vec![fresh; nodes]; HEIGHTS as usize + 1],
            proposed: Vec::new(),
            busy: vec![0; nodes],
        };
        this.submit(0, 0);
        this.queue.push(0, Event::Propose { height: 0 });
        this
    }

    /// Mean time between proposals, in milliseconds.
    fn finish(mut self) -> f64 {
        while self.proposed.len() <= HEIGHTS as usize {
            let Some((now, event)) = self.queue.pop() else { break };
            self.handle(now, event);
        }
        let (first, last) = (self.proposed.get(1).copied(), self.proposed.last().copied());
        let blocks = self.proposed.len().saturating_sub(2).max(1);
        (last.unwrap_or(0) - first.unwrap_or(0)) as f64 / blocks as f64 / 1e6
    }

    /// Bodies of this height come in at validators at random.
    fn submit(&mut self, now: Nanos, height: u32) {
        if self.carries == Carries::Digests && height <= HEIGHTS {
            for body in 0..self.bodies {
                let to = self.rng.below(self.validators.into()) as u16;
                self.known[height as usize][usize::from(to)].bodies[usize::from(body)] = true;
                self.queue.push(now, Event::Body { to, height, body });
            }
        }
    }

    fn handle(&mut self, now: Nanos, event: Event) {
        match event {
            Event::Propose { height } => {
                self.proposed.push(now);
                let to = (height % u32::from(self.validators)) as u16;
                let parts = self.known[height as usize][usize::from(to)].lacking_parts;
                (0..parts).for_each(|part| self.queue.push(now, Event::Part { to, from: to, height, part }));
                self.submit(now, height + 1);
            }
            Event::Part { to, from, height, part } => {
                let known = &mut self.known[height as usize][usize::from(to)];
                if std::mem::replace(&mut known.parts[usize::from(part)], true) {
                    return;
                }
                known.lacking_parts -= 1;
                for at in 0..self.neighbours[usize::from(to)].len() {
                    let other = self.neighbours[usize::from(to)][at];
                    if other != from {
                        let at = match self.carries {
                            Carries::Digests => now + self.network.latency(to.into(), other.into()),
                            Carries::Bodies => {
                                self.network.transfer(now, to.into(), other.into(), PART_BYTES as u64)
                            }
                        };
                        self.queue.push(at, Event::Part { to: other, from: to, height, part });
                    }
                }
                self.try_rebuild(now, to, height);
            }
            Event::Announce { to, from, height, body } => {
                let known = &mut self.known[height as usize][usize::from(to)];
                if !std::mem::replace(&mut known.bodies[usize::from(body)], true) {
                    let at = now + self.network.latency(to.into(), from.into());
                    self.queue.push(at, Event::Pull { to, from, height, body });
                }
            }
            Event::Pull { to, from, height, body } => {
                let at = self.network.transfer(now, from.into(), to.into(), PART_BYTES as u64);
                self.queue.push(at, Event::Body { to, height, body });
            }
            Event::Body { to, height, body } => {
                self.known[height as usize][usize::from(to)].lacking_bodies -= 1;
                for at in 0..self.neighbours[usize::from(to)].len() {
                    let other = self.neighbours[usize::from(to)][at];
                    let at = now + self.network.latency(to.into(), other.into());
                    self.queue.push(at, Event::Announce { to: other, from: to, height, body });
                }
                self.try_rebuild(now, to, height);
            }
            Event::Rebuilt { node, height } => self.vote(now, node, height, false),
            Event::Vote { to, from, height, author, precommit } => {
                // One core checks one copy after the other.
                let done = self.busy[usize::from(to)].max(now) + VOTE_CHECK;
                self.busy[usize::from(to)] = done;
                self.count(done, to, from, height, author, precommit);
            }
        }
    }

    fn try_rebuild(&mut self, now: Nanos, node: u16, height: u32) {
        let known = &mut self.known[height as usize][usize::from(node)];
        if known.lacking_parts == 0 && known.lacking_bodies == 0 && !known.rebuilding {
            known.rebuilding = true;
            self.queue.push(now + self.rebuild, Event::Rebuilt { node, height });
        }
    }

    fn vote(&mut self, now: Nanos, node: u16, height: u32, precommit: bool) {
        self.count(now, node, node, height, node, precommit);
    }

    /// A vote has been checked: pass it on, and see what follows.
    fn count(&mut self, now: Nanos, node: u16, from: u16, height: u32, author: u16, precommit: bool) {
        let kind = usize::from(precommit);
        let known = &mut self.known[height as usize][usize::from(node)];
        if std::mem::replace(&mut known.votes[kind][usize::from(author)], true) {
            return;
        }
        known.counts[kind] += 1;
        let enough = 3 * u32::from(known.counts[kind]) > 2 * u32::from(self.validators);
        let passed = if precommit { &mut known.decided } else { &mut known.precommitted };
        let next = enough && !std::mem::replace(passed, enough);
        for at in 0..self.neighbours[usize::from(node)].len() {
            let to = self.neighbours[usize::from(node)][at];
            if to != from {
                let at = now + self.network.latency(node.into(), to.into());
                self.queue.push(at, Event::Vote { to, from: node, height, author, precommit });
            }
        }
        if !next {
            return;
        }
        if !precommit {
            self.vote(now, node, height, true);
        } else if height < HEIGHTS && node == ((height + 1) % u32::from(self.validators)) as u16 {
            let earliest = self.proposed.last().copied().unwrap_or(0) + self.interval;
            self.queue.push(now.max(earliest), Event::Propose { height: height + 1 });
        }
    }
}

impl Pace {
    /// The cases as CSV, with a header line.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut csv =
            "carries,validators,width,mbit,block_bytes,block_ms,interval_low,interval_high,mb_per_s\n"
                .to_owned();
        for case in &self.cases {
            let Case { carries, validators, width, mbit, block_bytes, block_ms, interval, .. } = case;
            let carries = if *carries == Carries::Digests { "digests" } else { "bodies" };
            let _ = writeln!(
                csv,
                "{carries},{validators},{width},{mbit},{block_bytes},{block_ms},{},{},{}",
                interval.low, interval.high, case.megabytes_per_second
            );
        }
        csv
    }
}
