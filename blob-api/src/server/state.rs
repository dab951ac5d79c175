//! Values of the state with their proofs, and what they mean.

use axum::{Json, extract::State};
use chain::{Reason, Reservation, ReservationId, StateKey};

use super::{
    App,
    failure::Failure,
    outcome,
    params::{Segment, Segments, parse},
};
use crate::{ErrorBody, ReservationBody, StateBody};

/// A single value of the state: `excess`, `burned`, `reserved`, a validator set.
#[utoipa::path(
    get, path = "/v1/state/{name}", tag = "state",
    params(("name" = String, Path,
        description = "excess, burned, reserved, validators-last (that signed the latest block), validators, \
            validators-next, unbonding-start, unbonding-end, attesters (of the latest block's epoch), attesters-next or \
            history",
        pattern = "^(excess|burned|reserved|validators-last|validators|validators-next|unbonding-start|unbonding-end|attesters|attesters-next|history)$")),
    responses((status = 200, body = StateBody), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(super) async fn single(
    State(app): State<App>,
    Segment(name): Segment,
) -> Result<Json<StateBody>, Failure> {
    value(&app, parse("name", &name)?).await.map(Json)
}

/// One value of a kind: `account/0x…`, `reservation/…`, `validator/0x…`.
#[utoipa::path(
    get, path = "/v1/state/{kind}/{id}", tag = "state",
    params(
        ("kind" = String, Path,
            description = "account, reservation, once, seen, reservations-until, validator, consensus-key, \
                attestation-key or unbonding",
            pattern = "^(account|reservation|once|seen|reservations-until|validator|consensus-key|attestation-key|unbonding)$"),
        ("id" = String, Path, description = "which one: an address, 40 or 64 hexadecimal digits, or a number",
            pattern = "^((0x)?[0-9a-f]{40}|[0-9a-f]{64}|0|[1-9][0-9]{0,18})$")
    ),
    responses((status = 200, body = StateBody), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(super) async fn one_of(
    State(app): State<App>,
    Segments(kind, id): Segments,
) -> Result<Json<StateBody>, Failure> {
    value(&app, parse("id", &format!("{kind}/{id}"))?).await.map(Json)
}

/// A reservation, or that there is none of this id.
#[utoipa::path(
    get, path = "/v1/reservations/{id}", tag = "state",
    params(("id" = String, Path, description = "64 hexadecimal digits: the id of the transaction that bought it",
        pattern = "^(0x)?[0-9a-fA-F]{64}$")),
    responses(
        (status = 200, body = ReservationBody), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)
    )
)]
pub(super) async fn reservation(
    State(app): State<App>,
    Segment(id): Segment,
) -> Result<Json<ReservationBody>, Failure> {
    let id: ReservationId = parse("id", &id)?;
    let proven = value(&app, StateKey::Reservation(id)).await?;
    let decoded = proven.value.as_ref().map(|value| Reservation::decode(&value.0)).transpose();
    let reservation = decoded
        .map_err(|error| outcome::unreachable(&Reason::Storage { message: error.to_string() }))?
        .map(|reservation| (&reservation, proven.height).into());
    Ok(Json(ReservationBody { id, reservation, proven }))
}

async fn value(app: &App, key: StateKey) -> Result<StateBody, Failure> {
    Ok(StateBody::new(&key, outcome::data(app.backend.state(key).await)?))
}
