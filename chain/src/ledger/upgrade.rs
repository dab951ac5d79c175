//! Signals in the ledger: who may give which, and when they are an agreement.

use super::{Ledger, LedgerError};
use crate::{
    Height,
    address::Address,
    state::{StateError, StateStore, Values},
    state_key::StateKey,
    upgrade::{UPGRADE_HORIZON, Upgrade, UpgradeError},
};

impl<S: StateStore> Ledger<'_, S> {
    /// The first height from which on an upgrade that this block agrees on may hold.
    fn earliest_upgrade(&self) -> Height {
        self.height.saturating_add(self.genesis.parameters.upgrade_notice_heights)
    }

    /// Whether `operator` may signal this now, or take back what it signalled.
    pub(super) fn may_signal(&self, operator: Address, signal: Option<Upgrade>) -> Result<(), LedgerError> {
        let current = self.draft.upgrade()?;
        if self.roster.0.iter().all(|member| member.operator != operator) {
            return Err(UpgradeError::NoValidator(operator).into());
        }
        if self.height < current.height {
            return Err(UpgradeError::Agreed(current).into());
        }
        let Some(Upgrade { version, height }) = signal else { return Ok(()) };
        let next = current.version + 1;
        if version != next {
            return Err(UpgradeError::Version { next, got: version }.into());
        }
        let (earliest, latest) = (self.earliest_upgrade(), self.height.saturating_add(UPGRADE_HORIZON));
        if !(earliest..=latest).contains(&height) {
            return Err(UpgradeError::Height { earliest, latest, got: height }.into());
        }
        Ok(())
    }

    pub(super) fn signal(&mut self, operator: Address, signal: Option<Upgrade>) -> Result<(), LedgerError> {
        self.may_signal(operator, signal)?;
        let mut signals = self.draft.signals()?;
        match signal {
            Some(upgrade) => signals.0.insert(operator, upgrade),
            None => signals.0.remove(&operator),
        };
        self.draft.put(StateKey::Signals, signals.encode());
        Ok(())
    }

    /// Fixes what enough signals agree on, and drops those that can count no more.
    pub(super) fn agree_on_upgrade(&mut self) -> Result<(), StateError> {
        let mut signals = self.draft.signals()?;
        if signals.0.is_empty() {
            return self.draft.delete(StateKey::Signals);
        }
        let (before, earliest) = (signals.clone(), self.earliest_upgrade());
        let has_vote = |operator: &Address| self.roster.0.iter().any(|member| member.operator == *operator);
        signals.0.retain(|operator, upgrade| upgrade.height >= earliest && has_vote(operator));
        if let Some(agreed) = signals.agreed(&self.roster) {
            self.draft.put(StateKey::Upgrade, agreed.encode());
            signals.0.clear();
        }
        if signals.0.is_empty() {
            self.draft.delete(StateKey::Signals)?;
        } else if signals != before {
            self.draft.put(StateKey::Signals, signals.encode());
        }
        Ok(())
    }
}
