//! The sampling of one block, as a state machine.
//!
//! ```text
//!            probe verified        every drawn cell verified
//!  (width unknown) ──► Pending ───────────────────────────────► Available
//!                        │  ▲                                       ▲
//!               deadline │  │ no control served: Offline            │ the missing cells appear
//!                        ▼  │                                       │
//!                   control cells                                   │
//!                        │ served                                   │
//!                        ▼                                          │
//!                   asked once more ── denied again ──► Unavailable
//!                        │ no answer                        ▲
//!                        └──► control cells once more ──────┘ served
//! ```
//!
//! Time, peers and answers come in as arguments; what to do comes out as [`Effect`]s.
//!
//! Invariants: the cells are a function of (seed, height, width) and never change, so a retry
//! asks other peers for the same ones; `Available` is reached only when each of them was verified
//! against the data root of the verified header; a wrong answer counts against the peer, never
//! against the block; silence becomes `Unavailable` only if every peer that proved, after the
//! deadline, that it can be reached was then asked once more for a missing cell, in vain, and
//! either said that it does not have it or proved once more that it can be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use erasure::{Coordinates, Digest, Sample, VerifiedSample, Width};

use super::confidence::{confidence, samples_needed};
use super::draw::{Stream, draw, probe};
use super::types::{Answer, Control, Effect, Fault, Millis, State, Task};

/// Peers that may be asked for one cell at the same time, the first included.
const HEDGED_AT_MOST: usize = 3;

/// Peers that are asked for a control cell when the deadline has passed.
const CONTROLS_AT_MOST: usize = 8;

/// Samples one block. `P` names a peer.
#[derive(Debug)]
pub struct BlockSampler<P> {
    task: Task,
    width: Option<Width>,
    /// The probe while the width is unknown, then the draw.
    cells: Vec<Cell<P>>,
    /// Peers that gave any proper answer about this block.
    responsive: BTreeSet<P>,
    /// Requests made of each peer for this block.
    load: BTreeMap<P, u32>,
    order: Stream,
    /// Set by the first request.
    deadline: Option<Millis>,
    /// Peers whose control cell is awaited.
    controls: BTreeSet<P>,
    /// Peers that served a control cell, and are asked once more for what is missing.
    reachable: BTreeSet<P>,
    /// Whether the controls are those after the last question, and decide.
    closing: bool,
    alarm: Option<Millis>,
}

#[derive(Debug)]
struct Cell<P> {
    at: Coordinates,
    verified: bool,
    asked: BTreeSet<P>,
    /// Asked since the last pause.
    tried: BTreeSet<P>,
    /// Asked in vain since controls were served.
    refused: BTreeSet<P>,
    /// Those of them that said that they do not have it.
    denied: BTreeSet<P>,
    in_flight: Vec<(P, Millis)>,
    rounds: u32,
    retry_at: Option<Millis>,
}

impl<P> Cell<P> {
    fn new(at: Coordinates) -> Self {
        Self {
            at,
            verified: false,
            asked: BTreeSet::new(),
            tried: BTreeSet::new(),
            refused: BTreeSet::new(),
            denied: BTreeSet::new(),
            in_flight: Vec::new(),
            rounds: 0,
            retry_at: None,
        }
    }
}

impl<P: Copy + Ord + Debug> BlockSampler<P> {
    /// A sampler that has asked nobody yet.
    pub fn new(task: Task) -> Self {
        Self {
            width: None,
            cells: vec![Cell::new(probe(&task.seed, task.height))],
            responsive: BTreeSet::new(),
            load: BTreeMap::new(),
            order: Stream::order(&task.seed, task.height),
            deadline: None,
            controls: BTreeSet::new(),
            reachable: BTreeSet::new(),
            closing: false,
            alarm: None,
            task,
        }
    }

    /// Takes back the samples that were kept before a restart, and the alarm if one was raised.
    /// Samples that do not verify are ignored, and asked for again.
    pub fn restore<'a>(&mut self, samples: impl IntoIterator<Item = &'a [u8]>, alarm: Option<Millis>) {
        self.alarm = alarm;
        for bytes in samples {
            let Ok(sample) = Sample::decode(bytes) else {
                continue;
            };
            let at = sample.coordinates();
            if let Ok(sample) = sample.verify(&self.task.data_root, at) {
                self.accept(&sample);
            }
        }
    }

    /// The block's height.
    pub fn height(&self) -> u64 {
        self.task.height
    }

    /// The block's width, once a sample has proven it.
    pub fn width(&self) -> Option<Width> {
        self.width
    }

    /// The cells that count, once the width is known.
    pub fn drawn(&self) -> impl Iterator<Item = Coordinates> {
        let known = self.width.is_some();
        self.cells.iter().filter(move |_| known).map(|cell| cell.at)
    }

    /// How many of the cells that count are verified.
    pub fn verified(&self) -> usize {
        self.cells.iter().filter(|cell| cell.verified).count()
    }

    /// Requests that are waiting for an answer.
    pub fn in_flight(&self) -> usize {
        self.cells.iter().map(|cell| cell.in_flight.len()).sum()
    }

    /// Whether an alarm was raised, though the cells may have appeared since.
    pub fn alarmed(&self) -> bool {
        self.alarm.is_some()
    }

    /// What is known about the block.
    pub fn state(&self) -> State<P> {
        if let Some(confidence) = self.reached() {
            return State::Available { confidence };
        }
        let Some(since) = self.alarm else {
            return State::Pending;
        };
        let missing = || self.cells.iter().filter(|cell| !cell.verified);
        let asked: BTreeSet<P> = missing().flat_map(|cell| &cell.asked).copied().collect();
        State::Unavailable {
            cells: missing().map(|cell| cell.at).collect(),
            since,
            asked: asked.into_iter().collect(),
        }
    }

    /// The confidence, if every drawn cell is verified.
    fn reached(&self) -> Option<f64> {
        let width = self.width?;
        let done = self.cells.iter().all(|cell| cell.verified);
        done.then(|| confidence(width, self.cells.len()))
    }

    /// What to do now, with these peers connected, asking for at most `room` more cells.
    ///
    /// To be called after every input, and from time to time for the sake of deadlines.
    pub fn poll(&mut self, now: Millis, peers: &[P], room: usize) -> Vec<Effect<P>> {
        let mut effects = self.watch_deadline(now, peers);
        let mut asks = 0;
        for index in 0..self.cells.len() {
            if asks == room {
                break;
            }
            let Some(peer) = self.next_peer(index, now, peers) else {
                continue;
            };
            asks += 1;
            let delay = self.drawn_delay();
            let cell = &mut self.cells[index];
            cell.asked.insert(peer);
            cell.tried.insert(peer);
            cell.in_flight.push((peer, now.after(delay)));
            *self.load.entry(peer).or_default() += 1;
            self.deadline.get_or_insert(now.after(self.task.timing.deadline));
            effects.push(Effect::Ask { peer, at: cell.at, delay });
        }
        effects
    }

    fn drawn_delay(&mut self) -> Duration {
        let spread = self.task.timing.spread.as_millis() as u64;
        Duration::from_millis(u64::from(self.order.next_u32()) % (spread + 1))
    }

    /// The machine slept, or its clock was set: no deadline passed meanwhile, and what was under
    /// way is void.
    pub fn slept(&mut self, now: Millis) {
        if self.deadline.is_some() {
            self.deadline = Some(now.after(self.task.timing.deadline));
        }
        self.controls.clear();
        self.reachable.clear();
        self.closing = false;
        self.forget_rounds();
    }

    /// Takes in `peer`'s answer to an [`Effect::Ask`].
    pub fn answered(&mut self, peer: P, at: Coordinates, answer: Answer<'_>) -> Vec<Effect<P>> {
        if let Some(cell) = self.cells.iter_mut().find(|cell| cell.at == at) {
            cell.in_flight.retain(|(asked, _)| *asked != peer);
            if !matches!(answer, Answer::Bytes(_)) {
                cell.refused.insert(peer);
            }
            if matches!(answer, Answer::Nothing) {
                cell.denied.insert(peer);
            }
        }
        let bytes = match answer {
            Answer::Bytes(bytes) => bytes,
            Answer::Nothing => {
                self.responsive.insert(peer);
                return Vec::new();
            }
            Answer::Failed => return Vec::new(),
        };
        let sample = match check(bytes, &self.task.data_root, at) {
            Ok(sample) => sample,
            Err(fault) => return vec![Effect::Report { peer, fault }],
        };
        self.responsive.insert(peer);
        if !self.accept(&sample) {
            return Vec::new();
        }
        let mut effects = vec![Effect::Keep(Box::new(sample))];
        if self.reached().is_some() {
            effects.push(Effect::Became(self.state()));
        }
        effects
    }

    /// Takes in `peer`'s answer to an [`Effect::Control`].
    pub fn controlled(&mut self, now: Millis, peer: P, control: Control) -> Vec<Effect<P>> {
        if !self.controls.remove(&peer) || self.reached().is_some() {
            return Vec::new();
        }
        let reachable = match control {
            Control::Served => true,
            Control::Failed => false,
            Control::NoneKept => self.responsive.contains(&peer),
        };
        if reachable {
            self.reachable.insert(peer);
        }
        if !self.controls.is_empty() {
            return Vec::new();
        }
        if self.reachable.is_empty() {
            return self.start_over(now);
        }
        if self.closing {
            return self.raise(now);
        }
        self.forget_rounds();
        Vec::new()
    }

    /// Nobody can be reached: the deadline and the rounds begin anew.
    fn start_over(&mut self, now: Millis) -> Vec<Effect<P>> {
        self.deadline = Some(now.after(self.task.timing.deadline));
        self.closing = false;
        self.forget_rounds();
        vec![Effect::Offline]
    }

    fn raise(&mut self, now: Millis) -> Vec<Effect<P>> {
        self.reachable.clear();
        self.closing = false;
        self.alarm = Some(now);
        vec![Effect::Became(self.state())]
    }

    /// Every peer may be asked for every missing cell again, at once.
    fn forget_rounds(&mut self) {
        for cell in &mut self.cells {
            let (at, verified) = (cell.at, cell.verified);
            let asked = std::mem::take(&mut cell.asked);
            *cell = Cell { verified, asked, ..Cell::new(at) };
        }
    }

    /// Marks a verified sample's cell; learns the width, and draws, from the first one. False if
    /// the sample teaches nothing.
    fn accept(&mut self, sample: &VerifiedSample) -> bool {
        let first = self.width.is_none();
        if first {
            let width = sample.width();
            let samples = samples_needed(width, self.task.wanted);
            self.cells =
                draw(&self.task.seed, self.task.height, width, samples).into_iter().map(Cell::new).collect();
            self.width = Some(width);
        }
        let at = sample.coordinates();
        match self.cells.iter_mut().find(|cell| cell.at == at) {
            Some(cell) => !std::mem::replace(&mut cell.verified, true),
            None => first,
        }
    }

    /// Whoever was asked for a cell that is missing.
    fn suspects(&self) -> impl Iterator<Item = P> {
        let missing = self.cells.iter().filter(|cell| !cell.verified);
        missing.flat_map(|cell| cell.asked.iter().copied())
    }

    fn watch_deadline(&mut self, now: Millis, peers: &[P]) -> Vec<Effect<P>> {
        let settled = self.alarm.is_some() || self.reached().is_some();
        if settled || !self.controls.is_empty() {
            return Vec::new();
        }
        if !self.reachable.is_empty() {
            return self.confirm(now, peers);
        }
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        let connected: BTreeSet<P> = peers.iter().copied().collect();
        let asked: BTreeSet<P> = self.suspects().collect();
        self.controls = asked.intersection(&connected).copied().take(CONTROLS_AT_MOST).collect();
        if self.controls.is_empty() {
            return self.start_over(now);
        }
        let controls = self.controls.iter();
        controls.map(|&peer| Effect::Control { peer }).collect()
    }

    /// Raises the alarm once all that can be reached have denied a cell once more; where they
    /// stayed silent, tries them with controls once more.
    fn confirm(&mut self, now: Millis, peers: &[P]) -> Vec<Effect<P>> {
        self.reachable.retain(|peer| peers.contains(peer));
        if self.reachable.is_empty() {
            return self.start_over(now);
        }
        let missing = self.cells.iter().filter(|cell| !cell.verified);
        let mut refused = missing.filter(|cell| self.reachable.is_subset(&cell.refused)).peekable();
        if refused.peek().is_none() {
            return Vec::new();
        }
        if refused.any(|cell| self.reachable.is_subset(&cell.denied)) {
            return self.raise(now);
        }
        // Silence may be a connection that broke after the controls.
        self.closing = true;
        self.controls = std::mem::take(&mut self.reachable);
        self.controls.iter().map(|&peer| Effect::Control { peer }).collect()
    }

    /// Whom to ask for a cell now: of the peers that this round has not tried, one with the
    /// fewest requests for this block, drawn where several have.
    fn next_peer(&mut self, index: usize, now: Millis, peers: &[P]) -> Option<P> {
        let timing = &self.task.timing;
        let cell = self.cells.get_mut(index)?;
        let hurried = |(_, at): &(P, Millis)| now.since(*at) < timing.hedge_after;
        if cell.verified || cell.in_flight.len() >= HEDGED_AT_MOST || cell.in_flight.iter().any(hurried) {
            return None;
        }
        if !peers.iter().any(|peer| !cell.tried.contains(peer)) {
            if peers.is_empty() || !cell.in_flight.is_empty() {
                return None;
            }
            let pause = timing.retry_after.saturating_mul(1 << cell.rounds.min(16));
            let retry_at = now.after(pause.min(timing.retry_at_most));
            if now < *cell.retry_at.get_or_insert(retry_at) {
                return None;
            }
            cell.rounds += 1;
            cell.retry_at = None;
            cell.tried.clear();
        }
        let order = &mut self.order;
        let load = &self.load;
        peers
            .iter()
            .filter(|peer| !cell.tried.contains(peer))
            .min_by_key(|peer| (load.get(peer).copied().unwrap_or(0), order.next_u32()))
            .copied()
    }
}

/// Checks an answer against the data root and the position that was asked for.
pub fn check(bytes: &[u8], data_root: &Digest, at: Coordinates) -> Result<VerifiedSample, Fault> {
    Ok(Sample::decode(bytes)?.verify(data_root, at)?)
}
