//! The fee market at hand: the excess that prices the next block, and what the last blocks charged and held.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use blob_api::{MarketBlock, PriceState};
use chain::{Height, StateError, ValidBlock};

use crate::storage::{Store, StoreError};

/// Blocks at hand: what a forecast goes by.
const RECENT: usize = 16;

/// Answered from memory, so that a quote waits for no disk.
#[derive(Debug)]
pub(crate) struct Market(Mutex<PriceState>);

impl Market {
    /// The market after the block at `tip`.
    pub(crate) fn open(store: &Store, tip: Height) -> Result<Self, StoreError> {
        let excess = chain::State::at(store, tip).excess()?;
        let recent = store.market(tip, RECENT as u32)?;
        Ok(Self(Mutex::new(PriceState { height: tip, excess, recent })))
    }

    fn lock(&self) -> MutexGuard<'_, PriceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub(crate) fn price(&self) -> PriceState {
        self.lock().clone()
    }

    /// The excess that prices the next block.
    pub(crate) fn excess(&self) -> u64 {
        self.lock().excess
    }

    /// What `valid`, the next block, charges and holds.
    pub(crate) fn next(&self, valid: &ValidBlock) -> MarketBlock {
        MarketBlock {
            height: valid.block.header.height.value(),
            time: valid.block.header.time,
            excess: self.excess(),
            used: valid.receipts.iter().map(|receipt| receipt.shares).sum(),
            transactions: valid.receipts.len() as u32,
            blob_bytes: valid.placement.index.entries().iter().skip(1).map(|entry| entry.len).sum(),
        }
    }

    /// Goes on with a committed block, after which the excess is `excess`.
    pub(crate) fn advance(&self, block: MarketBlock, excess: u64) {
        let mut price = self.lock();
        price.height = block.height;
        price.excess = excess;
        let mut recent: VecDeque<_> = std::mem::take(&mut price.recent).into();
        recent.push_back(block);
        while recent.len() > RECENT {
            recent.pop_front();
        }
        price.recent = recent.into();
    }
}

impl From<StateError> for crate::node::NodeError {
    fn from(error: StateError) -> Self {
        Self::Store(error.into())
    }
}
