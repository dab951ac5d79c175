//! The state, verified down to the `app_hash` of a verified header.

use chain::{
    Action, Address, Amount, ProvenValue, Reservation, ReservationId, SecretKey, StateError, StateKey,
    StateProof, VerifiedHeader, fees::FeeRules,
};

use super::{
    Client, ClientError, Prepared, SubmitOptions,
    error::{Fault, ProofKind, lied},
    hedge::Node,
    request::json,
};
use crate::StateBody;

/// A value of the state, or that there is none, and the header that commits to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedState {
    header: VerifiedHeader,
    proven: ProvenValue,
    body: StateBody,
}

impl VerifiedState {
    /// The header whose `app_hash` commits to it: the value is that before this header's block.
    pub fn header(&self) -> &VerifiedHeader {
        &self.header
    }

    /// The value's bytes.
    pub fn value(&self) -> Option<&[u8]> {
        self.proven.value()
    }

    /// Value and proof, for somebody else to check.
    pub fn body(&self) -> &StateBody {
        &self.body
    }

    /// The value as a number; 0 where there is none.
    pub fn number(&self) -> Result<u64, StateError> {
        self.value().map_or(Ok(0), |bytes| {
            bytes.try_into().map(u64::from_be_bytes).map_err(|_| StateError::Malformed("number"))
        })
    }
}

/// What to reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// A new reservation.
    Buy {
        /// Shares a block.
        rate: u64,
        /// For how many blocks.
        blocks: u64,
        /// Who may submit from it besides the buyer.
        signers: Vec<Address>,
    },
    /// More blocks of one that is not over.
    Extend {
        /// Which one.
        reservation: ReservationId,
        /// How many blocks.
        blocks: u64,
    },
}

impl Client {
    /// A value of the latest state that a node's headers commit to, verified.
    pub async fn proven(&self, key: StateKey) -> Result<VerifiedState, ClientError> {
        self.trust()?;
        let ask = |node: Node| async move {
            let body: StateBody = json(self.transport.get(&node, &format!("/v1/state/{key}"))).await?;
            let header = self.header_from(&node, body.height).await?;
            let proof = StateProof::decode(&body.proof.0).map_err(lied(ProofKind::State))?;
            let value = body.value.clone().map(|value| value.0);
            let proven = proof.verify(&header, &key, value).map_err(lied(ProofKind::State))?;
            Ok::<_, Fault>(VerifiedState { header, proven, body })
        };
        Ok(self.transport.any(ask).await?.1)
    }

    /// A reservation as of a header, verified; none where there is none of this id, or it is over.
    pub async fn reservation(
        &self,
        id: ReservationId,
    ) -> Result<(VerifiedState, Option<Reservation>), ClientError> {
        let state = self.proven(StateKey::Reservation(id)).await?;
        let reservation =
            state.value().map(Reservation::decode).transpose().map_err(|error| malformed(&error))?;
        Ok((state, reservation))
    }

    /// What `wanted` costs now, in nano, by the state that a verified header commits to.
    pub async fn reservation_price(&self, wanted: &Reserve) -> Result<Amount, ClientError> {
        let rules = FeeRules::new(&self.market().await?.parameters);
        let excess = self.proven(StateKey::Excess).await?.number().map_err(|error| malformed(&error))?;
        let reserved = self.proven(StateKey::Reserved).await?.number().map_err(|error| malformed(&error))?;
        let (others, rate, blocks) = match wanted {
            Reserve::Buy { rate, blocks, .. } => (reserved, *rate, *blocks),
            Reserve::Extend { reservation, blocks } => {
                let (_, found) = self.reservation(*reservation).await?;
                let rate = found
                    .ok_or_else(|| {
                        ClientError::Local(format!("reservation {reservation} does not exist or is over"))
                    })?
                    .rate;
                (reserved.saturating_sub(rate), rate, *blocks)
            }
        };
        Ok(rules.reservation_price(rules.base_fee(excess), others, rate, blocks))
    }

    /// Signs a purchase or an extension that costs at most `price_cap`; the id of what is bought is the transaction's.
    pub async fn prepare_reserve(
        &self,
        key: &SecretKey,
        wanted: Reserve,
        price_cap: Amount,
        options: SubmitOptions,
    ) -> Result<Prepared, ClientError> {
        let action = match wanted {
            Reserve::Buy { rate, blocks, mut signers } => {
                signers.sort_unstable();
                signers.dedup();
                Action::Reserve { rate, blocks, signers, price_cap }
            }
            Reserve::Extend { reservation, blocks } => {
                Action::ExtendReservation { reservation, blocks, price_cap }
            }
        };
        self.prepare_action(key, action, options).await
    }

    /// Signs a transaction without blobs.
    pub async fn prepare_action(
        &self,
        key: &SecretKey,
        action: Action,
        options: SubmitOptions,
    ) -> Result<Prepared, ClientError> {
        let domain = self.trust()?.network.domain();
        let transaction = self.market().await?.sign(key, &domain, action, Vec::new(), options)?;
        Ok(Prepared::new(&transaction, Vec::new()))
    }
}

fn malformed(error: &StateError) -> ClientError {
    ClientError::Local(format!("{error}: the chain's rules are newer than this program"))
}
