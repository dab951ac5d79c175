//! How long until every validator has a block's bodies, and every light client its samples.
//!
//! ```text
//!  body at some node ─ announce ─▶ neighbours ─ pull ─▶ … all validators and full nodes
//!  2/3 of the validators have all bodies, rebuilt the square ─ votes ─▶ decided
//!  header ─ flood ─▶ full nodes, ready once they rebuilt the square ─ hint ─▶ light clients
//!  light client: header ─▶ probe ─▶ all samples at once, spread over its peers ─ hedge ─▶ done
//! ```
//!
//! A model of the protocol, not its code: of that it takes the number of samples and the times to hedge,
//! to retry and to raise the alarm. A full node that serves nothing takes part in all but serving.

use std::fmt::Write as _;
use std::time::Duration;

use erasure::{SHARE_BYTES, Width};
use light_client::sampler::{Confidence, Timing, samples_needed};
use serde::Serialize;

use crate::Interval;
use crate::events::{EventQueue, Nanos};
use crate::network::Network;
use crate::rng::Rng;

/// Bytes of one body.
const BODY_BYTES: usize = 256 * 1024;

/// Bytes of an answer: a cell with its paths at k = 128 and framing; a header with the signatures of 100 validators.
const SAMPLE_BYTES: u64 = 1_150;
const HEADER_BYTES: u64 = 12_000;

/// Neighbours that a node connects to itself; as many connect to it on average.
const DIALS: u64 = 4;

/// What a light client asks for beside its samples.
const HEADER: u8 = 254;
const PROBE: u8 = 253;

/// What to find out.
#[derive(Clone, Debug)]
pub struct Propagation {
    /// The block's width, k; its square is full.
    pub width: Width,
    /// Validators, on 1,000 Mbit/s.
    pub validators: u16,
    /// Full nodes: a fifth on 1,000 Mbit/s, half on 200, the rest on 50.
    pub full_nodes: u16,
    /// Light clients, on 10 Mbit/s up and 50 down.
    pub light_clients: u32,
    /// Peers of a light client.
    pub peers: u8,
    /// Packets lost, in percent.
    pub loss: f64,
    /// Full nodes that are gone, although light clients still try them, in percent.
    pub churn: f64,
    /// Full nodes that serve light clients nothing, in percent.
    pub silent: f64,
    /// Whether one light client has only peers that serve nothing.
    pub victim: bool,
    /// From the prevotes of two thirds to the decision, in milliseconds.
    pub votes_ms: u64,
    /// Rebuilding the square, in milliseconds.
    pub rebuild_ms: u64,
    /// Runs, each with a network of its own.
    pub runs: u32,
    /// What every random choice is derived from.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Spread {
    /// The block's width, k.
    pub width: usize,
    /// Cells that each light client samples.
    pub samples: usize,
    /// Validators.
    pub validators: u16,
    /// Full nodes.
    pub full_nodes: u16,
    /// Light clients.
    pub light_clients: u32,
    /// Runs.
    pub runs: u32,
    /// The question's seed.
    pub seed: u64,
    /// Events that were handled.
    pub events: u64,
    /// Light clients a run that had not all samples at the sampler's deadline.
    pub alarmed: f64,
    /// Whether the victim, if there is one, was fooled in any run.
    pub victim_fooled: bool,
    /// Each stage.
    pub stages: Vec<Stage>,
}

/// When those who got through a stage did, in milliseconds after the bodies were submitted.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// By share of nodes.
    pub quantiles: Vec<Quantile>,
}

/// When a share of the nodes was through.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Quantile {
    /// Percent of the nodes.
    pub percent: f64,
    /// Milliseconds, mean of the runs.
    pub ms: f64,
    /// 95 % interval of that mean.
    pub interval: Interval,
}

const STAGES: [&str; 4] = [
    "validators have the bodies",
    "full nodes serve",
    "light clients have the header",
    "light clients sampled",
];
const PERCENTS: [f64; 9] = [1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 100.0];

#[derive(Clone, Copy, Debug)]
enum Event {
    Announce { to: u16, from: u16, body: u16 },
    Pull { to: u16, from: u16, body: u16 },
    Body { to: u16, body: u16 },
    Decided,
    Header { to: u16 },
    Ready { node: u16 },
    Hint { client: u32, slot: u8 },
    Ask { client: u32, slot: u8, what: u8 },
    Reply { client: u32, slot: u8, what: u8 },
    Again { client: u32, slot: u8, what: u8 },
}

impl Propagation {
    /// Runs all runs. `progress` is told of each.
    #[must_use]
    pub fn answer(&self, progress: &dyn Fn()) -> Spread {
        let mut runs = Vec::new();
        for run in 0..self.runs {
            runs.push(Run::new(self, run).finish());
            progress();
        }
        let stages = STAGES.into_iter().enumerate().map(|(stage, name)| Stage {
            name,
            quantiles: PERCENTS
                .into_iter()
                .map(|percent| {
                    let at: Vec<f64> = runs.iter().map(|run| run.quantile(stage, percent)).collect();
                    let (ms, interval) = Interval::of_mean(&at);
                    Quantile { percent, ms, interval }
                })
                .collect(),
        });
        Spread {
            width: self.width.get(),
            samples: samples_needed(self.width, Confidence::DEFAULT),
            validators: self.validators,
            full_nodes: self.full_nodes,
            light_clients: self.light_clients,
            runs: self.runs,
            seed: self.seed,
            events: runs.iter().map(|run| run.events).sum(),
            alarmed: runs.iter().map(|run| run.alarmed as f64).sum::<f64>() / f64::from(self.runs.max(1)),
            victim_fooled: runs.iter().any(|run| run.victim_fooled),
            stages: stages.collect(),
        }
    }
}

/// What one run found.
struct Found {
    times: [Vec<Nanos>; 4],
    events: u64,
    alarmed: usize,
    victim_fooled: bool,
}

impl Found {
    fn quantile(&self, stage: usize, percent: f64) -> f64 {
        let times = &self.times[stage];
        let rank = (times.len() as f64 * percent / 100.0).ceil() as usize;
        times.get(rank.saturating_sub(1)).map_or(0.0, |at| *at as f64 / 1e6)
    }
}

struct Run<'a> {
    question: &'a Propagation,
    queue: EventQueue<Event>,
    network: Network,
    rng: Rng,
    servers: usize,
    samples: u8,
    bodies: u16,
    neighbours: Vec<Vec<u16>>,
    gone: Vec<bool>,
    silent: Vec<bool>,
    /// Whether a server has, or waits for, a body.
    claimed: Vec<bool>,
    lacking: Vec<u16>,
    header: Vec<bool>,
    ready: Vec<bool>,
    complete: usize,
    decided: bool,
    /// Each light client's peers, one after the other.
    peers: Vec<u16>,
    clients_of: Vec<Vec<(u32, u8)>>,
    /// Samples that a client still lacks, by bits; all bits until it has asked.
    lacks: Vec<u64>,
    began: Vec<Nanos>,
    times: [Vec<Nanos>; 4],
    alarmed: usize,
    victim_fooled: bool,
    timing: Timing,
}

fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

impl<'a> Run<'a> {
    fn new(question: &'a Propagation, run: u32) -> Self {
        let mut rng = Rng::new("weft/sim-propagation/1", [question.seed, run.into()]);
        let mut network =
            Network::new(question.loss, Rng::new("weft/sim-network/1", [question.seed, run.into()]));
        let (validators, clients) = (usize::from(question.validators), question.light_clients as usize);
        let servers = validators + usize::from(question.full_nodes);
        for node in 0..servers {
            let mbit = match rng.below(10) {
                _ if node < validators => 1_000,
                0 | 1 => 1_000,
                2..=6 => 200,
                _ => 50,
            };
            network.add(mbit, mbit);
        }
        (0..clients).for_each(|_| network.add(10, 50));

        let neighbours = crate::network::mesh(servers, DIALS, &mut rng);
        let full = |node: usize| node >= validators;
        let gone: Vec<bool> = (0..servers).map(|node| full(node) && rng.percent(question.churn)).collect();
        let silent = (0..servers).map(|node| full(node) && rng.percent(question.silent)).collect();
        let mut clients_of = vec![Vec::new(); servers];
        let slots = usize::from(question.peers);
        let mut peers = Vec::with_capacity(clients * slots);
        for client in 0..clients as u32 {
            for slot in 0..question.peers {
                let peer = validators as u64 + rng.below(question.full_nodes.into());
                peers.push(peer as u16);
                clients_of[peer as usize].push((client, slot));
            }
        }
        let bodies = (question.width.shares() * SHARE_BYTES).div_ceil(BODY_BYTES) as u16;
        let mut this = Self {
            question,
            queue: EventQueue::default(),
            network,
            servers,
            samples: samples_needed(question.width, Confidence::DEFAULT) as u8,
            bodies,
            neighbours,
            silent,
            claimed: vec![false; servers * usize::from(bodies)],
            lacking: vec![bodies; servers],
            header: vec![false; servers],
            ready: vec![false; servers],
            complete: 0,
            decided: false,
            peers,
            clients_of,
            lacks: vec![u64::MAX; clients],
            began: vec![0; clients],
            times: [Vec::new(), Vec::new(), Vec::new(), Vec::new()],
            alarmed: 0,
            victim_fooled: false,
            timing: Timing::default(),
            gone,
            rng,
        };
        for body in 0..bodies {
            let mut origin = this.rng.below(servers as u64) as usize;
            while this.gone[origin] {
                origin = (origin + 1) % servers;
            }
            this.claimed[origin * usize::from(bodies) + usize::from(body)] = true;
            this.queue.push(0, Event::Body { to: origin as u16, body });
        }
        this
    }

    fn finish(mut self) -> Found {
        let mut events = 0;
        while let Some((now, event)) = self.queue.pop() {
            events += 1;
            self.handle(now, event);
        }
        let mut times = self.times;
        times.iter_mut().for_each(|times| times.sort_unstable());
        let sampled = times[3].len();
        let alarmed = self.alarmed + self.lacks.iter().filter(|lacks| **lacks != 0).count();
        debug_assert!(sampled <= self.lacks.len());
        Found { times, events, alarmed, victim_fooled: self.victim_fooled }
    }

    fn handle(&mut self, now: Nanos, event: Event) {
        match event {
            Event::Announce { to, from, body } => {
                let place = usize::from(to) * usize::from(self.bodies) + usize::from(body);
                if !self.gone[usize::from(to)] && !std::mem::replace(&mut self.claimed[place], true) {
                    let at = now + self.network.latency(to.into(), from.into());
                    self.queue.push(at, Event::Pull { to, from, body });
                }
            }
            Event::Pull { to, from, body } => {
                let at = self.network.transfer(now, from.into(), to.into(), BODY_BYTES as u64);
                self.queue.push(at, Event::Body { to, body });
            }
            Event::Body { to, body } => self.body(now, to, body),
            Event::Decided => {
                (0..self.question.validators).for_each(|to| self.queue.push(now, Event::Header { to }));
            }
            Event::Header { to } => {
                let node = usize::from(to);
                if !self.gone[node] && !std::mem::replace(&mut self.header[node], true) {
                    for at in 0..self.neighbours[node].len() {
                        let to = self.neighbours[node][at];
                        let at = now + self.network.latency(node, to.into());
                        self.queue.push(at, Event::Header { to });
                    }
                    self.rebuild(now, to);
                }
            }
            Event::Ready { node } => {
                let server = usize::from(node);
                self.ready[server] = true;
                if server >= usize::from(self.question.validators) {
                    self.times[1].push(now);
                }
                for (client, slot) in std::mem::take(&mut self.clients_of[server]) {
                    let at = now + self.network.latency(server, self.servers + client as usize);
                    self.queue.push(at, Event::Hint { client, slot });
                }
            }
            Event::Hint { client, slot } => {
                if self.began[client as usize] == 0 {
                    self.began[client as usize] = now;
                    self.ask(now, client, slot, HEADER);
                }
            }
            Event::Ask { client, slot, what } => self.asked(now, client, slot, what),
            Event::Reply { client, slot, what } => self.replied(now, client, slot, what),
            Event::Again { client, slot, what } => {
                let deadline = self.began[client as usize] + nanos(self.timing.deadline);
                if now < deadline && self.waits_for(client, what) {
                    self.ask(now, client, (slot + 1) % self.question.peers, what);
                }
            }
        }
    }

    fn body(&mut self, now: Nanos, to: u16, body: u16) {
        let node = usize::from(to);
        for at in 0..self.neighbours[node].len() {
            let other = self.neighbours[node][at];
            let at = now + self.network.latency(node, other.into());
            self.queue.push(at, Event::Announce { to: other, from: to, body });
        }
        self.lacking[node] -= 1;
        if self.lacking[node] > 0 {
            return;
        }
        if to < self.question.validators {
            self.times[0].push(now);
            self.complete += 1;
            if 3 * self.complete > 2 * usize::from(self.question.validators) && !self.decided {
                self.decided = true;
                let work = (self.question.rebuild_ms + self.question.votes_ms) * 1_000_000;
                self.queue.push(now + work, Event::Decided);
            }
        }
        self.rebuild(now, to);
    }

    /// Starts to rebuild the square, once bodies and header are there.
    fn rebuild(&mut self, now: Nanos, node: u16) {
        if self.lacking[usize::from(node)] == 0 && self.header[usize::from(node)] {
            self.queue.push(now + self.question.rebuild_ms * 1_000_000, Event::Ready { node });
        }
    }

    fn peer(&self, client: u32, slot: u8) -> usize {
        self.peers[client as usize * usize::from(self.question.peers) + usize::from(slot)].into()
    }

    fn ask(&mut self, now: Nanos, client: u32, slot: u8, what: u8) {
        let server = self.peer(client, slot);
        let at = now + self.network.latency(self.servers + client as usize, server);
        self.queue.push(at, Event::Ask { client, slot, what });
    }

    /// A request has reached its server.
    fn asked(&mut self, now: Nanos, client: u32, slot: u8, what: u8) {
        let server = self.peer(client, slot);
        let victim = self.question.victim && client == 0;
        let again = Event::Again { client, slot, what };
        // Whoever serves nothing hands out the header, so that it is asked.
        let refuses = self.gone[server] || (what != HEADER && (victim || self.silent[server]));
        if refuses {
            self.queue.push(now + nanos(self.timing.hedge_after), again);
        } else if !self.ready[server] {
            self.queue.push(now + nanos(self.timing.retry_after), again);
        } else {
            let bytes = if what == HEADER { HEADER_BYTES } else { SAMPLE_BYTES };
            let at = self.network.transfer(now, server, self.servers + client as usize, bytes);
            self.queue.push(at, Event::Reply { client, slot, what });
            if at > now + nanos(self.timing.hedge_after) {
                self.queue.push(now + nanos(self.timing.hedge_after), again);
            }
        }
    }

    /// Whether the client still lacks this.
    fn waits_for(&self, client: u32, what: u8) -> bool {
        let lacks = self.lacks[client as usize];
        match what {
            HEADER => lacks == u64::MAX,
            PROBE => lacks == u64::MAX - 1,
            sample => lacks & (1 << sample) != 0 && lacks < u64::MAX - 1,
        }
    }

    fn replied(&mut self, now: Nanos, client: u32, slot: u8, what: u8) {
        if !self.waits_for(client, what) {
            return;
        }
        let lacks = &mut self.lacks[client as usize];
        match what {
            HEADER => {
                *lacks = u64::MAX - 1;
                self.times[2].push(now);
                self.ask(now, client, slot, PROBE);
            }
            PROBE => {
                *lacks = (1 << self.samples) - 1;
                let first = self.rng.below(self.question.peers.into()) as u8;
                for sample in 0..self.samples {
                    self.ask(now, client, (first + sample) % self.question.peers, sample);
                }
            }
            sample => {
                *lacks &= !(1 << sample);
                if *lacks == 0 {
                    let late = now > self.began[client as usize] + nanos(self.timing.deadline);
                    self.alarmed += usize::from(late);
                    self.victim_fooled |= self.question.victim && client == 0;
                    self.times[3].push(now);
                }
            }
        }
    }
}

impl Spread {
    /// The quantiles as CSV, with a header line.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut csv = "stage,percent,ms,interval_low,interval_high\n".to_owned();
        for Stage { name, quantiles } in &self.stages {
            for Quantile { percent, ms, interval: Interval { low, high } } in quantiles {
                let _ = writeln!(csv, "{name},{percent},{ms},{low},{high}");
            }
        }
        csv
    }
}
