//! Subscriptions as go-jsonrpc's channels, which celestia-node's clients expect.
//!
//! ```text
//!  ─▶ {"id": 7, "method": "blob.Subscribe", "params": [namespace]}
//!  ◀─ {"id": 7, "result": 1}                                           the channel's number
//!  ◀─ {"method": "xrpc.ch.val", "params": [1, value]}                  each value
//!  ─▶ {"method": "xrpc.cancel", "params": [7]}                         the call's number: no more of it
//!  ◀─ {"method": "xrpc.ch.close", "params": [1]}                       then, or when the gateway stops
//! ```
//!
//! jsonrpsee's own notifications name their parameters, which go-jsonrpc does not read; its client reads these.

use std::{
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
    Extensions, MethodResponse, Methods, ResponsePayload, RpcModule,
    core::{
        middleware::{Batch, Notification, Request, RpcServiceT},
        server::{MethodCallback, MethodSink, SubscriptionState},
    },
    types::{ErrorObjectOwned, Id, Params},
};
use serde::de::DeserializeOwned;
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use tokio::sync::oneshot;

use super::{super::super::Gateway, parse};
use crate::ClientError;

/// First and longest pause before a height is asked for again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// A connection may hold channels of several methods, so that all draw from one row of numbers.
static NEXT_CHANNEL: AtomicU64 = AtomicU64::new(1);

/// The open channels of one connection, which its requests carry.
#[derive(Clone, Default)]
pub(super) struct Channels(Arc<Mutex<Vec<Open>>>);

struct Open {
    call: Id<'static>,
    channel: u64,
    /// The channel ends when this is dropped.
    end: oneshot::Sender<()>,
}

impl Channels {
    fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    fn open(&self, call: Id<'static>, channel: u64) -> oneshot::Receiver<()> {
        let (end, ended) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Open { call, channel, end });
        ended
    }

    /// Ends some; says whether there were any.
    fn end(&self, which: impl Fn(&Open) -> bool) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|open| !open.end.is_closed());
        open.extract_if(.., |open| which(open)).count() > 0
    }
}

/// Takes go-jsonrpc's notification that a call is cancelled; jsonrpsee looks at none.
#[derive(Clone)]
pub(super) struct Cancelling<S>(pub(super) S);

impl<S: RpcServiceT + Send + Sync> RpcServiceT for Cancelling<S> {
    type MethodResponse = S::MethodResponse;
    type NotificationResponse = S::NotificationResponse;
    type BatchResponse = S::BatchResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = Self::MethodResponse> + Send + 'a {
        self.0.call(request)
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = Self::BatchResponse> + Send + 'a {
        self.0.batch(batch)
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = Self::NotificationResponse> + Send + 'a {
        let params = notification.params.as_deref().map_or("[]", RawValue::get);
        if let ("xrpc.cancel", Ok((call,))) =
            (notification.method.as_ref(), serde_json::from_str::<(Id<'_>,)>(params))
        {
            Channels::of(&notification.extensions).end(|open| open.call == call);
        }
        self.0.notification(notification)
    }
}

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
    let mut module = RpcModule::new(());
    let registered = module.register_method(unsubscribe, |params, (), extensions| {
        let (channel,): (u64,) = parse(&params)?;
        Ok::<_, ErrorObjectOwned>(Channels::of(extensions).end(|open| open.channel == channel))
    });
    debug_assert!(registered.is_ok(), "{unsubscribe} twice");
    let merged = methods.merge(module);
    debug_assert!(merged.is_ok(), "{unsubscribe} twice");
    let gateway = gateway.clone();
    let callback = move |id: Id<'_>,
                         params: Params<'_>,
                         sink: MethodSink,
                         state: SubscriptionState<'_>,
                         extensions: Extensions| {
        let opened = parse::<P>(&params).and_then(|parameters| open(gateway.clone(), parameters));
        let channel = NEXT_CHANNEL.fetch_add(1, Ordering::Relaxed);
        let (id, gateway, permit) = (id.into_owned(), gateway.clone(), state.subscription_permit);
        async move {
            let response = match &opened {
                Ok(_) => MethodResponse::subscription_response(
                    id.clone(),
                    ResponsePayload::success_borrowed(&channel),
                    sink.max_response_size() as usize,
                ),
                Err(error) => MethodResponse::subscription_error(id.clone(), error.clone()),
            };
            // Open before it is answered, so that a caller may end it at once.
            let opened = opened.map(|values| (values, Channels::of(&extensions).open(id, channel)));
            // The caller sees the answer before the first value; jsonrpsee does not send it a second time.
            let answered = sink.send(response.to_json()).await.is_ok();
            if let (Ok((values, ended)), true) = (opened, answered) {
                tokio::spawn(async move {
                    let _permit = permit;
                    run(&gateway, channel, values, ended, &sink).await;
                });
            }
            response
        }
        .boxed()
    };
    let registered = methods.verify_and_insert(subscribe, MethodCallback::Subscription(Arc::new(callback)));
    debug_assert!(registered.is_ok(), "{subscribe} twice");
}

/// Sends values until the caller wants no more, or it or the gateway is gone.
async fn run(
    gateway: &Gateway,
    channel: u64,
    mut values: BoxStream<'static, Value>,
    mut ended: oneshot::Receiver<()>,
    sink: &MethodSink,
) {
    loop {
        let value = tokio::select! {
            value = values.next() => value,
            _ = &mut ended => None,
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
