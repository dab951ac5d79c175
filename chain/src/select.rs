//! Which transactions the next block holds.

use std::cmp::Reverse;

use tendermint::account;

use crate::{
    block::Candidate,
    genesis::Genesis,
    ledger::{Ledger, LedgerError},
    state::{State, StateError, StateStore},
    transaction::{KZG_CHUNKS_PER_BLOCK, NEW_VALIDATORS_PER_BLOCK, TxId, VerifiedTransaction},
};

/// The transactions of the next block, and those that no block after the same parent can hold.
#[derive(Clone, Debug, Default)]
pub struct Selected {
    /// Chosen, in the block's order.
    pub chosen: Vec<Candidate>,
    /// Refused by the state before the block, whatever else the block holds, with the reason. What stands back behind
    /// something chosen, or waits for room or a lower price, is neither here nor there.
    pub refused: Vec<(TxId, LedgerError)>,
}

/// The order in which blocks take transactions at this base fee: what reservations paid for, then by tip per share, then
/// what expires first; the rest is told apart by id.
///
/// Nothing in it depends on when a node heard of a transaction, so those who hold the same choose the same: every
/// validator builds the next square before its proposal comes.
pub fn precedence(transaction: &VerifiedTransaction, base_fee: u64) -> impl Ord + Copy + use<> {
    let payload = transaction.payload();
    let reserved = payload.reservation().is_some();
    let tip = if reserved { 0 } else { payload.tip.min(payload.fee_cap.saturating_sub(base_fee)) };
    (Reverse(reserved), Reverse(tip), payload.valid_until, transaction.id())
}

/// Chooses from `candidates` in the order of [`precedence`], as far as block and accounts allow.
pub fn select<S: StateStore>(
    genesis: &Genesis,
    state: State<'_, S>,
    proposer: &account::Id,
    candidates: &[Candidate],
) -> Result<Selected, StateError> {
    let parameters = &genesis.parameters;
    let before = Ledger::new(state, genesis)?;
    let mut ledger = Ledger::new(state, genesis)?;
    let operator = ledger.operator(proposer).unwrap_or_default();
    let base_fee = ledger.base_fee();
    let mut order: Vec<&Candidate> = candidates.iter().collect();
    order.sort_by_cached_key(|candidate| precedence(candidate.transaction(), base_fee));

    let mut selected = Selected::default();
    let (mut list_bytes, mut blob_shares, mut chunks, mut joining) = (0u64, 0u64, 0usize, 0usize);
    let capacity = parameters.width().shares() as u64;
    for candidate in order {
        let transaction = candidate.transaction();
        let bytes = transaction.transaction().encode().len() as u64 + 8;
        let shares: u64 = transaction.blobs().iter().map(|b| erasure::shares_for(b.len)).sum();
        let kzg = transaction.transaction().kzg.len();
        let joins = usize::from(transaction.transaction().new_keys().is_some());
        let fits = selected.chosen.len() < parameters.transactions_per_block as usize
            && list_bytes + bytes + 4 <= parameters.transaction_blob_bytes
            && blob_shares + shares + erasure::shares_for(list_bytes + bytes + 4) <= capacity
            && chunks + kzg <= KZG_CHUNKS_PER_BLOCK
            && joining + joins <= NEW_VALIDATORS_PER_BLOCK;
        if !fits {
            continue;
        }
        match ledger.apply(transaction, operator) {
            Ok(_) => {
                list_bytes += bytes;
                blob_shares += shares;
                chunks += kzg;
                joining += joins;
                selected.chosen.push(candidate.clone());
            }
            Err(LedgerError::State(error)) => return Err(error),
            // Most of a full pool: not worth a second look.
            Err(error) if error.may_pass() => {}
            Err(_) => match before.check(transaction) {
                Ok(_) => {}
                Err(LedgerError::State(error)) => return Err(error),
                Err(error) => selected.refused.push((transaction.id(), error)),
            },
        }
    }
    Ok(selected)
}
