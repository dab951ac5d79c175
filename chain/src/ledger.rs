//! What transactions do to the state: checked one by one over the state before the block, written at its end.
//!
//! Nothing is charged for what is not included; every nano of a fee, and of what a reservation costs, is burned, a
//! validator's or the proposer's; of slashed stake, burned or the reporter's.

mod attesting;
mod once;
mod reserving;
mod staking;
mod upgrade;

pub(crate) use staking::genesis_values;

use std::collections::{BTreeMap, BTreeSet};

use tendermint::{account, block::Header};

use crate::{
    Amount, Height,
    address::Address,
    evidence::EvidenceError,
    fees::FeeRules,
    genesis::Genesis,
    reservation::{ReservationError, ReservationId},
    staking::{Roster, StakingError},
    state::{Draft, State, StateError, StateStore, StateUpdate, Values},
    state_key::StateKey,
    transaction::{Action, Payload, TxId, VerifiedTransaction},
    upgrade::UpgradeError,
};

/// What an included transaction paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which transaction.
    pub id: TxId,
    /// Shares counted.
    pub shares: u64,
    /// Base fee per share, in nano; 0 from a reservation.
    pub base_fee: u64,
    /// Tip per share, in nano.
    pub tip: u64,
    /// Charged for the inclusion, in nano.
    pub charged: Amount,
    /// Taken from the sender besides, for what the transaction does, in nano.
    pub spent: Amount,
    /// The reservation that paid.
    pub reservation: Option<ReservationId>,
}

/// The ledger while one block is applied to it.
#[derive(Debug)]
pub struct Ledger<'a, S> {
    draft: Draft<'a, S>,
    genesis: &'a Genesis,
    rules: FeeRules,
    height: Height,
    excess: u64,
    /// Shares a block that reservations held before this block.
    reserved: u64,
    base_fee: u64,
    /// What the block's transactions are remembered by, by the height that forgets them.
    included: BTreeMap<Height, BTreeSet<[u8; 32]>>,
    used: u64,
    used_on_demand: u64,
    /// Base fees and what reservations cost.
    revenue: Amount,
    /// The set that signs this block.
    signing: Roster,
    /// The set of the height after the next, as this block leaves it.
    roster: Roster,
    /// Stake that this block unbonds.
    leaving: Vec<(Address, Amount)>,
    /// Stake that this block burns.
    forfeited: Amount,
}

impl<'a, S: StateStore> Ledger<'a, S> {
    /// The ledger on which the block after `state` is applied.
    pub fn new(state: State<'a, S>, genesis: &'a Genesis) -> Result<Self, StateError> {
        let rules = genesis.fee_rules();
        let excess = state.excess()?;
        Ok(Self {
            height: state.version() + 1,
            base_fee: rules.base_fee(excess),
            reserved: state.reserved()?,
            draft: Draft::over(state),
            genesis,
            rules,
            excess,
            included: BTreeMap::new(),
            used: 0,
            used_on_demand: 0,
            revenue: 0,
            signing: state.roster(StateKey::Validators)?,
            roster: state.roster(StateKey::ValidatorsNext)?,
            leaving: Vec::new(),
            forfeited: 0,
        })
    }

    /// The account of the validator with this consensus address, of the set that signs this block.
    pub fn operator(&self, validator: &account::Id) -> Option<Address> {
        self.signing.operator(validator)
    }

    /// Base fee per share of this block, in nano.
    pub fn base_fee(&self) -> u64 {
        self.base_fee
    }

    /// Shares that the block counts so far.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Whether the block could hold `transaction` next, and what it would pay.
    pub fn check(&self, transaction: &VerifiedTransaction) -> Result<Receipt, LedgerError> {
        self.check_once(transaction)?;
        let (id, shares) = (transaction.id(), transaction.shares());
        if self.used.saturating_add(shares) > self.rules.capacity {
            return Err(LedgerError::BlockFull { used: self.used, shares, capacity: self.rules.capacity });
        }
        if let Some(reservation) = transaction.payload().reservation() {
            self.spend(reservation, transaction.sender(), shares)?;
            let reservation = Some(reservation);
            return Ok(Receipt { id, shares, base_fee: 0, tip: 0, charged: 0, spent: 0, reservation });
        }
        let payload = transaction.payload();
        let Some(room) = payload.fee_cap.checked_sub(self.base_fee) else {
            return Err(LedgerError::CapTooLow { cap: payload.fee_cap, base_fee: self.base_fee });
        };
        let tip = room.min(payload.tip);
        let spent = self.spending(payload)?;
        let balance = self.draft.balance(&transaction.sender())?;
        let charged = self.base_fee.checked_add(tip).and_then(|price| price.checked_mul(shares));
        match charged.and_then(|charged| charged.checked_add(spent).map(|needed| (charged, needed))) {
            Some((charged, needed)) if needed <= balance => {
                Ok(Receipt { id, shares, base_fee: self.base_fee, tip, charged, spent, reservation: None })
            }
            too_much => {
                let needed = too_much.map_or(Amount::MAX, |(_, needed)| needed);
                Err(LedgerError::Underfunded { account: transaction.sender(), balance, needed })
            }
        }
    }

    /// It has not expired, may be included this early, and is included once.
    fn check_once(&self, transaction: &VerifiedTransaction) -> Result<(), LedgerError> {
        let valid_until = transaction.payload().valid_until;
        if valid_until < self.height {
            return Err(LedgerError::Expired { valid_until, height: self.height });
        }
        let latest = self.height.saturating_add(transaction.payload().action.horizon());
        if valid_until > latest {
            return Err(LedgerError::TooDistant { valid_until, latest });
        }
        if self.is_remembered(transaction.payload())? {
            return Err(LedgerError::Repeated(transaction.id()));
        }
        Ok(())
    }

    /// What an action takes from its sender, which it may do now.
    fn spending(&self, payload: &Payload) -> Result<Amount, LedgerError> {
        match &payload.action {
            Action::SubmitBlobs { .. } => Ok(0),
            Action::Transfer { amount, .. } => Ok(*amount),
            Action::Reserve { rate, blocks, price_cap, .. } => {
                self.purchase_price(*rate, *blocks, *price_cap)
            }
            Action::ExtendReservation { reservation, blocks, price_cap } => {
                self.extension_price(*reservation, *blocks, *price_cap)
            }
            Action::Bond { stake, keys } => {
                self.bonded(payload.sender, *stake, keys.as_deref()).map(|_| *stake)
            }
            Action::Unbond { stake } => self.unbonded(payload.sender, *stake).map(|_| 0),
            Action::Evidence(evidence) => self.offender(evidence).map(|_| 0),
            Action::Signal(upgrade) => self.may_signal(payload.sender, *upgrade).map(|()| 0),
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
        self.withdraw(sender, receipt.charged + receipt.spent)?;
        self.deposit(proposer, tips)?;
        self.revenue += receipt.charged - tips;
        match &transaction.payload().action {
            Action::SubmitBlobs { reservation: None, .. } => {}
            Action::SubmitBlobs { reservation: Some(id), .. } => {
                let spent = self.spend(*id, sender, receipt.shares)?;
                self.draft.put(StateKey::Reservation(*id), spent.encode());
            }
            Action::Transfer { to, amount } => self.deposit(*to, *amount)?,
            Action::Reserve { rate, blocks, signers, .. } => {
                self.revenue += receipt.spent;
                self.add_reservation(receipt.id, sender, *rate, *blocks, signers)?;
            }
            Action::ExtendReservation { reservation, blocks, .. } => {
                self.revenue += receipt.spent;
                self.extend_reservation(*reservation, *blocks)?;
            }
            Action::Bond { stake, keys } => self.bond(sender, *stake, keys.as_deref())?,
            Action::Unbond { stake } => self.unbond(sender, *stake)?,
            Action::Evidence(evidence) => self.slash(evidence, sender)?,
            Action::Signal(upgrade) => self.signal(sender, *upgrade)?,
        }
        self.used += receipt.shares;
        if receipt.reservation.is_none() {
            self.used_on_demand += receipt.shares;
        }
        self.remember(transaction.payload());
        Ok(receipt)
    }

    fn withdraw(&mut self, account: Address, amount: Amount) -> Result<(), LedgerError> {
        let balance = self.draft.balance(&account)?;
        let rest = balance.checked_sub(amount).ok_or(LedgerError::Underfunded {
            account,
            balance,
            needed: amount,
        })?;
        self.draft.put_number(StateKey::Account(account), rest);
        Ok(())
    }

    /// The supply fits 64 bits (genesis), so no sum of balances overflows.
    fn deposit(&mut self, account: Address, amount: Amount) -> Result<(), StateError> {
        let balance = self.draft.balance(&account)?;
        self.draft.put_number(StateKey::Account(account), balance.saturating_add(amount));
        Ok(())
    }

    /// Ends the block after `previous`: splits the revenue, moves the excess, validator sets and attesters, forgets what
    /// is over. What the block's own header says is not known yet.
    pub fn finish(mut self, previous: Option<&Header>) -> Result<StateUpdate, StateError> {
        self.split_revenue()?;
        self.rotate_sets()?;
        self.rotate_attesters()?;
        self.grow_history(previous)?;
        self.agree_on_upgrade()?;
        self.move_unbonding(previous.map_or(self.genesis.time, |header| header.time))?;
        let excess = self.rules.next(self.excess, self.used_on_demand.saturating_add(self.reserved));
        self.draft.put_number(StateKey::Excess, excess);
        self.end_reservations()?;
        self.forget()?;
        self.draft.finish(self.height)
    }

    fn split_revenue(&mut self) -> Result<(), StateError> {
        let genesis = self.genesis;
        let burn_percent = u64::from(genesis.parameters.burn_percent);
        let to_validators = self.revenue - percent(self.revenue, burn_percent);
        let power = self.signing.power().max(1);
        let mut burned = self.revenue.saturating_add(self.forfeited);
        for member in std::mem::take(&mut self.signing).0 {
            let part = u128::from(to_validators) * u128::from(member.power) / u128::from(power);
            let part = u64::try_from(part).unwrap_or(0);
            if part > 0 {
                self.deposit(member.operator, part)?;
                burned -= part;
            }
        }
        if burned > 0 {
            let total = self.draft.before().burned()?.saturating_add(burned);
            self.draft.put_number(StateKey::Burned, total);
        }
        Ok(())
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
    #[error(
        "transaction {0}, or one with its salt, is already in the chain; sign another one with a fresh salt"
    )]
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
    /// A reservation cannot be bought, extended or used like this.
    #[error(transparent)]
    Reservation(#[from] ReservationError),
    /// Stake cannot be bonded or unbonded like this.
    #[error(transparent)]
    Staking(#[from] StakingError),
    /// Nobody contradicted himself.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// This cannot be signalled.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// This node's storage failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl LedgerError {
    /// Whether a later block could hold the same transaction although nobody pays anything in: prices fall, blocks
    /// have room, buckets fill up, the last height allowed moves on.
    pub fn may_pass(&self) -> bool {
        use ReservationError::{SoldOut, Spent, TooDear, TooLong};
        matches!(
            self,
            Self::CapTooLow { .. }
                | Self::BlockFull { .. }
                | Self::Reservation(Spent { .. } | SoldOut { .. } | TooDear { .. } | TooLong { .. })
        )
    }
}
