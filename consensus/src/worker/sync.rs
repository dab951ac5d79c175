//! Decided blocks from and for nodes that are behind.

use arc_malachitebft_core_types::{Height as _, Round};
use arc_malachitebft_engine::host::SyncedValueOutcome;
use arc_malachitebft_sync::RawDecidedValue;
use bytes::Bytes;
use ractor::RpcReplyPort;
use tendermint::chain;
use tracing::warn;

use super::proposals::store;
use super::{Ctx, Done};
use crate::app::{AppError, Application, MAX_VALUE_BYTES, Payload, SyncFault};
use crate::commit::certificate_from_commit;
use crate::context::{Address, Height, Part};
use crate::engine::Error;
use crate::pool::{Entry, Stage};

/// Has the application decode a decided block that a peer sent, and stores it.
pub(super) async fn synced(
    app: &dyn Application,
    height: Height,
    round: Round,
    proposer: Address,
    value_bytes: Bytes,
    reply_to: RpcReplyPort<SyncedValueOutcome<Ctx>>,
    chain_id: &chain::Id,
) -> Result<Done, Error> {
    let payload: Result<Payload, SyncFault> = app.synced(height.to_block(), value_bytes).await;
    let entry = payload.and_then(|payload| {
        let part = Part { height, round, proposer, payload: payload.encode(), signature: None };
        Entry::new(part, Stage::Settled, chain_id)
            .ok_or_else(|| SyncFault::Peer("not a block of this chain and height".into()))
    });
    let outcome = match entry {
        Ok(entry) => {
            store(app, &entry).await?;
            return Ok(Done::Synced(entry, round, reply_to));
        }
        Err(SyncFault::Peer(reason)) => {
            warn!(%height, reason, "a peer sent a wrong value");
            SyncedValueOutcome::PeerFault
        }
        Err(SyncFault::Local(reason)) => {
            warn!(%height, reason, "a synced value could not be processed");
            SyncedValueOutcome::LocalTransientError
        }
    };
    let _ = reply_to.send(outcome);
    Ok(Done::Nothing)
}

/// The values from `start` to `end` as far as there are any without a gap.
pub(super) async fn decided_values(
    app: &dyn Application,
    start: Height,
    end: Height,
) -> Vec<RawDecidedValue<Ctx>> {
    let mut values = Vec::new();
    let mut height = start;
    while height <= end {
        let found: Result<_, AppError> = app.decided(height.to_block()).await;
        let value = match found {
            Ok(Some(value)) if value.value_bytes.len() <= MAX_VALUE_BYTES => value,
            Ok(_) => break,
            Err(error) => {
                warn!(%height, %error, "a decided value could not be read");
                break;
            }
        };
        let Some(certificate) = certificate_from_commit(&value.commit) else {
            break;
        };
        values.push(RawDecidedValue::new(value.value_bytes, certificate));
        height = height.increment();
    }
    values
}
