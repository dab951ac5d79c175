//! Prices and quotes.

use axum::{Json, extract::State};
use chain::fees::{FeeRules, MIN_BASE_FEE};

use super::{
    App,
    failure::Failure,
    params::{JsonBody, Parameters},
};
use crate::{
    BlobShape, ErrorBody, HORIZON_LIMIT, PriceBody, QuoteBody, QuoteError, QuoteRequest, quote::shares_of,
    wire,
};

/// The price of the next block.
#[utoipa::path(get, path = "/v1/price", tag = "price", responses((status = 200, body = PriceBody)))]
pub(super) async fn price(State(app): State<App>) -> Json<PriceBody> {
    let rules = FeeRules::new(&app.backend.info().parameters);
    let price = app.backend.price().await;
    Json(PriceBody {
        height: price.height,
        base_fee: rules.base_fee(price.excess),
        floor: MIN_BASE_FEE,
        excess: price.excess,
        target: rules.target,
        capacity: rules.capacity,
    })
}

/// What a transaction with `blobs` blobs of `bytes` bytes each costs.
#[utoipa::path(
    get, path = "/v1/quote", tag = "price",
    params(
        ("bytes" = u64, Query, description = "length of each blob"),
        ("blobs" = Option<u64>, Query, description = "how many; 1 unless told"),
        ("foreign" = Option<String>, Query, description = "kinds of foreign commitments, separated by commas"),
        ("horizon" = Option<u64>, Query, description = "for how many blocks the cap shall hold; 100 unless told")
    ),
    responses((status = 200, body = QuoteBody), (status = 400, body = ErrorBody))
)]
pub(super) async fn quote(State(app): State<App>, mut query: Parameters) -> Result<Json<QuoteBody>, Failure> {
    let bytes: u64 = query
        .take("bytes")?
        .ok_or_else(|| Failure::invalid("bytes", "missing; give the length of each blob"))?;
    let blobs: u64 = query.take("blobs")?.unwrap_or(1);
    let foreign = query.list("foreign")?;
    let horizon = query.take("horizon")?.unwrap_or_else(wire::default_horizon);
    query.finish()?;
    let limit = u64::from(app.backend.info().parameters.blobs_per_transaction);
    let count = usize::try_from(blobs).ok().filter(|_| (1..=limit).contains(&blobs));
    let count = count.ok_or(QuoteError::Blobs { limit, got: blobs })?;
    answer(&app, vec![BlobShape { len: bytes, foreign }; count], horizon).await
}

/// What a transaction with exactly these blobs costs.
#[utoipa::path(
    post, path = "/v1/quote", tag = "price", request_body = QuoteRequest,
    responses((status = 200, body = QuoteBody), (status = 400, body = ErrorBody), (status = 415, body = ErrorBody))
)]
pub(super) async fn quote_exactly(
    State(app): State<App>,
    JsonBody(request): JsonBody<QuoteRequest>,
) -> Result<Json<QuoteBody>, Failure> {
    answer(&app, request.blobs.into_iter().map(BlobShape::from).collect(), request.horizon).await
}

async fn answer(app: &App, blobs: Vec<BlobShape>, horizon: u64) -> Result<Json<QuoteBody>, Failure> {
    let parameters = &app.backend.info().parameters;
    let (limit, got) = (u64::from(parameters.blobs_per_transaction), blobs.len() as u64);
    if got == 0 || got > limit {
        return Err(QuoteError::Blobs { limit, got }.into());
    }
    let limit = parameters.max_blob_bytes;
    if let Some(blob) = blobs.iter().find(|blob| blob.len == 0 || blob.len > limit) {
        return Err(QuoteError::Bytes { limit, got: blob.len }.into());
    }
    if horizon == 0 || horizon > HORIZON_LIMIT {
        return Err(QuoteError::Horizon { limit: HORIZON_LIMIT, got: horizon }.into());
    }
    let shares = shares_of(&blobs)?;
    let rules = FeeRules::new(parameters);
    let price = app.backend.price().await;
    let (base_fee, fee_cap) = (rules.base_fee(price.excess), rules.guaranteed_cap(price.excess, horizon));
    Ok(Json(QuoteBody {
        height: price.height,
        excess: price.excess,
        shares,
        base_fee,
        horizon,
        fee_cap,
        cost: base_fee.saturating_mul(shares),
        cost_limit: fee_cap.saturating_mul(shares),
    }))
}
