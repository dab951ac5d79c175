//! Peers that have something to say about fraud, true or not.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use chain::{Accusation, Parameters};
use erasure::{
    Axis, CommittedSquare, Coordinates, FraudProof, Index, OriginalSquare, SplitCell, Width, WrongIndex,
    transaction_blob,
};
use network::{
    Answer, FraudNotice, Keypair, Kind, MAX_FRAUDS, Multiaddr, Network, PeerId, Provider, Refusal, Request,
    Topic,
};
use prometheus_client::registry::Registry;

use crate::chain_of_blocks::{CHAIN, Chain, square};
use crate::node::within;

pub(crate) fn accusation(proof: FraudProof) -> Vec<u8> {
    Accusation { parameters: Parameters::default(), proof }.encode()
}

/// A square whose index is not that of its transaction list, with the proof of it.
pub(crate) fn forged() -> (Arc<CommittedSquare>, Vec<u8>) {
    let meta = erasure::BlobMeta {
        namespace: erasure::Namespace::from_user_id([3; 10]),
        commitment: [5; 32],
        len: 100,
        signer: [6; 20],
        foreign: Vec::new(),
    };
    let index = Index::place(&transaction_blob(&[]), vec![meta], Width::MAX).unwrap().index;
    let original = square(8, 1).original().into_bytes();
    let mut bytes = original;
    bytes[..512].fill(0);
    let square = OriginalSquare::from_shares(Width::new(8).unwrap(), &bytes).unwrap().commit(index);
    let proof = WrongIndex::new(&square, square.parts().index_root).unwrap();
    (Arc::new(square), accusation(FraudProof::WrongIndex(proof)))
}

/// A proof that decodes, is about this square, and shows nothing; another one for each `salt`.
pub(crate) fn unfounded(square: &CommittedSquare, salt: u32) -> Vec<u8> {
    let n = square.width().extended() as u32;
    let (row, column) = ((salt / n % n) as u16, (salt % n) as u16);
    let sample = |axis| square.sample(Coordinates { row, column, axis }).unwrap();
    let (by_row, mut bytes) = (sample(Axis::Row), sample(Axis::Column).encode());
    // A cell that is not the one committed to: made to look like a split.
    bytes[50..54].iter_mut().zip((salt + 1).to_be_bytes()).for_each(|(byte, salt)| *byte ^= salt);
    let by_column = erasure::Sample::decode(&bytes).unwrap();
    accusation(FraudProof::SplitCell(SplitCell::new(&by_row, &by_column).unwrap()))
}

/// Accusations by hash, with their notices.
type Held = HashMap<[u8; 32], (FraudNotice, Vec<u8>)>;

/// Serves accusations, whoever they are about, and the list of their notices.
#[derive(Clone, Default)]
pub(crate) struct Holds(Arc<RwLock<Held>>);

impl Holds {
    pub(crate) fn add(&self, height: u64, header: [u8; 32], accusation: Vec<u8>) -> FraudNotice {
        let notice = FraudNotice::of(height, header, &accusation).unwrap();
        self.0.write().unwrap().insert(notice.proof, (notice, accusation));
        notice
    }
}

#[async_trait]
impl Provider for Holds {
    async fn serve(&self, _: PeerId, request: Request) -> Answer {
        let held = self.0.read().unwrap();
        match request {
            Request::Fraud { proof, offset, len } => {
                let (_, bytes) = held.get(&proof).ok_or(Refusal::NotFound)?;
                let chunk = bytes.get(offset as usize..(offset + len) as usize).ok_or(Refusal::Malformed)?;
                Ok(chunk.to_vec().into())
            }
            Request::Frauds => {
                Ok(held.values().take(MAX_FRAUDS).flat_map(|(notice, _)| notice.encode()).collect())
            }
            _ => Err(Refusal::NotFound),
        }
    }
}

/// A peer that has something to say about fraud.
pub(crate) struct Accuser {
    pub(crate) network: Network,
    pub(crate) holds: Holds,
}

impl Accuser {
    pub(crate) async fn start() -> Self {
        Self::serving(&[Kind::Fraud]).await
    }

    pub(crate) async fn serving(kinds: &[Kind]) -> Self {
        let holds = Holds::default();
        let config = network::Config {
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            serves: kinds.to_vec(),
            topics: vec![Topic::Fraud],
            ..network::Config::new(CHAIN, Keypair::generate_ed25519())
        };
        let provider = Arc::new(holds.clone());
        let (network, _) = Network::start(config, provider, &mut Registry::default()).await.unwrap();
        Self { network, holds }
    }

    pub(crate) fn address(&self) -> Multiaddr {
        self.network.listen_addrs()[0].clone()
    }

    /// Gossips a notice, as soon as somebody listens.
    pub(crate) async fn announce(&self, notice: &FraudNotice) {
        within(async {
            while self.network.publish(Topic::Fraud, notice.encode().into()).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub(crate) fn header_hash(chain: &Arc<RwLock<Chain>>, height: u64) -> [u8; 32] {
    let chain = chain.read().unwrap();
    let header = &chain.block(height).unwrap().light.signed_header.header;
    header.hash().as_bytes().try_into().unwrap()
}
