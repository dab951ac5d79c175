//! The event queue: whole nanoseconds, one order.
//!
//! A radix heap (Ahuja, Mehlhorn, Orlin, Tarjan, "Faster algorithms for the shortest path problem", 1990):
//! time never goes back, so an event lies in the bucket of the highest bit in which its time differs from
//! now. Taking the next one empties the lowest bucket into lower ones; each event moves at most 64 times,
//! usually two or three, through memory in sequence.
//!
//! Events of one nanosecond come in an order that depends on nothing but the pushes before them.

/// Nanoseconds since the beginning of the run.
pub type Nanos = u64;

/// Events for which an empty bucket keeps its memory.
const KEPT: usize = 1 << 20;

/// Events that are still to come.
#[derive(Clone, Debug)]
pub struct EventQueue<E> {
    now: Nanos,
    waiting: usize,
    /// Bucket 0 holds what is due now; bucket b what differs from now in bit b − 1 at the highest.
    buckets: Vec<Vec<(Nanos, E)>>,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self { now: 0, waiting: 0, buckets: (0..=Nanos::BITS).map(|_| Vec::new()).collect() }
    }
}

impl<E> EventQueue<E> {
    /// When the last event was taken.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Events that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Adds an event. One that lies in the past is due now.
    pub fn push(&mut self, at: Nanos, event: E) {
        let at = at.max(self.now);
        self.waiting += 1;
        let bucket = (Nanos::BITS - (at ^ self.now).leading_zeros()) as usize;
        self.buckets[bucket].push((at, event));
    }

    /// Takes the next event, and moves on to its time.
    pub fn pop(&mut self) -> Option<(Nanos, E)> {
        if self.buckets[0].is_empty() {
            let next = self.buckets.iter().position(|bucket| !bucket.is_empty())?;
            let mut bucket = std::mem::take(&mut self.buckets[next]);
            self.now = bucket.iter().fold(Nanos::MAX, |least, (at, _)| least.min(*at));
            for (at, event) in bucket.drain(..) {
                let lower = (Nanos::BITS - (at ^ self.now).leading_zeros()) as usize;
                self.buckets[lower].push((at, event));
            }
            // Its memory serves the next ones, unless it is much: each bucket is large once.
            if bucket.capacity() <= KEPT {
                self.buckets[next] = bucket;
            }
        }
        self.waiting -= 1;
        self.buckets[0].pop()
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn events_come_in_the_order_of_a_binary_heap() {
        let mut rng = Rng::new("weft/sim-test/2", [1]);
        let (mut queue, mut heap) = (EventQueue::default(), BinaryHeap::new());
        for round in 0..20_000_u64 {
            for _ in 0..rng.below(3) {
                let spread = 1 << rng.below(40);
                let at = queue.now() + rng.below(spread);
                queue.push(at, at);
                heap.push(Reverse(at));
            }
            if round % 2 == 0 {
                let next = queue.pop();
                assert_eq!(next.map(|(at, _)| at), heap.pop().map(|Reverse(at)| at));
                assert!(next.is_none_or(|(at, event)| at == event && at == queue.now()));
            }
            assert_eq!((queue.len(), queue.is_empty()), (heap.len(), heap.is_empty()));
        }
        let rest: Vec<u64> = std::iter::from_fn(|| queue.pop().map(|(at, _)| at)).collect();
        assert_eq!(rest, std::iter::from_fn(|| heap.pop().map(|Reverse(at)| at)).collect::<Vec<_>>());
    }

    #[test]
    fn what_lies_in_the_past_is_due_now() {
        let mut queue = EventQueue::default();
        queue.push(10, 'a');
        assert_eq!(queue.pop(), Some((10, 'a')));
        queue.push(3, 'b');
        assert_eq!((queue.pop(), queue.pop()), (Some((10, 'b')), None));
    }
}
