//! Nodes over the chain: an honest one, and one for each way of lying.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use blob_api::{
    AccountState, Backend, BlobLocation, BlobName, CertificateAnswer, Client, Config, FaucetError, Found,
    Info, MarketBlock, NamespaceAnswer, NodeStatus, PriceState, StateAnswer, SubmitError, TransactionBlobs,
    TxRecord, serve,
};
use bytes::Bytes;
use chain::{
    Address, Attesters, BlobHeader, Height, LightBlock, Outcome, RULES_VERSION, Reason, State, StateKey,
    Submission, TxId, TxStatus,
};
use erasure::{BlobMeta, DataRootParts, Index, IndexEntry, Namespace, NamespaceProof, RangeProof};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::chain_in_memory::Chain;

/// What a node does with the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Tells it.
    Honest,
    /// Flips a byte of every blob.
    FlipsAByte,
    /// Proves another blob's entry.
    ProvesAnotherEntry,
    /// Proves the shares after those asked for.
    ProvesOtherShares,
    /// Leaves a namespace's last entry out of the index it proves from.
    OmitsAnEntry,
    /// Proves another namespace absent.
    DeniesANamespace,
    /// Changes the time of every header past the first.
    ForgesHeaders,
    /// Changes the history of every certificate.
    ForgesCertificates,
    /// Calls every transaction final at height 1.
    ClaimsFinality,
    /// Admits submissions, and answers as if it had not.
    LosesAnswers,
    /// Refuses every submission.
    Refuses,
    /// Gives the first bytes of a blob, and then no more.
    Stalls,
    /// Has nothing.
    Behind,
    /// Has each block's index only when asked for the third time.
    FetchesSlowly,
}

/// A backend over the chain in memory.
pub(crate) struct Node {
    chain: Arc<Chain>,
    manner: Manner,
    lists: AtomicUsize,
}

#[async_trait]
impl Backend for Node {
    fn info(&self) -> &Info {
        &self.chain.info
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.chain.changes.subscribe()
    }

    async fn status(&self) -> NodeStatus {
        let height = self.chain.height();
        let block_time = self.chain.lock().decided.last().map(|block| block.light.signed_header.header.time);
        let upgrade = self.chain.lock().parent.upgrade;
        NodeStatus { height, block_time, syncing: false, peers: 3, upgrade, newest_rules: RULES_VERSION }
    }

    async fn price(&self) -> PriceState {
        let inner = self.chain.lock();
        let recent = inner.market.iter().rev().take(8).rev().copied().collect();
        PriceState { height: inner.decided.len() as u64, excess: inner.state().excess().unwrap(), recent }
    }

    async fn market(&self, to: Option<Height>, count: u32) -> Vec<MarketBlock> {
        let inner = self.chain.lock();
        let end = to.map_or(inner.market.len(), |to| inner.market.len().min(to as usize));
        inner.market[end.saturating_sub(count as usize)..end].to_vec()
    }

    async fn account(&self, address: Address) -> AccountState {
        let inner = self.chain.lock();
        AccountState { balance: inner.balance(address), pending: inner.pending(address) }
    }

    async fn state(&self, key: StateKey) -> Found<StateAnswer> {
        let inner = self.chain.lock();
        let height = inner.decided.len() as u64;
        let state = State::at(&inner.store, height - 1);
        let (value, proof) = state.prove(&key).unwrap();
        let value = if self.manner == Manner::FlipsAByte { value.map(|_| vec![9; 8]) } else { value };
        Outcome::Data(StateAnswer { height, value, proof })
    }

    async fn submit(&self, submission: Submission) -> Result<TxId, SubmitError> {
        if self.manner == Manner::Refuses {
            return Err(SubmitError::invalid("salt", "not to this node's liking"));
        }
        let chain = self.chain.clone();
        let admitted = tokio::task::spawn_blocking(move || chain.admit(submission)).await.unwrap();
        match self.manner {
            Manner::LosesAnswers => Err(SubmitError::Unavailable("stopping".into())),
            _ => admitted,
        }
    }

    async fn transaction(&self, id: TxId) -> Option<TxRecord> {
        let mut record = self.chain.lock().records.get(&id).cloned()?;
        if self.manner == Manner::ClaimsFinality {
            record.status = TxStatus::Final { height: 1 };
        }
        Some(record)
    }

    async fn light_block(&self, height: Option<Height>) -> Found<LightBlock> {
        let inner = self.chain.lock();
        let tip = inner.decided.len() as u64;
        let height = height.unwrap_or(tip);
        let decided = height.checked_sub(1).and_then(|at| inner.decided.get(at as usize));
        let Some(mut light) = decided.map(|d| d.light.clone()).filter(|_| self.manner != Manner::Behind)
        else {
            return Outcome::Unreachable(Reason::Behind { height, tip });
        };
        if self.manner == Manner::ForgesHeaders && height > 1 {
            let header = &mut light.signed_header.header;
            header.time = (header.time + std::time::Duration::from_millis(1)).unwrap();
        }
        Outcome::Data(light)
    }

    async fn certificate(&self, height: Option<Height>) -> Found<CertificateAnswer> {
        let tip = self.chain.height();
        let height = height.unwrap_or(tip);
        if height == 0 || height > tip || self.manner == Manner::Behind {
            return Outcome::Unreachable(Reason::Uncertified { height, latest: tip });
        }
        let mut certificate = self.chain.certificate(height);
        if self.manner == Manner::ForgesCertificates {
            certificate.data.history_root[0] ^= 1;
        }
        let attesters = State::at(&self.chain.lock().store, height).attesters().unwrap();
        Outcome::Data(CertificateAnswer { certificate, attesters })
    }

    async fn attesters(&self, hash: [u8; 32]) -> Found<Attesters> {
        let inner = self.chain.lock();
        let tip = inner.decided.len() as u64;
        let known = (0..=tip).filter_map(|at| State::at(&inner.store, at).attesters().ok());
        let found = known.into_iter().find(|attesters| attesters.hash() == hash);
        found.map_or(Outcome::Unreachable(Reason::Unknown { tip }), Outcome::Data)
    }

    async fn data_roots(&self, heights: Range<Height>) -> Found<Vec<[u8; 32]>> {
        let inner = self.chain.lock();
        let root =
            |height: Height| inner.decided.get(height as usize - 1).map(|block| block.square.data_root());
        Outcome::Data(heights.map_while(root).collect())
    }

    async fn find(&self, name: &BlobName) -> Found<BlobLocation> {
        let inner = self.chain.lock();
        let tip = inner.decided.len() as u64;
        for (height, block) in (1..).zip(&inner.decided).filter(|_| self.manner != Manner::Behind) {
            let (index, parts) = (block.square.index(), block.square.parts());
            if let Some(at) = index.entries().iter().position(|entry| name.names(entry)) {
                let at = if self.manner == Manner::ProvesAnotherEntry { 0 } else { at };
                return Outcome::Data(BlobLocation { height, proof: index.prove_entry(at, parts).unwrap() });
            }
        }
        Outcome::Unreachable(Reason::Unknown { tip })
    }

    async fn bytes(&self, height: Height, entry: &IndexEntry, range: Range<u64>) -> Found<Bytes> {
        if self.manner == Manner::Stalls && range.start > 0 {
            std::future::pending::<()>().await;
        }
        let inner = self.chain.lock();
        if height <= inner.pruned {
            return Outcome::Unreachable(Reason::Pruned { height });
        }
        let square = &inner.decided[height as usize - 1].square;
        let mut bytes = square.blob_bytes(entry).unwrap();
        if self.manner == Manner::FlipsAByte {
            bytes[0] ^= 1;
        }
        Outcome::Data(bytes[range.start as usize..range.end as usize].to_vec().into())
    }

    async fn shares(&self, height: Height, range: Range<u32>) -> Found<Option<RangeProof>> {
        let inner = self.chain.lock();
        let tip = inner.decided.len() as u64;
        let decided = height.checked_sub(1).and_then(|at| inner.decided.get(at as usize));
        let Some(block) = decided.filter(|_| self.manner != Manner::Behind) else {
            return Outcome::Unreachable(Reason::Behind { height, tip });
        };
        let shift = u32::from(self.manner == Manner::ProvesOtherShares);
        Outcome::Data(block.square.range(range.start + shift..range.end + shift))
    }

    async fn transaction_blobs(&self, id: TxId) -> Found<TransactionBlobs> {
        let inner = self.chain.lock();
        let tip = inner.decided.len() as u64;
        let Some(TxStatus::Final { height }) = inner.records.get(&id).map(|record| record.status.clone())
        else {
            return Outcome::Unreachable(Reason::Unknown { tip });
        };
        let block = &inner.decided[height as usize - 1];
        let transaction =
            block.transactions.iter().find(|t| t.id(&self.chain.genesis.domain()) == id).unwrap();
        let (index, parts) = (block.square.index(), block.square.parts());
        let proof = |blob: &BlobHeader| {
            let at = index.entries().iter().position(|entry| entry.commitment == blob.commitment).unwrap();
            index.prove_entry(if self.manner == Manner::ProvesAnotherEntry { 0 } else { at }, parts).unwrap()
        };
        let proofs = transaction.blobs().iter().map(proof).collect();
        let mut transaction = transaction.clone();
        if self.manner == Manner::ClaimsFinality {
            transaction.payload.salt = [0; 16];
        }
        Outcome::Data(TransactionBlobs { height, transaction, proofs })
    }

    async fn namespace(
        &self,
        height: Height,
        namespace: Namespace,
    ) -> Outcome<NamespaceAnswer, NamespaceProof> {
        let inner = self.chain.lock();
        let tip = inner.decided.len() as u64;
        let decided = height.checked_sub(1).and_then(|at| inner.decided.get(at as usize));
        let Some(block) = decided.filter(|_| self.manner != Manner::Behind) else {
            return Outcome::Unreachable(Reason::Behind { height, tip });
        };
        if self.manner == Manner::FetchesSlowly && self.lists.fetch_add(1, Ordering::Relaxed) < 2 {
            return Outcome::Unreachable(Reason::Fetching { height });
        }
        let (index, parts) = (block.square.index(), block.square.parts());
        let entries = index.namespace(namespace).to_vec();
        match self.manner {
            Manner::DeniesANamespace => {
                Outcome::Absent(index.prove_namespace(Namespace::from_user_id([0xee; 10]), parts))
            }
            Manner::OmitsAnEntry if entries.len() > 1 => {
                let thinned = without(index, entries.last().unwrap().commitment, parts.width);
                let parts = DataRootParts { index_root: thinned.root(), ..parts };
                let entries = thinned.namespace(namespace).to_vec();
                Outcome::Data(NamespaceAnswer { entries, proof: thinned.prove_namespace(namespace, parts) })
            }
            _ if entries.is_empty() => Outcome::Absent(index.prove_namespace(namespace, parts)),
            _ => Outcome::Data(NamespaceAnswer { entries, proof: index.prove_namespace(namespace, parts) }),
        }
    }

    async fn faucet(&self, address: Address) -> Result<TxId, FaucetError> {
        Ok(self.chain.admit(self.chain.transfer(address, 5_000_000_000))?)
    }
}

/// An index like `index`, without one blob.
fn without(index: &Index, commitment: [u8; 32], k_max: erasure::Width) -> Index {
    let kept = index.entries()[1..].iter().filter(|entry| entry.commitment != commitment);
    let metas = kept.map(|entry| BlobMeta {
        namespace: entry.namespace,
        commitment: entry.commitment,
        len: entry.len,
        signer: entry.signer,
        foreign: entry.foreign.clone(),
    });
    Index::place(&erasure::transaction_blob(&[1]), metas.collect(), k_max).unwrap().index
}

/// A running server.
pub(crate) struct Server {
    pub(crate) url: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(crate) async fn start(chain: &Arc<Chain>, manner: Manner) -> Self {
        Self::start_with(chain, manner, Config::default()).await
    }

    pub(crate) async fn start_with(chain: &Arc<Chain>, manner: Manner, config: Config) -> Self {
        Self::start_at(chain, manner, config, TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn start_at(
        chain: &Arc<Chain>,
        manner: Manner,
        config: Config,
        listener: TcpListener,
    ) -> Self {
        let node = Arc::new(Node { chain: chain.clone(), manner, lists: AtomicUsize::new(0) });
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(listener, node, config, shutdown));
        Self { url, stop: Some(stop), task }
    }

    /// Starts an honest node where an earlier one was.
    pub(crate) async fn restart(chain: &Arc<Chain>, url: &str) -> Self {
        let address = url.strip_prefix("http://").unwrap();
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return Self::start_at(chain, Manner::Honest, Config::default(), listener),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    }

    /// Tells the server to stop, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// Serves whatever `router` answers, and gives its URL.
pub(crate) async fn serve_router(router: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// A client of these servers that trusts the chain's first block.
pub(crate) fn client(chain: &Chain, servers: &[&Server]) -> Client {
    let urls: Vec<_> = servers.iter().map(|server| server.url.clone()).collect();
    client_of(chain, &urls)
}

pub(crate) fn client_of(chain: &Chain, urls: &[String]) -> Client {
    Client::new(urls, Some(chain.network())).unwrap()
}

/// A chain with an honest node and its client.
pub(crate) async fn honest() -> (Arc<Chain>, Server, Client) {
    let chain = Chain::new();
    let server = Server::start(&chain, Manner::Honest).await;
    let client = client(&chain, &[&server]);
    (chain, server, client)
}
