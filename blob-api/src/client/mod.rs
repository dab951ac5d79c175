//! The client: asks nodes, believes proofs.
//!
//! ```text
//!  network.toml ── checkpoint ─▶ header 1 ─advance─▶ … ─▶ header h ── data root ─▶ entry ─▶ bytes
//! ```
//!
//! A node whose proof fails is named, asked nothing any more, and the next node is asked. One that is silent for a
//! second is not waited for alone: the next is asked as well, and the slow one after the others for a while.

mod certificate;
mod error;
mod export;
mod follow;
mod hedge;
mod parts;
mod patience;
mod read;
mod request;
mod sse;
mod state;
mod submit;
mod transport;
mod trust;
mod upload;

use std::{path::Path, sync::Arc};

use chain::{Address, NetworkConfig, RULES_VERSION, TxId};

use crate::{
    AccountBody, PriceBody, PriceHistoryBody, QuoteBody, QuoteRequest, Rate, StatusBody, SubmittedBody,
    TxBody,
};
pub use certificate::VerifiedCertificate;
pub use error::{Attempt, ClientError, ProofKind, RejectedNode};
pub use export::Exported;
use hedge::Node;
pub use parts::VerifiedPart;
pub use read::{Lookup, VerifiedBlob, VerifiedEntryAt, VerifiedList};
use request::json;
pub use state::{Reserve, VerifiedState};
pub use submit::{NewBlob, Prepared, Progress, Receipt, SubmitOptions};
use transport::{REQUEST_TIMEOUT, Transport};
use trust::Trust;

/// A client of one chain, over one or more nodes. Cheap to clone; clones share verified headers and rejected nodes.
///
/// Every method is cancel safe; a dropped [`Client::send`] may still have reached a node. Where a node is silent for a
/// second, the next one is asked the same as well, and the first good answer is taken.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<Transport>,
    trust: Option<Arc<Trust>>,
}

impl Client {
    /// A client of the nodes at `urls`, or those that the network names if there are none. Without a network it can
    /// ask for status, prices and accounts, but verify nothing and sign nothing.
    pub fn new(urls: &[String], network: Option<NetworkConfig>) -> Result<Self, ClientError> {
        Self::knowing(RULES_VERSION, urls, network)
    }

    /// As [`Self::new`], where the program knows the chain's rules up to version `newest_rules`. What blocks of later
    /// ones hold is not read: [`ClientError::UnknownRules`].
    pub fn knowing(
        newest_rules: u64,
        urls: &[String],
        network: Option<NetworkConfig>,
    ) -> Result<Self, ClientError> {
        let named = network.as_ref().filter(|_| urls.is_empty()).map(|network| network.api.clone());
        let transport = Transport::new(named.as_deref().unwrap_or(urls))?;
        Ok(Self {
            transport: Arc::new(transport),
            trust: network.map(|network| Arc::new(Trust::new(network, newest_rules))),
        })
    }

    /// Nodes caught with false proofs so far.
    pub fn rejected_nodes(&self) -> Vec<RejectedNode> {
        self.transport.rejected()
    }

    /// Asks another node first from now on: for callers who see that the one that answers has not moved on.
    pub fn turn_to_next_node(&self) {
        self.transport.turn();
    }

    /// A node's status. Not verified.
    pub async fn status(&self) -> Result<StatusBody, ClientError> {
        self.ask("/v1/status").await
    }

    /// The next block's price. Not verified.
    pub async fn price(&self) -> Result<PriceBody, ClientError> {
        self.ask("/v1/price").await
    }

    /// The next block's price, in another unit as well. Not verified.
    pub async fn price_at(&self, rate: &Rate) -> Result<PriceBody, ClientError> {
        self.ask(&format!("/v1/price?rate={}+{}", rate.per_weft(), rate.unit())).await
    }

    /// What the last `blocks` blocks (at most 1,000) charged, and how full they were. Not verified.
    pub async fn price_history(&self, blocks: u32) -> Result<PriceHistoryBody, ClientError> {
        self.ask(&format!("/v1/price/history?blocks={blocks}")).await
    }

    /// What a transaction with these blobs costs. Not verified, but recomputed by anyone from its excess.
    pub async fn quote(&self, request: &QuoteRequest) -> Result<QuoteBody, ClientError> {
        let transport = &self.transport;
        let ask = |node: Node| json(transport.post(&node, "/v1/quote").json(request));
        Ok(transport.any(ask).await?.1)
    }

    /// An account. Not verified.
    pub async fn account(&self, address: Address) -> Result<AccountBody, ClientError> {
        self.ask(&format!("/v1/account/{address}")).await
    }

    /// Asks the faucet of a development network for some WEFT.
    pub async fn faucet(&self, address: Address) -> Result<TxId, ClientError> {
        let transport = &self.transport;
        let path = format!("/v1/faucet/{address}");
        // Two nodes would give twice: one is slow only when it has had all its time.
        let ask = |node: Node| json::<SubmittedBody>(transport.post(&node, &path).silence(REQUEST_TIMEOUT));
        Ok(transport.any(ask).await?.1.id)
    }

    /// Where a transaction stands. Not verified.
    pub async fn transaction(&self, id: TxId) -> Result<TxBody, ClientError> {
        self.ask(&format!("/v1/tx/{id}")).await
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let transport = &self.transport;
        Ok(transport.any(|node| json(transport.get(&node, path))).await?.1)
    }

    fn trust(&self) -> Result<&Trust, ClientError> {
        self.trust.as_deref().ok_or(ClientError::NoNetwork)
    }
}

/// Reads `network.toml`.
pub fn read_network(path: &Path) -> Result<NetworkConfig, ClientError> {
    let bad = |reason: String| ClientError::NetworkFile { path: path.display().to_string(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    toml::from_str(&text).map_err(|error| bad(error.to_string()))
}
