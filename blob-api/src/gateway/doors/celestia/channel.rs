//! Subscriptions as go-jsonrpc's channels, which celestia-node's clients expect.
//!
//! ```text
//!  ─▶ {"id": 7, "method": "blob.Subscribe", "params": [namespace]}
//!  ◀─ {"id": 7, "result": 1}                                           the channel's number
//!  ◀─ {"method": "xrpc.ch.val", "params": [1, value]}                  each value
//!  ◀─ {"method": "xrpc.ch.close", "params": [1]}                       when the gateway stops
//! ```
//!
//! jsonrpsee's own notifications name their parameters, which go-jsonrpc does not read; its client reads these.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chain::{Height, VerifiedHeader};
use futures::{
    FutureExt, Stream, StreamExt,
    stream::{self, BoxStream},
};
use jsonrpsee::{
    MethodResponse, Methods, ResponsePayload,
    core::server::{MethodCallback, MethodSink, SubscriptionState},
    types::{ErrorObjectOwned, Id, Params},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json, value::to_raw_value};
use tokio::task::AbortHandle;

use super::{super::super::Gateway, method, parse};
use crate::ClientError;

/// First and longest pause before a height is asked for again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// A connection may hold channels of several methods, so that all draw from one row of numbers.
static NEXT_CHANNEL: AtomicU64 = AtomicU64::new(1);

type Open = Arc<Mutex<HashMap<u64, AbortHandle>>>;

/// Registers a subscription and its end.
pub(super) fn register<P, F>(
    methods: &mut Methods,
    gateway: &Gateway,
    subscribe: &'static str,
    unsubscribe: &'static str,
    open: F,
) where
    P: DeserializeOwned,
    F: Fn(Gateway, P) -> Result<BoxStream<'static, Value>, ErrorObjectOwned> + Send + Sync + 'static,
{
    let channels = Open::default();
    let ended = channels.clone();
    method(methods, gateway, unsubscribe, move |_, (channel,): (u64,)| {
        let task = ended.lock().unwrap_or_else(PoisonError::into_inner).remove(&channel);
        async move { Ok(json!(task.map(|task| task.abort()).is_some())) }
    });
    let gateway = gateway.clone();
    let callback =
        move |id: Id<'_>, params: Params<'_>, sink: MethodSink, state: SubscriptionState<'_>, _| {
            let opened = parse::<P>(&params).and_then(|parameters| open(gateway.clone(), parameters));
            let channel = NEXT_CHANNEL.fetch_add(1, Ordering::Relaxed);
            let (id, gateway, channels) = (id.into_owned(), gateway.clone(), channels.clone());
            let permit = state.subscription_permit;
            async move {
                let response = match &opened {
                    Ok(_) => {
                        let limit = sink.max_response_size() as usize;
                        MethodResponse::subscription_response(
                            id,
                            ResponsePayload::success_borrowed(&channel),
                            limit,
                        )
                    }
                    Err(error) => MethodResponse::subscription_error(id, error.clone()),
                };
                // The caller sees the answer before the first value; jsonrpsee does not send it a second time.
                let answered = sink.send(response.to_json()).await.is_ok();
                if let (Ok(values), true) = (opened, answered) {
                    let task = tokio::spawn(async move {
                        let _permit = permit;
                        run(&gateway, channel, values, &sink).await;
                    });
                    let mut channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
                    channels.retain(|_, task| !task.is_finished());
                    channels.insert(channel, task.abort_handle());
                }
                response
            }
            .boxed()
        };
    let registered = methods.verify_and_insert(subscribe, MethodCallback::Subscription(Arc::new(callback)));
    debug_assert!(registered.is_ok(), "{subscribe} twice");
}

/// Sends values until the caller or the gateway is gone.
async fn run(gateway: &Gateway, channel: u64, mut values: BoxStream<'static, Value>, sink: &MethodSink) {
    loop {
        let value = tokio::select! {
            value = values.next() => value,
            () = gateway.stopped() => None,
            () = sink.closed() => return,
        };
        let (name, params) = match value {
            Some(value) => ("xrpc.ch.val", json!([channel, value])),
            None => ("xrpc.ch.close", json!([channel])),
        };
        let frame = json!({ "jsonrpc": "2.0", "method": name, "params": params });
        let Ok(frame) = to_raw_value(&frame) else { return };
        if sink.send(frame).await.is_err() || name == "xrpc.ch.close" {
            return;
        }
    }
}

/// The height after the latest verified one at the time of the call; where nothing was verified then, the first
/// that is.
pub(super) fn next_height(mut gateway: Gateway) -> impl Future<Output = Height> + Send {
    let next = gateway.head.latest().map(|head| head.height() + 1);
    async move {
        if let Some(next) = next {
            return next;
        }
        gateway.head.reaches(1).await;
        gateway.head.latest().map_or(1, |head| head.height())
    }
}

/// Every verified header after the latest one, each once, in order.
pub(super) fn heights(gateway: Gateway) -> impl Stream<Item = VerifiedHeader> + Send {
    let first = next_height(gateway.clone());
    stream::once(first).flat_map(move |first| from(gateway.clone(), first))
}

fn from(gateway: Gateway, first: Height) -> impl Stream<Item = VerifiedHeader> + Send {
    stream::unfold((gateway, first), |(mut gateway, next)| async move {
        gateway.head.reaches(next).await;
        let client = gateway.client.clone();
        let header = persist(move || {
            let client = client.clone();
            async move { client.header(next).await }
        })
        .await;
        Some((header, (gateway, next + 1)))
    })
}

/// Asks again until there is an answer: a subscription has no gaps.
pub(super) async fn persist<T, F>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut pause = PAUSES.0;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => tracing::warn!(%error, "a subscription waits for a height"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}
