//! A step that several threads do together, part by part.

use std::{
    hint,
    iter::Enumerate,
    sync::{Mutex, OnceLock, PoisonError},
};

/// How often a thread looks for what another one does before it sleeps: about a hundred microseconds, some times
/// what waking it would take, and longer than threads that started one after the other end apart.
const LOOKS: usize = 5_000;

/// Parts, each done once by whichever thread takes it, and what becomes of them.
pub(super) struct Step<I: Iterator, R> {
    parts: Mutex<Enumerate<I>>,
    /// None of a part whose thread panicked.
    results: Vec<OnceLock<Option<R>>>,
}

impl<I: Iterator, R> Step<I, R> {
    /// A step of at most `count` parts.
    pub(super) fn new(count: usize, parts: impl IntoIterator<IntoIter = I>) -> Self {
        let parts = Mutex::new(parts.into_iter().enumerate());
        Self { parts, results: (0..count).map(|_| OnceLock::new()).collect() }
    }

    /// Does parts, given with their number, until none is left to take.
    pub(super) fn work(&self, mut work: impl FnMut(usize, I::Item) -> R) {
        while let Some((number, part)) = self.take() {
            let mut claim = Claim { slot: &self.results[number], result: None };
            claim.result = Some(work(number, part));
        }
    }

    fn take(&self) -> Option<(usize, I::Item)> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// The results in order, waiting for those that other threads are at.
    pub(super) fn results(&self) -> impl Iterator<Item = &R> {
        self.results.iter().filter_map(|slot| soon(|| slot.get()).unwrap_or_else(|| slot.wait()).as_ref())
    }
}

/// What another thread is about to give; none if it takes long.
pub(super) fn soon<T>(given: impl Fn() -> Option<T>) -> Option<T> {
    (0..LOOKS).find_map(|_| {
        hint::spin_loop();
        given()
    })
}

/// A part in work. Dropped by a panic it leaves no result, so that nobody waits for one.
struct Claim<'a, R> {
    slot: &'a OnceLock<Option<R>>,
    result: Option<R>,
}

impl<R> Drop for Claim<'_, R> {
    fn drop(&mut self) {
        // Each part is taken once, so its slot is empty.
        let _ = self.slot.set(self.result.take());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;
    use std::thread;

    #[test]
    fn every_part_is_done_once_and_its_result_is_in_its_place() {
        for threads in 1..5 {
            let step = Step::new(100, 0..100);
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        step.work(|number, part| (number, part * part));
                        let results: Vec<_> = step.results().copied().collect();
                        assert_eq!(results, (0..100).map(|i| (i, i * i)).collect::<Vec<_>>());
                    });
                }
            });
        }
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let step = Step::new(3, 0..3);
        let work = || step.work(|_, part| assert_ne!(part, 1));
        assert!(thread::scope(|scope| scope.spawn(work).join()).is_err());
        work();
        assert_eq!(step.results().count(), 2);
    }
}
