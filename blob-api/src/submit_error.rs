//! Why a submission is refused, and the part of admission that needs no state.

use std::sync::Arc;

use chain::{
    Amount, BodyError, CheckedBlob, DecodeError, Domain, LedgerError, Parameters, ReservationError,
    StakingError, Submission, TransactionError, TxId, VerifiedTransaction,
};

/// Why a submission is refused. Nothing of it stays in the pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Never valid, or not at this height or price; the submitter is at fault. Sign another one.
    #[error("{message}")]
    Invalid {
        /// Which field is wrong.
        field: String,
        /// What is wrong, what is allowed and what to do.
        message: String,
        /// The limit, where there is one.
        limit: Option<u64>,
        /// What was got instead.
        got: Option<u64>,
    },
    /// The account does not cover what may be charged.
    #[error(
        "the account owns {balance} nano, {pending} of which are promised to pooled transactions; this one may cost \
         {needed}: fund the account or lower the fee cap"
    )]
    Underfunded {
        /// What the account owns, in nano.
        balance: Amount,
        /// What its pooled transactions may cost, in nano.
        pending: Amount,
        /// What this one may cost, in nano.
        needed: Amount,
    },
    /// Admitted, included or final already; it will not be included again.
    #[error(
        "transaction {id} is known already; follow it with its id, or sign another one with a fresh salt"
    )]
    Duplicate {
        /// The transaction.
        id: TxId,
    },
    /// No room for now; retry, or offer more.
    #[error(
        "the pool holds its limit of {limit} bytes, and nothing with a lower tip; retry in a few blocks, or with a tip \
         above {lowest_tip} nano per share"
    )]
    PoolFull {
        /// Bytes that the pool holds at most.
        limit: u64,
        /// The lowest tip per share among what it holds.
        lowest_tip: u64,
    },
    /// The reservation has as much in the pool as it may; retry when some of it is in a block.
    #[error("the reservation has its limit of {limit} shares in the pool; retry in a few blocks")]
    ReservationFull {
        /// Shares that a reservation may have in the pool.
        limit: u64,
    },
    /// The account has as many bytes in the pool as it may; retry when some of them are in a block.
    #[error("the account has its limit of {limit} bytes in the pool; retry in a few blocks")]
    AccountFull {
        /// Bytes that an account may have in the pool.
        limit: u64,
    },
    /// The node cannot judge now: it syncs or stops. Retry, or ask another node.
    #[error("the node cannot take submissions now: {0}")]
    Unavailable(String),
}

impl SubmitError {
    /// An invalid field without numbers.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into(), limit: None, got: None }
    }

    /// Adds both sides of the broken inequality to an invalid field; leaves other errors as they are.
    #[must_use]
    pub fn bounds(self, limit: impl TryInto<u64>, got: impl TryInto<u64>) -> Self {
        match self {
            Self::Invalid { field, message, .. } => {
                Self::Invalid { field, message, limit: limit.try_into().ok(), got: got.try_into().ok() }
            }
            other => other,
        }
    }
}

impl From<DecodeError> for SubmitError {
    fn from(error: DecodeError) -> Self {
        let message = error.to_string();
        match error {
            DecodeError::Length { field, expected, got } => {
                Self::invalid(field, message).bounds(expected, got)
            }
            DecodeError::TooMany { field, limit, got } => Self::invalid(field, message).bounds(limit, got),
            DecodeError::Field { field, .. } | DecodeError::Missing(field) => Self::invalid(field, message),
            _ => Self::invalid("body", message),
        }
    }
}

impl From<TransactionError> for SubmitError {
    fn from(error: TransactionError) -> Self {
        let invalid = Self::invalid(error.field(), error.to_string());
        match error {
            TransactionError::BlobCount { limit, got } | TransactionError::KzgCount { limit, got } => {
                invalid.bounds(limit, got)
            }
            TransactionError::BlobLength { limit, got, .. }
            | TransactionError::TooManyShares { limit, got } => invalid.bounds(limit, got),
            TransactionError::KzgLength { len, chunks, .. } => {
                invalid.bounds(chunks.saturating_mul(crate::quote::KZG_CHUNK_BYTES as u64), len)
            }
            _ => invalid,
        }
    }
}

/// What the ledger says of the next block. An account's pooled transactions are the pool's to count: `pending` is 0.
impl From<LedgerError> for SubmitError {
    fn from(error: LedgerError) -> Self {
        let message = error.to_string();
        match error {
            LedgerError::Expired { valid_until, height } => {
                Self::invalid("valid_until", message).bounds(height, valid_until)
            }
            LedgerError::TooDistant { valid_until, latest } => {
                Self::invalid("valid_until", message).bounds(latest, valid_until)
            }
            LedgerError::CapTooLow { cap, base_fee } => {
                Self::invalid("fee_cap", message).bounds(base_fee, cap)
            }
            LedgerError::BlockFull { shares, capacity, .. } => {
                Self::invalid("blobs", message).bounds(capacity, shares)
            }
            LedgerError::Reservation(error) => reservation_error(&error, message),
            LedgerError::Staking(error) => staking_error(&error, message),
            LedgerError::Evidence(_) => Self::invalid("evidence", message),
            LedgerError::Repeated(id) => Self::Duplicate { id },
            LedgerError::Underfunded { balance, needed, .. } => {
                Self::Underfunded { balance, pending: 0, needed }
            }
            _ => Self::Unavailable(message),
        }
    }
}

fn reservation_error(error: &ReservationError, message: String) -> SubmitError {
    match *error {
        ReservationError::TooDeep { shares, depth } => {
            SubmitError::invalid("reservation", message).bounds(depth, shares)
        }
        ReservationError::Spent { available, shares, .. } => {
            SubmitError::invalid("reservation", message).bounds(available, shares)
        }
        ReservationError::SoldOut { reserved, limit, rate } => {
            SubmitError::invalid("rate", message).bounds(limit.saturating_sub(reserved), rate)
        }
        ReservationError::TooDear { price, cap } => {
            SubmitError::invalid("price_cap", message).bounds(cap, price)
        }
        ReservationError::TooLong { end, latest } => {
            SubmitError::invalid("blocks", message).bounds(latest, end)
        }
        _ => SubmitError::invalid("reservation", message),
    }
}

fn staking_error(error: &StakingError, message: String) -> SubmitError {
    match *error {
        StakingError::HasKeys(_) | StakingError::NoKeys(_) | StakingError::KeyTaken(_) => {
            SubmitError::invalid("keys", message)
        }
        StakingError::Nobody | StakingError::NoSlashing => SubmitError::invalid("evidence", message),
        StakingError::TooLittle { stake, minimum } => {
            SubmitError::invalid("stake", message).bounds(minimum, stake)
        }
        StakingError::NotBonded { stake, got } => SubmitError::invalid("stake", message).bounds(stake, got),
        _ => SubmitError::invalid("stake", message),
    }
}

/// Checks all that needs no state: limits, signature, and every body against its header; KZG last, since it costs
/// milliseconds. CPU-bound: call it off the async threads.
pub fn check_submission(
    submission: Submission,
    domain: &Domain,
    parameters: &Parameters,
) -> Result<(VerifiedTransaction, Vec<CheckedBlob>), SubmitError> {
    let transaction = submission.transaction.verify(domain, parameters)?;
    let blobs = transaction.blobs().len();
    if submission.bodies.len() != blobs {
        let message = format!(
            "bodies: the transaction announces {blobs} blobs, got {} bodies",
            submission.bodies.len()
        );
        return Err(SubmitError::invalid("bodies", message).bounds(blobs, submission.bodies.len()));
    }
    let checked = transaction
        .openings()
        .zip(submission.bodies)
        .enumerate()
        .map(|(at, ((header, kzg), body))| {
            CheckedBlob::check(header, kzg, Arc::from(body)).map_err(|error| body_error(at, &error))
        })
        .collect::<Result<_, _>>()?;
    Ok((transaction, checked))
}

fn body_error(at: usize, error: &BodyError) -> SubmitError {
    let message = format!("blobs[{at}].{error}");
    match error {
        BodyError::Length { announced, got } => {
            SubmitError::invalid(format!("bodies[{at}]"), message).bounds(*announced, *got)
        }
        BodyError::Commitment => SubmitError::invalid(format!("blobs[{at}].commitment"), message),
        BodyError::Foreign(_) => SubmitError::invalid(format!("blobs[{at}].foreign"), message),
        BodyError::KzgProof => SubmitError::invalid("kzg", message),
        _ => SubmitError::invalid(format!("bodies[{at}]"), message),
    }
}
