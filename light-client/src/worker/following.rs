//! Following headers: gossip as hints, polling when it is silent, stepping back over jumps.
//!
//! ```text
//!  hints of peers that the client dialled, polls ── whoever answers, dialled ones first ─┐
//!  hints of strangers ── the stranger itself ────────────────────────────────────────────┴─► tip
//! ```
//!
//! Each lane asks one peer at a time, so that strangers who hint and do not answer keep the client from
//! nothing.

use std::time::Duration;

use chain::{HeaderError, HeaderHint, VerifiedHeader};
use network::{Gossip, Kind, Offence, PeerId, PeerInfo};

use super::{Done, Worker};
use crate::client::ClientError;
use crate::event::Event;
use crate::headers::FollowError;
use crate::sampler::{Millis, SkipReason};
use crate::status::HeightReport;
use crate::store::StoredHeader;

/// The first pause after a header was not had; doubles with each failure, up to `poll_after`.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How long a peer that led to no header is asked only if there is nobody else.
const STALLED_FOR: Duration = Duration::from_secs(60);

/// Gossip that claims that there is a header above the trusted one.
#[derive(Debug)]
pub(super) struct Hint {
    gossip: Gossip,
    height: u64,
    /// Whether the client dialled its source.
    dialled: bool,
}

/// What following led to.
pub(super) struct Followed {
    /// The checkpoint's header, where following began with it.
    pub(super) checkpoint: Option<VerifiedHeader>,
    /// A header above the trusted one.
    pub(super) tip: Option<VerifiedHeader>,
}

/// Heights from `floor` up to the one below `cursor`, whose headers are still to be fetched.
pub(super) struct Gap {
    pub(super) cursor: VerifiedHeader,
    pub(super) floor: u64,
}

impl Worker {
    /// Keeps gossip that may be a newer header; the highest one, while another is verified.
    pub(super) async fn hear(&mut self, gossip: Gossip) {
        let hint = match HeaderHint::decode(&gossip.data) {
            Ok(hint) => hint,
            Err(error) => {
                let source = gossip.source;
                self.args.network.reject(gossip).await;
                self.drop_peer(source, Offence::BadGossip, error.to_string()).await;
                return;
            }
        };
        if self.halted.is_some() || self.outdated.is_some() {
            self.args.network.ignore(gossip).await;
            return;
        }
        let (height, source) = (hint.height, gossip.source);
        self.suspect(source, &hint);
        let dialled = self.dialled(source) == Some(true);
        let slot = if dialled { &mut self.hint } else { &mut self.stranger_hint };
        let known = match slot {
            Some(hint) => Some(hint.height),
            None => self.args.trusted.as_ref().map(VerifiedHeader::height),
        };
        let barred = !dialled && self.stalled.contains_key(&source);
        // Without a trusted header nothing can be judged; the checkpoint comes first.
        if barred || known.is_none_or(|known| height <= known) {
            self.args.network.ignore(gossip).await;
        } else if let Some(older) = slot.replace(Hint { gossip, height, dialled }) {
            self.args.network.ignore(older.gossip).await;
        }
    }

    /// Starts to verify a stranger's hint. Only those that serve headers can have their word kept.
    pub(super) fn follow_stranger(&mut self) {
        if self.outdated.is_some() {
            return;
        }
        let Some(trusted) = self.args.trusted.clone().filter(|_| !self.following_stranger) else {
            return;
        };
        let serving = self.peers(Kind::Header);
        let Some(hint) = self.stranger_hint.take_if(|hint| serving.contains(&hint.gossip.source)) else {
            return;
        };
        self.following_stranger = true;
        self.advance(trusted, hint.gossip.source, Some(hint));
    }

    fn advance(&mut self, trusted: VerifiedHeader, peer: PeerId, hint: Option<Hint>) {
        let headers = self.args.headers.clone();
        self.jobs.spawn(async move {
            let hinted = hint.as_ref().map_or(0, |hint| hint.height);
            let tip = headers.advance(trusted, hinted, peer).await;
            let result = Box::new(tip.map(|tip| Followed { checkpoint: None, tip }));
            Done::Followed { peer, hint, result }
        });
    }

    /// Starts to verify a hint, or to ask for the latest header if it is time. One at a time.
    pub(super) fn follow(&mut self, now: Millis) {
        if self.following || self.outdated.is_some() || (self.hint.is_none() && now < self.poll_at) {
            return;
        }
        let Some(trusted) = self.args.trusted.clone() else {
            let Some(peer) = self.header_peer(None, now) else {
                return;
            };
            let headers = self.args.headers.clone();
            self.following = true;
            self.jobs.spawn(async move {
                let first = headers.first(peer).await;
                let first = first.map(|(checkpoint, tip)| Followed { checkpoint: Some(checkpoint), tip });
                Done::Followed { peer, hint: None, result: Box::new(first) }
            });
            return;
        };
        // Whoever passes a hint on has the header.
        let source = self.hint.as_ref().map(|hint| hint.gossip.source);
        let Some(peer) = self.header_peer(source, now) else {
            return;
        };
        let hint = self.hint.take();
        self.following = true;
        self.advance(trusted, peer, hint);
    }

    pub(super) async fn followed(
        &mut self,
        peer: PeerId,
        hint: Option<Hint>,
        result: Result<Followed, FollowError>,
    ) -> Result<(), ClientError> {
        let of_stranger = hint.as_ref().is_some_and(|hint| !hint.dialled);
        *(if of_stranger { &mut self.following_stranger } else { &mut self.following }) = false;
        if self.halted.is_some() {
            return Ok(());
        }
        let error = match result {
            Ok(Followed { checkpoint, tip }) => {
                self.stalled.remove(&peer);
                // What strangers say puts off no question to others.
                if !of_stranger {
                    self.failures = 0;
                    self.poll_at = self.now().after(self.args.config.poll_after);
                }
                self.agreed = checkpoint.clone().or(self.agreed.take());
                let trusted = self.args.trusted.as_ref().map_or(0, VerifiedHeader::height);
                // The other lane may have been faster.
                if let Some(header) = tip.or(checkpoint).filter(|header| header.height() > trusted) {
                    if let Some(trusted) = self.args.trusted.clone()
                        && trusted.height() + 1 == header.height()
                        && !names(&header, &trusted)
                    {
                        return self.forked(&trusted, &header, peer).await;
                    }
                    self.source = Some(peer);
                    self.advanced(header);
                }
                if let Some(hint) = hint {
                    // Whoever hears it from here asks for the header: it has to be served by then.
                    self.flush().await?;
                    self.judge(hint, peer).await;
                }
                self.went_online();
                return Ok(());
            }
            Err(error) => error,
        };
        if let Some(unknown) = error.unknown_rules() {
            if let Some(hint) = hint {
                self.args.network.ignore(hint.gossip).await;
            }
            self.went_online();
            self.outdated(unknown);
            return Ok(());
        }
        if !of_stranger {
            let pause = RETRY_AFTER.saturating_mul(1 << self.failures.min(16));
            self.poll_at = self.now().after(pause.min(self.args.config.poll_after));
            self.failures += 1;
        }
        self.stalls(peer);
        if let Some(hint) = hint {
            self.args.network.ignore(hint.gossip).await;
        }
        self.header_failed(&error).await;
        if error.is_final() {
            return Err(error.into());
        }
        Ok(())
    }

    /// Passes on a hint that was true; drops a source that was asked and did not have the header.
    async fn judge(&mut self, hint: Hint, asked: PeerId) {
        let Hint { gossip, height, .. } = hint;
        let source = gossip.source;
        if self.args.trusted.as_ref().is_some_and(|trusted| trusted.height() >= height) {
            self.args.network.accept(gossip).await;
        } else if asked == source {
            self.args.network.reject(gossip).await;
            let reason = format!("it hinted at header {height} and did not have it");
            self.drop_peer(source, Offence::BadGossip, reason).await;
        } else {
            // The other one may be behind.
            self.args.network.ignore(gossip).await;
        }
    }

    fn stalls(&mut self, peer: PeerId) {
        self.stalled.insert(peer, self.now().after(STALLED_FOR));
    }

    pub(super) async fn header_failed(&self, error: &FollowError) {
        self.args.metrics.headers_failed.inc();
        let reason = error.to_string();
        if let Some((peer, offence)) = error.offence() {
            self.drop_peer(peer, offence, reason.clone()).await;
        }
        self.emit(Event::HeaderFailed { reason });
    }

    /// Whom to ask for a header. Peers that did not lead to one lately come last, strangers after those that
    /// the client dialled, which ever new ones are not to keep it from asking. Of several that are alike,
    /// `source`, or the next in turn.
    fn header_peer(&mut self, source: Option<PeerId>, now: Millis) -> Option<PeerId> {
        // One further ahead than that was set before the clock was set back.
        self.stalled.retain(|_, until| (now..=now.after(STALLED_FOR)).contains(until));
        let peers = self.args.network.peers();
        let rank = |peer: &PeerInfo| (self.stalled.contains_key(&peer.id), !peer.outbound);
        let serving = || peers.iter().filter(|peer| peer.serves.contains(&Kind::Header));
        let first = serving().map(rank).min()?;
        let first: Vec<PeerId> = serving().filter(|peer| rank(peer) == first).map(|peer| peer.id).collect();
        let source = source.filter(|source| first.contains(source));
        source.or_else(|| {
            self.turn = self.turn.wrapping_add(1);
            first.get(self.turn.checked_rem(first.len())?).copied()
        })
    }

    /// Takes a verified header as the new tip, and sorts out the heights below it.
    fn advanced(&mut self, tip: VerifiedHeader) {
        let height = tip.height();
        let lowest = match &self.args.trusted {
            Some(trusted) => trusted.height() + 1,
            None => self.args.headers.checkpoint_height(),
        };
        let window = |heights: u64| (height + 1).saturating_sub(heights.max(1));
        let floor = lowest.max(window(self.args.config.catch_up));
        self.forget_below(window(self.args.config.keep));
        self.leave_behind(window(self.args.config.catch_up));

        let reason = SkipReason::OutsideWindow;
        if lowest < floor {
            self.emit(Event::Skipped { from: lowest, to: floor - 1, reason });
        }
        for skipped in lowest.max(self.batch.forget_below)..floor {
            self.record(HeightReport::skipped(skipped, reason));
        }
        for pending in floor..height {
            self.record(HeightReport::pending(pending));
        }
        self.args.metrics.height.set(height.try_into().unwrap_or(i64::MAX));
        self.args.trusted = Some(tip.clone());
        self.batch.trusted = Some(height);
        self.learned(&tip, true);
        if floor < height {
            self.gaps.push(Gap { cursor: tip, floor });
        }
    }

    /// Keeps a verified header and begins to sample its block, if the budget affords it. The
    /// newest headers are verified by signatures, older ones by the hash that a newer one names.
    fn learned(&mut self, header: &VerifiedHeader, newest: bool) {
        let height = header.height();
        self.args.metrics.headers_verified.inc();
        self.batch.headers.push(StoredHeader::new(header, newest));
        self.emit(Event::HeaderVerified { height });
        let now = self.now();
        if if newest { self.affords_newest(now) } else { self.affords_older(now) } {
            self.record(HeightReport::pending(height));
            self.begin(height, header.data_root());
        } else {
            self.leave_out(height, header.data_root());
        }
    }

    fn forget_below(&mut self, height: u64) {
        self.batch.forget_below = height;
        self.reports = self.reports.split_off(&height);
        self.samplers = self.samplers.split_off(&height);
        self.left_out = self.left_out.split_off(&height);
        self.gaps.retain(|gap| gap.cursor.height() > height);
    }

    /// Fetches the header below the newest gap's cursor. One at a time.
    pub(super) fn step_back(&mut self, now: Millis) {
        if self.stepping || self.gaps.is_empty() || now < self.step_at || !self.affords_older(now) {
            return;
        }
        let Some(peer) = self.header_peer(None, now) else {
            return;
        };
        let Some(gap) = self.gaps.pop().map(Box::new) else {
            return;
        };
        self.stepping = true;
        let headers = self.args.headers.clone();
        self.jobs.spawn(async move {
            let result = Box::new(headers.before(&gap.cursor, peer).await);
            Done::SteppedBack { peer, gap, result }
        });
    }

    pub(super) async fn stepped_back(
        &mut self,
        peer: PeerId,
        mut gap: Gap,
        result: Result<VerifiedHeader, FollowError>,
    ) -> Result<(), ClientError> {
        self.stepping = false;
        if self.halted.is_some() {
            return Ok(());
        }
        match result {
            Ok(header) => {
                self.learned(&header, false);
                if let Some(below) = self.known(header.height() - 1)?
                    && !names(&header, &below)
                {
                    return self.forked(&below, &header, peer).await;
                }
                gap.cursor = header;
            }
            Err(error) => {
                self.step_at = self.now().after(self.args.config.poll_after);
                self.stalls(peer);
                // A peer with another predecessor may follow another signed chain: then that is what counts.
                if matches!(&error, FollowError::Header { error: HeaderError::NotThePredecessor { .. }, .. })
                    && self.suspect_fork(peer)
                {
                    self.emit(Event::HeaderFailed { reason: error.to_string() });
                } else {
                    self.header_failed(&error).await;
                }
            }
        }
        if gap.cursor.height() > gap.floor {
            self.gaps.push(gap);
        }
        Ok(())
    }
}

/// Whether a header names the other one as its predecessor. The verifier of signatures does not ask.
fn names(later: &VerifiedHeader, earlier: &VerifiedHeader) -> bool {
    let named = later.header().last_block_id.map(|id| id.hash);
    named.is_some_and(|named| named.as_bytes() == earlier.hash())
}
