//! Work spread over the cores, with results that do not depend on how many there are.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// As many threads as there are cores.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Hands the numbers from 0 to `items − 1` to `work` in batches, in no particular order.
pub(crate) fn batches(threads: usize, items: u64, batch: u64, work: impl Fn(Range<u64>) + Sync) {
    let next = AtomicU64::new(0);
    let run = || {
        loop {
            let first = next.fetch_add(batch, Ordering::Relaxed);
            let range = first..items.min(first.saturating_add(batch));
            if range.is_empty() {
                return;
            }
            work(range);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(run);
        }
    });
}

/// What `work` makes of each number from 0 to `items − 1`, in that order.
pub(crate) fn map<T: Send>(items: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let done = Mutex::new(Vec::new());
    batches(cores(), items, 1, |range| {
        for item in range {
            let result = work(item);
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((item, result));
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(item, _)| *item);
    done.into_iter().map(|(_, result)| result).collect()
}
