//! What fails when, and what is drawn besides: all of it follows from the seed.
//!
//! ```text
//!  validators  ─ quiet ─ fault ─ quiet ─ fault ─ …     one at a time; two kinds take the quorum away
//!  edge        ─── quiet ─── fault ─── quiet ─ …       full node and light clients; never the quorum
//! ```
//!
//! Each track goes through its kinds in a drawn order before any comes again, so that a short soak has all of them.

use std::{fmt, ops::RangeInclusive, time::Duration};

use super::machines::{FULL, LIGHTS, name};
use crate::faults::field::VALIDATORS;

/// Before the first fault.
const WARM_UP_SECONDS: u64 = 20;

/// After the last fault, for all to come together.
pub(super) const CALM: Duration = Duration::from_secs(60);

/// How long a fault lasts, and how long its track is quiet after it. No machine is away for longer than a submission
/// is valid, 100 blocks.
const FAULT_SECONDS: RangeInclusive<u64> = 5..=35;
const QUIET_SECONDS: RangeInclusive<u64> = 10..=25;

/// Numbers that follow from a seed and a purpose.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    of: Vec<u8>,
    count: u64,
}

impl Draw {
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        Self { of: [&seed.to_be_bytes(), purpose.as_bytes()].concat(), count: 0 }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.count += 1;
        let hash = erasure::sha256(&[&self.of[..], &self.count.to_be_bytes()].concat());
        u64::from_be_bytes(*hash.first_chunk().unwrap())
    }

    pub(super) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.number() % (range.end() - range.start() + 1)
    }

    /// Below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    /// Uniform in [0, 1).
    pub(super) fn part(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn shuffled<T>(&mut self, items: impl IntoIterator<Item = T>) -> Vec<T> {
        let mut items: Vec<_> = items.into_iter().collect();
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
        items
    }
}

/// What fails. Machines are numbered: validators 1 to 4, the full node 5, light clients from 6 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Killed as by a power cut, and started again at the end.
    Killed(Vec<usize>),
    /// Asked to stop, and started again at the end.
    Stopped(usize),
    /// SIGSTOP, and SIGCONT at the end.
    Frozen(usize),
    /// Every link has a delay, one way, and loses packets.
    Far { delay_ms: u64, loss_percent: u64 },
    /// The links of one machine carry so many KiB a second.
    Slow { machine: usize, kib: u64 },
    /// The links of these machines lose packets.
    Lossy { machines: Vec<usize>, percent: u64 },
    /// No packet between these machines and the others.
    Cut(Vec<usize>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |machines: &[usize]| machines.iter().map(|m| name(*m)).collect::<Vec<_>>().join(", ");
        match self {
            Self::Killed(machines) => write!(f, "{} killed", names(machines)),
            Self::Stopped(machine) => write!(f, "{} stopped", name(*machine)),
            Self::Frozen(machine) => write!(f, "{} frozen", name(*machine)),
            Self::Far { delay_ms, loss_percent } => {
                write!(f, "{delay_ms} ms and {loss_percent} % loss on every link")
            }
            Self::Slow { machine, kib } => write!(f, "{} has {kib} KiB/s", name(*machine)),
            Self::Lossy { machines, percent } => {
                write!(f, "{percent} % loss at {}", names(machines))
            }
            Self::Cut(machines) => write!(f, "{} cut off", names(machines)),
        }
    }
}

impl Fault {
    /// Machines that do nothing while it lasts.
    pub(super) fn down(&self) -> &[usize] {
        match self {
            Self::Killed(machines) => machines,
            Self::Stopped(machine) | Self::Frozen(machine) => std::slice::from_ref(machine),
            Self::Far { .. } | Self::Slow { .. } | Self::Lossy { .. } | Self::Cut(_) => &[],
        }
    }

    /// Machines that the others cannot reach while it lasts.
    pub(super) fn away(&self) -> &[usize] {
        match self {
            Self::Cut(machines) => machines,
            other => other.down(),
        }
    }

    /// Whether no block can be decided while it lasts.
    pub(super) fn halts(&self) -> bool {
        self.away().iter().filter(|machine| **machine <= VALIDATORS).count() * 3 >= VALIDATORS
    }
}

/// A fault and its time, since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Episode {
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) fault: Fault,
}

/// The kinds of each track.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Kill,
    Stop,
    Freeze,
    KillTwo,
    Halves,
    CutOne,
    Far,
    Slow,
    KillFull,
    FreezeFull,
    KillLights,
    CutLights,
    LossyLights,
}

const OF_VALIDATORS: [Kind; 8] =
    [Kind::Kill, Kind::Stop, Kind::Freeze, Kind::KillTwo, Kind::Halves, Kind::CutOne, Kind::Far, Kind::Slow];
const OF_THE_EDGE: [Kind; 5] =
    [Kind::KillFull, Kind::FreezeFull, Kind::KillLights, Kind::CutLights, Kind::LossyLights];

impl Kind {
    /// The first validator and the first half of the light clients never end, so that what grows shows.
    fn draw(self, draw: &mut Draw) -> Fault {
        let validators = draw.shuffled(1..=VALIDATORS);
        let mortal = draw.shuffled(2..=VALIDATORS);
        let lights = draw.shuffled(LIGHTS);
        let mortal_lights = draw.shuffled(LIGHTS.start() + lights.len() / 2..=*LIGHTS.end());
        let some = 1 + draw.below(lights.len() / 2);
        match self {
            Self::Kill => Fault::Killed(vec![mortal[0]]),
            Self::Stop => Fault::Stopped(mortal[0]),
            Self::Freeze => Fault::Frozen(validators[0]),
            Self::KillTwo => Fault::Killed(mortal[..2].to_vec()),
            Self::Halves => Fault::Cut(validators[..2].to_vec()),
            Self::CutOne => Fault::Cut(vec![validators[0]]),
            Self::Far => Fault::Far { delay_ms: draw.within(50..=200), loss_percent: draw.within(1..=5) },
            Self::Slow => Fault::Slow { machine: validators[0], kib: draw.within(256..=1_024) },
            Self::KillFull => Fault::Killed(vec![FULL]),
            Self::FreezeFull => Fault::Frozen(FULL),
            Self::KillLights => Fault::Killed(mortal_lights[..some].to_vec()),
            Self::CutLights => Fault::Cut(lights[..some].to_vec()),
            Self::LossyLights => {
                Fault::Lossy { machines: lights[..some].to_vec(), percent: draw.within(5..=20) }
            }
        }
    }
}

/// All faults of a soak of this length, by the time at which they begin.
pub(super) fn draw(seed: u64, length: Duration) -> Vec<Episode> {
    let end = length.saturating_sub(CALM);
    let mut episodes = track(seed, "validators", &OF_VALIDATORS, end);
    episodes.extend(track(seed, "edge", &OF_THE_EDGE, end));
    episodes.sort_by_key(|episode| episode.from);
    episodes
}

fn track(seed: u64, name: &str, kinds: &[Kind], end: Duration) -> Vec<Episode> {
    let mut draw = Draw::new(seed, name);
    let mut seconds = |range| Duration::from_secs(draw.within(range));
    let mut times = Vec::new();
    let mut at = Duration::from_secs(WARM_UP_SECONDS);
    loop {
        let (from, to) = (at, at + seconds(FAULT_SECONDS));
        if to > end {
            break;
        }
        times.push((from, to));
        at = to + seconds(QUIET_SECONDS);
    }
    let mut bag = Vec::new();
    let mut next = || {
        if bag.is_empty() {
            bag = draw.shuffled(kinds.iter().copied());
        }
        bag.pop().unwrap().draw(&mut draw)
    };
    times.into_iter().map(|(from, to)| Episode { from, to, fault: next() }).collect()
}

#[test]
fn one_seed_draws_one_schedule_with_every_kind_and_ends_in_calm() {
    let length = Duration::from_secs(600);
    let schedule = draw(7, length);
    assert_eq!(schedule, draw(7, length));
    assert_ne!(schedule, draw(8, length));
    let kinds: std::collections::BTreeSet<_> = schedule
        .iter()
        .map(|e| format!("{:?} {}", std::mem::discriminant(&e.fault), e.fault.halts()))
        .collect();
    // Killed and cut, with the quorum and without; stopped, frozen, far, slow, lossy.
    assert_eq!(kinds.len(), 9, "{schedule:#?}");
    assert!(schedule.iter().all(|e| e.from < e.to && e.to <= length - CALM));
}

#[test]
fn at_most_one_fault_at_a_time_touches_the_validators() {
    for seed in 0..20 {
        let schedule = draw(seed, Duration::from_secs(3_600));
        let touching = |e: &&Episode| e.fault.away().iter().any(|machine| *machine <= VALIDATORS);
        let touching: Vec<_> = schedule.iter().filter(touching).collect();
        assert!(touching.len() > 30);
        assert!(touching.windows(2).all(|pair| pair[0].to < pair[1].from), "seed {seed}");
        let ends = |e: &Episode| matches!(e.fault, Fault::Killed(_) | Fault::Stopped(_));
        assert!(schedule.iter().filter(|e| ends(e)).all(|e| !e.fault.away().contains(&1)), "seed {seed}");
    }
}
