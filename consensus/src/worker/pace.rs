//! When the next height starts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_malachitebft_core_consensus::MisbehaviorEvidence;
use arc_malachitebft_core_types::{
    CommitCertificate, Height as _, HeightParams, LinearTimeouts, SignedVote, Validator as _,
    ValidatorSet as _, Vote as _,
};
use arc_malachitebft_engine::host::Next;
use ractor::RpcReplyPort;

use super::{Ctx, Done, Finished, StartPort, Worker};
use crate::actors::Hint;
use crate::commit::commit_from_certificate;
use crate::config::Timeouts;
use crate::context::Height;
use crate::engine::Error;
use crate::equivocation::equivocations;

impl Worker {
    pub(super) fn on_finalized(
        &mut self,
        certificate: &CommitCertificate<Ctx>,
        evidence: &MisbehaviorEvidence<Ctx>,
        reply_to: RpcReplyPort<Next<Ctx>>,
    ) -> Result<(), Error> {
        let height = certificate.height;
        let (_, known, validators) = self
            .decided
            .as_ref()
            .filter(|(decided, ..)| *decided == height)
            .ok_or(Error::MissingPayload { height: height.as_u64() })?;
        let fuller = certificate.commit_signatures.len() > *known;
        let fuller = fuller.then(|| commit_from_certificate(certificate, validators));
        let (height, port) = (height.increment(), StartPort::Next(reply_to));
        let equivocations = equivocations(evidence, validators);
        self.finished = Some(Finished { height, port, fuller, equivocations });
        self.wait_for_start();
        Ok(())
    }

    /// Begins to wait for the next height's start once the last one is finalized, committed and
    /// recorded.
    pub(super) fn wait_for_start(&mut self) {
        let (Some(finished), Some((next, _))) = (&mut self.finished, &self.next) else {
            return;
        };
        if finished.height != *next || self.recording || self.waiting.is_some() {
            return;
        }
        let next = *next;
        let app = Arc::clone(&self.args.app);
        if !finished.equivocations.is_empty() {
            let found = std::mem::take(&mut finished.equivocations);
            self.recording = true;
            self.spawn(async move {
                app.equivocated(found).await.map_err(Error::application("equivocated"))?;
                Ok(Done::Recorded)
            });
        } else if let Some(commit) = finished.fuller.take() {
            self.recording = true;
            self.spawn(async move {
                let recorded = app.finalized(commit.height, commit).await;
                recorded.map_err(Error::application("finalized"))?;
                Ok(Done::Recorded)
            });
        } else if self.pool.has_checked(next) || self.most_peers_have(next) {
            self.start();
        } else {
            self.args.awaited.store(next.as_u64(), Ordering::Relaxed);
            self.waiting = Some(self.tasks.spawn(async move {
                app.ready_to_start(next.to_block()).await;
                Done::Ready(next)
            }));
        }
    }

    /// Starts the next height, if it is waited for.
    pub(super) fn start(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.abort();
        }
        self.args.awaited.store(0, Ordering::Relaxed);
        let (Some(finished), Some((height, validators))) = (self.finished.take(), &self.next) else {
            return;
        };
        let timeouts = linear(&self.args.timeouts, self.args.app.expected_bytes());
        let params = HeightParams::new(validators.clone(), timeouts, Some(self.args.timeouts.finalize));
        match finished.port {
            StartPort::First(port) => drop(port.send((*height, params))),
            StartPort::Next(port) => drop(port.send(Next::Start(*height, params))),
        }
    }

    pub(super) fn on_hint(&mut self, hint: Hint) {
        match hint {
            Hint::Tip(peer, tip) => drop(self.tips.insert(peer, tip)),
            Hint::Gone(peer) => drop(self.tips.remove(&peer)),
            Hint::Listening(address) => {
                self.args.view.send_modify(|view| view.listening.push(address));
            }
            Hint::Vote(vote) => {
                if self.waiting.is_some() && self.is_for_next(&vote) {
                    self.start();
                }
            }
        }
        if self.waiting.is_some() && self.next.as_ref().is_some_and(|(next, _)| self.most_peers_have(*next)) {
            self.start();
        }
    }

    fn is_for_next(&self, vote: &SignedVote<Ctx>) -> bool {
        self.next.as_ref().is_some_and(|(next, validators)| {
            vote.height() == *next
                && validators
                    .get_by_address(vote.validator_address())
                    .is_some_and(|v| self.args.sign_bytes.check_vote(vote, v.public_key()))
        })
    }

    /// One peer alone cannot hurry this node, unless it has no other.
    fn most_peers_have(&self, height: Height) -> bool {
        let ahead = self.tips.values().filter(|tip| **tip >= height).count();
        ahead * 2 > self.tips.len()
    }
}

/// The timeouts of a height whose block may hold so many bytes.
fn linear(timeouts: &Timeouts, bytes: u64) -> LinearTimeouts {
    LinearTimeouts {
        propose: timeouts.proposal_of(bytes),
        propose_delta: timeouts.delta,
        prevote: timeouts.prevote,
        prevote_delta: timeouts.delta,
        precommit: timeouts.precommit,
        precommit_delta: timeouts.delta,
        rebroadcast: timeouts.rebroadcast,
        ..LinearTimeouts::default()
    }
}
