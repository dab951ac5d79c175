//! What transactions do to balances: checked one by one over the state before the block, written at its end.
//!
//! Nothing is charged for what is not included; every nano of a fee is burned, a validator's or the proposer's.

use std::collections::BTreeMap;

use crate::{
    Amount, Height,
    address::Address,
    fees::FeeRules,
    genesis::Genesis,
    state::{self, State, StateError, StateStore, StateUpdate},
    transaction::{Action, OTHER_HORIZON, SUBMIT_HORIZON, TxId, VerifiedTransaction},
};

/// What an included transaction paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which transaction.
    pub id: TxId,
    /// Shares counted.
    pub shares: u64,
    /// Base fee per share, in nano.
    pub base_fee: u64,
    /// Tip per share, in nano.
    pub tip: u64,
    /// Charged in all, in nano.
    pub charged: Amount,
}

/// The ledger while one block is applied to it.
#[derive(Debug)]
pub struct Ledger<'a, S> {
    state: State<'a, S>,
    genesis: &'a Genesis,
    rules: FeeRules,
    height: Height,
    excess: u64,
    base_fee: u64,
    balances: BTreeMap<Address, Amount>,
    seen: BTreeMap<Height, Vec<TxId>>,
    used: u64,
    base_fees: Amount,
}

impl<'a, S: StateStore> Ledger<'a, S> {
    /// The ledger on which the block after `state` is applied.
    pub fn new(state: State<'a, S>, genesis: &'a Genesis) -> Result<Self, StateError> {
        let rules = genesis.fee_rules();
        let excess = state.excess()?;
        Ok(Self {
            height: state.version() + 1,
            base_fee: rules.base_fee(excess),
            state,
            genesis,
            rules,
            excess,
            balances: BTreeMap::new(),
            seen: BTreeMap::new(),
            used: 0,
            base_fees: 0,
        })
    }

    /// Base fee per share of this block, in nano.
    pub fn base_fee(&self) -> u64 {
        self.base_fee
    }

    /// Shares that the block counts so far.
    pub fn used(&self) -> u64 {
        self.used
    }

    fn balance(&self, address: &Address) -> Result<Amount, StateError> {
        match self.balances.get(address) {
            Some(balance) => Ok(*balance),
            None => self.state.balance(address),
        }
    }

    /// Whether the block could hold `transaction` next, and what it would pay.
    pub fn check(&self, transaction: &VerifiedTransaction) -> Result<Receipt, LedgerError> {
        let payload = transaction.payload();
        let horizon = match payload.action {
            Action::SubmitBlobs { .. } => SUBMIT_HORIZON,
            Action::Transfer { .. } => OTHER_HORIZON,
        };
        if payload.valid_until < self.height {
            return Err(LedgerError::Expired { valid_until: payload.valid_until, height: self.height });
        }
        if payload.valid_until > self.height.saturating_add(horizon) {
            let latest = self.height.saturating_add(horizon);
            return Err(LedgerError::TooDistant { valid_until: payload.valid_until, latest });
        }
        let id = transaction.id();
        let in_block = self.seen.get(&payload.valid_until).is_some_and(|ids| ids.contains(&id));
        if in_block || self.state.has_seen(&id, payload.valid_until)? {
            return Err(LedgerError::Repeated(id));
        }
        let Some(room) = payload.fee_cap.checked_sub(self.base_fee) else {
            return Err(LedgerError::CapTooLow { cap: payload.fee_cap, base_fee: self.base_fee });
        };
        let tip = room.min(payload.tip);
        let shares = transaction.shares();
        if self.used.saturating_add(shares) > self.rules.capacity {
            return Err(LedgerError::BlockFull { used: self.used, shares, capacity: self.rules.capacity });
        }
        let balance = self.balance(&transaction.sender())?;
        let charged = self.base_fee.checked_add(tip).and_then(|price| price.checked_mul(shares));
        let spent = match payload.action {
            Action::Transfer { amount, .. } => amount,
            Action::SubmitBlobs { .. } => 0,
        };
        match charged.and_then(|charged| charged.checked_add(spent).map(|needed| (charged, needed))) {
            Some((charged, needed)) if needed <= balance => {
                Ok(Receipt { id, shares, base_fee: self.base_fee, tip, charged })
            }
            too_much => {
                let needed = too_much.map_or(Amount::MAX, |(_, needed)| needed);
                Err(LedgerError::Underfunded { account: transaction.sender(), balance, needed })
            }
        }
    }

    /// Includes `transaction` in a block of the validator whose account is `proposer`.
    pub fn apply(
        &mut self,
        transaction: &VerifiedTransaction,
        proposer: Address,
    ) -> Result<Receipt, LedgerError> {
        let receipt = self.check(transaction)?;
        let sender = transaction.sender();
        let tips = receipt.tip * receipt.shares;
        self.withdraw(sender, receipt.charged)?;
        self.deposit(proposer, tips)?;
        self.base_fees += receipt.charged - tips;
        if let Action::Transfer { to, amount } = transaction.payload().action {
            self.withdraw(sender, amount)?;
            self.deposit(to, amount)?;
        }
        self.used += receipt.shares;
        self.seen.entry(transaction.payload().valid_until).or_default().push(receipt.id);
        Ok(receipt)
    }

    fn withdraw(&mut self, account: Address, amount: Amount) -> Result<(), LedgerError> {
        let balance = self.balance(&account)?;
        let rest = balance.checked_sub(amount).ok_or(LedgerError::Underfunded {
            account,
            balance,
            needed: amount,
        })?;
        self.balances.insert(account, rest);
        Ok(())
    }

    /// The supply fits 64 bits (genesis), so no sum of balances overflows.
    fn deposit(&mut self, account: Address, amount: Amount) -> Result<(), StateError> {
        let balance = self.balance(&account)?;
        self.balances.insert(account, balance.saturating_add(amount));
        Ok(())
    }

    /// Ends the block: splits the base fees, moves the excess, forgets expired ids.
    pub fn finish(mut self) -> Result<StateUpdate, StateError> {
        let genesis = self.genesis;
        let burn_percent = u64::from(genesis.parameters.burn_percent);
        let to_validators = self.base_fees - percent(self.base_fees, burn_percent);
        let power: u64 = genesis.validators.iter().map(|v| u64::from(v.power)).sum();
        let mut burned = self.base_fees;
        for validator in &genesis.validators {
            let part = u128::from(to_validators) * u128::from(validator.power) / u128::from(power.max(1));
            let part = u64::try_from(part).unwrap_or(0);
            if part > 0 {
                self.deposit(validator.operator, part)?;
                burned -= part;
            }
        }

        let mut changes = BTreeMap::new();
        let excess = self.rules.next(self.excess, self.used);
        changes.insert(state::EXCESS.to_vec(), Some(excess.to_be_bytes().to_vec()));
        if burned > 0 {
            let total = self.state.burned()?.saturating_add(burned);
            changes.insert(state::BURNED.to_vec(), Some(total.to_be_bytes().to_vec()));
        }
        for (account, balance) in self.balances {
            changes.insert(state::account_key(&account), Some(balance.to_be_bytes().to_vec()));
        }
        for (valid_until, ids) in self.seen {
            let key = state::seen_key(valid_until);
            let mut all = self.state.get(&key)?.unwrap_or_default();
            all.extend(ids.iter().flat_map(|id| id.0));
            changes.insert(key, Some(all));
        }
        let expired = state::seen_key(self.height);
        changes.remove(&expired);
        if self.state.get(&expired)?.is_some() {
            changes.insert(expired, None);
        }
        self.state.update(self.height, changes)
    }
}

fn percent(amount: Amount, percent: u64) -> Amount {
    u64::try_from(u128::from(amount) * u128::from(percent) / 100).unwrap_or(0)
}

/// Why a block cannot hold a transaction now. Nothing is charged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Too late; the same payload will never be valid again.
    #[error("valid_until: {valid_until} has passed, the next block is {height}; sign again with a later one")]
    Expired {
        /// What was signed.
        valid_until: Height,
        /// The block's height.
        height: Height,
    },
    /// Too early.
    #[error("valid_until: {valid_until} is too distant, at most {latest} now")]
    TooDistant {
        /// What was signed.
        valid_until: Height,
        /// Latest allowed.
        latest: Height,
    },
    /// Included before.
    #[error("transaction {0} is already in the chain; it is included once")]
    Repeated(TxId),
    /// The price is above the cap.
    #[error("fee_cap: {cap} nano per share is below the base fee of {base_fee}; ask for a quote")]
    CapTooLow {
        /// What was signed.
        cap: u64,
        /// The price.
        base_fee: u64,
    },
    /// Not in this block any more.
    #[error("the block counts {used} shares of {capacity}, {shares} more do not fit")]
    BlockFull {
        /// Counted so far.
        used: u64,
        /// What the transaction counts.
        shares: u64,
        /// What a block holds.
        capacity: u64,
    },
    /// Not enough money.
    #[error("balance: {account} has {balance} nano, {needed} are needed; fund the account or lower the cap")]
    Underfunded {
        /// Whose account.
        account: Address,
        /// What it has.
        balance: Amount,
        /// What it needs.
        needed: Amount,
    },
    /// This node's storage failed.
    #[error(transparent)]
    State(#[from] StateError),
}
