//! Which notices of fraud proofs are followed up, and at what pace.
//!
//! ```text
//!  notice ── offer ──▶ committed? ──▶ lane of the peers that this node dialled ─┐
//!                      │ ahead: kept for a moment                              ├─ next_pull ─▶ FraudPull
//!                      └────────────▶ lane of strangers, within a budget ──────┘                   │
//!                                                                        done ◀── pulled, judged ◀─┘
//! ```
//!
//! Anybody can make up notices from ever new identities, so refusing one costs a look-up. Peers that this
//! node chose are few, and gone after the first false proof: their lane is never kept waiting by strangers.
//! Strangers share one budget of bytes to pull and check; beyond it they are to be dropped, heard or not.
//!
//! Each lane pulls one proof at a time. No clock and no I/O: `now` is an argument.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use libp2p::PeerId;
use thiserror::Error;

use super::FraudNotice;
use crate::{
    gossip::Gossip,
    peers::{Budget, Offence},
    request::MAX_FRAUDS,
};

/// What a proof costs besides its bytes: a round trip, and a check that may decode a line.
const PULL_COST_BYTES: u64 = 16 << 10;
/// What strangers' proofs may cost a second in the long run: eight small ones.
const STRANGERS_BYTES_PER_SECOND: u64 = 128 << 10;
/// What they may be ahead of that: 64 small ones. The last one may overdraw, so every size passes.
const STRANGERS_BURST_BYTES: u64 = 1 << 20;
/// Notices of strangers that wait. Beyond, the next ones are refused.
const STRANGERS_WAITING: usize = 32;
/// Notices of dialled peers that wait.
const DIALLED_WAITING: usize = 64;
/// Notices of one peer that wait: a whole list.
const WAITING_PER_PEER: usize = MAX_FRAUDS;
/// Notices of headers still to come that wait, of dialled peers and of strangers each.
const AHEAD_WAITING: usize = 32;
/// How long they do: a header is there within a few seconds of its block.
const AHEAD_PATIENCE: Duration = Duration::from_secs(20);
/// Proofs whose judgement is remembered.
const SEEN: usize = 4_096;

/// How a notice's header stands to the caller's own verified chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is in the chain.
    Committed,
    /// The chain has not reached its height yet, but may soon.
    Ahead,
    /// The chain has another header at its height, or one that the caller does not keep, or will not
    /// reach it soon. Proofs about it do nothing.
    Foreign,
}

/// Why a notice is not followed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// About no header of this chain. Nobody need be at fault.
    #[error("the header is not in the chain that was verified here")]
    Foreign,
    /// Its proof was judged, or is about to be. Nobody is at fault.
    #[error("the proof is known")]
    Known,
    /// No proof is empty or that long. The sender is at fault.
    #[error("a proof of {got} bytes, allowed are 1 to {limit}")]
    Size {
        /// Most bytes.
        limit: u32,
        /// The notice's size.
        got: u32,
    },
    /// Too many notices of the peer, or of all that this node dialled, wait. Nobody need be at fault.
    #[error("{limit} notices wait already")]
    Waiting {
        /// Most notices.
        limit: usize,
    },
    /// Strangers have sent more than is followed up. Whoever adds to it is dropped.
    #[error("strangers' proofs are over their budget")]
    Flood,
}

impl Refused {
    /// What to report the peer for.
    #[must_use]
    pub const fn offence(&self) -> Option<Offence> {
        match self {
            Self::Size { .. } | Self::Flood => Some(Offence::BadGossip),
            Self::Foreign | Self::Known | Self::Waiting { .. } => None,
        }
    }
}

/// A notice to follow up: pull its proof from the peer, judge it, and tell [`FraudScreen::done`].
#[derive(Clone, Debug)]
pub struct FraudPull {
    /// What is announced.
    pub notice: FraudNotice,
    /// Who announced it.
    pub peer: PeerId,
    /// Whether this node dialled the peer.
    pub dialled: bool,
    /// The message, to be accepted or not, if it came by gossip.
    pub gossip: Option<Gossip>,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<FraudPull>,
    busy: bool,
}

/// Decides which notices are followed up.
#[derive(Debug)]
pub struct FraudScreen {
    max_proof_bytes: u32,
    dialled: Lane,
    strangers: Lane,
    budget: Budget,
    ahead: VecDeque<(Instant, FraudPull)>,
    seen: HashSet<[u8; 32]>,
    seen_order: VecDeque<[u8; 32]>,
}

impl FraudScreen {
    /// A screen that lets proofs of at most so many bytes through.
    #[must_use]
    pub fn new(max_proof_bytes: u32, now: Instant) -> Self {
        Self {
            max_proof_bytes,
            dialled: Lane::default(),
            strangers: Lane::default(),
            budget: Budget::of(STRANGERS_BYTES_PER_SECOND, STRANGERS_BURST_BYTES, now),
            ahead: VecDeque::new(),
            seen: HashSet::new(),
            seen_order: VecDeque::new(),
        }
    }

    /// Takes in a notice, if it is to be followed up.
    ///
    /// # Errors
    /// Why it is not; its message, if it came in one, is to be ignored.
    pub fn offer(&mut self, pull: FraudPull, standing: Standing, now: Instant) -> Result<(), Refused> {
        if let Some(refused) = self.refusal(&pull, standing, now) {
            return Err(refused);
        }
        match (standing, pull.dialled) {
            (Standing::Ahead, _) => self.ahead.push_back((now, pull)),
            (_, true) => self.dialled.waiting.push_back(pull),
            (_, false) => self.strangers.waiting.push_back(pull),
        }
        Ok(())
    }

    fn refusal(&mut self, pull: &FraudPull, standing: Standing, now: Instant) -> Option<Refused> {
        let (limit, got) = (self.max_proof_bytes, pull.notice.size);
        if !(1..=limit).contains(&got) {
            return Some(Refused::Size { limit, got });
        }
        if standing == Standing::Foreign {
            return Some(Refused::Foreign);
        }
        let lane = if pull.dialled { &self.dialled } else { &self.strangers };
        // The same proof from another peer is no news, unless that one is more likely to have it.
        let waits = |other: &FraudPull| other.notice == pull.notice && other.dialled == pull.dialled;
        let known = lane.waiting.iter().any(waits) || self.ahead.iter().any(|(_, other)| waits(other));
        if known || self.seen.contains(&pull.notice.proof) {
            return Some(Refused::Known);
        }
        let ahead =
            || self.ahead.iter().map(|(_, other)| other).filter(|other| other.dialled == pull.dialled);
        let of_peer = lane.waiting.iter().chain(ahead()).filter(|other| other.peer == pull.peer).count();
        if of_peer >= WAITING_PER_PEER {
            return Some(Refused::Waiting { limit: WAITING_PER_PEER });
        }
        let (waiting, limit) = match (standing, pull.dialled) {
            (Standing::Ahead, _) => (ahead().count(), AHEAD_WAITING),
            (_, true) => (lane.waiting.len(), DIALLED_WAITING),
            (_, false) => (lane.waiting.len(), STRANGERS_WAITING),
        };
        if pull.dialled {
            return (waiting >= limit).then_some(Refused::Waiting { limit });
        }
        let cost = u64::from(got) + PULL_COST_BYTES;
        let room = waiting < limit && (standing == Standing::Ahead || self.budget.spend(now, cost));
        (!room).then_some(Refused::Flood)
    }

    /// The next proof to pull, if there is one and its lane is free.
    pub fn next_pull(&mut self) -> Option<FraudPull> {
        for lane in [&mut self.dialled, &mut self.strangers] {
            while !lane.busy
                && let Some(pull) = lane.waiting.pop_front()
            {
                if !self.seen.contains(&pull.notice.proof) {
                    lane.busy = true;
                    return Some(pull);
                }
            }
        }
        None
    }

    /// Ends what [`Self::next_pull`] began. A proof that was judged, true or false, is not asked for again;
    /// one that could not be had may be offered by others.
    pub fn done(&mut self, pull: &FraudPull, judged: bool) {
        let lane = if pull.dialled { &mut self.dialled } else { &mut self.strangers };
        lane.busy = false;
        if judged {
            self.remember(pull.notice.proof);
        }
    }

    /// Notes a proof that need not be asked for: this node has it.
    pub fn remember(&mut self, proof: [u8; 32]) {
        if self.seen.insert(proof) {
            self.seen_order.push_back(proof);
        }
        if self.seen_order.len() > SEEN
            && let Some(oldest) = self.seen_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }

    /// Takes back the notices whose header may have come: those up to `tip`, and those that waited for
    /// too long. They are to be offered anew.
    pub fn caught_up(&mut self, tip: u64, now: Instant) -> Vec<FraudPull> {
        let due = |(since, pull): &mut (Instant, FraudPull)| {
            pull.notice.height <= tip || now.saturating_duration_since(*since) >= AHEAD_PATIENCE
        };
        let mut kept = VecDeque::new();
        let mut out = Vec::new();
        for mut waiting in self.ahead.drain(..) {
            if due(&mut waiting) { out.push(waiting.1) } else { kept.push_back(waiting) }
        }
        self.ahead = kept;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(height: u64, proof: u32, peer: PeerId, dialled: bool) -> FraudPull {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&proof.to_be_bytes());
        let notice = FraudNotice { height, header: [1; 32], proof: hash, size: 1_200 };
        FraudPull { notice, peer, dialled, gossip: None }
    }

    /// A thousand strangers a second, each with a proof of its own, for ten seconds.
    #[test]
    fn a_flood_of_strangers_is_dropped_and_keeps_no_dialled_peer_waiting() {
        let start = Instant::now();
        let mut screen = FraudScreen::new(1 << 20, start);
        let (mut pulled, mut dropped, mut honest_after) = (0, 0, None);
        let honest = pull(5, u32::MAX, PeerId::random(), true);
        for n in 0..10_000 {
            let now = start + Duration::from_millis(n);
            let stranger = pull(5, n as u32, PeerId::random(), false);
            if let Err(refused) = screen.offer(stranger, Standing::Committed, now) {
                assert_eq!(refused, Refused::Flood);
                assert!(refused.offence().is_some());
                dropped += 1;
            }
            if n == 5_000 {
                assert_eq!(screen.offer(honest.clone(), Standing::Committed, now), Ok(()));
            }
            while let Some(next) = screen.next_pull() {
                pulled += u32::from(!next.dialled);
                honest_after = honest_after.or_else(|| (next.peer == honest.peer).then(|| n - 5_000));
                screen.done(&next, true);
            }
        }
        assert_eq!(honest_after, Some(0), "milliseconds that the dialled peer waited");
        // 61 at once, then 7.6 a second.
        assert!((100..150).contains(&pulled), "{pulled} proofs were checked");
        assert_eq!(pulled + dropped, 10_000);
    }

    #[test]
    fn a_proof_is_judged_once_and_asked_for_again_until_it_was() {
        let now = Instant::now();
        let mut screen = FraudScreen::new(1 << 20, now);
        let [a, b] = [PeerId::random(), PeerId::random()].map(|peer| pull(5, 7, peer, true));
        assert_eq!(screen.offer(a.clone(), Standing::Committed, now), Ok(()));
        assert_eq!(screen.offer(b.clone(), Standing::Committed, now), Err(Refused::Known));
        assert!(screen.next_pull().is_some());
        assert_eq!(screen.offer(b.clone(), Standing::Committed, now), Ok(()));
        assert!(screen.next_pull().is_none(), "one at a time");
        screen.done(&a, false);
        assert_eq!(screen.next_pull().map(|pull| pull.peer), Some(b.peer));
        screen.done(&b, true);
        assert_eq!(screen.offer(a, Standing::Committed, now), Err(Refused::Known));
    }

    #[test]
    fn a_notice_of_a_header_to_come_waits_for_it_for_a_while() {
        let now = Instant::now();
        let mut screen = FraudScreen::new(1 << 20, now);
        let [early, late] = [5, 6].map(|height| pull(height, height as u32, PeerId::random(), false));
        for pull in [&early, &late] {
            assert_eq!(screen.offer(pull.clone(), Standing::Ahead, now), Ok(()));
        }
        assert!(screen.next_pull().is_none());
        let heights = |pulls: Vec<FraudPull>| pulls.iter().map(|pull| pull.notice.height).collect::<Vec<_>>();
        assert_eq!(heights(screen.caught_up(5, now)), [5]);
        assert_eq!(heights(screen.caught_up(5, now)), [0; 0]);
        assert_eq!(heights(screen.caught_up(5, now + AHEAD_PATIENCE)), [6]);
    }

    #[test]
    fn what_no_proof_can_be_is_refused_without_a_look_at_it() {
        let now = Instant::now();
        let mut screen = FraudScreen::new(1_000, now);
        let peer = PeerId::random();
        let too_long = pull(5, 1, peer, true);
        assert_eq!(
            screen.offer(too_long, Standing::Committed, now),
            Err(Refused::Size { limit: 1_000, got: 1_200 })
        );
        let mut screen = FraudScreen::new(1 << 20, now);
        let foreign = screen.offer(pull(5, 1, peer, true), Standing::Foreign, now);
        assert_eq!(foreign, Err(Refused::Foreign));
        assert_eq!(Refused::Foreign.offence(), None);
        for n in 0..WAITING_PER_PEER as u32 {
            assert_eq!(screen.offer(pull(5, n, peer, true), Standing::Committed, now), Ok(()));
        }
        let waiting = screen.offer(pull(5, u32::MAX, peer, true), Standing::Committed, now);
        assert_eq!(waiting, Err(Refused::Waiting { limit: WAITING_PER_PEER }));
    }
}
