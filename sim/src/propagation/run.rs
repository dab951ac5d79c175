//! One run: nodes, votes, and the light clients around them (`light`).

mod light;

use light_client::sampler::{Confidence, Timing, samples_needed};

use super::clients::{Crowd, Phase, Real, Served, secret};
use super::{BODIES, DECIDED, Propagation, SERVING, STAGES};
use crate::Pattern;
use crate::bodies::{Bodies, Haul, Roads, parts, present};
use crate::events::{EventQueue, Nanos};
use crate::network::{Distance, MS, Network, mesh};
use crate::rng::Rng;
use crate::scenario::{Fault, Group, Mix};

/// Bytes of a header with the signatures of 100 validators.
const HEADER_BYTES: u64 = 12_000;

/// Neighbours that a node connects to itself; as many connect to it on average.
const DIALS: u64 = 4;

/// How long a proposer has before the next one's turn: the engine's timeouts to propose and to precommit.
const TURN: Nanos = 2_700 * MS;

/// How long a light client waits for an answer: `small_deadline` of its network.
const REQUEST_DEADLINE: Nanos = 5_000 * MS;

/// How often the light client's shell polls its sampler.
const TICK: Nanos = 250 * MS;

/// When nothing more is waited for.
const END: Nanos = 120_000 * MS;

const HEADER: u8 = 254;
const CONTROL: u8 = 255;

#[derive(Clone, Copy, Debug)]
enum Event {
    Fault { index: u16 },
    Announce { to: u16, from: u16, body: u16 },
    Pull { to: u16, from: u16, body: u16 },
    Body { to: u16, body: u16 },
    Overdue { to: u16, body: u16 },
    Rebuilt { node: u16 },
    Turn { turn: u16 },
    Proposal { to: u16 },
    Vote { to: u16, precommit: bool },
    Header { to: u16 },
    Hint { client: u32, slot: u8 },
    Ask { client: u32, slot: u8, what: u8 },
    Reply { client: u32, slot: u8, what: u8, served: bool },
    Silence { client: u32, slot: u8, what: u8 },
    Again { client: u32, what: u8 },
    Deadline { client: u32 },
    Tick { client: u32 },
}

/// Flat, as nesting would make every event half as large again.
impl From<Haul> for Event {
    fn from(haul: Haul) -> Self {
        match haul {
            Haul::Announce { to, from, body } => Self::Announce { to, from, body },
            Haul::Pull { to, from, body } => Self::Pull { to, from, body },
            Haul::Body { to, body } => Self::Body { to, body },
            Haul::Overdue { to, body } => Self::Overdue { to, body },
        }
    }
}

/// What one run found.
pub(super) struct Found {
    pub(super) times: [Vec<Nanos>; STAGES.len()],
    pub(super) nodes: [usize; STAGES.len()],
    pub(super) events: u64,
    pub(super) alarmed: usize,
    pub(super) withheld: bool,
    /// 0 alarmed, 1 pending, 2 fooled.
    pub(super) eclipsed: Option<usize>,
    /// Mean and most.
    pub(super) sent_mb: (f64, f64),
    pub(super) received_kb: f64,
}

pub(super) struct Run<'a> {
    question: &'a Propagation,
    run: u32,
    queue: EventQueue<Event>,
    network: Network,
    rng: Rng,
    validators: usize,
    servers: usize,
    clients: u32,
    slots: u8,
    rebuild: Nanos,
    sample_bytes: u64,
    timing: Timing,
    pattern: Option<Pattern>,
    eclipse: bool,

    neighbours: Vec<Vec<u16>>,
    gone: Vec<bool>,
    refuses: Vec<bool>,
    count: u16,
    body_bytes: u64,
    bodies: Bodies,
    rebuilt: Vec<bool>,
    header: Vec<bool>,
    serving: Vec<bool>,
    proposer: u16,
    proposed: bool,
    proposal: Vec<bool>,
    voted: [Vec<bool>; 2],
    votes: [Vec<u16>; 2],

    /// Each light client's peers, one after the other.
    peers: Vec<u16>,
    clients_of: Vec<Vec<(u32, u8)>>,
    crowd: Crowd,
    served: Option<Served>,
    real: Vec<Real>,
    real_ended: Vec<bool>,
    times: [Vec<Nanos>; STAGES.len()],
    events: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(question: &'a Propagation, run: u32) -> anyhow::Result<Self> {
        let scenario = &question.scenario;
        let width = scenario.square()?;
        let name = [question.seed, run.into()];
        let mut rng = Rng::new("weft/sim-propagation/1", name);
        let mut network = Network::new(Distance::World, Rng::new("weft/sim-network/1", name));
        network.loss = scenario.loss_permille;
        let (validators, clients) = (usize::from(scenario.validators), scenario.light_clients);
        let servers = validators + usize::from(scenario.full_nodes);
        let mut add = |mixes: &[Mix], nodes: usize| {
            let shares: Vec<u64> = mixes.iter().map(|mix| mix.share).collect();
            for _ in 0..nodes {
                let Mix { up, down, .. } = mixes[rng.pick(&shares)];
                network.add(up, down);
            }
        };
        add(&scenario.links.validators, validators);
        add(&scenario.links.full_nodes, scenario.full_nodes.into());
        add(&scenario.links.light_clients, clients as usize);

        let neighbours = mesh(servers, DIALS, &mut rng);
        let slots = scenario.peers;
        let mut peers: Vec<u16> = Vec::with_capacity(clients as usize * usize::from(slots));
        let mut clients_of = vec![Vec::new(); servers];
        for client in 0..clients {
            let first = peers.len();
            while peers.len() < first + usize::from(slots) {
                let peer = (validators as u64 + rng.below(scenario.full_nodes.into())) as u16;
                if !peers[first..].contains(&peer) {
                    clients_of[usize::from(peer)].push((client, (peers.len() - first) as u8));
                    peers.push(peer);
                }
            }
        }
        let samples = samples_needed(width, Confidence::DEFAULT);
        let (count, body_bytes) = parts(width);
        let has = |wanted: &Fault| scenario.faults.contains(wanted);
        let pattern = has(&Fault::Withhold {}).then(|| Pattern::smallest(width, question.seed));
        let real = question.real.min(clients);
        let served = if real > 0 { Some(Served::new(width, question.seed)?) } else { None };
        let samplers = served.iter().flat_map(|served| {
            let sampler = move |client| Real::new(secret(question.seed, run, client), served, samples, slots);
            (0..real).map(sampler)
        });
        let mut this = Self {
            question,
            run,
            queue: EventQueue::default(),
            validators,
            servers,
            clients,
            slots,
            rebuild: question.processing.commit(width),
            sample_bytes: Served::sample_bytes(width)?,
            timing: Timing::default(),
            pattern,
            eclipse: has(&Fault::Eclipse {}),
            neighbours,
            gone: vec![false; servers],
            refuses: vec![false; servers],
            count,
            body_bytes,
            bodies: Bodies::new(servers, count),
            rebuilt: vec![false; servers],
            header: vec![false; servers],
            serving: vec![false; servers],
            proposer: 0,
            proposed: false,
            proposal: vec![false; validators],
            voted: [vec![false; validators], vec![false; validators]],
            votes: [vec![0; validators], vec![0; validators]],
            peers,
            clients_of,
            crowd: Crowd::new(
                width,
                clients as usize,
                samples,
                slots.into(),
                Rng::new("weft/sim-crowd/1", name),
            ),
            real: samplers.collect(),
            real_ended: vec![false; real as usize],
            served,
            times: Default::default(),
            events: 0,
            network,
            rng,
        };
        for index in 0..scenario.faults.len() {
            let at = scenario.faults[index].at_ms() * MS;
            this.queue.push(at, Event::Fault { index: index as u16 });
        }
        for body in 0..count {
            let origin = this.rng.below(servers as u64) as u16;
            this.queue.push(0, Event::Body { to: origin, body });
        }
        this.queue.push(0, Event::Turn { turn: 0 });
        Ok(this)
    }

    pub(super) fn finish(mut self) -> Found {
        while let Some((now, event)) = self.queue.pop() {
            if now > END {
                break;
            }
            self.events += 1;
            self.handle(now, event);
        }
        self.times.iter_mut().for_each(|times| times.sort_unstable());
        let full_nodes = self.validators..self.servers;
        let sent = full_nodes.clone().map(|node| self.network.carried(node)[0] as f64 / 1e6);
        let (total, most) = sent.fold((0.0, 0.0), |(sum, most), mb| (sum + mb, f64::max(most, mb)));
        let received: u64 =
            (0..self.clients as usize).map(|client| self.network.carried(self.servers + client)[1]).sum();
        let alarmed = self.crowd.phase.iter().filter(|phase| **phase == Phase::Alarmed).count();
        let (clients, real) = (self.clients as usize, self.real.len());
        Found {
            nodes: [self.validators, self.validators, full_nodes.len(), clients, clients - real, real],
            events: self.events,
            alarmed,
            withheld: self.pattern.is_some(),
            eclipsed: self.eclipse.then(|| match self.crowd.phase[0] {
                Phase::Alarmed => 0,
                Phase::Done => 2,
                _ => 1,
            }),
            sent_mb: (total / full_nodes.len() as f64, most),
            received_kb: received as f64 / 1e3 / clients as f64,
            times: self.times,
        }
    }

    fn handle(&mut self, now: Nanos, event: Event) {
        match event {
            Event::Fault { index } => self.fault(now, usize::from(index)),
            Event::Announce { to, from, body } => self.haul(now, Haul::Announce { to, from, body }),
            Event::Pull { to, from, body } => self.haul(now, Haul::Pull { to, from, body }),
            Event::Body { to, body } => self.haul(now, Haul::Body { to, body }),
            Event::Overdue { to, body } => self.haul(now, Haul::Overdue { to, body }),
            Event::Rebuilt { node } => {
                self.rebuilt[usize::from(node)] = true;
                self.propose(now);
                self.vote(now, node, 0);
                self.serve(now, node);
            }
            Event::Turn { turn } => {
                self.proposer = turn % self.validators as u16;
                self.propose(now);
                if !self.proposed {
                    self.queue.push(now + TURN, Event::Turn { turn: turn + 1 });
                }
            }
            Event::Proposal { to } => {
                self.proposal[usize::from(to)] = true;
                self.vote(now, to, 0);
            }
            Event::Vote { to, precommit } => self.count(now, to, usize::from(precommit)),
            Event::Header { to } => self.header(now, to),
            Event::Hint { client, slot } => {
                if self.crowd.phase[client as usize] == Phase::Idle {
                    self.crowd.phase[client as usize] = Phase::Header;
                    self.ask(now, client, slot, HEADER);
                }
            }
            Event::Ask { client, slot, what } => self.asked(now, client, slot, what),
            Event::Reply { client, slot, what, served } => self.replied(now, client, slot, what, served),
            Event::Silence { client, slot, what } => self.silent(now, client, slot, what),
            Event::Again { client, what } => self.again(now, client, what),
            Event::Deadline { client } => self.deadline(now, client),
            Event::Tick { client } => self.tick(now, client),
        }
    }

    fn push(&mut self, at: Option<Nanos>, event: Event) {
        if let Some(at) = at {
            self.queue.push(at, event);
        }
    }

    fn fault(&mut self, now: Nanos, index: usize) {
        match &self.question.scenario.faults[index] {
            Fault::Leave { of, percent, .. } => {
                self.mark(*of, *percent, true);
                self.resubmit(now);
            }
            Fault::Return { of, .. } => {
                let group = self.group(*of);
                self.gone[group].fill(false);
                self.reconnect(now);
            }
            Fault::Refuse { percent, .. } => self.mark(Group::FullNodes, *percent, false),
            Fault::Loss { permille, .. } => self.network.loss = *permille,
            Fault::Cut { region: name, .. } => self.network.cut(name, true),
            Fault::Heal { region: name, .. } => {
                self.network.cut(name, false);
                self.reconnect(now);
            }
            Fault::Eclipse {} | Fault::Withhold {} => {}
        }
    }

    fn group(&self, of: Group) -> std::ops::Range<usize> {
        match of {
            Group::Validators => 0..self.validators,
            Group::FullNodes => self.validators..self.servers,
        }
    }

    /// Marks this share of the nodes as gone, or as refusing.
    fn mark(&mut self, of: Group, percent: u64, gone: bool) {
        let nodes = self.rng.some(self.group(of), percent);
        let marks = if gone { &mut self.gone } else { &mut self.refuses };
        nodes.into_iter().for_each(|node| marks[node] = true);
    }

    /// Whoever submitted what only those had that left submits it again.
    fn resubmit(&mut self, now: Nanos) {
        for body in self.bodies.lost(&self.gone) {
            let to = present(&self.gone, &mut self.rng);
            self.queue.push(now, Event::Body { to, body });
        }
    }

    /// Whoever can be reached again is told what it missed, by its neighbours' gossip.
    fn reconnect(&mut self, now: Nanos) {
        for node in (0..self.servers).filter(|node| !self.gone[*node]).collect::<Vec<_>>() {
            let id = node as u16;
            for body in 0..self.count {
                if self.bodies.has(id, body) {
                    self.announce(now, id, body);
                }
            }
            if self.header[node] {
                self.flood(now, id);
            }
            if self.serving[node] {
                self.hint(now, node);
            }
        }
    }

    fn announce(&mut self, now: Nanos, from: u16, body: u16) {
        let (_, mut roads, queue) = self.roads();
        roads.announce(now, from, body, &mut |at, haul| queue.push(at, haul.into()));
    }

    fn roads(&mut self) -> (&mut Bodies, Roads<'_>, &mut EventQueue<Event>) {
        let Self { network, neighbours, gone, body_bytes, .. } = self;
        (&mut self.bodies, Roads { network, neighbours, gone, bytes: *body_bytes }, &mut self.queue)
    }

    fn haul(&mut self, now: Nanos, haul: Haul) {
        let (bodies, mut roads, queue) = self.roads();
        let got = bodies.handle(now, haul, &mut roads, &mut |at, haul| queue.push(at, haul.into()));
        if let Some(node) = got.filter(|node| self.bodies.complete(*node)) {
            if usize::from(node) < self.validators {
                self.times[BODIES].push(now);
            }
            self.queue.push(now + self.rebuild, Event::Rebuilt { node });
        }
    }

    /// The proposer proposes once it has rebuilt the square, and its turn has come.
    fn propose(&mut self, now: Nanos) {
        let proposer = usize::from(self.proposer);
        if self.proposed || !self.rebuilt[proposer] || self.gone[proposer] {
            return;
        }
        self.proposed = true;
        for to in 0..self.validators as u16 {
            let arrival = self.network.latency(proposer, to.into()).map(|latency| now + latency);
            self.push(arrival, Event::Proposal { to });
        }
    }

    fn vote(&mut self, now: Nanos, from: u16, kind: usize) {
        let node = usize::from(from);
        let ready = node < self.validators && self.rebuilt[node] && self.proposal[node] && !self.gone[node];
        if !ready || std::mem::replace(&mut self.voted[kind][node], true) {
            return;
        }
        for to in 0..self.validators as u16 {
            let arrival = self.network.latency(node, to.into()).map(|latency| now + latency);
            self.push(arrival, Event::Vote { to, precommit: kind == 1 });
        }
    }

    fn count(&mut self, now: Nanos, to: u16, kind: usize) {
        let node = usize::from(to);
        if self.gone[node] {
            return;
        }
        let votes = &mut self.votes[kind][node];
        *votes += 1;
        if 3 * usize::from(*votes) > 2 * self.validators {
            if kind == 0 {
                self.vote(now, to, 1);
            } else {
                self.header(now, to);
            }
        }
    }

    fn header(&mut self, now: Nanos, to: u16) {
        let node = usize::from(to);
        if self.gone[node] || std::mem::replace(&mut self.header[node], true) {
            return;
        }
        if node < self.validators {
            self.times[DECIDED].push(now);
        }
        self.flood(now, to);
        self.serve(now, to);
    }

    fn flood(&mut self, now: Nanos, from: u16) {
        for at in 0..self.neighbours[usize::from(from)].len() {
            let to = self.neighbours[usize::from(from)][at];
            let arrival = self.network.latency(from.into(), to.into()).map(|latency| now + latency);
            self.push(arrival, Event::Header { to });
        }
    }

    /// A full node with header and square tells its light clients.
    fn serve(&mut self, now: Nanos, node: u16) {
        let node = usize::from(node);
        let ready = node >= self.validators && self.header[node] && self.rebuilt[node] && !self.gone[node];
        if ready && !std::mem::replace(&mut self.serving[node], true) {
            self.times[SERVING].push(now);
            self.hint(now, node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million light clients have tens of millions of events waiting.
    #[test]
    fn events_are_small() {
        assert_eq!(size_of::<Event>(), 8);
    }
}
