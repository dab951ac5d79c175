//! The JSON bodies of the state: values with their proofs.

use chain::{Address, Height, Reservation, ReservationId, StateKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Hex, StateAnswer};

/// `GET /v1/state/{name}` and `GET /v1/state/{kind}/{id}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateBody {
    /// What was asked for, `kind/id` or `name`.
    pub key: String,
    /// The header whose `app_hash` the proof leads to: the state is the one before that block.
    pub height: Height,
    /// The value's bytes; null where there is none, which the proof shows as well.
    #[schema(value_type = Option<String>)]
    pub value: Option<Hex>,
    /// The path to `app_hash`; its format is that of `chain::StateProof`.
    #[schema(value_type = String)]
    pub proof: Hex,
}

impl StateBody {
    pub(crate) fn new(key: &StateKey, answer: StateAnswer) -> Self {
        let StateAnswer { height, value, proof } = answer;
        Self { key: key.to_string(), height, value: value.map(Hex), proof: Hex(proof.encode()) }
    }
}

/// `GET /v1/reservations/{id}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReservationBody {
    /// Which one.
    #[schema(value_type = String)]
    pub id: ReservationId,
    /// Null where there is none of this id, or it is over.
    pub reservation: Option<ReservationDetail>,
    /// The same as the state holds it, with the proof.
    pub proven: StateBody,
}

/// A reservation in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReservationDetail {
    /// Who bought it.
    #[schema(value_type = String)]
    pub owner: Address,
    /// Who may submit from it besides.
    #[schema(value_type = Vec<String>)]
    pub signers: Vec<Address>,
    /// Shares a block.
    pub rate: u64,
    /// The first height at which it is over.
    pub end: Height,
    /// Shares that the block at `proven.height` can take from it.
    pub available: u64,
    /// Shares that gather at most.
    pub depth: u64,
}

impl From<(&Reservation, Height)> for ReservationDetail {
    fn from((reservation, height): (&Reservation, Height)) -> Self {
        Self {
            owner: reservation.owner,
            signers: reservation.signers.clone(),
            rate: reservation.rate,
            end: reservation.end,
            available: reservation.available(height),
            depth: reservation.depth(),
        }
    }
}
