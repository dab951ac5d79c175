//! Why a signer in another process gave no signature.

use std::io;

use prost::DecodeError;
use tendermint_proto::v0_38::privval::RemoteSignerError;

use super::{ANSWERS_WITHIN, SignerAddress};

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// The operator is at fault.
    #[error("cannot listen for a signer at {address}: {source}")]
    Listen {
        /// Where.
        address: SignerAddress,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody has dialled in. Retry when somebody has.
    #[error("no signer is connected")]
    Absent,
    /// Retry over the next connection.
    #[error("the signer did not answer within {ANSWERS_WITHIN:?}")]
    Silent,
    /// Retry over the next connection.
    #[error("the connection to the signer broke: {0}")]
    Io(#[from] io::Error),
    /// The peer could not prove who it is, or bytes were changed on the way.
    #[error("SecretConnection with the signer failed: {0}")]
    Secret(String),
    /// What came is no privval message of CometBFT v0.38.
    #[error("the signer does not speak the privval protocol of CometBFT v0.38: {0}")]
    Malformed(#[from] DecodeError),
    /// More than any answer takes.
    #[error("the signer announced a message of {got} bytes, at most {limit} are allowed")]
    TooLong {
        /// Allowed.
        limit: usize,
        /// Announced.
        got: usize,
    },
    /// An answer to something else.
    #[error("the signer answered something else than it was asked: a {wanted} was expected")]
    Unexpected {
        /// What would have been an answer.
        wanted: &'static str,
    },
    /// Another validator's signer.
    #[error("the signer holds the key {got}, this validator's is {expected}: point it at its own node")]
    Key {
        /// This validator's public key, in hexadecimal.
        expected: String,
        /// The signer's.
        got: String,
    },
    /// The signer's key is of another kind.
    #[error("the signer holds no ed25519 key")]
    KeyKind,
    /// Somebody else than the signer that the address names dialled in.
    #[error("a peer with the id {got} dialled in, the signer's is {expected}")]
    Peer {
        /// As the address says.
        expected: String,
        /// The peer's.
        got: String,
    },
    /// The signer does not want to sign this, for instance because it has signed something else in this round.
    #[error("the signer refused: {description} (code {code})")]
    Refused {
        /// Its words.
        description: String,
        /// Its number for them.
        code: i32,
    },
    /// The signer signed with a time of its own.
    #[error("the signer signed another timestamp than it was asked to: its votes cannot be counted here")]
    Timestamp,
    /// The signer signed something else, for instance for another chain.
    #[error(
        "the signer's signature is not one over what it was asked to sign: does it know this chain's id?"
    )]
    Signature,
}

impl SignerError {
    /// Whether the same question can have another answer over another connection.
    pub(crate) fn is_passing(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Timestamp | Self::Signature)
    }

    pub(super) fn secret(error: cometbft_p2p::Error) -> Self {
        match error {
            cometbft_p2p::Error::Io(error) => Self::Io(error),
            cometbft_p2p::Error::Decode(error) => Self::Malformed(error),
            cometbft_p2p::Error::MessageSize { size } => {
                Self::TooLong { limit: cometbft_p2p::MAX_MSG_LEN, got: size }
            }
            error => Self::Secret(error.to_string()),
        }
    }
}

impl From<RemoteSignerError> for SignerError {
    fn from(RemoteSignerError { description, code }: RemoteSignerError) -> Self {
        Self::Refused { description, code }
    }
}
