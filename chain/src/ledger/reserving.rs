//! Reservations in the ledger: buying, extending, submitting from them, and their end.

use super::{Ledger, LedgerError};
use crate::{
    Amount, Height,
    address::Address,
    reservation::{RESERVED_BLOCKS_LIMIT, Reservation, ReservationError, ReservationId},
    state::{Draft, StateError, StateStore, Values},
    state_key::StateKey,
    transaction::TxId,
};

impl<S: StateStore> Ledger<'_, S> {
    fn find_reservation(&self, id: ReservationId) -> Result<Reservation, LedgerError> {
        let found = self.draft.reservation(&id)?.filter(|reservation| reservation.end > self.height);
        Ok(found.ok_or(ReservationError::Unknown(id))?)
    }

    /// The reservation as it is once `account` has submitted `shares` shares from it in this block.
    pub(super) fn spend(
        &self,
        id: ReservationId,
        account: Address,
        shares: u64,
    ) -> Result<Reservation, LedgerError> {
        let mut reservation = self.find_reservation(id)?;
        if !reservation.admits(&account) {
            return Err(ReservationError::NotASigner { reservation: id, account }.into());
        }
        let (available, depth) = (reservation.available(self.height), reservation.depth());
        if shares > depth {
            return Err(ReservationError::TooDeep { shares, depth }.into());
        }
        let Some(tokens) = available.checked_sub(shares) else {
            return Err(ReservationError::Spent { available, shares, rate: reservation.rate }.into());
        };
        (reservation.tokens, reservation.filled) = (tokens, self.height);
        Ok(reservation)
    }

    /// What a purchase costs in this block.
    pub(super) fn purchase_price(&self, rate: u64, blocks: u64, cap: Amount) -> Result<Amount, LedgerError> {
        let (reserved, limit) = (self.draft.reserved()?, self.rules.reservable());
        if reserved.saturating_add(rate) > limit {
            return Err(ReservationError::SoldOut { reserved, limit, rate }.into());
        }
        within(cap, self.rules.reservation_price(self.base_fee, reserved, rate, blocks))
    }

    /// What an extension costs in this block: as if the reservation were the last one bought.
    pub(super) fn extension_price(
        &self,
        id: ReservationId,
        blocks: u64,
        cap: Amount,
    ) -> Result<Amount, LedgerError> {
        let Reservation { rate, end, .. } = self.find_reservation(id)?;
        let (end, latest) =
            (end.saturating_add(blocks), self.height.saturating_add(1 + RESERVED_BLOCKS_LIMIT));
        if end > latest {
            return Err(ReservationError::TooLong { end, latest }.into());
        }
        let others = self.draft.reserved()?.saturating_sub(rate);
        within(cap, self.rules.reservation_price(self.base_fee, others, rate, blocks))
    }

    pub(super) fn add_reservation(
        &mut self,
        id: TxId,
        owner: Address,
        rate: u64,
        blocks: u64,
        signers: &[Address],
    ) -> Result<(), StateError> {
        let id = ReservationId::from(id);
        let end = self.height.saturating_add(1).saturating_add(blocks);
        let reservation =
            Reservation { owner, signers: signers.to_vec(), rate, end, tokens: 0, filled: self.height };
        self.draft.put(StateKey::Reservation(id), reservation.encode());
        let reserved = self.draft.reserved()?.saturating_add(rate);
        self.draft.put_number(StateKey::Reserved, reserved);
        self.schedule_end(id, end)
    }

    pub(super) fn extend_reservation(&mut self, id: ReservationId, blocks: u64) -> Result<(), LedgerError> {
        let mut reservation = self.find_reservation(id)?;
        let mut ending = ids(&self.draft, reservation.end)?;
        ending.retain(|other| *other != id);
        if ending.is_empty() {
            self.draft.delete(StateKey::ReservationsUntil(reservation.end))?;
        } else {
            self.put_ids(reservation.end, &ending);
        }
        reservation.end = reservation.end.saturating_add(blocks);
        self.draft.put(StateKey::Reservation(id), reservation.encode());
        Ok(self.schedule_end(id, reservation.end)?)
    }

    fn schedule_end(&mut self, id: ReservationId, end: Height) -> Result<(), StateError> {
        let mut ending = ids(&self.draft, end)?;
        ending.push(id);
        self.put_ids(end, &ending);
        Ok(())
    }

    fn put_ids(&mut self, end: Height, ids: &[ReservationId]) {
        self.draft.put(StateKey::ReservationsUntil(end), ids.iter().flat_map(|id| id.0).collect());
    }

    /// Forgets the reservations that the next block can no longer use.
    pub(super) fn end_reservations(&mut self) -> Result<(), StateError> {
        let end = self.height.saturating_add(1);
        let ending = ids(&self.draft, end)?;
        let mut reserved = self.draft.reserved()?;
        for id in &ending {
            reserved = reserved.saturating_sub(self.draft.reservation(id)?.map_or(0, |over| over.rate));
            self.draft.delete(StateKey::Reservation(*id))?;
        }
        if !ending.is_empty() {
            self.draft.put_number(StateKey::Reserved, reserved);
            self.draft.delete(StateKey::ReservationsUntil(end))?;
        }
        Ok(())
    }
}

fn ids<S: StateStore>(draft: &Draft<'_, S>, end: Height) -> Result<Vec<ReservationId>, StateError> {
    let bytes = draft.value(StateKey::ReservationsUntil(end))?.unwrap_or_default();
    let (ids, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(StateError::Malformed("reservations-until"));
    }
    Ok(ids.iter().copied().map(ReservationId).collect())
}

fn within(cap: Amount, price: Amount) -> Result<Amount, LedgerError> {
    if price > cap {
        return Err(ReservationError::TooDear { price, cap }.into());
    }
    Ok(price)
}
