//! Own proposals and those of others, on their way to the engine.

use std::sync::Arc;
use std::time::Duration;

use arc_malachitebft_app::types::streaming::{StreamId, StreamMessage};
use arc_malachitebft_core_types::{Round, Validator as _, Validity, ValueOrigin};
use arc_malachitebft_engine::consensus::ConsensusMsg;
use arc_malachitebft_engine::host::{LocallyProposedValue, ProposedValue};
use arc_malachitebft_engine::network::NetworkMsg;
use arc_malachitebft_engine::util::streaming::StreamContent;
use bytes::Bytes;
use ractor::RpcReplyPort;
use tokio::time::Instant;
use tracing::{debug, trace, warn};

use super::{Ctx, Done, Worker};
use crate::app::{Application, MAX_PAYLOAD_BYTES, Verdict};
use crate::block_ref::BlockRef;
use crate::context::{Height, Part};
use crate::engine::Error;
use crate::pool::{Entry, Pool, Stage};
use crate::wire::Wire;

/// How many rounds past the engine's a proposal may be; the engine looks no further either.
const LOOKAHEAD_ROUNDS: u32 = 10;

impl Worker {
    pub(super) fn on_get_value(
        &mut self,
        height: Height,
        round: Round,
        timeout: Duration,
        reply_to: RpcReplyPort<LocallyProposedValue<Ctx>>,
    ) {
        let Some(signer) = self.args.signer.clone() else {
            return;
        };
        let proposer = signer.address();
        if let Some(entry) = self.pool.proposed(height, round, proposer) {
            let part = entry.part.clone();
            let _ = reply_to.send(LocallyProposedValue::new(height, round, entry.id));
            return self.publish(part);
        }
        let app = Arc::clone(&self.args.app);
        let chain_id = self.chain_id();
        let deadline = Instant::now() + timeout;
        self.spawn(async move {
            let number = round.as_u32().unwrap_or(0);
            let payload = match app.propose(height.to_block(), number, deadline).await {
                Ok(payload) => payload.encode(),
                Err(error) => {
                    warn!(%height, %round, %error, "nothing to propose");
                    return Ok(Done::Nothing);
                }
            };
            let payload_bytes = payload.len();
            let part = Part { height, round, proposer, payload, signature: None };
            let Some(entry) = Entry::new(part, Stage::Settled, &chain_id) else {
                warn!(%height, bytes = payload_bytes, limit = MAX_PAYLOAD_BYTES, "own proposal is too large, or for another height or chain");
                return Ok(Done::Nothing);
            };
            let part = match signer.sign_part(entry.part, entry.id).await {
                Ok(part) => part,
                Err(error) => {
                    warn!(%height, %round, %error, "own proposal is not signed");
                    return Ok(Done::Nothing);
                }
            };
            let entry = Entry { part, ..entry };
            store(&*app, &entry).await?;
            Ok(Done::Proposed(entry, reply_to))
        });
    }

    pub(super) fn publish(&mut self, part: Part) {
        if part.signature.is_none() {
            return;
        }
        self.streams += 1;
        let stream = StreamId::new(Bytes::copy_from_slice(&self.streams.to_be_bytes()));
        let message = StreamMessage::new(stream, 0, StreamContent::Data(part));
        let _ = self.args.network.cast(NetworkMsg::PublishProposalPart(message));
    }

    /// A proposal from the network, or one that was kept until its height's validators were known.
    pub(super) fn on_part(&mut self, part: Part) {
        let Some((next, validators)) = &self.next else {
            return;
        };
        let (next, height) = (*next, part.height);
        if !Pool::covers(next, height) || !self.is_near(&part) {
            return;
        }
        let stage = if height == next { Stage::Assessing { again: false } } else { Stage::Unchecked };
        let Some(entry) = Entry::new(part, stage, &self.chain_id()) else {
            debug!(%height, "proposal does not decode");
            return;
        };
        let part = &entry.part;
        if height == next {
            let proposer = validators.proposer(height, part.round);
            let genuine = *proposer.address() == part.proposer
                && self.args.sign_bytes.check_part(part, entry.id, proposer.public_key());
            if !genuine {
                debug!(%height, round = %part.round, proposer = %part.proposer, "proposal is not its proposer's");
                return;
            }
        }
        if let Err(error) = self.args.app.check_body(&entry.payload) {
            debug!(%height, round = %part.round, %error, "proposal came with another body");
            return;
        }
        if self.pool.insert(entry.clone()) && stage != Stage::Unchecked {
            self.assess(entry, true);
            if self.waiting.is_some() {
                self.start();
            }
        }
    }

    /// Whether the round of `part` can be reached soon.
    pub(super) fn is_near(&self, part: &Part) -> bool {
        let (height, round) = self.round;
        let current = if height == part.height { round } else { 0 };
        part.round.as_u32().is_some_and(|round| round <= current + LOOKAHEAD_ROUNDS)
    }

    /// Asks the application for its verdict, after having stored a `new` proposal.
    pub(super) fn assess(&mut self, entry: Entry, new: bool) {
        let app = Arc::clone(&self.args.app);
        self.spawn(async move {
            if new {
                store(&*app, &entry).await?;
            }
            let Part { height, round, proposer, .. } = entry.part;
            let verdict = app.assess(height.to_block(), proposer.to_account(), &entry.payload).await;
            Ok(Done::Assessed(height, round, entry.id, verdict))
        });
    }

    pub(super) fn on_assessed(&mut self, height: Height, round: Round, id: BlockRef, verdict: Verdict) {
        let Some(stage) = self.pool.stage(height, round, &id) else {
            return;
        };
        let again = matches!(stage, Stage::Assessing { again: true });
        let validity = match verdict {
            Verdict::Valid => Validity::Valid,
            Verdict::Invalid(reason) => {
                warn!(%height, %round, block = %id, reason, "proposal is invalid");
                Validity::Invalid
            }
            Verdict::NotYet => {
                *stage = Stage::Waiting;
                if again {
                    self.on_completed(height);
                }
                return;
            }
        };
        *stage = Stage::Settled;
        let Some(entry) = self.pool.find(height, &id) else {
            return;
        };
        let value = proposed_value(entry, round, validity);
        let message = ConsensusMsg::ReceivedProposedValue(value, ValueOrigin::Consensus);
        let _ = self.args.consensus.cast(message);
    }

    pub(super) fn on_completed(&mut self, height: Height) {
        for entry in self.pool.retry(height) {
            self.assess(entry, false);
        }
    }
}

pub(super) fn proposed_value(entry: &Entry, round: Round, validity: Validity) -> ProposedValue<Ctx> {
    ProposedValue {
        height: entry.part.height,
        round,
        valid_round: Round::Nil,
        proposer: entry.part.proposer,
        value: entry.id,
        validity,
    }
}

pub(super) async fn store(app: &dyn Application, entry: &Entry) -> Result<(), Error> {
    let stored = app.store_undecided(entry.part.height.to_block(), entry.part.to_wire()).await;
    stored.map_err(Error::application("store_undecided"))?;
    trace!(height = %entry.part.height, "payload stored");
    Ok(())
}
