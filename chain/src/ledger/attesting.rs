//! Epochs in the ledger: who attests, and the tree of the epoch's data roots.

use tendermint::{Hash, block::Header};

use super::Ledger;
use crate::{
    Height,
    attesters::{Attester, Attesters, Epoch},
    certificate::history_leaf,
    staking::Roster,
    state::{StateError, StateStore, Values},
    state_key::StateKey,
};

impl<S: StateStore> Ledger<'_, S> {
    fn epoch(&self, height: Height) -> Epoch {
        Epoch::of(height, &self.genesis.parameters)
    }

    /// Lets the next attesters begin with their epoch, and fixes those of the one after in its middle.
    pub(super) fn rotate_attesters(&mut self) -> Result<(), StateError> {
        let epoch = self.epoch(self.height);
        // The first block of all is not the first of an epoch that another one prepared.
        if self.height == epoch.first()
            && let Some(next) = self.draft.value(StateKey::AttestersNext)?
        {
            self.draft.put(StateKey::Attesters, next);
            self.draft.delete(StateKey::AttestersNext)?;
        }
        if self.height == epoch.middle() {
            let next = attesters_of(&self.draft, &self.roster)?;
            self.draft.put(StateKey::AttestersNext, next.encode());
        }
        Ok(())
    }

    /// Adds the data root of the block before this one, if it is of the same epoch.
    pub(super) fn grow_history(&mut self, previous: Option<&Header>) -> Result<(), StateError> {
        if self.height == self.epoch(self.height).first() {
            return self.draft.delete(StateKey::History);
        }
        let Some(header) = previous else { return Ok(()) };
        let Some(Hash::Sha256(data_root)) = header.data_hash else {
            return Err(StateError::Malformed("data root"));
        };
        let mut history = self.draft.before().history()?;
        history.push(&history_leaf(header.height.value(), &data_root));
        self.draft.put(StateKey::History, history.encode());
        Ok(())
    }
}

/// Those of a set that have attestation keys.
pub(crate) fn attesters_of(state: &impl Values, roster: &Roster) -> Result<Attesters, StateError> {
    let mut members = Vec::new();
    for member in &roster.0 {
        let validator = state.validator(&member.operator)?;
        if let Some(key) = validator.and_then(|validator| validator.attestation) {
            members.push(Attester { operator: member.operator, key, power: member.power });
        }
    }
    Attesters::new(members).map_err(|_| StateError::Malformed("attesters"))
}
