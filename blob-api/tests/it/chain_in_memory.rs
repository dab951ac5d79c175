//! A chain whose every key is the test's, decided block by block when the test says so.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use blob_api::{Info, MarketBlock, SubmitError, TxRecord, check_submission};
use chain::{
    Action, Address, Attestation, AttestationData, AttestationSecret, Candidate, Certificate, Checkpoint,
    Genesis, GenesisAccount, GenesisValidator, Height, Ledger, LightBlock, MemoryState, NetworkConfig,
    Parameters, Parent, RULES_VERSION, SecretKey, State, StateUpdate, Submission, Tally, Transaction, TxId,
    TxStatus, Upgrade, ValidBlock,
};
use ed25519_consensus::SigningKey;
use erasure::{CommittedSquare, Namespace};
use tendermint::{
    Signature, Time,
    block::{self, Commit, CommitSig, Round, parts, signed_header::SignedHeader},
    validator::Set,
    vote::{self, Vote},
};
use tokio::sync::watch;

/// What every funded account owns at genesis: 1,000 WEFT.
pub(crate) const FUNDS: u64 = 1_000_000_000_000;

/// An account's key; 1 to 3 are funded.
pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32]).unwrap()
}

fn attestation_secret(validator: usize) -> AttestationSecret {
    AttestationSecret::from_seed(&[validator as u8; 32]).unwrap()
}

pub(crate) fn namespace(id: u8) -> Namespace {
    Namespace::from_user_id([id; 10])
}

pub(crate) struct Decided {
    pub(crate) light: LightBlock,
    pub(crate) square: Arc<CommittedSquare>,
    pub(crate) transactions: Vec<Transaction>,
}

pub(crate) struct Inner {
    pub(crate) store: MemoryState,
    pub(crate) parent: Parent,
    pub(crate) decided: Vec<Decided>,
    pub(crate) pool: Vec<Candidate>,
    pub(crate) records: BTreeMap<TxId, TxRecord>,
    pub(crate) market: Vec<MarketBlock>,
    pub(crate) faucets: u8,
    /// Blobs up to this height are gone.
    pub(crate) pruned: Height,
}

/// The one chain that all nodes of a test serve.
pub(crate) struct Chain {
    pub(crate) genesis: Genesis,
    pub(crate) info: Info,
    inner: Mutex<Inner>,
    pub(crate) changes: watch::Sender<u64>,
    signers: Vec<SigningKey>,
}

impl Chain {
    /// A chain of eight validators, of whom the first four sign, with one empty block, begun an hour ago.
    pub(crate) fn new() -> Arc<Self> {
        let hour_ago = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(3600);
        Self::beginning_at(hour_ago.as_secs() as i64)
    }

    /// The same chain, begun so many seconds after 1970.
    pub(crate) fn beginning_at(seconds: i64) -> Arc<Self> {
        let signers: Vec<_> = (1..=8u8).map(|seed| SigningKey::from([seed; 32])).collect();
        let account = |seed| GenesisAccount { address: key(seed).address(), balance: FUNDS };
        let validator = |(at, signer): (usize, &SigningKey)| GenesisValidator {
            name: format!("v{at}"),
            public_key: signer.verification_key().to_bytes(),
            power: 10,
            operator: key(100 + at as u8).address(),
            attestation_key: Some(attestation_secret(at).key()),
        };
        let genesis = Genesis {
            chain_id: "weft-test".into(),
            time: Time::from_unix_timestamp(seconds, 0).unwrap(),
            parameters: Parameters { k_max: 64, max_blob_bytes: 1 << 20, ..Parameters::default() },
            accounts: (1..=3).map(account).collect(),
            validators: signers.iter().enumerate().map(validator).collect(),
        };
        genesis.check().unwrap();
        let mut store = MemoryState::default();
        let update = StateUpdate::genesis(&genesis).unwrap();
        let set = validators(&genesis, 0..4);
        let parent = Parent {
            state_root: update.root,
            last: None,
            last_validators: set.clone(),
            validators: set.clone(),
            next_validators: set,
            upgrade: Upgrade::GENESIS,
            newest_rules: RULES_VERSION,
        };
        store.apply(update);
        let info = Info {
            chain_id: genesis.chain_id.clone(),
            genesis_hash: genesis.hash(),
            parameters: genesis.parameters.clone(),
        };
        let inner = Inner {
            store,
            parent,
            decided: Vec::new(),
            pool: Vec::new(),
            records: BTreeMap::new(),
            market: Vec::new(),
            faucets: 0,
            pruned: 0,
        };
        let chain = Self { genesis, info, inner: Mutex::new(inner), changes: watch::channel(0).0, signers };
        chain.decide();
        Arc::new(chain)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn tick(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    pub(crate) fn height(&self) -> Height {
        self.lock().decided.len() as u64
    }

    /// The network file of a reader who trusts the first block.
    pub(crate) fn network(&self) -> NetworkConfig {
        NetworkConfig {
            chain_id: self.genesis.chain_id.clone(),
            genesis_hash: self.genesis.hash(),
            trusting_period_seconds: 7 * 24 * 3600,
            bootstrap: vec![],
            api: vec![],
            checkpoint: self.checkpoint(1),
        }
    }

    pub(crate) fn checkpoint(&self, height: Height) -> Checkpoint {
        let inner = self.lock();
        let header = &inner.decided[height as usize - 1].light.signed_header.header;
        Checkpoint { height, hash: header.hash().as_bytes().try_into().unwrap() }
    }

    /// Checks as a node does, and pools.
    pub(crate) fn admit(&self, submission: Submission) -> Result<TxId, SubmitError> {
        let (transaction, blobs) =
            check_submission(submission, &self.genesis.domain(), &self.genesis.parameters)?;
        let mut inner = self.lock();
        let id = transaction.id();
        if inner.records.contains_key(&id) {
            return Err(SubmitError::Duplicate { id });
        }
        let receipt = Ledger::new(inner.state(), &self.genesis).unwrap().check(&transaction)?;
        let (balance, pending) = (inner.balance(transaction.sender()), inner.pending(transaction.sender()));
        let needed = transaction.payload().fee_cap.saturating_mul(receipt.shares);
        if pending.saturating_add(needed) > balance {
            return Err(SubmitError::Underfunded { balance, pending, needed });
        }
        let record = TxRecord {
            status: TxStatus::Pooled,
            sender: transaction.sender(),
            valid_until: transaction.payload().valid_until,
            reserved: transaction.payload().reservation().is_some(),
            fee_cap: transaction.payload().fee_cap,
            tip: transaction.payload().tip,
            shares: transaction.shares(),
            charged: None,
            blobs: transaction.blobs().to_vec(),
            available_until: None,
        };
        inner.records.insert(id, record);
        let blobs = blobs.into_iter().map(Arc::new).collect();
        inner.pool.push(Candidate::new(Arc::new(transaction), blobs).unwrap());
        drop(inner);
        self.tick();
        Ok(id)
    }

    /// What six of the eight validators attest of a decided block.
    pub(crate) fn certificate(&self, height: Height) -> Certificate {
        let inner = self.lock();
        let state = State::at(&inner.store, height);
        let attesters = Arc::new(state.attesters().unwrap());
        let header = &inner.decided[height as usize - 1].light.signed_header.header;
        let next = state.next_attesters().unwrap().map(|next| next.hash());
        let data = AttestationData::new(header, state.history().unwrap(), attesters.hash(), next).unwrap();
        let mut tally = Tally::new(data, attesters.clone()).unwrap();
        for validator in 0..6 {
            let secret = attestation_secret(validator);
            let place = attesters.index_of(&secret.key()).unwrap();
            let attestation = Attestation::sign(data, place, &secret, &self.genesis.domain());
            assert!(tally.add(&attestation.verify(&self.genesis.domain(), &attesters).unwrap()));
        }
        tally.certificate().unwrap()
    }

    /// Waits until `n` transactions are pooled.
    pub(crate) async fn pooled(&self, n: usize) {
        self.changes.subscribe().wait_for(|_| self.lock().pool.len() >= n).await.unwrap();
    }

    /// Proposes the pool: its transactions are included, not final.
    pub(crate) fn include(&self) -> ValidBlock {
        let mut inner = self.lock();
        let proposer = inner.parent.validators.validators()[0].address;
        let height = inner.parent.next_height();
        let now = (self.genesis.time + Duration::from_secs(height)).unwrap();
        let chosen = chain::select(&self.genesis, inner.state(), &proposer, &inner.pool).unwrap().chosen;
        let (parent, state) = (&inner.parent, inner.state());
        let mut squares = chain::SquareBuilder::new(NonZeroUsize::MIN);
        let valid =
            chain::propose(&self.genesis, parent, state, &chosen, proposer, now, &mut squares).unwrap();
        for receipt in &valid.receipts {
            let record = inner.records.get_mut(&receipt.id).unwrap();
            record.status = TxStatus::Included { height };
            record.charged = Some(receipt.charged);
            record.available_until = Some((now + Duration::from_secs(30 * 24 * 3600)).unwrap());
        }
        drop(inner);
        self.tick();
        valid
    }

    /// Signs a proposed block: its transactions are final.
    pub(crate) fn finish(&self, valid: ValidBlock) -> Height {
        let mut inner = self.lock();
        let header = valid.block.header;
        let signed = SignedHeader::new(header.clone(), self.sign(&header, &inner.parent)).unwrap();
        let height = header.height.value();
        let excess = inner.state().excess().unwrap();
        inner.market.push(MarketBlock {
            height,
            time: header.time,
            excess,
            used: valid.receipts.iter().map(|receipt| receipt.shares).sum(),
            transactions: valid.receipts.len() as u32,
            blob_bytes: valid.placement.index.entries().iter().skip(1).map(|entry| entry.len).sum(),
        });
        inner.parent.state_root = valid.update.root;
        inner.store.apply(valid.update);
        inner.parent.last = Some(signed.clone());
        let (validators, next_validators) =
            (inner.parent.validators.clone(), inner.parent.next_validators.clone());
        inner.parent.last_validators = validators.clone();
        inner.parent.validators = next_validators.clone();
        let light = LightBlock { signed_header: signed, next_validators, validators };
        inner.decided.push(Decided {
            light,
            square: valid.square.unwrap(),
            transactions: valid.block.transactions,
        });
        for receipt in &valid.receipts {
            inner.records.get_mut(&receipt.id).unwrap().status = TxStatus::Final { height };
            inner.pool.retain(|candidate| candidate.transaction().id() != receipt.id);
        }
        drop(inner);
        self.tick();
        height
    }

    /// Makes the pool a block.
    pub(crate) fn decide(&self) -> Height {
        self.finish(self.include())
    }

    /// The other four validators sign from the block after the next on.
    pub(crate) fn replace_validators(&self) {
        self.lock().parent.next_validators = validators(&self.genesis, 4..8);
    }

    /// A transfer from the funded account 3, as a faucet would make it.
    pub(crate) fn transfer(&self, to: Address, amount: u64) -> Submission {
        let mut inner = self.lock();
        inner.faucets += 1;
        let payload = chain::Payload {
            sender: key(3).address(),
            salt: [inner.faucets; 16],
            valid_until: inner.parent.next_height() + 50,
            fee_cap: 3_000,
            tip: 0,
            action: Action::Transfer { to, amount },
        };
        let transaction = key(3).sign(payload, vec![], &self.genesis.domain()).unwrap();
        Submission { transaction, bodies: vec![] }
    }

    fn sign(&self, header: &block::Header, parent: &Parent) -> Commit {
        let part_set_header = parts::Header::new(1, header.hash()).unwrap();
        let block_id = block::Id { hash: header.hash(), part_set_header };
        let signature = |info: &tendermint::validator::Info| {
            let vote = Vote {
                vote_type: vote::Type::Precommit,
                height: header.height,
                round: Round::default(),
                block_id: Some(block_id),
                timestamp: Some(header.time),
                validator_address: info.address,
                validator_index: 0u32.try_into().unwrap(),
                signature: None,
                extension: vec![],
                extension_signature: None,
            };
            let bytes = vote.into_signable_vec(header.chain_id.clone());
            let is_signer = |s: &&SigningKey| s.verification_key().to_bytes() == info.pub_key.to_bytes()[..];
            let signature = self.signers.iter().find(is_signer).unwrap().sign(&bytes).to_bytes();
            CommitSig::BlockIdFlagCommit {
                validator_address: info.address,
                timestamp: header.time,
                signature: Signature::new(signature).unwrap(),
            }
        };
        let signatures = parent.validators.validators().iter().map(signature).collect();
        Commit { height: header.height, round: Round::default(), block_id, signatures }
    }
}

fn validators(genesis: &Genesis, range: std::ops::Range<usize>) -> Set {
    Set::without_proposer(
        genesis.validators[range].iter().map(|validator| validator.info().unwrap()).collect(),
    )
}

impl Inner {
    pub(crate) fn state(&self) -> State<'_, MemoryState> {
        State::at(&self.store, self.parent.next_height() - 1)
    }

    pub(crate) fn balance(&self, address: Address) -> u64 {
        self.state().balance(&address).unwrap()
    }

    pub(crate) fn pending(&self, address: Address) -> u64 {
        let pooled = self.pool.iter().map(Candidate::transaction).filter(|t| t.sender() == address);
        pooled.map(|t| t.payload().fee_cap.saturating_mul(t.shares())).sum()
    }
}
