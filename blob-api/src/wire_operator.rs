//! The JSON bodies of operators' endpoints and alarms.

use chain::{Address, Amount, Height};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/operator/status`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperatorBody {
    /// The pool.
    pub pool: PoolBody,
    /// The alarms that are raised.
    pub alarms: Vec<AlarmBody>,
}

/// What the pool holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolBody {
    /// Transactions.
    pub transactions: u64,
    /// Their bytes, bodies included.
    pub bytes: u64,
    /// Bytes that it holds at most.
    pub limit_bytes: u64,
    /// Bytes that one account may have in it.
    pub account_limit_bytes: u64,
    /// Each account's part.
    pub accounts: Vec<PoolAccountBody>,
}

/// An account's part of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolAccountBody {
    /// Whose.
    #[schema(value_type = String)]
    pub address: Address,
    /// Transactions.
    pub transactions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What they may cost together, in nano.
    pub pending: Amount,
}

/// An alarm, also as the webhook is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmBody {
    /// `balance_low`, `reservation_ending` or `posting_stalled`.
    pub alarm: String,
    /// The account or the reservation.
    pub subject: String,
    /// True when it is raised, false when it is over.
    pub raised: bool,
    /// What is wrong, and what to do.
    pub message: String,
    /// The chain's name.
    pub chain_id: String,
    /// The latest decided height.
    pub height: Height,
}
