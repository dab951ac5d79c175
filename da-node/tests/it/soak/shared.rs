//! What all parts of a soak share: the time, which machines are well, the book of promises, what was broken.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    checks::{Broken, PATIENCE},
    load::Book,
    machines::{FULL, LIGHTS},
    schedule::Fault,
};
use crate::faults::field::VALIDATORS;

/// What was broken, and when.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Violation {
    pub(super) at_seconds: f64,
    pub(super) what: Broken,
}

/// Which machines run and reach each other.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// Those that can answer this process, which is cut off from nobody.
    pub(super) running: Vec<bool>,
    pub(super) pids: Vec<Option<u32>>,
    /// Since when each has been running and reachable.
    pub(super) well: Vec<Option<Duration>>,
    /// Since when enough validators have been.
    pub(super) quorum: Option<Duration>,
}

impl World {
    pub(super) fn new(pids: Vec<Option<u32>>) -> Self {
        let well = vec![Some(Duration::ZERO); pids.len()];
        Self { running: vec![true; pids.len()], pids, well, quorum: Some(Duration::ZERO) }
    }

    /// What it is from `now` on.
    pub(super) fn change(&mut self, now: Duration, active: &[Fault], pids: Vec<Option<u32>>) {
        let in_some = |machines: fn(&Fault) -> &[usize], machine: usize| {
            active.iter().any(|fault| machines(fault).contains(&machine))
        };
        for (at, well) in self.well.iter_mut().enumerate() {
            self.running[at] = !in_some(Fault::down, at + 1);
            *well = if in_some(Fault::away, at + 1) { None } else { well.or(Some(now)) };
        }
        self.pids = pids;
        let well = self.well[..VALIDATORS].iter().flatten().count();
        self.quorum = if well * 3 > VALIDATORS * 2 { self.quorum.or(Some(now)) } else { None };
    }
}

/// What all parts of a soak share.
pub(super) struct Shared {
    started: Instant,
    over: AtomicBool,
    world: Mutex<World>,
    book: Mutex<Book>,
    violations: Mutex<Vec<Violation>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Everything runs, from now on.
    pub(super) fn new(pids: Vec<Option<u32>>) -> Self {
        Self {
            started: Instant::now(),
            over: AtomicBool::new(false),
            world: Mutex::new(World::new(pids)),
            book: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// When it is this long after the start.
    pub(super) fn at(&self, time: Duration) -> Instant {
        self.started + time
    }

    /// No more load.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Tells which faults are active from now on, and which processes there are.
    pub(super) fn change(&self, active: &[Fault], pids: Vec<Option<u32>>) {
        lock(&self.world).change(self.now(), active, pids);
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        lock(&self.violations).clone()
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    pub(super) fn world(&self) -> World {
        lock(&self.world).clone()
    }

    /// Nodes that have been running and reachable for a while.
    pub(super) fn well_nodes(&self) -> Vec<usize> {
        let (now, world) = (self.now(), self.world());
        let is_well =
            |node: &usize| world.well[node - 1].is_some_and(|well| now.saturating_sub(well) > PATIENCE / 4);
        (1..=FULL).filter(is_well).collect()
    }

    pub(super) fn fail(&self, what: Broken) {
        println!("{:>6.1} s  BROKEN: {what}", self.now().as_secs_f64());
        lock(&self.violations).push(Violation { at_seconds: self.now().as_secs_f64(), what });
    }

    pub(super) fn must(&self, check: Result<(), Broken>) {
        if let Err(what) = check {
            self.fail(what);
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        !lock(&self.violations).is_empty()
    }
}

#[test]
fn a_quorum_counts_from_when_three_validators_are_back() {
    let second = Duration::from_secs;
    let pids = || vec![Some(1); *LIGHTS.end()];
    let mut world = World::new(pids());
    let (frozen, halves) = (Fault::Frozen(FULL), Fault::Cut(vec![1, 2]));
    world.change(second(1), &[frozen, halves.clone()], pids());
    assert_eq!((world.quorum, world.well[0], world.well[2]), (None, None, Some(second(0))));
    assert_eq!((world.running[0], world.running[FULL - 1]), (true, false));
    world.change(second(2), &[halves], pids());
    assert_eq!((world.quorum, world.well[FULL - 1]), (None, Some(second(2))));
    world.change(second(3), &[Fault::Killed(vec![4])], pids());
    assert_eq!((world.quorum, world.well[0], world.well[3]), (Some(second(3)), Some(second(3)), None));
    world.change(second(4), &[], pids());
    assert_eq!((world.quorum, world.well[3]), (Some(second(3)), Some(second(4))));
}
