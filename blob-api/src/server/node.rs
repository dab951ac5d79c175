//! The node itself and its accounts.

use axum::{Json, extract::State};

use super::{
    App,
    failure::Failure,
    limits::Operator,
    params::{Segment, parse},
};
use crate::{AccountBody, ErrorBody, OperatorBody, RulesBody, StatusBody, SubmittedBody};

/// Whether the server runs.
#[utoipa::path(get, path = "/healthz", tag = "node", responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Chain, height, peers and limits.
#[utoipa::path(get, path = "/v1/status", tag = "node", responses((status = 200, body = StatusBody)))]
pub(super) async fn status(State(app): State<App>) -> Json<StatusBody> {
    let status = app.backend.status().await;
    let info = app.backend.info();
    Json(StatusBody {
        chain_id: info.chain_id.clone(),
        genesis_hash: info.genesis_hash,
        height: status.height,
        block_time: status.block_time,
        syncing: status.syncing,
        peers: status.peers,
        max_submission_bytes: app.max_submission_bytes(),
        parameters: info.parameters.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rules: RulesBody::new(status.height, status.upgrade, status.newest_rules),
    })
}

/// What an account owns, and what its pooled transactions may cost.
#[utoipa::path(
    get, path = "/v1/account/{address}", tag = "account",
    params(("address" = String, Path, description = "0x and 40 hexadecimal digits",
        pattern = "^(0x)?[0-9a-fA-F]{40}$")),
    responses((status = 200, body = AccountBody), (status = 400, body = ErrorBody))
)]
pub(super) async fn account(
    State(app): State<App>,
    Segment(address): Segment,
) -> Result<Json<AccountBody>, Failure> {
    let address = parse("address", &address)?;
    let account = app.backend.account(address).await;
    Ok(Json(AccountBody { address, balance: account.balance, pending: account.pending }))
}

/// The pool account by account, and the alarms that are raised. For the node's operator.
#[utoipa::path(
    get, path = "/v1/operator/status", tag = "operator", security(("operator_token" = [])),
    responses((status = 200, body = OperatorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn operator(_: Operator, State(app): State<App>) -> Json<OperatorBody> {
    Json(app.backend.operator().await)
}

/// Sends some WEFT, on development networks.
#[utoipa::path(
    post, path = "/v1/faucet/{address}", tag = "account",
    params(("address" = String, Path, description = "0x and 40 hexadecimal digits",
        pattern = "^(0x)?[0-9a-fA-F]{40}$")),
    responses(
        (status = 200, body = SubmittedBody), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)
    )
)]
pub(super) async fn faucet(
    State(app): State<App>,
    Segment(address): Segment,
) -> Result<Json<SubmittedBody>, Failure> {
    let id = app.backend.faucet(parse("address", &address)?).await?;
    Ok(Json(SubmittedBody { id }))
}
