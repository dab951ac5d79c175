//! A validator whose consensus key is in another process.

use anyhow::{Context as _, Result, ensure};
use consensus::{RemoteSigner, SignerAddress, SignerConfig};

use crate::home::{Home, KeyRole};

/// Listens for the signer; the first time, waits for it and keeps its public key in the folder.
pub(crate) async fn listen(
    home: &Home,
    address: &SignerAddress,
    chain_id: &str,
    network_seed: [u8; 32],
) -> Result<RemoteSigner> {
    ensure!(
        !home.has_key(KeyRole::Consensus),
        "{} is there, and signer_listen names a signer, too: a key in two places can sign two things at once; move the \
         file to the signer, or remove signer_listen",
        home.path("keys/consensus.key").display()
    );
    let known = home.signer_key()?;
    if known.is_none() {
        tracing::info!(%address, "waits for the signer, whose public key is this validator's");
    }
    let config = SignerConfig {
        address: address.clone(),
        chain_id: chain_id.into(),
        identity_seed: network_seed,
        public_key: known,
    };
    let signer = RemoteSigner::listen(config).await.context("signer_listen")?;
    if known.is_none() {
        home.write_signer_key(&signer.public_key())?;
    }
    Ok(signer)
}
