//! Letting the validator's signer in, and nobody else.

use std::time::Duration;

use arc_malachitebft_signing_ed25519::PublicKey;
use cometbft_p2p::IdentitySecret;
use tendermint_proto::v0_38::crypto::{PublicKey as RawPublicKey, public_key};
use tendermint_proto::v0_38::privval::PubKeyRequest;
use tendermint_proto::v0_38::privval::message::Sum;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::link::{Link, Socket};
use super::{ANSWERS_WITHIN, SignerError};

/// Pause after a signer was turned away.
const PAUSE: Duration = Duration::from_millis(200);

/// Where signers dial in, and what makes one of them the validator's.
pub(super) struct Listener {
    pub(super) socket: Socket,
    pub(super) identity: IdentitySecret,
    pub(super) chain_id: String,
}

impl Listener {
    /// The next signer that may sign: one with the `expected` key, or with any.
    pub(super) async fn next(&self, expected: Option<&PublicKey>) -> (Link, PublicKey) {
        loop {
            match self.try_next(expected).await {
                Ok(signer) => return signer,
                Err(error) => warn!(%error, "turned a signer away"),
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_next(&self, expected: Option<&PublicKey>) -> Result<(Link, PublicKey), SignerError> {
        let stream = self.socket.accept().await?;
        let greeting = async {
            let mut link = stream.secure(&self.identity).await?;
            let question = Sum::PubKeyRequest(PubKeyRequest { chain_id: self.chain_id.clone() });
            let key = match link.ask(question).await? {
                Sum::PubKeyResponse(answer) => match (answer.pub_key, answer.error) {
                    (_, Some(error)) => return Err(error.into()),
                    (Some(RawPublicKey { sum: Some(public_key::Sum::Ed25519(bytes)) }), None) => {
                        key_of(bytes.try_into().map_err(|_| SignerError::KeyKind)?)?
                    }
                    _ => return Err(SignerError::KeyKind),
                },
                _ => return Err(SignerError::Unexpected { wanted: "PubKeyResponse" }),
            };
            match expected {
                Some(expected) if *expected != key => {
                    Err(SignerError::Key { expected: hex(expected.as_bytes()), got: hex(key.as_bytes()) })
                }
                _ => Ok((link, key)),
            }
        };
        timeout(ANSWERS_WITHIN, greeting).await.unwrap_or(Err(SignerError::Silent))
    }
}

pub(super) fn key_of(bytes: [u8; 32]) -> Result<PublicKey, SignerError> {
    PublicKey::from_bytes(bytes).map_err(|_| SignerError::KeyKind)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
