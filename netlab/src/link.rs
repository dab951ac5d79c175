//! One direction of a link: what becomes of a packet.

use std::time::{Duration, Instant};

/// Bytes that wait at a slow link before it drops what comes.
const QUEUE_BYTES: u64 = 1 << 20;

/// How a link treats packets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// One way.
    pub delay: Duration,
    /// Share of packets lost, 0 to 1.
    pub loss: f64,
    /// Bytes a second; `None` has no limit.
    pub rate: Option<u64>,
}

impl Link {
    /// No delay, no loss, no limit.
    pub const PERFECT: Self = Self { delay: Duration::ZERO, loss: 0.0, rate: None };

    /// Nothing arrives.
    pub const CUT: Self = Self { delay: Duration::ZERO, loss: 1.0, rate: None };

    /// Only a delay, one way.
    #[must_use]
    pub const fn delayed(delay: Duration) -> Self {
        Self { delay, ..Self::PERFECT }
    }
}

/// A link and its queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) link: Link,
    /// When the last byte that waits will have left.
    free_at: Option<Instant>,
    /// Bytes accepted so far.
    pub(crate) sent: u64,
}

impl State {
    pub(crate) const PERFECT: Self = Self { link: Link::PERFECT, free_at: None, sent: 0 };

    /// When a packet of `bytes` that comes `now` arrives, if at all; `chance` is uniform in [0, 1).
    pub(crate) fn pass(&mut self, bytes: usize, now: Instant, chance: f64) -> Option<Instant> {
        if chance < self.link.loss {
            return None;
        }
        let mut leaves = now;
        if let Some(rate) = self.link.rate.filter(|rate| *rate > 0) {
            let start = self.free_at.map_or(now, |free| free.max(now));
            if start.duration_since(now) > Duration::from_secs_f64(QUEUE_BYTES as f64 / rate as f64) {
                return None;
            }
            leaves = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
            self.free_at = Some(leaves);
        }
        self.sent += bytes as u64;
        Some(leaves + self.link.delay)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn a_rate_spaces_packets_and_a_full_queue_drops_them() {
        let now = Instant::now();
        let rate = Some(1 << 20);
        let mut state = State { link: Link { rate, ..Link::PERFECT }, ..State::PERFECT };
        let first = state.pass(1 << 19, now, 0.5).unwrap();
        let second = state.pass(1 << 19, now, 0.5).unwrap();
        assert_eq!(first - now, Duration::from_millis(500));
        assert_eq!(second - now, Duration::from_secs(1));
        state.pass(1, now, 0.5).unwrap();
        assert_eq!(state.pass(1, now, 0.5), None);
        assert_eq!(state.sent, (1 << 20) + 1);
    }

    #[test]
    fn loss_and_delay_are_as_asked() {
        let now = Instant::now();
        let link = Link { delay: Duration::from_millis(75), loss: 0.05, rate: None };
        let mut state = State { link, ..State::PERFECT };
        assert_eq!(state.pass(100, now, 0.049), None);
        assert_eq!(state.pass(100, now, 0.05), Some(now + link.delay));
        state.link = Link::CUT;
        assert_eq!(state.pass(100, now, 0.999_999), None);
    }
}
