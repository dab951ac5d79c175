//! The connected peers, and what each may still ask for.

use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use crate::{config::Limits, request::Kind};

/// What a request costs its peer besides the answer's bytes: a lookup and a proof.
pub(crate) const REQUEST_COST_BYTES: u64 = 1 << 10;

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Who it is.
    pub id: PeerId,
    /// Where it is; of an inbound connection, where it came from.
    pub address: Multiaddr,
    /// Kinds of request that it answers; empty until it has introduced itself.
    pub serves: Vec<Kind>,
    /// Whether it has introduced itself and `serves` is known.
    pub identified: bool,
    /// When its first connection was opened.
    pub connected_since: Instant,
    /// Whether this node opened it.
    pub outbound: bool,
}

/// Why a peer is dropped and banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Offence {
    /// It answered with bytes that do not prove what they should.
    WrongProof,
    /// It sent a frame that its protocol does not know.
    Malformed,
    /// It passed on gossip that no honest peer would.
    BadGossip,
    /// It is of another chain.
    WrongChain,
}

/// A peer and its budget.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) info: PeerInfo,
    /// Requests of the peer that are being served or answered.
    pub(crate) serving: usize,
    pub(crate) budget: Budget,
}

/// A leaky bucket of bytes: debts drain at a steady rate and must stay below the burst.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_per_second: u64,
    burst_bytes: u64,
    debt_bytes: u64,
    at: Instant,
}

impl Budget {
    pub(crate) const fn new(limits: &Limits, now: Instant) -> Self {
        Self::of(limits.peer_bytes_per_second, limits.peer_burst_bytes, now)
    }

    pub(crate) const fn of(bytes_per_second: u64, burst_bytes: u64, now: Instant) -> Self {
        Self { bytes_per_second, burst_bytes, debt_bytes: 0, at: now }
    }

    /// Charges `bytes` if the debt is below the burst; says whether it was.
    pub(crate) fn spend(&mut self, now: Instant, bytes: u64) -> bool {
        let allowed = self.allows(now);
        if allowed {
            self.charge(bytes);
        }
        allowed
    }

    /// Whether the debt is below the burst.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at);
        let drained = drained(elapsed, self.bytes_per_second);
        if drained > 0 {
            self.debt_bytes = self.debt_bytes.saturating_sub(drained);
            self.at = now;
        }
        self.debt_bytes < self.burst_bytes
    }

    /// Charges `bytes` whatever the debt.
    pub(crate) const fn charge(&mut self, bytes: u64) {
        self.debt_bytes = self.debt_bytes.saturating_add(bytes);
    }
}

fn drained(elapsed: Duration, bytes_per_second: u64) -> u64 {
    let bytes = elapsed.as_micros().saturating_mul(u128::from(bytes_per_second)) / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_stops_at_its_burst_and_drains_with_time() {
        let limits = Limits { peer_bytes_per_second: 1_000, peer_burst_bytes: 500, ..Limits::default() };
        let start = Instant::now();
        let mut budget = Budget::new(&limits, start);
        assert!(budget.spend(start, 499));
        assert!(budget.spend(start, 1_000), "the last one may overdraw");
        assert!(!budget.spend(start, 1));
        assert!(!budget.spend(start + Duration::from_millis(999), 1));
        assert!(budget.spend(start + Duration::from_millis(1_000), 1));
        budget.charge(u64::MAX);
        assert!(!budget.spend(start + Duration::from_secs(3_600), 1));
    }
}
