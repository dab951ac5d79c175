//! Which node is asked when: the next one as soon as one failed, or has been silent for too long.
//!
//! ```text
//!  ask A ── silent for 1 s ──▶ ask B ── silent for 2 s ──▶ ask C        the first good answer counts
//!     └──── failed ──────────▶ ask B
//! ```
//!
//! These are hedged requests (Dean and Barroso, *The Tail at Scale*, 2013): nothing is cut off for its silence, so that
//! a slow node costs a second question and never an answer. Two nodes may therefore do what is asked, which harms
//! nothing that goes this way: reads, and signed transactions, which are included once. Each silence borne is twice the
//! one before, so that nodes that are all slow under load are not asked many times more.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A node that gives no sign of life for so long is slow, unless its request says otherwise. An answer takes
/// milliseconds, and a lost packet's repetition some hundred.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// A slow node is asked after the others for so long.
pub(super) const SLOW_FOR: Duration = Duration::from_secs(30);

/// How much longer a slow node is waited for once all others have answered that they cannot help.
const GRACE: Duration = Duration::from_secs(3);

/// Until when a node's silence means nothing: moved on by each sign of life, and by requests that take time.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    pub(super) fn until(due: Instant) -> Self {
        Self(Arc::new(Mutex::new(due)))
    }

    /// Silence from now on means nothing for so long.
    pub(super) fn allow(&self, silence: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + silence;
    }

    fn due(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node's base URL, its place in the list, and its pulse while it is asked something.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) url: String,
    pub(super) at: usize,
    pub(super) pulse: Pulse,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Ask this node.
    Ask(Node),
    /// Wait for an answer, at most until then.
    Wait(Option<Instant>),
    /// Nobody is worth waiting for any more.
    Over,
}

/// The nodes that may be asked one thing, and those that are.
#[derive(Debug)]
pub(super) struct Race {
    left: VecDeque<Node>,
    /// In the order asked.
    running: Vec<Node>,
    failed: bool,
    answered: bool,
}

impl Race {
    pub(super) fn new(left: VecDeque<Node>) -> Self {
        Self { left, running: Vec::new(), failed: false, answered: false }
    }

    pub(super) fn step(&mut self, now: Instant) -> Step {
        match self.due(now) {
            Some(due) if due <= now => {}
            due => return Step::Wait(due),
        }
        self.failed = false;
        match self.left.pop_front() {
            None => Step::Over,
            Some(node) => {
                self.running.push(node.clone());
                Step::Ask(node)
            }
        }
    }

    /// Until when those that run are waited for, before another is asked or they are given up; none: until they end.
    fn due(&self, now: Instant) -> Option<Instant> {
        let Some(newest) = self.running.last() else { return Some(now) };
        if self.left.is_empty() {
            let last = self.running.iter().map(|node| node.pulse.due()).max();
            return last.filter(|_| self.answered).map(|due| due + GRACE);
        }
        if self.failed {
            return Some(now);
        }
        let others = (self.running.len() - 1).min(10);
        Some(newest.pulse.due() + SLOW * ((1 << others) - 1))
    }

    /// Those that are slow at `now`.
    pub(super) fn slow(&self, now: Instant) -> impl Iterator<Item = &Node> {
        self.running.iter().filter(move |node| node.pulse.due() <= now)
    }

    /// A node failed: by an answer that is none, or without one.
    pub(super) fn fail(&mut self, node: &Node, by_answer: bool) {
        self.running.retain(|other| other.at != node.at);
        self.failed = true;
        self.answered |= by_answer;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A race of nodes that may be silent until `SLOW` after `start`.
    fn race(nodes: usize, start: Instant) -> Race {
        let node = |at| Node { url: String::new(), at, pulse: Pulse::until(start + SLOW) };
        Race::new((0..nodes).map(node).collect())
    }

    fn asked(race: &mut Race, now: Instant) -> Node {
        match race.step(now) {
            Step::Ask(node) => node,
            step => panic!("{step:?}"),
        }
    }

    fn waits(race: &mut Race, now: Instant) -> Option<Instant> {
        match race.step(now) {
            Step::Wait(until) => until,
            step => panic!("{step:?}"),
        }
    }

    fn ats<'a>(nodes: impl Iterator<Item = &'a Node>) -> Vec<usize> {
        nodes.map(|node| node.at).collect()
    }

    #[test]
    fn the_next_is_asked_after_a_silence_that_doubles() {
        let start = Instant::now();
        let mut race = race(3, start);
        assert_eq!(asked(&mut race, start).at, 0);
        assert_eq!(waits(&mut race, start), Some(start + SLOW));
        assert!(ats(race.slow(start + SLOW - MS)).is_empty());
        assert_eq!(ats(race.slow(start + SLOW)), [0]);
        let second = asked(&mut race, start + SLOW);
        *second.pulse.0.lock().unwrap() = start + SLOW * 2;
        assert_eq!(waits(&mut race, start + SLOW), Some(start + SLOW * 3));
        assert_eq!(asked(&mut race, start + SLOW * 3).at, 2);
        assert_eq!(waits(&mut race, start + SLOW * 60), None, "nothing is cut off for its silence");
    }

    #[test]
    fn who_gives_signs_of_life_is_waited_for() {
        let start = Instant::now();
        let mut race = race(2, start);
        let first = asked(&mut race, start);
        for beat in 1..100 {
            *first.pulse.0.lock().unwrap() = start + SLOW * beat;
            assert_eq!(waits(&mut race, start + SLOW * beat - MS), Some(start + SLOW * beat));
        }
    }

    #[test]
    fn a_failure_has_the_next_asked_at_once_whoever_else_is_silent() {
        let start = Instant::now();
        let mut race = race(4, start);
        let first = asked(&mut race, start);
        race.fail(&first, false);
        assert_eq!(asked(&mut race, start).at, 1);
        let third = asked(&mut race, start + SLOW);
        race.fail(&third, false);
        assert_eq!(asked(&mut race, start + SLOW).at, 3);
        assert_eq!(waits(&mut race, start + SLOW), None);
    }

    #[test]
    fn the_silent_are_given_up_only_when_all_others_answered_that_they_cannot_help() {
        let start = Instant::now();
        for by_answer in [false, true] {
            let mut race = race(2, start);
            asked(&mut race, start);
            let second = asked(&mut race, start + SLOW);
            race.fail(&second, by_answer);
            let limit = start + SLOW + GRACE;
            assert_eq!(waits(&mut race, start + SLOW), by_answer.then_some(limit));
            assert_eq!(matches!(race.step(limit), Step::Over), by_answer);
        }
    }

    #[test]
    fn it_is_over_when_all_have_failed() {
        let start = Instant::now();
        let mut race = race(1, start);
        let only = asked(&mut race, start);
        assert_eq!(waits(&mut race, start + SLOW * 60), None, "there is nobody else");
        race.fail(&only, false);
        assert!(matches!(race.step(start), Step::Over));
    }
}
