//! Who may ask, and how much: a rate for each asker, a number of requests at once, a token for operators, origins.
//!
//! Reads are open, submissions are open and paid for by their signer; only `/v1/operator/…` asks for a token. An asker
//! is an IPv4 address, or the 64-bit network of an IPv6 address, all of which one subscriber has.

use std::{convert::Infallible, net::SocketAddr, num::NonZeroU32, time::Duration};

use axum::{
    body::Body,
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{
    App, Config,
    failure::Failure,
    places::{Asker, Place, Places},
    read::{HEIGHT_HEADER, PROOF_HEADER},
};
use crate::ErrorCode;

/// Addresses whose rate is remembered before those at rest are forgotten.
const ADDRESSES: usize = 10_000;

/// What the middleware counts.
#[derive(Debug)]
pub(super) struct Limits {
    rate: Option<DefaultKeyedRateLimiter<Asker>>,
    requests: Places,
    clock: DefaultClock,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        let quota = NonZeroU32::new(config.requests_per_second)
            .map(|each| Quota::per_second(each).allow_burst(each.saturating_mul(TWO)));
        Self {
            rate: quota.map(RateLimiter::keyed),
            requests: Places::new("requests", config.concurrent_requests),
            clock: DefaultClock::default(),
        }
    }

    /// Takes one request of the asker's rate, or says how long to wait.
    fn take(&self, asker: Asker) -> Result<(), Duration> {
        let Some(rate) = &self.rate else { return Ok(()) };
        if rate.len() > ADDRESSES {
            rate.retain_recent();
        }
        rate.check_key(&asker).map_err(|busy| busy.wait_time_from(self.clock.now()))
    }
}

/// Two seconds' worth of requests may come at once.
const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// A response's mark: its place is free when the whole body is sent, not when its head is.
#[derive(Clone, Copy, Debug)]
pub(super) struct HoldsPlace;

/// Every request passes here first.
pub(super) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let place = match check(&app, &request) {
        Ok(place) => place,
        Err(failure) => return failure.into_response(),
    };
    let mut response = next.run(request).await;
    if response.extensions_mut().remove::<HoldsPlace>().is_none() {
        return response;
    }
    response.map(|body| {
        Body::from_stream(body.into_data_stream().map(move |piece| {
            let _held = &place;
            piece
        }))
    })
}

fn check(app: &App, request: &Request) -> Result<Place, Failure> {
    let asker = Asker::of(request.extensions());
    if let Err(wait) = app.limits.take(asker) {
        let limit = app.config.requests_per_second;
        let message = format!("{limit} requests a second from one address; slow down");
        return Err(Failure::new(ErrorCode::TooManyRequests, message).limit(limit).retry_after(wait));
    }
    app.limits.requests.take(asker)
}

impl Asker {
    /// Without a connection to look at (a test's, a Unix socket's), all are one.
    fn of(extensions: &Extensions) -> Self {
        extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(Self::default, |info| Self::new(info.0.ip()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// Who has the operator's token.
pub(super) struct Operator;

impl FromRequestParts<App> for Operator {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        authorize(app.config.operator_token.as_deref(), &parts.headers).map(|()| Self)
    }
}

fn authorize(token: Option<&str>, headers: &HeaderMap) -> Result<(), Failure> {
    let refused = |message: &str| Err(Failure::new(ErrorCode::Unauthorized, message).field("authorization"));
    let Some(token) = token else {
        return refused("operator endpoints are off: name a token's file in the node's settings");
    };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Bearer ")) {
        // Hashes are compared, so that the time it takes says nothing of the token.
        Some(given) if erasure::sha256(given.as_bytes()) == erasure::sha256(token.as_bytes()) => Ok(()),
        Some(_) => refused("that is not this node's token"),
        None => refused("send the node's token, as `Authorization: Bearer …`"),
    }
}

/// Which origins a browser may ask from; none unless configured.
pub(super) fn origins(config: &Config) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> =
        config.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let any = origins.iter().any(|origin| origin == "*");
    let exposed: [HeaderName; 3] = [HEIGHT_HEADER, PROOF_HEADER, header::RETRY_AFTER];
    Some(
        CorsLayer::new()
            .allow_methods([Method::GET, Method::POST, Method::PUT])
            .allow_headers([header::CONTENT_TYPE])
            .expose_headers(exposed)
            .allow_origin(if any { AllowOrigin::any() } else { AllowOrigin::list(origins) }),
    )
}
