//! `header.*`: verified headers in celestia-node's JSON.
//!
//! Header, commit and validators are Tendermint's and verify as such; `data_hash` is a Weft data root and `dah` is
//! empty, so that a client which checks Celestia's roots has to refuse them.

use chain::{Height, VerifiedHeader};
use futures::StreamExt;
use jsonrpsee::Methods;
use serde_json::{Value, json};

use super::{
    super::super::{Gateway, ReadFailure},
    Answer, channel, check_height, failure, method,
};

pub(super) fn register(methods: &mut Methods, gateway: &Gateway) {
    method(methods, gateway, "header.LocalHead", |gateway, _: Value| head(gateway));
    method(methods, gateway, "header.NetworkHead", |gateway, _: Value| head(gateway));
    method(methods, gateway, "header.GetByHeight", by_height);
    method(methods, gateway, "header.WaitForHeight", wait_for_height);
    method(methods, gateway, "header.SyncState", |gateway, _: Value| sync_state(gateway));
    method(methods, gateway, "header.SyncWait", |gateway, _: Value| async move {
        gateway.latest().await.map_err(ReadFailure::Client)?;
        Ok(Value::Null)
    });
    channel::register(methods, gateway, "header.Subscribe", "header.Unsubscribe", |gateway, _: Value| {
        Ok(channel::heights(gateway).map(|header| header_json(&header)).boxed())
    });
}

async fn head(gateway: Gateway) -> Answer {
    Ok(header_json(&gateway.latest().await.map_err(ReadFailure::Client)?))
}

async fn by_height(gateway: Gateway, (height,): (Height,)) -> Answer {
    gateway.check_height(check_height(height)?).await?;
    Ok(header_json(&gateway.client.header(height).await.map_err(ReadFailure::Client)?))
}

async fn wait_for_height(mut gateway: Gateway, (height,): (Height,)) -> Answer {
    let (height, stopping) = (check_height(height)?, gateway.clone());
    tokio::select! {
        () = gateway.head.reaches(height) => {}
        () = stopping.stopped() => return Err(failure("context canceled: the gateway stops")),
    }
    by_height(gateway, (height,)).await
}

/// The gateway verifies on demand: it is in sync with what it last verified.
async fn sync_state(gateway: Gateway) -> Answer {
    let head = gateway.latest().await.map_err(ReadFailure::Client)?;
    let (height, hash, time) = (head.height(), head.header().hash(), head.header().time);
    Ok(json!({
        "id": 1, "height": height, "from_height": height, "to_height": height, "from_hash": hash, "to_hash": hash,
        "start": time, "end": time,
    }))
}

fn header_json(header: &VerifiedHeader) -> Value {
    let light = header.light_block();
    let raw = header.header();
    json!({
        "header": raw,
        "validator_set": light.validators,
        "commit": light.signed_header.commit,
        "dah": { "row_roots": [], "column_roots": [] },
        "height": header.height().to_string(),
        "chain_id": raw.chain_id,
        "time": raw.time,
    })
}
