//! The three outcomes of a read, as HTTP: Data is 200, Absent is 404 with its proof, Unreachable is 503.

use std::{convert::Infallible, time::Duration};

use chain::{Height, Outcome, Reason};
use erasure::NamespaceProof;

use super::failure::{Failure, SOON};
use crate::{AbsenceBody, ErrorCode, Hex};

/// What an Absent answer carries.
pub(super) trait Absence {
    /// The proof as it goes over the wire, if a proof of this kind exists at all.
    fn body(self) -> AbsenceBody;
}

impl Absence for Infallible {
    fn body(self) -> AbsenceBody {
        match self {}
    }
}

impl Absence for (Height, NamespaceProof) {
    fn body(self) -> AbsenceBody {
        AbsenceBody { height: self.0, proof: Hex(self.1.encode()) }
    }
}

/// The data, or the error response of the other two outcomes.
pub(super) fn data<D, P: Absence>(outcome: Outcome<D, P>) -> Result<D, Failure> {
    match outcome {
        Outcome::Data(data) => Ok(data),
        Outcome::Absent(proof) => {
            let message = "proven absent: the block's index holds no entry of this namespace, and never will";
            Err(Failure::new(ErrorCode::Absent, message).proof(proof.body()))
        }
        Outcome::Unreachable(reason) => Err(unreachable(&reason)),
    }
}

/// Neither the data nor a proof of absence, for now or here.
pub(super) fn unreachable(reason: &Reason) -> Failure {
    let wait = match reason {
        Reason::Pruned { .. } => Duration::from_secs(3600),
        _ => SOON,
    };
    Failure::new(ErrorCode::Unreachable, reason.to_string()).retry_after(wait)
}
