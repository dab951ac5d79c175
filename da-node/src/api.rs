//! The node as the HTTP API sees it.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use blob_api::{
    AccountState, Backend, BlobLocation, BlobName, CertificateAnswer, FaucetError, Found, Info, MarketBlock,
    NamespaceAnswer, NodeStatus, OperatorBody, PoolBody, PriceState, StateAnswer, SubmitError,
    TransactionBlobs, TxRecord, check_submission,
};
use bytes::Bytes;
use chain::{
    Action, Address, Amount, Attesters, Candidate, Height, LightBlock, NANO_PER_WEFT, Outcome, Payload,
    Reason, SecretKey, State, StateKey, Submission, Transaction, TxId, TxStatus,
};
use erasure::{IndexEntry, Namespace, NamespaceProof, RangeProof};
use network::Network;
use tokio::{sync::watch, time::Instant};

use crate::{alarms::Alarms, fetch::Fetcher, node::Node, pool::Limits, storage::StoreError};

/// What the faucet gives.
const FAUCET_AMOUNT: Amount = 100 * NANO_PER_WEFT;

/// Pause between two gifts to one account.
const FAUCET_PAUSE: Duration = Duration::from_secs(10);

/// Accounts whose last gift is remembered.
const FAUCET_ACCOUNTS: usize = 10_000;

/// The API's backend.
#[derive(Debug)]
pub(crate) struct Api {
    node: Arc<Node>,
    fetcher: Arc<Fetcher>,
    network: Network,
    engine: consensus::Handle,
    info: Info,
    faucet: Option<Faucet>,
    alarms: Arc<Alarms>,
}

/// A funded key that gives to whoever asks, on development networks.
#[derive(Debug)]
pub(crate) struct Faucet {
    key: SecretKey,
    given: Mutex<HashMap<Address, Instant>>,
}

impl Faucet {
    /// A faucet that gives from `key`'s account.
    pub(crate) fn new(key: SecretKey) -> Self {
        Self { key, given: Mutex::default() }
    }

    /// Refuses an account that was given to lately.
    fn allow(&self, address: Address) -> Result<(), FaucetError> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|_, at| at.elapsed() < FAUCET_PAUSE);
        let full = given.len() >= FAUCET_ACCOUNTS;
        match given.get(&address) {
            Some(at) => Err(FaucetError::TooSoon { retry_after: FAUCET_PAUSE.saturating_sub(at.elapsed()) }),
            None if full => Err(FaucetError::TooSoon { retry_after: FAUCET_PAUSE }),
            None => {
                given.insert(address, Instant::now());
                Ok(())
            }
        }
    }
}

fn storage<D, P>(error: &StoreError) -> Outcome<D, P> {
    tracing::error!(%error, "a read met a failing database");
    Outcome::Unreachable(Reason::Storage { message: error.to_string() })
}

impl Api {
    /// The API of a running node.
    pub(crate) fn new(
        node: Arc<Node>,
        fetcher: Arc<Fetcher>,
        network: Network,
        engine: consensus::Handle,
        faucet: Option<Faucet>,
        alarms: Arc<Alarms>,
    ) -> Self {
        let info = Info {
            chain_id: node.genesis.chain_id.clone(),
            genesis_hash: node.genesis.hash(),
            parameters: node.genesis.parameters.clone(),
        };
        Self { node, fetcher, network, engine, info, faucet, alarms }
    }

    async fn admit(&self, candidate: Candidate) -> Result<TxId, SubmitError> {
        let id = candidate.transaction().id();
        if self.node.store.transaction(&id).map_err(|e| SubmitError::Unavailable(e.to_string()))?.is_some() {
            return Err(SubmitError::Duplicate { id });
        }
        let node = self.node.clone();
        tokio::task::spawn_blocking(move || node.admit(candidate))
            .await
            .map_err(|error| SubmitError::Unavailable(error.to_string()))??;
        self.fetcher.announce(&[id]).await;
        Ok(id)
    }

    /// A transaction that is in a block.
    fn included(&self, id: TxId) -> Result<Option<TxRecord>, StoreError> {
        let Some(included) = self.node.store.transaction(&id)? else { return Ok(None) };
        let block = self.node.store.block(included.height)?.ok_or(StoreError::Corrupt("block"))?;
        let transaction: &Transaction =
            block.transactions.get(included.position as usize).ok_or(StoreError::Corrupt("transaction"))?;
        let retention = Duration::from_secs(self.node.genesis.parameters.retention_seconds);
        Ok(Some(TxRecord {
            status: TxStatus::Final { height: included.height },
            sender: transaction.payload.sender,
            valid_until: transaction.payload.valid_until,
            reserved: transaction.payload.reservation().is_some(),
            fee_cap: transaction.payload.fee_cap,
            tip: transaction.payload.tip,
            shares: transaction.shares(),
            charged: Some(included.charged),
            blobs: transaction.blobs().to_vec(),
            available_until: (block.header.time + retention).ok(),
        }))
    }

    /// Once what replaced a transaction is in a block, the transaction never will be.
    fn after_replacement(&self, mut record: TxRecord) -> TxRecord {
        if let TxStatus::Replaced { by } = record.status
            && let Ok(Some(included)) = self.node.store.transaction(&by)
        {
            let reason = format!("transaction {by}, which took its place, is in block {}", included.height);
            record.status = TxStatus::Rejected { reason };
        }
        record
    }

    fn locate(&self, name: &BlobName) -> Result<Found<BlobLocation>, StoreError> {
        let Some((height, position)) = self.node.store.find(name)? else {
            return Ok(Outcome::Unreachable(Reason::Unknown { tip: self.node.tip() }));
        };
        let Some((parts, index)) = self.node.store.index(height)? else {
            return Ok(Outcome::Unreachable(self.missing(height)));
        };
        let proof = index.prove_entry(position as usize, parts).ok_or(StoreError::Corrupt("index"))?;
        Ok(Outcome::Data(BlobLocation { height, proof }))
    }

    /// Why there is nothing of a height here.
    fn missing(&self, height: Height) -> Reason {
        let tip = self.node.tip();
        match height {
            height if height == 0 || height > tip => Reason::Behind { height, tip },
            height if height <= self.node.store.pruned() => Reason::Pruned { height },
            height => Reason::Fetching { height },
        }
    }

    fn read(
        &self,
        height: Height,
        entry: &IndexEntry,
        range: Range<u64>,
    ) -> Result<Found<Bytes>, StoreError> {
        let bytes = match self.node.store.parts(height)? {
            Some(parts) => self.node.blob_bytes(height, &parts, entry, range)?,
            None => None,
        };
        Ok(bytes
            .map_or_else(|| Outcome::Unreachable(self.missing(height)), |bytes| Outcome::Data(bytes.into())))
    }

    fn blobs_of(&self, id: TxId) -> Result<Found<TransactionBlobs>, StoreError> {
        let Some(included) = self.node.store.transaction(&id)? else {
            return Ok(Outcome::Unreachable(Reason::Unknown { tip: self.node.tip() }));
        };
        let height = included.height;
        let block = self.node.store.block(height)?.ok_or(StoreError::Corrupt("block"))?;
        let Some((parts, index)) = self.node.store.index(height)? else {
            return Ok(Outcome::Unreachable(self.missing(height)));
        };
        let transaction = block.transactions.into_iter().nth(included.position as usize);
        let transaction = transaction.ok_or(StoreError::Corrupt("transaction"))?;
        let mut taken = BTreeSet::new();
        let mut proofs = Vec::with_capacity(transaction.blobs().len());
        for blob in transaction.blobs() {
            let position = index.entries().iter().enumerate().position(|(at, entry)| {
                entry.namespace == blob.namespace
                    && entry.commitment == blob.commitment
                    && entry.signer == *transaction.payload.sender.as_bytes()
                    && !taken.contains(&at)
            });
            let position = position.ok_or(StoreError::Corrupt("index"))?;
            taken.insert(position);
            proofs.push(index.prove_entry(position, parts).ok_or(StoreError::Corrupt("index"))?);
        }
        Ok(Outcome::Data(TransactionBlobs { height, transaction, proofs }))
    }
}

#[async_trait]
impl Backend for Api {
    fn info(&self) -> &Info {
        &self.info
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.node.pool.changes()
    }

    async fn status(&self) -> NodeStatus {
        let head = self.node.head();
        NodeStatus {
            height: head.next_height() - 1,
            block_time: head.last.as_ref().map(|last| last.header.time),
            syncing: self.engine.view().height > head.next_height(),
            peers: self.network.peers().len(),
            upgrade: head.upgrade,
            newest_rules: head.newest_rules,
        }
    }

    async fn price(&self) -> PriceState {
        self.node.market.price()
    }

    async fn market(&self, to: Option<Height>, count: u32) -> Vec<MarketBlock> {
        let tip = self.node.tip();
        self.node.store.market(to.map_or(tip, |to| to.min(tip)), count).unwrap_or_else(|error| {
            tracing::error!(%error, "a read met a failing database");
            Vec::new()
        })
    }

    async fn account(&self, address: Address) -> AccountState {
        AccountState {
            balance: self.node.state().balance(&address).unwrap_or_default(),
            pending: self.node.pool.pending(address),
        }
    }

    async fn state(&self, key: StateKey) -> Found<StateAnswer> {
        let height = self.node.tip();
        let Some(before) = height.checked_sub(1).filter(|before| *before >= self.node.store.base()) else {
            return Outcome::Unreachable(Reason::Behind { height: height + 1, tip: height });
        };
        match State::at(&self.node.store, before).prove(&key) {
            Ok((value, proof)) => Outcome::Data(StateAnswer { height, value, proof }),
            Err(error) => storage(&error.into()),
        }
    }

    async fn submit(&self, submission: Submission) -> Result<TxId, SubmitError> {
        let node = self.node.clone();
        let checked = tokio::task::spawn_blocking(move || {
            check_submission(submission, &node.domain, &node.genesis.parameters)
        })
        .await
        .map_err(|error| SubmitError::Unavailable(error.to_string()))?;
        let (transaction, blobs) = checked?;
        let candidate = Candidate::new(Arc::new(transaction), blobs.into_iter().map(Arc::new).collect())
            .ok_or_else(|| SubmitError::invalid("bodies", "the bodies are not those of the transaction"))?;
        self.admit(candidate).await
    }

    async fn transaction(&self, id: TxId) -> Option<TxRecord> {
        // Whoever waits for a transaction asks at every change of the pool: most of that needs no disk.
        let pooled = self.node.pool.record(&id);
        if let Some(TxStatus::Pooled | TxStatus::Included { .. }) =
            pooled.as_ref().map(|record| &record.status)
        {
            return pooled;
        }
        match self.included(id) {
            Ok(Some(record)) => Some(record),
            Ok(None) => pooled.map(|record| self.after_replacement(record)),
            Err(error) => {
                tracing::error!(%error, "a read met a failing database");
                None
            }
        }
    }

    async fn light_block(&self, height: Option<Height>) -> Found<LightBlock> {
        let tip = self.node.tip();
        let height = height.unwrap_or(tip);
        match self.node.light_block(height) {
            Ok(Some(block)) => Outcome::Data(block),
            Ok(None) => Outcome::Unreachable(self.missing(height)),
            Err(error) => storage(&error),
        }
    }

    async fn certificate(&self, height: Option<Height>) -> Found<CertificateAnswer> {
        match self.fetcher.certificate(height).await {
            Ok(Some((certificate, attesters))) => Outcome::Data(CertificateAnswer { certificate, attesters }),
            Ok(None) => {
                let (latest, tip) = (*self.node.certified().borrow(), self.node.tip());
                Outcome::Unreachable(match height {
                    Some(height) if height == 0 || height > tip => Reason::Behind { height, tip },
                    Some(height) if height <= self.node.store.base() => Reason::Pruned { height },
                    height => Reason::Uncertified { height: height.unwrap_or(tip), latest },
                })
            }
            Err(error) => storage(&error),
        }
    }

    async fn attesters(&self, hash: [u8; 32]) -> Found<Attesters> {
        match self.node.store.attesters(&hash) {
            Ok(Some(attesters)) => Outcome::Data(attesters),
            Ok(None) => Outcome::Unreachable(Reason::Unknown { tip: self.node.tip() }),
            Err(error) => storage(&error),
        }
    }

    async fn data_roots(&self, heights: Range<Height>) -> Found<Vec<[u8; 32]>> {
        if (1..=self.node.store.base()).contains(&heights.start) {
            return Outcome::Unreachable(Reason::Pruned { height: heights.start });
        }
        let node = self.node.clone();
        match tokio::task::spawn_blocking(move || node.store.data_roots(heights)).await {
            Ok(Ok(roots)) => Outcome::Data(roots),
            Ok(Err(error)) => storage(&error),
            Err(error) => Outcome::Unreachable(Reason::Storage { message: error.to_string() }),
        }
    }

    async fn find(&self, name: &BlobName) -> Found<BlobLocation> {
        self.locate(name).unwrap_or_else(|error| storage(&error))
    }

    async fn bytes(&self, height: Height, entry: &IndexEntry, range: Range<u64>) -> Found<Bytes> {
        self.read(height, entry, range).unwrap_or_else(|error| storage(&error))
    }

    async fn shares(&self, height: Height, range: Range<u32>) -> Found<Option<RangeProof>> {
        let node = self.node.clone();
        let square = tokio::task::spawn_blocking(move || node.square(height)).await;
        match square.map_err(|error| Reason::Storage { message: error.to_string() }) {
            Ok(Ok(Some(square))) => Outcome::Data(square.range(range)),
            Ok(Ok(None)) => Outcome::Unreachable(self.missing(height)),
            Ok(Err(error)) => storage(&error),
            Err(reason) => Outcome::Unreachable(reason),
        }
    }

    async fn transaction_blobs(&self, id: TxId) -> Found<TransactionBlobs> {
        self.blobs_of(id).unwrap_or_else(|error| storage(&error))
    }

    async fn namespace(
        &self,
        height: Height,
        namespace: Namespace,
    ) -> Outcome<NamespaceAnswer, NamespaceProof> {
        match self.node.store.index(height) {
            Ok(Some((parts, index))) => {
                let proof = index.prove_namespace(namespace, parts);
                match index.namespace(namespace) {
                    [] => Outcome::Absent(proof),
                    entries => Outcome::Data(NamespaceAnswer { entries: entries.to_vec(), proof }),
                }
            }
            Ok(None) => Outcome::Unreachable(self.missing(height)),
            Err(error) => storage(&error),
        }
    }

    async fn operator(&self) -> OperatorBody {
        let limits = Limits::default();
        let (transactions, bytes) = self.node.pool.size();
        OperatorBody {
            pool: PoolBody {
                transactions: transactions as u64,
                bytes: bytes as u64,
                limit_bytes: limits.bytes as u64,
                account_limit_bytes: limits.account_bytes as u64,
                accounts: self.node.pool.accounts(),
            },
            alarms: self.alarms.raised(),
        }
    }

    async fn faucet(&self, address: Address) -> Result<TxId, FaucetError> {
        let faucet = self.faucet.as_ref().ok_or(FaucetError::Disabled)?;
        faucet.allow(address)?;
        let unavailable = |error: &dyn std::fmt::Display| SubmitError::Unavailable(error.to_string());
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| unavailable(&error))?;
        let rules = self.node.genesis.fee_rules();
        let excess = self.node.market.excess();
        let payload = Payload {
            sender: faucet.key.address(),
            salt,
            valid_until: self.node.tip() + 100,
            fee_cap: rules.guaranteed_cap(excess, 100),
            tip: 0,
            action: Action::Transfer { to: address, amount: FAUCET_AMOUNT },
        };
        let transaction =
            faucet.key.sign(payload, Vec::new(), &self.node.domain).map_err(|error| unavailable(&error))?;
        let verified = transaction
            .verify(&self.node.domain, &self.node.genesis.parameters)
            .map_err(|error| unavailable(&error))?;
        let candidate = Candidate::new(Arc::new(verified), Vec::new())
            .ok_or_else(|| SubmitError::Unavailable("the faucet's transfer has bodies".into()))?;
        Ok(self.admit(candidate).await?)
    }
}
