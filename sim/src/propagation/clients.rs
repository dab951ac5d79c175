//! Light clients, in two forms that follow the same rules.
//!
//! [`Crowd`] keeps of each client what the rules of `BlockSampler` need, in about a hundred bytes: a missing cell is
//! asked of the peer with the fewest requests that has not been tried in this round; a peer that is silent for
//! `hedge_after` is joined by another, three at most; once all were tried in vain comes a pause that doubles. At
//! the deadline a client whose every reachable peer refuses a missing cell raises the alarm.
//!
//! [`Real`] is the light client's own sampler, with the samples of a real square.

use std::time::Duration;

use erasure::{
    Axis, CommittedSquare, Coordinates, Index, OriginalSquare, SHARE_BYTES, Width, transaction_blob,
};
use light_client::sampler::{
    Answer, BlockSampler, Confidence, Control, Effect, Millis, Seed, State, Task, Timing, draw, probe,
};

use crate::Pattern;
use crate::events::Nanos;
use crate::rng::{Rng, hash};

/// The number of the probe, where a sample is named by its number in the draw.
pub(super) const PROBE: u8 = 253;

/// Peers that may be asked for one cell at the same time, as in `BlockSampler`.
const HEDGED_AT_MOST: u8 = 3;

const HEIGHT: u64 = 1;

pub(super) fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

/// A client's secret.
pub(super) fn secret(seed: u64, run: u32, client: u32) -> Seed {
    Seed::from_bytes(hash("weft/sim-light-client/1", [seed, run.into(), client.into()]))
}

/// Where a client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It has not heard of the block.
    Idle,
    /// It asks for the header.
    Header,
    /// It asks for a cell that proves the width.
    Probe,
    /// It asks for its samples.
    Samples,
    /// It has them.
    Done,
    /// It raised the alarm.
    Alarmed,
}

/// What a client knows of one cell.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Peers tried since the last pause, as bits.
    tried: u16,
    in_flight: u8,
    rounds: u8,
}

/// What follows from an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Ask this peer.
    Ask(u8),
    /// Try again then.
    Pause(Nanos),
    /// Nothing for now.
    Wait,
}

/// All light clients but the real ones.
#[derive(Debug)]
pub(super) struct Crowd {
    width: Width,
    samples: usize,
    peers: usize,
    timing: Timing,
    pub(super) phase: Vec<Phase>,
    /// Samples that are missing, by bits.
    missing: Vec<u64>,
    /// Samples that are withheld, by bits; the probe's is the highest.
    hidden: Vec<u64>,
    /// `samples` for each client; the first one serves the probe before.
    cells: Vec<Cell>,
    /// `peers` for each client: requests made of each.
    load: Vec<u8>,
    rng: Rng,
}

impl Crowd {
    pub(super) fn new(width: Width, clients: usize, samples: usize, peers: usize, rng: Rng) -> Self {
        Self {
            width,
            samples,
            peers,
            timing: Timing::default(),
            phase: vec![Phase::Idle; clients],
            missing: vec![u64::MAX >> (64 - samples); clients],
            hidden: vec![0; clients],
            cells: vec![Cell::default(); clients * samples],
            load: vec![0; clients * peers],
            rng,
        }
    }

    /// Whether the client still wants this.
    pub(super) fn wants(&self, client: u32, what: u8) -> bool {
        let at = client as usize;
        match what {
            PROBE => self.phase[at] == Phase::Probe,
            sample => self.phase[at] == Phase::Samples && self.missing[at] & 1 << sample != 0,
        }
    }

    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// Notes which of the cells that the client's secret draws are withheld.
    pub(super) fn hide(&mut self, client: u32, secret: &Seed, pattern: &Pattern) {
        let cells = draw(secret, HEIGHT, self.width, self.samples);
        let bits = cells.iter().zip(0..).filter(|(at, _)| pattern.hides(**at)).map(|(_, cell)| 1_u64 << cell);
        let probe = u64::from(pattern.hides(probe(secret, HEIGHT))) << 63;
        self.hidden[client as usize] = bits.sum::<u64>() | probe;
    }

    pub(super) fn is_hidden(&self, client: u32, what: u8) -> bool {
        self.hidden[client as usize] & 1 << what.min(63) != 0
    }

    /// Whether something that the client waits for is withheld.
    pub(super) fn lacks_hidden(&self, client: u32) -> bool {
        let at = client as usize;
        match self.phase[at] {
            Phase::Probe => self.is_hidden(client, PROBE),
            _ => self.missing[at] & self.hidden[at] != 0,
        }
    }

    /// Whom to ask for a cell that it wants.
    pub(super) fn next(&mut self, client: u32, what: u8) -> Next {
        let at = client as usize;
        let cell = &mut self.cells[at * self.samples + usize::from(what) % usize::from(PROBE)];
        if cell.in_flight >= HEDGED_AT_MOST {
            return Next::Wait;
        }
        let load = &mut self.load[at * self.peers..(at + 1) * self.peers];
        let untried = (0..self.peers).filter(|slot| cell.tried & 1 << slot == 0);
        let Some(slot) = untried.min_by_key(|slot| (load[*slot], self.rng.next())) else {
            if cell.in_flight > 0 {
                return Next::Wait;
            }
            let pause = self.timing.retry_after.saturating_mul(1 << cell.rounds.min(16));
            *cell = Cell { rounds: cell.rounds + 1, ..Cell::default() };
            return Next::Pause(nanos(pause.min(self.timing.retry_at_most)));
        };
        cell.tried |= 1 << slot;
        cell.in_flight += 1;
        load[slot] = load[slot].saturating_add(1);
        Next::Ask(slot as u8)
    }

    /// A request came to an end. Whether no other is in flight for this cell.
    pub(super) fn ended(&mut self, client: u32, what: u8) -> bool {
        let cell = &mut self.cells[client as usize * self.samples + usize::from(what) % usize::from(PROBE)];
        cell.in_flight = cell.in_flight.saturating_sub(1);
        cell.in_flight == 0
    }

    /// Every peer may be asked again for every missing cell: those, to be asked for at once.
    pub(super) fn forget_rounds(&mut self, client: u32) -> impl Iterator<Item = u8> + use<> {
        let at = client as usize;
        self.cells[at * self.samples..][..self.samples].fill(Cell::default());
        let (missing, samples) = (self.missing[at], self.samples as u8);
        let probing = self.phase[at] == Phase::Probe;
        let cells = (0..samples).filter(move |cell| !probing && missing & 1 << cell != 0);
        cells.chain(probing.then_some(PROBE))
    }

    /// The width is known: the draw begins.
    pub(super) fn begin(&mut self, client: u32) {
        let at = client as usize;
        self.phase[at] = Phase::Samples;
        self.cells[at * self.samples] = Cell::default();
    }

    /// A sample was verified. Whether it was the last one.
    pub(super) fn verified(&mut self, client: u32, sample: u8) -> bool {
        let at = client as usize;
        self.missing[at] &= !(1 << sample);
        let done = self.missing[at] == 0;
        if done {
            self.phase[at] = Phase::Done;
        }
        done
    }
}

/// A square of which real samplers are served.
#[derive(Debug)]
pub(super) struct Served {
    square: CommittedSquare,
}

impl Served {
    /// A full square of bytes that the seed picks.
    pub(super) fn new(width: Width, seed: u64) -> anyhow::Result<Self> {
        let mut rng = Rng::new("weft/sim-square/1", [seed]);
        let bytes: Vec<u8> =
            (0..width.shares() * SHARE_BYTES / 8).flat_map(|_| rng.next().to_be_bytes()).collect();
        let index = Index::place(&transaction_blob(&[]), Vec::new(), Width::MAX)?.index;
        Ok(Self { square: OriginalSquare::from_shares(width, &bytes)?.commit(index) })
    }

    /// The encoded sample of this cell.
    fn sample(&self, at: Coordinates) -> Option<Vec<u8>> {
        self.square.sample(at).map(|sample| sample.encode())
    }

    /// Bytes of an encoded sample at any width: as many as at the smallest, and a digest more in both paths each
    /// time the width doubles.
    pub(super) fn sample_bytes(width: Width) -> anyhow::Result<u64> {
        let smallest = Self::new(Width::MIN, 0)?;
        let sample = smallest.sample(Coordinates { row: 0, column: 0, axis: Axis::Row }).unwrap_or_default();
        let doublings = width.get().ilog2() - Width::MIN.get().ilog2();
        Ok(sample.len() as u64 + u64::from(doublings) * 64)
    }
}

/// What a real client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    /// The cell with this number.
    Cell(u8),
    /// Any cell of a block that is known to be available.
    Control,
}

/// The light client's own sampler.
#[derive(Debug)]
pub(super) struct Real {
    sampler: BlockSampler<u8>,
    /// Cells by number, the probe last.
    cells: Vec<Coordinates>,
    peers: Vec<u8>,
}

fn millis(now: Nanos) -> Millis {
    Millis(now / 1_000_000)
}

impl Real {
    pub(super) fn new(seed: Seed, served: &Served, samples: usize, peers: u8) -> Self {
        let mut cells = draw(&seed, HEIGHT, served.square.width(), samples);
        cells.push(probe(&seed, HEIGHT));
        let task = Task {
            height: HEIGHT,
            data_root: served.square.data_root(),
            seed,
            wanted: Confidence::DEFAULT,
            timing: Timing::default(),
        };
        Self { sampler: BlockSampler::new(task), cells, peers: (0..peers).collect() }
    }

    /// Its state: sampled, or alarmed, or neither yet.
    pub(super) fn end(&self) -> Option<bool> {
        match self.sampler.state() {
            State::Available { .. } => Some(true),
            State::Unavailable { .. } => Some(false),
            _ => None,
        }
    }

    /// Whether this cell is withheld.
    pub(super) fn is_withheld(&self, cell: u8, pattern: Option<&Pattern>) -> bool {
        let at = self.cells.get(usize::from(cell));
        pattern.zip(at).is_some_and(|(pattern, at)| pattern.hides(*at))
    }

    /// What it wants, of whom, and after what pause.
    pub(super) fn poll(&mut self, now: Nanos) -> Vec<(u8, Wish, Nanos)> {
        let effects = self.sampler.poll(millis(now), &self.peers, usize::MAX);
        let wish = |effect| match effect {
            Effect::Ask { peer, at, delay } => {
                let cell = self.cells.iter().position(|cell| *cell == at)?;
                Some((peer, Wish::Cell(cell as u8), nanos(delay)))
            }
            Effect::Control { peer } => Some((peer, Wish::Control, 0)),
            _ => None,
        };
        effects.into_iter().filter_map(wish).collect()
    }

    /// An answer: the sample, a refusal, or nothing within the deadline of a request.
    pub(super) fn answered(
        &mut self,
        now: Nanos,
        peer: u8,
        wish: Wish,
        served: Option<&Served>,
        silent: bool,
    ) {
        let Wish::Cell(cell) = wish else {
            let control = if silent { Control::Failed } else { Control::Served };
            self.sampler.controlled(millis(now), peer, control);
            return;
        };
        let Some(at) = self.cells.get(usize::from(cell)).copied() else { return };
        let bytes = served.and_then(|served| served.sample(at));
        let answer = match &bytes {
            Some(bytes) => Answer::Bytes(bytes),
            None if silent => Answer::Failed,
            None => Answer::Nothing,
        };
        self.sampler.answered(peer, at, answer);
    }
}
