//! Inclusion once: what a block includes is remembered until it has expired, and forgotten a fixed time later.
//!
//! ```text
//! included at h ─▶ once/‖hash, and the hash into the list seen/‖(h + 100, or h + 10,000 if it may wait longer)
//! block f ─▶ deletes what the list seen/‖f names, and the list
//! ```
//!
//! A block reads and writes one leaf for each transaction that it includes, however many expire with them, and forgets
//! at most what two blocks included: the one 100 and the one 10,000 heights ago. There is no backlog.

use super::Ledger;
use crate::{
    Height,
    state::{Draft, StateError, StateStore, Values},
    state_key::StateKey,
    transaction::{OTHER_HORIZON, Payload, SUBMIT_HORIZON},
};

impl<S: StateStore> Ledger<'_, S> {
    pub(super) fn is_remembered(&self, payload: &Payload) -> Result<bool, StateError> {
        Ok(self.draft.value(StateKey::Once(payload.once()))?.is_some())
    }

    pub(super) fn remember(&mut self, payload: &Payload) {
        let near = self.height.saturating_add(SUBMIT_HORIZON);
        // Not before it has expired: none is valid for longer than the longer horizon.
        let forgotten =
            if payload.valid_until <= near { near } else { self.height.saturating_add(OTHER_HORIZON) };
        let once = payload.once();
        self.draft.put_number(StateKey::Once(once), self.height);
        self.included.entry(forgotten).or_default().insert(once);
    }

    /// Lists what this block included, and forgets what it has to.
    pub(super) fn forget(&mut self) -> Result<(), StateError> {
        for (height, included) in std::mem::take(&mut self.included) {
            let list = hashes(&self.draft, height)?.into_iter().chain(included);
            self.draft.put(StateKey::Seen(height), list.flatten().collect());
        }
        for once in hashes(&self.draft, self.height)? {
            self.draft.delete(StateKey::Once(once))?;
        }
        self.draft.delete(StateKey::Seen(self.height))
    }
}

fn hashes<S: StateStore>(draft: &Draft<'_, S>, height: Height) -> Result<Vec<[u8; 32]>, StateError> {
    let bytes = draft.value(StateKey::Seen(height))?.unwrap_or_default();
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(StateError::Malformed("seen"));
    }
    Ok(hashes.to_vec())
}
