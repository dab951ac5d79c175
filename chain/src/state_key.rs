//! The keys of the state: what a value belongs to, as bytes for the tree and as text for people.

use std::{fmt, str::FromStr};

use crate::{Height, address::Address, hex_text::parse, reservation::ReservationId};

/// What a value of the state belongs to. As text: the key's bytes, with hexadecimal and decimal where those are binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StateKey {
    /// An account's balance: `account/0x…`.
    Account(Address),
    /// The fee market's excess: `excess`.
    Excess,
    /// Nano burned since genesis: `burned`.
    Burned,
    /// The height that included a transaction, by [`Payload::once`](crate::Payload::once): `once/…`.
    Once([u8; 32]),
    /// What a height's block forgets of [`Self::Once`]: `seen/7`.
    Seen(Height),
    /// Shares a block that all reservations hold: `reserved`.
    Reserved,
    /// One reservation: `reservation/…`.
    Reservation(ReservationId),
    /// Ids of the reservations that end at a height: `reservations-until/7`.
    ReservationsUntil(Height),
    /// The set that signed the latest block: `validators-last`.
    ValidatorsLast,
    /// The set that signs the next block: `validators`.
    Validators,
    /// The set that signs the block after the next: `validators-next`.
    ValidatorsNext,
    /// One validator, by its operator: `validator/0x…`.
    Validator(Address),
    /// The operator of the validator with this consensus address: `consensus-key/…`.
    ConsensusKey([u8; 20]),
    /// The operator of the validator whose attestation key has this keccak-256: `attestation-key/…`.
    AttestationKey([u8; 32]),
    /// Stake on its way out, by its place in the queue: `unbonding/7`.
    Unbonding(u64),
    /// The first place of the queue that is not paid out: `unbonding-start`.
    UnbondingStart,
    /// The first place of the queue that is free: `unbonding-end`.
    UnbondingEnd,
    /// Who attests in the epoch of the latest block: `attesters`.
    Attesters,
    /// Who attests in the next epoch, once that is fixed: `attesters-next`.
    AttestersNext,
    /// The tree of the epoch's data roots before the latest block's: `history`.
    History,
    /// The last upgrade of the rules that was agreed on: `upgrade`.
    Upgrade,
    /// What operators signalled for the next one: `signals`.
    Signals,
}

impl StateKey {
    fn kind(&self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Excess => "excess",
            Self::Burned => "burned",
            Self::Once(_) => "once",
            Self::Seen(_) => "seen",
            Self::Reserved => "reserved",
            Self::Reservation(_) => "reservation",
            Self::ReservationsUntil(_) => "reservations-until",
            Self::ValidatorsLast => "validators-last",
            Self::Validators => "validators",
            Self::ValidatorsNext => "validators-next",
            Self::Validator(_) => "validator",
            Self::ConsensusKey(_) => "consensus-key",
            Self::AttestationKey(_) => "attestation-key",
            Self::Unbonding(_) => "unbonding",
            Self::UnbondingStart => "unbonding-start",
            Self::UnbondingEnd => "unbonding-end",
            Self::Attesters => "attesters",
            Self::AttestersNext => "attesters-next",
            Self::History => "history",
            Self::Upgrade => "upgrade",
            Self::Signals => "signals",
        }
    }

    /// The bytes whose SHA-256 is the key's place in the tree.
    pub fn bytes(&self) -> Vec<u8> {
        let of = |rest: &[u8]| [self.kind().as_bytes(), b"/", rest].concat();
        match self {
            Self::Account(address) | Self::Validator(address) => of(address.as_bytes()),
            Self::Reservation(id) => of(&id.0),
            Self::ConsensusKey(address) => of(address),
            Self::AttestationKey(hash) | Self::Once(hash) => of(hash),
            Self::Seen(number) | Self::ReservationsUntil(number) | Self::Unbonding(number) => {
                of(&number.to_be_bytes())
            }
            _ => self.kind().into(),
        }
    }
}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Account(address) | Self::Validator(address) => write!(f, "{kind}/{address}"),
            Self::Reservation(id) => write!(f, "{kind}/{id}"),
            Self::ConsensusKey(address) => write!(f, "{kind}/{}", hex::encode(address)),
            Self::AttestationKey(hash) | Self::Once(hash) => write!(f, "{kind}/{}", hex::encode(hash)),
            Self::Seen(number) | Self::ReservationsUntil(number) | Self::Unbonding(number) => {
                write!(f, "{kind}/{number}")
            }
            _ => f.write_str(kind),
        }
    }
}

/// A text that names nothing in the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no key of the state; they are account/0x…, reservation/…, validator/0x…, consensus-key/…, \
     attestation-key/…, unbonding/place, once/…, seen/height, reservations-until/height, excess, burned, reserved, \
     validators-last, validators, validators-next, unbonding-start, unbonding-end, attesters, attesters-next, history, \
     upgrade and signals"
)]
pub struct StateKeyError(String);

impl FromStr for StateKey {
    type Err = StateKeyError;

    fn from_str(text: &str) -> Result<Self, StateKeyError> {
        let (kind, rest) = text.split_once('/').unwrap_or((text, ""));
        let key = match kind {
            "account" => rest.parse().ok().map(Self::Account),
            "reservation" => rest.parse().ok().map(Self::Reservation),
            "once" => parse(rest).ok().map(Self::Once),
            "seen" => rest.parse().ok().map(Self::Seen),
            "reservations-until" => rest.parse().ok().map(Self::ReservationsUntil),
            "excess" => Some(Self::Excess),
            "burned" => Some(Self::Burned),
            "reserved" => Some(Self::Reserved),
            "validators-last" => Some(Self::ValidatorsLast),
            "validators" => Some(Self::Validators),
            "validators-next" => Some(Self::ValidatorsNext),
            "validator" => rest.parse().ok().map(Self::Validator),
            "consensus-key" => parse(rest).ok().map(Self::ConsensusKey),
            "attestation-key" => parse(rest).ok().map(Self::AttestationKey),
            "unbonding" => rest.parse().ok().map(Self::Unbonding),
            "unbonding-start" => Some(Self::UnbondingStart),
            "unbonding-end" => Some(Self::UnbondingEnd),
            "attesters" => Some(Self::Attesters),
            "attesters-next" => Some(Self::AttestersNext),
            "history" => Some(Self::History),
            "upgrade" => Some(Self::Upgrade),
            "signals" => Some(Self::Signals),
            _ => None,
        };
        // One way of writing each.
        key.filter(|key| key.to_string() == text).ok_or_else(|| StateKeyError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_own_text_only() {
        let keys = [
            StateKey::Account(Address::from_bytes([7; 20])),
            StateKey::Excess,
            StateKey::Once([9; 32]),
            StateKey::Seen(12),
            StateKey::Reservation(ReservationId([8; 32])),
            StateKey::ReservationsUntil(9),
            StateKey::Validator(Address::from_bytes([7; 20])),
            StateKey::ConsensusKey([6; 20]),
            StateKey::AttestationKey([5; 32]),
            StateKey::Unbonding(3),
            StateKey::ValidatorsNext,
            StateKey::AttestersNext,
            StateKey::Upgrade,
            StateKey::Signals,
        ];
        for key in keys {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for bad in ["", "excess/", "account/", "seen/+1", "seen/01", "nothing"] {
            assert!(bad.parse::<StateKey>().is_err(), "{bad}");
        }
    }
}
