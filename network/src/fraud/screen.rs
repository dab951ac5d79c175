//! Which notices of fraud proofs are followed up, and at what pace.
//!
//! ```text
//!  notice ── offer ──▶ committed? ──▶ lane of the peers that this node dialled ─┐
//!                      │ ahead: kept for a moment                              ├─ next_pull ─▶ FraudPull
//!                      └────────────▶ lane of strangers, within a budget ──────┘                   │
//!                                                                        done ◀── pulled, judged ◀─┘
//! ```
//!
//! Anybody can make up notices from ever new identities, so refusing one costs a look-up at most, and none
//! once strangers have used up their budget. Peers that this node chose are few, and gone after the first
//! false proof: their lane is never kept waiting by strangers. Strangers share one budget of bytes to pull
//! and check, which what leads to no pull draws on, too; beyond it they are to be dropped, heard or not.
//!
//! Each lane pulls one proof at a time. A peer that did not give one loses its place for the others that it
//! announced. What was judged is a notice as a whole: the same proof against another header is another one,
//! so that nobody can silence a true notice by naming its proof falsely.
//!
//! No clock and no I/O: `now` is an argument.

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
/// What a stranger's notice costs that leads to no pull: a look-up, or a place to wait in.
const LOOK_UP_COST_BYTES: u64 = 4 << 10;
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
/// Notices whose judgement is remembered.
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
    /// It was judged, or is about to be. Nobody is at fault.
    #[error("the notice is known")]
    Known,
    /// No proof is empty or that long. The sender is at fault.
    #[error("a proof of {got} bytes, allowed are 1 to {limit}")]
    Size {
        /// Most bytes.
        limit: u32,
        /// The notice's size.
        got: u32,
    },
    /// Too many notices of the peer, of all that this node dialled, or of headers to come wait. Nobody need
    /// be at fault.
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
    /// When the notice was offered first: one of a header to come waits from then on. None of a new one.
    pub since: Option<Instant>,
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
    ahead: VecDeque<FraudPull>,
    seen: HashSet<FraudNotice>,
    seen_order: VecDeque<FraudNotice>,
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

    /// Takes in a notice, if it is to be followed up. How its header stands is asked last: only of what is
    /// not refused anyhow.
    ///
    /// # Errors
    /// Why it is not; its message, if it came in one, is to be ignored.
    pub fn offer(
        &mut self,
        mut pull: FraudPull,
        now: Instant,
        standing: impl FnOnce() -> Standing,
    ) -> Result<(), Refused> {
        self.look_at(&pull, now)?;
        let standing = standing();
        if standing != Standing::Committed {
            self.charge_look_up(&pull);
        }
        let lane = match standing {
            Standing::Committed => self.lane_of(&pull, now)?,
            Standing::Ahead => self.ahead_of(&pull, now)?,
            Standing::Foreign => return Err(Refused::Foreign),
        };
        pull.since.get_or_insert(now);
        lane.push_back(pull);
        Ok(())
    }

    /// Strangers pay for notices that lead to no pull, once each.
    const fn charge_look_up(&mut self, pull: &FraudPull) {
        if !pull.dialled && pull.since.is_none() {
            self.budget.charge(LOOK_UP_COST_BYTES);
        }
    }

    /// Refuses what need not be looked up.
    fn look_at(&mut self, pull: &FraudPull, now: Instant) -> Result<(), Refused> {
        let (limit, got) = (self.max_proof_bytes, pull.notice.size);
        if !(1..=limit).contains(&got) {
            return Err(Refused::Size { limit, got });
        }
        let lane = if pull.dialled { &self.dialled } else { &self.strangers };
        // The same proof from another peer is no news, unless that one is more likely to have it.
        let waiting = || lane.waiting.iter().chain(&self.ahead).filter(|other| other.dialled == pull.dialled);
        if self.seen.contains(&pull.notice) || waiting().any(|other| other.notice == pull.notice) {
            return Err(Refused::Known);
        }
        let of_peer = waiting().filter(|other| other.peer == pull.peer).count();
        // One that waited was let in.
        if !pull.dialled && pull.since.is_none() && !self.budget.allows(now) {
            return Err(Refused::Flood);
        }
        if of_peer >= WAITING_PER_PEER {
            self.charge_look_up(pull);
            return Err(Refused::Waiting { limit: WAITING_PER_PEER });
        }
        Ok(())
    }

    /// The lane of a notice about a committed header, if there is room.
    fn lane_of(&mut self, pull: &FraudPull, now: Instant) -> Result<&mut VecDeque<FraudPull>, Refused> {
        if pull.dialled {
            let (limit, lane) = (DIALLED_WAITING, &mut self.dialled.waiting);
            return if lane.len() < limit { Ok(lane) } else { Err(Refused::Waiting { limit }) };
        }
        let lane = &mut self.strangers.waiting;
        let cost = u64::from(pull.notice.size) + PULL_COST_BYTES;
        let room = lane.len() < STRANGERS_WAITING && self.budget.spend(now, cost);
        if room { Ok(lane) } else { Err(Refused::Flood) }
    }

    /// Where notices of headers to come wait, if there is room and this one has not waited for too long.
    fn ahead_of(&mut self, pull: &FraudPull, now: Instant) -> Result<&mut VecDeque<FraudPull>, Refused> {
        if waited_too_long(pull, now) {
            return Err(Refused::Foreign);
        }
        let (limit, lane) = (AHEAD_WAITING, &mut self.ahead);
        let waiting = lane.iter().filter(|other| other.dialled == pull.dialled).count();
        if waiting < limit { Ok(lane) } else { Err(Refused::Waiting { limit }) }
    }

    /// The next proof to pull, if there is one and its lane is free.
    pub fn next_pull(&mut self) -> Option<FraudPull> {
        for lane in [&mut self.dialled, &mut self.strangers] {
            while !lane.busy
                && let Some(pull) = lane.waiting.pop_front()
            {
                if !self.seen.contains(&pull.notice) {
                    lane.busy = true;
                    return Some(pull);
                }
            }
        }
        None
    }

    /// Ends what [`Self::next_pull`] began. A notice that was judged, true or false, is not followed up
    /// again; a proof that could not be had may be offered by others, and what else its peer announced no
    /// longer waits.
    pub fn done(&mut self, pull: &FraudPull, judged: bool) {
        let lane = if pull.dialled { &mut self.dialled } else { &mut self.strangers };
        lane.busy = false;
        if judged {
            self.remember(pull.notice);
        } else {
            lane.waiting.retain(|other| other.peer != pull.peer);
        }
    }

    fn remember(&mut self, notice: FraudNotice) {
        if self.seen.insert(notice) {
            self.seen_order.push_back(notice);
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
        let (due, kept) =
            self.ahead.drain(..).partition(|pull| pull.notice.height <= tip || waited_too_long(pull, now));
        self.ahead = kept;
        Vec::from(due)
    }
}

fn waited_too_long(pull: &FraudPull, now: Instant) -> bool {
    pull.since.is_some_and(|since| now.saturating_duration_since(since) >= AHEAD_PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(height: u64, proof: u32, peer: PeerId, dialled: bool) -> FraudPull {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&proof.to_be_bytes());
        let notice = FraudNotice { height, header: [1; 32], proof: hash, size: 1_200 };
        FraudPull { notice, peer, dialled, since: None, gossip: None }
    }

    fn committed() -> Standing {
        Standing::Committed
    }

    fn ahead() -> Standing {
        Standing::Ahead
    }

    fn foreign() -> Standing {
        Standing::Foreign
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
            if let Err(refused) = screen.offer(stranger, now, committed) {
                assert_eq!(refused, Refused::Flood);
                assert!(refused.offence().is_some());
                dropped += 1;
            }
            if n == 5_000 {
                assert_eq!(screen.offer(honest.clone(), now, committed), Ok(()));
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
        assert_eq!(screen.offer(a.clone(), now, committed), Ok(()));
        assert_eq!(screen.offer(b.clone(), now, committed), Err(Refused::Known));
        assert!(screen.next_pull().is_some());
        assert_eq!(screen.offer(b.clone(), now, committed), Ok(()));
        assert!(screen.next_pull().is_none(), "one at a time");
        screen.done(&a, false);
        assert_eq!(screen.next_pull().map(|pull| pull.peer), Some(b.peer));
        screen.done(&b, true);
        assert_eq!(screen.offer(a, now, committed), Err(Refused::Known));
    }

    #[test]
    fn a_notice_of_a_header_to_come_waits_for_it_for_a_while() {
        let now = Instant::now();
        let mut screen = FraudScreen::new(1 << 20, now);
        let [early, late] = [5, 6].map(|height| pull(height, height as u32, PeerId::random(), false));
        for pull in [&early, &late] {
            assert_eq!(screen.offer(pull.clone(), now, ahead), Ok(()));
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
        assert_eq!(screen.offer(too_long, now, committed), Err(Refused::Size { limit: 1_000, got: 1_200 }));
        let mut screen = FraudScreen::new(1 << 20, now);
        assert_eq!(screen.offer(pull(5, 1, peer, true), now, foreign), Err(Refused::Foreign));
        assert_eq!(Refused::Foreign.offence(), None);
        for n in 0..WAITING_PER_PEER as u32 {
            assert_eq!(screen.offer(pull(5, n, peer, true), now, committed), Ok(()));
        }
        let waiting = screen.offer(pull(5, u32::MAX, peer, true), now, committed);
        assert_eq!(waiting, Err(Refused::Waiting { limit: WAITING_PER_PEER }));
    }

    /// A stranger that names a true proof with another header is wrong; the true notice is still followed up.
    #[test]
    fn a_false_notice_of_a_proof_does_not_silence_the_true_one() {
        let now = Instant::now();
        let mut screen = FraudScreen::new(1 << 20, now);
        let truth = pull(5, 7, PeerId::random(), true);
        let mut lies = [truth.clone(), truth.clone(), truth.clone()];
        lies[0].notice.height = 4;
        lies[1].notice.header = [2; 32];
        lies[2].notice.size += 1;
        for mut lie in lies {
            (lie.peer, lie.dialled) = (PeerId::random(), false);
            assert_eq!(screen.offer(lie.clone(), now, committed), Ok(()));
            assert_eq!(screen.next_pull().map(|pull| pull.peer), Some(lie.peer));
            screen.done(&lie, true);
            assert_eq!(screen.offer(lie, now, committed), Err(Refused::Known));
        }
        assert_eq!(screen.offer(truth.clone(), now, committed), Ok(()));
        assert_eq!(screen.next_pull().map(|pull| pull.peer), Some(truth.peer));
    }

    #[test]
    fn a_peer_that_does_not_give_a_proof_does_not_hold_the_lane() {
        let now = Instant::now();
        let mut screen = FraudScreen::new(1 << 20, now);
        let [slow, honest] = [PeerId::random(), PeerId::random()];
        for n in 0..WAITING_PER_PEER as u32 {
            assert_eq!(screen.offer(pull(5, n, slow, true), now, committed), Ok(()));
        }
        assert_eq!(screen.offer(pull(5, u32::MAX, honest, true), now, committed), Ok(()));
        let first = screen.next_pull();
        assert_eq!(first.as_ref().map(|pull| pull.peer), Some(slow));
        first.iter().for_each(|first| screen.done(first, false));
        assert_eq!(screen.next_pull().map(|pull| pull.peer), Some(honest));
    }

    #[test]
    fn full_places_ahead_put_nobody_at_fault_and_waiting_anew_begins_nothing_anew() {
        let now = Instant::now();
        let mut screen = FraudScreen::new(1 << 20, now);
        for n in 0..AHEAD_WAITING as u32 {
            assert_eq!(screen.offer(pull(5, n, PeerId::random(), false), now, ahead), Ok(()));
        }
        let full = screen.offer(pull(5, u32::MAX, PeerId::random(), false), now, ahead);
        assert_eq!(full, Err(Refused::Waiting { limit: AHEAD_WAITING }));
        assert_eq!(full.map_err(|refused| refused.offence()), Err(None));
        // The chain is past the height, but the header is still to come.
        let half = now + AHEAD_PATIENCE / 2;
        for pull in screen.caught_up(5, half) {
            assert_eq!(screen.offer(pull, half, ahead), Ok(()));
        }
        let late = now + AHEAD_PATIENCE * 2;
        let due = screen.caught_up(4, late);
        assert_eq!(due.len(), AHEAD_WAITING);
        for pull in due {
            assert_eq!(screen.offer(pull, late, ahead), Err(Refused::Foreign));
        }
    }

    /// Notices of blocks to come, and more of them than may wait, are no way around the budget.
    #[test]
    fn strangers_that_announce_what_is_to_come_are_dropped_once_over_budget_and_what_waits_is_not() {
        let now = Instant::now();
        for peers in [1, 100] {
            let mut screen = FraudScreen::new(1 << 20, now);
            let peers: Vec<_> = (0..peers).map(|_| PeerId::random()).collect();
            let mut refused = 0;
            for n in 0..1_000 {
                let peer = peers[n as usize % peers.len()];
                refused +=
                    u64::from(screen.offer(pull(5, n, peer, false), now, ahead) == Err(Refused::Flood));
            }
            assert_eq!(refused, 1_000 - STRANGERS_BURST_BYTES / LOOK_UP_COST_BYTES);
            let due = screen.caught_up(5, now);
            assert!(due.len() >= WAITING_PER_PEER);
            for pull in due {
                assert_eq!(screen.offer(pull, now, ahead), Ok(()));
            }
            // Nor do those that this node chose pay for it.
            assert_eq!(screen.offer(pull(5, u32::MAX, PeerId::random(), true), now, ahead), Ok(()));
        }
    }

    #[test]
    fn strangers_notices_are_looked_up_within_their_budget_and_only_if_nothing_else_refuses_them() {
        let now = Instant::now();
        let mut screen = FraudScreen::new(1 << 20, now);
        let mut looked_up = 0;
        let mut last = Ok(());
        for n in 0..10_000 {
            last = screen.offer(pull(5, n, PeerId::random(), false), now, || {
                looked_up += 1;
                Standing::Foreign
            });
        }
        assert_eq!((looked_up, last), (STRANGERS_BURST_BYTES / LOOK_UP_COST_BYTES, Err(Refused::Flood)));
        let peer = PeerId::random();
        for n in 0..WAITING_PER_PEER as u32 {
            assert_eq!(screen.offer(pull(5, n, peer, true), now, committed), Ok(()));
        }
        for n in [0, u32::MAX] {
            let refused = screen.offer(pull(5, n, peer, true), now, || unreachable!("looked up"));
            assert!(refused.is_err());
        }
    }
}
