//! Getting transactions, bodies and squares from peers.
//!
//! ```text
//!  announcement ─▶ transaction ─▶ verify ─▶ bodies ─▶ check ─▶ pool ─▶ pass the announcement on
//! ```
//!
//! An announcement is passed on only once its transactions are here, so whoever passes one on can serve it. What
//! a peer sends is verified before it is kept; a peer that sent something else is reported.

mod gossip;
mod squares;
mod transactions;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use chain::{Attesters, Certificate, CertifiedBlock, Height, TxId};
use network::{Gossip, Kind, Network, Offence, PeerId, Request};
use tendermint::Hash;
use tokio::sync::{Semaphore, mpsc};

pub(crate) use self::transactions::frame;
use crate::{node::Node, storage::StoreError};

/// Hints that wait at once, well below all that are handled at once.
const WAITING_HINTS: usize = 16;

/// Fetches from peers into the node.
#[derive(Debug)]
pub(crate) struct Fetcher {
    node: Arc<Node>,
    network: Network,
    in_flight: Mutex<HashMap<TxId, Arc<tokio::sync::Mutex<()>>>>,
    hints: Semaphore,
    notices: mpsc::Sender<Gossip>,
    attestations: mpsc::Sender<Gossip>,
}

impl Fetcher {
    /// A fetcher over these peers; notices of fraud proofs go to `notices`, attestations to `attestations`.
    pub(crate) fn new(
        node: Arc<Node>,
        network: Network,
        notices: mpsc::Sender<Gossip>,
        attestations: mpsc::Sender<Gossip>,
    ) -> Self {
        let hints = Semaphore::new(WAITING_HINTS);
        Self { node, network, in_flight: Mutex::default(), hints, notices, attestations }
    }

    /// Peers that serve `kind`, `first` ahead of the others.
    fn peers(&self, kind: Kind, first: Option<PeerId>) -> Vec<PeerId> {
        let mut peers: Vec<_> = self
            .network
            .peers()
            .iter()
            .filter(|peer| peer.serves.contains(&kind))
            .map(|peer| peer.id)
            .collect();
        peers.sort_by_key(|peer| Some(*peer) != first);
        peers
    }

    /// The certificate at `height`, or the latest, with its attesters: from disk, or from a peer that heard it.
    pub(crate) async fn certificate(
        &self,
        height: Option<Height>,
    ) -> Result<Option<(Certificate, Attesters)>, StoreError> {
        let store = &self.node.store;
        let height = height.unwrap_or(*self.node.certified().borrow());
        if let Some(certificate) = store.certificate(height)? {
            let attesters =
                store.attesters(&certificate.data.attesters)?.ok_or(StoreError::Corrupt("attesters"))?;
            return Ok(Some((certificate, attesters)));
        }
        let Some(block) = store.block(height)? else { return Ok(None) };
        let known = &self.node.head().validators;
        for peer in self.peers(Kind::Certified, None) {
            let hash = known.hash().as_bytes().try_into().ok();
            let Ok(bytes) = self.network.request(peer, Request::Certified { height, known: hash }).await
            else {
                continue;
            };
            let certificate = CertifiedBlock::decode_for(&bytes, known).map(|block| block.certificate);
            let certificate = certificate.ok().filter(|certificate| {
                certificate.data.height == height
                    && Hash::Sha256(certificate.data.header) == block.header.hash()
            });
            let Some(certificate) = certificate else {
                self.network.report(peer, Offence::WrongProof).await;
                continue;
            };
            // Attesters that no block here named: this node took a state without the history before it.
            let Some(attesters) = store.attesters(&certificate.data.attesters)? else { continue };
            match certificate.verify(&self.node.domain, &attesters) {
                Ok(certified) => {
                    let certificate = certified.certificate().clone();
                    self.node.keep_certificate(&certificate)?;
                    return Ok(Some((certificate, attesters)));
                }
                Err(_) => self.network.report(peer, Offence::WrongProof).await,
            }
        }
        Ok(None)
    }
}
