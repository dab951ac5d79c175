//! Comparing headers with those of other peers, and what comes of two that differ.
//!
//! ```text
//!  agreed ── verified ──► ours            every witness_every, and when a hint names another
//!     └── verified from the witness ──► theirs     hash: the same? else both prove a fork
//! ```
//!
//! Headers are chained by hash, so that one comparison covers all heights up to it. A witness
//! whose header does not verify is dropped; one whose header does has proven that validators
//! signed twice, and the client halts, whichever of the two is right.

use chain::{HeaderHint, VerifiedHeader};
use network::{Kind, Offence, PeerId};
use serde_json::json;

use super::{Done, Worker};
use crate::client::ClientError;
use crate::halt::HaltReason;
use crate::headers::{Compared, FollowError};
use crate::sampler::Millis;
use crate::store::StoreError;

/// What witnesses said about a header.
pub(super) struct Witnessed {
    agreed: VerifiedHeader,
    ours: VerifiedHeader,
    /// Whether the witness was asked because it hinted at another header.
    hinted: bool,
    answers: Vec<(PeerId, Result<Compared, FollowError>)>,
}

impl Worker {
    /// Asks witnesses for the newest header, if it is time. One comparison at a time.
    pub(super) fn witness(&mut self, now: Millis) {
        let (Some(ours), Some(agreed)) = (&self.args.trusted, &self.agreed) else {
            return;
        };
        if self.witnessing || now < self.witness_at || ours.height() <= agreed.height() {
            return;
        }
        let mut witnesses = self.peers(Kind::Header);
        witnesses.retain(|peer| Some(*peer) != self.source);
        if witnesses.is_empty() {
            return;
        }
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % witnesses.len();
        witnesses.rotate_left(first);
        // However many strangers there are, one that the client chose is among them.
        if let Some(chosen) = witnesses.iter().position(|peer| self.dialled(*peer) == Some(true)) {
            witnesses.swap(0, chosen);
        }
        witnesses.truncate(self.args.config.witnesses);
        self.witness_at = now.after(self.args.config.witness_every);
        self.compare(agreed.clone(), ours.clone(), witnesses, false);
    }

    /// Compares at once where a peer hints at another header than the verified one.
    pub(super) fn suspect(&mut self, source: PeerId, hint: &HeaderHint) {
        let Some(agreed) = self.agreed.clone().filter(|agreed| agreed.height() < hint.height) else {
            return;
        };
        if self.suspecting || !self.peers(Kind::Header).contains(&source) {
            return;
        }
        // Not known, or not readable: the next comparison covers it.
        if let Ok(Some(ours)) = self.known(hint.height)
            && ours.hash() != hint.hash
        {
            self.compare(agreed, ours, vec![source], true);
        }
    }

    /// Compares the trusted header with that of a peer, unless another one is suspected already; says whether it does.
    pub(super) fn suspect_fork(&mut self, peer: PeerId) -> bool {
        let Some((agreed, ours)) = self.agreed.clone().zip(self.args.trusted.clone()) else {
            return false;
        };
        if self.suspecting || agreed.height() >= ours.height() {
            return false;
        }
        self.compare(agreed, ours, vec![peer], true);
        true
    }

    fn compare(
        &mut self,
        agreed: VerifiedHeader,
        ours: VerifiedHeader,
        witnesses: Vec<PeerId>,
        hinted: bool,
    ) {
        // Whoever hints at another header and does not give it keeps no witness from being asked.
        *(if hinted { &mut self.suspecting } else { &mut self.witnessing }) = true;
        let headers = self.args.headers.clone();
        self.jobs.spawn(async move {
            let mut answers = Vec::new();
            for witness in witnesses {
                answers.push((witness, headers.compare(agreed.clone(), &ours, witness).await));
            }
            Done::Witnessed(Box::new(Witnessed { agreed, ours, hinted, answers }))
        });
    }

    pub(super) async fn witnessed(&mut self, witnessed: Witnessed) -> Result<(), ClientError> {
        let Witnessed { agreed, ours, hinted, answers } = witnessed;
        *(if hinted { &mut self.suspecting } else { &mut self.witnessing }) = false;
        for (witness, answer) in answers {
            match answer {
                Ok(Compared::Same | Compared::Nothing) if hinted => {
                    let reason = format!("it spoke of another header {} and did not have it", ours.height());
                    self.drop_peer(witness, Offence::BadGossip, reason).await;
                }
                Ok(Compared::Same) => {
                    self.witnessed = self.witnessed.max(Some(ours.height()));
                    self.args.metrics.headers_witnessed.inc();
                    if self.agreed.as_ref().is_none_or(|agreed| agreed.height() < ours.height()) {
                        self.agreed = Some(ours.clone());
                    }
                }
                Ok(Compared::Nothing) => {}
                Ok(Compared::Other(theirs)) => {
                    let evidence = json!({
                        "trusted": agreed.light_block(),
                        "followed": ours.light_block(),
                        "other": theirs.light_block(),
                    });
                    let reason = HaltReason::ConflictingHeaders {
                        followed: hex::encode(ours.hash()),
                        other: hex::encode(theirs.hash()),
                        witness: witness.to_string(),
                    };
                    return self.halt(ours.height(), agreed.height() + 1, reason, &evidence).await;
                }
                Err(error) => match error.unknown_rules() {
                    Some(unknown) => self.outdated(unknown),
                    None => self.header_failed(&error).await,
                },
            }
        }
        Ok(())
    }

    /// A later verified header does not name the one that was followed as its predecessor.
    pub(super) async fn forked(
        &mut self,
        followed: &VerifiedHeader,
        later: &VerifiedHeader,
        peer: PeerId,
    ) -> Result<(), ClientError> {
        let named = later.header().last_block_id.map(|id| id.hash.as_bytes().to_vec());
        let evidence = json!({ "followed": followed.light_block(), "successor": later.light_block() });
        let reason = HaltReason::ConflictingHeaders {
            followed: hex::encode(followed.hash()),
            other: hex::encode(named.unwrap_or_default()),
            witness: peer.to_string(),
        };
        let agreed = self.agreed.as_ref().map_or(0, VerifiedHeader::height);
        let from = followed.height().min(agreed + 1);
        self.halt(followed.height(), from, reason, &evidence).await
    }

    /// The verified header of a height, if it is kept.
    pub(super) fn known(&self, height: u64) -> Result<Option<VerifiedHeader>, StoreError> {
        if let Some(trusted) = self.args.trusted.as_ref().filter(|trusted| trusted.height() == height) {
            return Ok(Some(trusted.clone()));
        }
        let Some(kept) = self.args.store.header(height)? else {
            return Ok(None);
        };
        // Too old to be trusted is too old to be compared.
        Ok(self.args.headers.trust(kept.light_block()?, &kept.checkpoint()).ok())
    }
}
