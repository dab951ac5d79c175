//! Why a transaction is in the state it is in, in words that say what comes next.

use chain::TxStatus;

use crate::TxRecord;

/// The reason, where the next block's base fee is `base_fee`.
pub(crate) fn why(record: &TxRecord, base_fee: u64) -> String {
    let TxRecord { fee_cap, valid_until, .. } = record;
    match &record.status {
        TxStatus::Pooled if *fee_cap < base_fee && !record.reserved => format!(
            "waits until the base fee falls: its cap is {fee_cap} nano per share, the next block asks {base_fee}; \
             replace it with a higher cap, or it expires after height {valid_until} and costs nothing"
        ),
        TxStatus::Pooled => "waits for the next block; those with a higher tip per share go first".into(),
        TxStatus::Included { height } => {
            format!("is in the block proposed for height {height}, which is being agreed on")
        }
        TxStatus::Final { height } => {
            format!("is in block {height}, which more than two thirds of the validators signed")
        }
        TxStatus::Expired => {
            format!(
                "no block up to height {valid_until} took it; nothing was charged, and no block can any more"
            )
        }
        TxStatus::Replaced { by } => {
            format!("transaction {by} took its place; at most one of the two is included")
        }
        TxStatus::Evicted { reason } => format!(
            "{reason}; another node may still include it up to height {valid_until}: submit it again, or replace it \
             with a higher tip"
        ),
        TxStatus::Rejected { reason } => format!("{reason}; nothing was charged"),
    }
}
