//! Reservations: capacity paid for ahead, for a bounded number of blocks.
//!
//! ```text
//!  bought at h ─▶ usable from h + 1 to `end` − 1, `rate` shares a block ─▶ forgotten when block `end` − 1 is done
//!                 │
//!                 └ a token bucket: `rate` tokens a block up to BURST_BLOCKS of them; a submission spends its shares
//! ```
//!
//! All reservations of a chain together hold at most a quarter of the capacity and a bucket at most four blocks'
//! worth, so that every bucket emptied at once still fits one block. The excess counts the reserved rate whether
//! it is used or not: what comes out of a reservation moves nobody's price.

use std::cmp::Ordering;

use crate::{
    Amount, Height,
    address::Address,
    codec::fixed,
    fees::FeeRules,
    hex_text::hex_text,
    state::StateError,
    transaction::{TransactionError, TxId},
};

/// Blocks that a bucket holds at most: as many as the share of the capacity that can be reserved is contained in it.
pub const BURST_BLOCKS: u64 = crate::fees::RESERVABLE_PART;

/// Blocks for which a reservation can be paid ahead: a week of full speed.
pub const RESERVED_BLOCKS_LIMIT: u64 = 7 * 24 * 60 * 60;

/// Accounts besides the owner that may submit from one reservation.
pub const SIGNERS_LIMIT: usize = 16;

/// A reservation's id: that of the transaction that bought it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId(pub [u8; 32]);
hex_text!(ReservationId, 32, "");

impl From<TxId> for ReservationId {
    fn from(id: TxId) -> Self {
        Self(id.0)
    }
}

/// A reservation as the state holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Who bought it.
    pub owner: Address,
    /// Who may submit from it besides the owner, ascending.
    pub signers: Vec<Address>,
    /// Shares a block.
    pub rate: u64,
    /// The first height at which it is over.
    pub end: Height,
    /// Shares in the bucket after the block at `filled`.
    pub tokens: u64,
    /// The height for which `tokens` is right.
    pub filled: Height,
}

impl Reservation {
    /// Shares that the bucket holds at most, and one submission counts at most.
    pub fn depth(&self) -> u64 {
        self.rate.saturating_mul(BURST_BLOCKS)
    }

    /// Shares that the block at `height` can still take from it.
    pub fn available(&self, height: Height) -> u64 {
        let earned = self.rate.saturating_mul(height.saturating_sub(self.filled));
        self.tokens.saturating_add(earned).min(self.depth())
    }

    /// Whether `account` may submit from it.
    pub fn admits(&self, account: &Address) -> bool {
        self.owner == *account || self.signers.contains(account)
    }

    /// owner: 20 ‖ rate ‖ end ‖ tokens ‖ filled: u64 each ‖ signers: 20 each.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.owner.as_bytes().to_vec();
        for number in [self.rate, self.end, self.tokens, self.filled] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(self.signers.iter().flat_map(|signer| signer.as_bytes()));
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let bad = || StateError::Malformed("reservation");
        let (owner, rest) = bytes.split_first_chunk::<20>().ok_or_else(bad)?;
        let (numbers, signers) = rest.split_first_chunk::<32>().ok_or_else(bad)?;
        let mut numbers = numbers.chunks_exact(8).map(|n| fixed("reservation", n).map(u64::from_be_bytes));
        let mut number = || numbers.next().and_then(Result::ok).ok_or_else(bad);
        Ok(Self {
            owner: Address::from_bytes(*owner),
            rate: number()?,
            end: number()?,
            tokens: number()?,
            filled: number()?,
            signers: signers
                .chunks(20)
                .map(|signer| fixed("signer", signer).map(Address::from_bytes).map_err(|_| bad()))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Checks what a purchase asks for, as far as the state does not matter.
pub(crate) fn check_purchase(
    rules: &FeeRules,
    rate: u64,
    blocks: u64,
    signers: &[Address],
) -> Result<(), TransactionError> {
    let limit = rules.reservable();
    if rate == 0 || rate > limit {
        return Err(TransactionError::ReservedRate { got: rate, limit });
    }
    if signers.len() > SIGNERS_LIMIT {
        return Err(TransactionError::SignerCount { got: signers.len(), limit: SIGNERS_LIMIT });
    }
    if !signers.is_sorted_by(|a, b| a.cmp(b) == Ordering::Less) {
        return Err(TransactionError::SignerOrder);
    }
    check_blocks(blocks)
}

/// Checks for how long a purchase or an extension pays.
pub(crate) fn check_blocks(blocks: u64) -> Result<(), TransactionError> {
    let limit = RESERVED_BLOCKS_LIMIT;
    if blocks == 0 || blocks > limit {
        return Err(TransactionError::ReservedBlocks { got: blocks, limit });
    }
    Ok(())
}

/// What a reservation can refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReservationError {
    /// Never bought, or over.
    #[error("reservation: {0} does not exist or is over; buy another one")]
    Unknown(ReservationId),
    /// Somebody else's.
    #[error("reservation: {account} may not submit from {reservation}; its owner names signers when buying")]
    NotASigner {
        /// Whose reservation.
        reservation: ReservationId,
        /// Who tried.
        account: Address,
    },
    /// More than the bucket ever holds.
    #[error("reservation: the submission counts {shares} shares, the bucket holds {depth}; split it")]
    TooDeep {
        /// Shares counted.
        shares: u64,
        /// Shares that the bucket holds when full.
        depth: u64,
    },
    /// The bucket is not full enough now.
    #[error(
        "reservation: {available} shares are left in this block, {shares} are needed; later blocks add {rate} each"
    )]
    Spent {
        /// Shares in the bucket.
        available: u64,
        /// Shares counted.
        shares: u64,
        /// Shares that each block adds.
        rate: u64,
    },
    /// A quarter of the capacity is all there is.
    #[error("rate: {reserved} of {limit} reservable shares a block are taken, {rate} more do not fit")]
    SoldOut {
        /// Shares a block reserved by all.
        reserved: u64,
        /// Shares a block that can be.
        limit: u64,
        /// Shares a block asked for.
        rate: u64,
    },
    /// Dearer than the buyer allows.
    #[error("price_cap: the reservation costs {price} nano now, more than the {cap} allowed")]
    TooDear {
        /// What it costs.
        price: Amount,
        /// What was signed.
        cap: Amount,
    },
    /// Paid too far ahead.
    #[error("blocks: the reservation would end at {end}, at most {latest} now")]
    TooLong {
        /// When it would end.
        end: Height,
        /// Latest end allowed.
        latest: Height,
    },
}
