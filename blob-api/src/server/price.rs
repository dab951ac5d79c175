//! Prices, quotes, their history and their stream.

use axum::{Json, extract::State, response::Response};
use chain::fees::{FeeRules, MIN_BASE_FEE};
use futures::{Stream, stream};

use super::{
    App,
    failure::Failure,
    live::{Update, Wish},
    params::{JsonBody, Parameters},
    places::Asker,
};
use crate::{
    BlobShape, BlockPriceBody, ConvertedBody, ErrorBody, HORIZON_LIMIT, MarketBlock, PriceBody,
    PriceHistoryBody, PriceState, QuoteBody, QuoteError, QuoteRequest, Rate, quote::shares_of, rate::per_mib,
    wire,
};

/// Blocks of history in one answer.
const HISTORY_LIMIT: u32 = 1_000;

/// No header has a greater height: they are signed 64-bit numbers there.
const HEIGHT_LIMIT: u64 = i64::MAX as u64;

/// The price of the next block, and how full the last ones were.
///
/// In another unit as well, if asked: at a rate that the node's operator configured (`unit=usd`), or at the asker's
/// own (`rate=0.35 usd`).
#[utoipa::path(
    get, path = "/v1/price", tag = "price",
    params(
        ("unit" = Option<String>, Query, description = "a unit that this node has a rate for",
            pattern = "^[A-Za-z0-9]{1,16}$"),
        ("rate" = Option<String>, Query, description = "what one WEFT is worth, as `0.35 usd`",
            pattern = r"^(0\.[0-9]{0,8}[1-9]|[1-9][0-9]{0,8}(\.[0-9]{1,9})?) [A-Za-z0-9]{1,16}$")
    ),
    responses((status = 200, body = PriceBody), (status = 400, body = ErrorBody))
)]
pub(super) async fn price(State(app): State<App>, mut query: Parameters) -> Result<Json<PriceBody>, Failure> {
    let rate = rate(&app, &mut query)?;
    query.finish()?;
    Ok(Json(current(&app, rate.as_ref()).await))
}

/// The price of each new block as it comes: Server-Sent Events named `price`, or a WebSocket.
///
/// The first event is the price now. A client that reads slowly misses blocks, never the latest.
#[utoipa::path(
    get, path = "/v1/price/events", tag = "price",
    params(
        ("unit" = Option<String>, Query, description = "a unit that this node has a rate for",
            pattern = "^[A-Za-z0-9]{1,16}$"),
        ("rate" = Option<String>, Query, description = "what one WEFT is worth, as `0.35 usd`",
            pattern = r"^(0\.[0-9]{0,8}[1-9]|[1-9][0-9]{0,8}(\.[0-9]{1,9})?) [A-Za-z0-9]{1,16}$")
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = PriceBody),
        (status = 101, description = "a WebSocket, if asked for; each message is one price"),
        (status = 400, body = ErrorBody), (status = 429, body = ErrorBody)
    )
)]
pub(super) async fn price_events(
    State(app): State<App>,
    asker: Asker,
    mut query: Parameters,
    wish: Wish,
) -> Result<Response, Failure> {
    let rate = rate(&app, &mut query)?;
    query.finish()?;
    let place = app.streams.take(asker)?;
    let prices = prices(app.clone(), rate);
    Ok(app.stream(wish, place, prices))
}

fn prices(app: App, rate: Option<Rate>) -> impl Stream<Item = Update> + Send {
    let changes = app.backend.changes();
    stream::unfold((app, rate, changes, None), |(app, rate, mut changes, last)| async move {
        loop {
            changes.mark_unchanged();
            let price = current(&app, rate.as_ref()).await;
            let height = Some(price.height);
            if height != last {
                return Some((Update::new("price", &price), (app, rate, changes, height)));
            }
            changes.changed().await.ok()?;
        }
    })
}

/// The price that each block charged, and how full it was, oldest first.
#[utoipa::path(
    get, path = "/v1/price/history", tag = "price",
    params(
        ("blocks" = Option<u32>, Query, description = "how many, 1 to 1000; 100 unless told",
            minimum = 1, maximum = 1000),
        ("to" = Option<u64>, Query, description = "the last height; the latest unless told",
            minimum = 1, maximum = 9223372036854775807i64)
    ),
    responses((status = 200, body = PriceHistoryBody), (status = 400, body = ErrorBody))
)]
pub(super) async fn price_history(
    State(app): State<App>,
    mut query: Parameters,
) -> Result<Json<PriceHistoryBody>, Failure> {
    let blocks: u32 = query.take("blocks")?.unwrap_or(100);
    let to: Option<u64> = query.take("to")?;
    query.finish()?;
    if let Some(to) = to.filter(|to| !(1..=HEIGHT_LIMIT).contains(to)) {
        return Err(Failure::invalid("to", format!("1 to {HEIGHT_LIMIT}")).limit(HEIGHT_LIMIT).got(to));
    }
    if !(1..=HISTORY_LIMIT).contains(&blocks) {
        let message = format!("1 to {HISTORY_LIMIT} in one answer");
        return Err(Failure::invalid("blocks", message).limit(HISTORY_LIMIT).got(blocks));
    }
    let rules = FeeRules::new(&app.backend.info().parameters);
    let history = app.backend.market(to, blocks).await;
    Ok(Json(PriceHistoryBody {
        target: rules.target,
        capacity: rules.capacity,
        blocks: history.iter().map(|block| block_price(&rules, block)).collect(),
    }))
}

fn block_price(rules: &FeeRules, block: &MarketBlock) -> BlockPriceBody {
    BlockPriceBody {
        height: block.height,
        time: block.time,
        base_fee: rules.base_fee(block.excess),
        used: block.used,
        fullness: block.used as f64 / rules.capacity as f64,
        transactions: block.transactions,
        blob_bytes: block.blob_bytes,
    }
}

async fn current(app: &App, rate: Option<&Rate>) -> PriceBody {
    let rules = FeeRules::new(&app.backend.info().parameters);
    let PriceState { height, excess, recent } = app.backend.price().await;
    let base_fee = rules.base_fee(excess);
    PriceBody {
        height,
        base_fee,
        per_mib: per_mib(base_fee),
        floor: MIN_BASE_FEE,
        excess,
        target: rules.target,
        capacity: rules.capacity,
        recent: recent.iter().map(|block| block_price(&rules, block)).collect(),
        converted: rate.map(|rate| ConvertedBody {
            base_fee: Some(rate.convert(base_fee)),
            per_mib: Some(rate.convert(per_mib(base_fee))),
            ..ConvertedBody::of(rate)
        }),
    }
}

/// The rate that the asker wants prices in besides.
fn rate(app: &App, query: &mut Parameters) -> Result<Option<Rate>, Failure> {
    let (unit, rate) = (query.take::<String>("unit")?, query.take::<Rate>("rate")?);
    chosen_rate(app, unit, rate)
}

fn chosen_rate(app: &App, unit: Option<String>, rate: Option<Rate>) -> Result<Option<Rate>, Failure> {
    let Some(unit) = unit else { return Ok(rate) };
    if rate.is_some() {
        return Err(Failure::invalid("unit", "give a unit of this node's, or a rate of your own; not both"));
    }
    let known = app.config.rates.iter().find(|rate| rate.unit() == unit);
    known.cloned().map(Some).ok_or_else(|| {
        let units: Vec<_> = app.config.rates.iter().map(Rate::unit).collect();
        let message = format!("this node has rates for {units:?}; or give your own, as rate=0.35 {unit}");
        Failure::invalid("unit", message).got(unit)
    })
}

/// What a transaction with `blobs` blobs of `bytes` bytes each costs: now, as expected, and at most.
#[utoipa::path(
    get, path = "/v1/quote", tag = "price",
    params(
        ("bytes" = u64, Query, description = "length of each blob",
            minimum = 1),
        ("blobs" = Option<u64>, Query, description = "how many; 1 unless told",
            minimum = 1),
        ("foreign" = Option<String>, Query, description = "kinds of foreign commitments, separated by commas",
            pattern = "^((keccak256|sha256|eip4844|celestia|anytrust)(,(keccak256|sha256|eip4844|celestia|anytrust))*)?$"),
        ("horizon" = Option<u64>, Query, description = "for how many blocks the cap shall hold; 100 unless told",
            minimum = 1, maximum = 100),
        ("unit" = Option<String>, Query, description = "a unit that this node has a rate for",
            pattern = "^[A-Za-z0-9]{1,16}$"),
        ("rate" = Option<String>, Query, description = "what one WEFT is worth, as `0.35 usd`",
            pattern = r"^(0\.[0-9]{0,8}[1-9]|[1-9][0-9]{0,8}(\.[0-9]{1,9})?) [A-Za-z0-9]{1,16}$")
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
    let rate = rate(&app, &mut query)?;
    query.finish()?;
    let limit = u64::from(app.backend.info().parameters.blobs_per_transaction);
    let count = usize::try_from(blobs).ok().filter(|_| (1..=limit).contains(&blobs));
    let count = count.ok_or(QuoteError::Blobs { limit, got: blobs })?;
    answer(&app, vec![BlobShape { len: bytes, foreign }; count], horizon, rate).await
}

/// What a transaction with exactly these blobs costs.
#[utoipa::path(
    post, path = "/v1/quote", tag = "price", request_body = QuoteRequest,
    responses(
        (status = 200, body = QuoteBody), (status = 400, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody)
    )
)]
pub(super) async fn quote_exactly(
    State(app): State<App>,
    JsonBody(request): JsonBody<QuoteRequest>,
) -> Result<Json<QuoteBody>, Failure> {
    let rate = chosen_rate(&app, request.unit, request.rate)?;
    answer(&app, request.blobs.into_iter().map(BlobShape::from).collect(), request.horizon, rate).await
}

async fn answer(
    app: &App,
    blobs: Vec<BlobShape>,
    horizon: u64,
    rate: Option<Rate>,
) -> Result<Json<QuoteBody>, Failure> {
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
    let base_fee = rules.base_fee(price.excess);
    let expected_base_fee = rules.expected_base_fee(price.excess, horizon, price.mean_used());
    let fee_cap = rules.guaranteed_cap(price.excess, horizon);
    let [cost, expected_cost, cost_limit] =
        [base_fee, expected_base_fee, fee_cap].map(|fee| fee.saturating_mul(shares));
    Ok(Json(QuoteBody {
        height: price.height,
        excess: price.excess,
        shares,
        horizon,
        base_fee,
        expected_base_fee,
        fee_cap,
        cost,
        expected_cost,
        cost_limit,
        converted: rate.map(|rate| ConvertedBody {
            cost: Some(rate.convert(cost)),
            expected_cost: Some(rate.convert(expected_cost)),
            cost_limit: Some(rate.convert(cost_limit)),
            ..ConvertedBody::of(&rate)
        }),
    }))
}
