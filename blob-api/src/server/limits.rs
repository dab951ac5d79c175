//! Who may ask, and how much: a rate for each address, a number of requests at once, a token for operators, origins.
//!
//! Reads are open, submissions are open and paid for by their signer; only `/v1/operator/…` asks for a token.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use tokio::sync::Semaphore;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{
    App, Config,
    failure::{Failure, SOON},
    read::{HEIGHT_HEADER, PROOF_HEADER},
};
use crate::ErrorCode;

/// Addresses whose rate is remembered before those at rest are forgotten.
const ADDRESSES: usize = 10_000;

/// Paths under it are the operator's.
const OPERATOR: &str = "/v1/operator/";

/// What the middleware counts.
#[derive(Debug)]
pub(super) struct Limits {
    rate: Option<DefaultKeyedRateLimiter<IpAddr>>,
    requests: Arc<Semaphore>,
    clock: DefaultClock,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        let quota = NonZeroU32::new(config.requests_per_second)
            .map(|each| Quota::per_second(each).allow_burst(each.saturating_mul(TWO)));
        Self {
            rate: quota.map(RateLimiter::keyed),
            requests: Arc::new(Semaphore::new(config.concurrent_requests)),
            clock: DefaultClock::default(),
        }
    }

    /// Takes one request of the address' rate, or says how long to wait.
    fn take(&self, address: IpAddr) -> Result<(), Duration> {
        let Some(rate) = &self.rate else { return Ok(()) };
        if rate.len() > ADDRESSES {
            rate.retain_recent();
        }
        rate.check_key(&address).map_err(|busy| busy.wait_time_from(self.clock.now()))
    }
}

/// Two seconds' worth of requests may come at once.
const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// Every request passes here first.
pub(super) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    match check(&app, &request) {
        Ok(permit) => {
            let response = next.run(request).await;
            drop(permit);
            response
        }
        Err(failure) => failure.into_response(),
    }
}

fn check(app: &App, request: &Request) -> Result<tokio::sync::OwnedSemaphorePermit, Failure> {
    // Without a connection to look at (a test's, a Unix socket's), all share one rate.
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    if let Err(wait) = app.limits.take(address.unwrap_or(IpAddr::from([0, 0, 0, 0]))) {
        let limit = app.config.requests_per_second;
        let message = format!("{limit} requests a second from one address; slow down");
        return Err(Failure::new(ErrorCode::TooManyRequests, message).limit(limit).retry_after(wait));
    }
    if request.uri().path().starts_with(OPERATOR) {
        authorize(app.config.operator_token.as_deref(), request)?;
    }
    app.limits.requests.clone().try_acquire_owned().map_err(|_| {
        let limit = app.config.concurrent_requests;
        Failure::new(ErrorCode::TooManyRequests, "too many requests at once; retry")
            .limit(limit)
            .retry_after(SOON)
    })
}

fn authorize(token: Option<&str>, request: &Request) -> Result<(), Failure> {
    let refused = |message: &str| Err(Failure::new(ErrorCode::Unauthorized, message).field("authorization"));
    let Some(token) = token else {
        return refused("operator endpoints are off: name a token's file in the node's settings");
    };
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
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
