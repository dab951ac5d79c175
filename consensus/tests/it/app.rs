//! The smallest chain: a block is a header and eight bytes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use consensus::{AppError, Application, BlockRef, DecidedValue, NextHeight, Payload, SyncFault, Verdict};
use tendermint::block::header::Version;
use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{Commit, Header, Height};
use tendermint::crypto::{Sha256 as _, default::Sha256};
use tendermint::{AppHash, Hash, Time, account, validator};
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) const CHAIN_ID: &str = "weft-consensus-test";

pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time::from_unix_timestamp(since.as_secs() as i64, since.subsec_nanos()).unwrap()
}

fn body_hash(body: &Bytes) -> Option<Hash> {
    Some(Hash::Sha256(Sha256::digest([b"body".as_slice(), body].concat())))
}

/// When the application wants blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) interval: Duration,
    pub(crate) idle: Duration,
}

#[derive(Default)]
struct Store {
    blocks: Vec<(Payload, Commit)>,
    undecided: BTreeMap<u64, Vec<Bytes>>,
}

pub(crate) struct TestApp {
    address: account::Id,
    validators: validator::Set,
    pace: Pace,
    store: Mutex<Store>,
    /// Whether there is something to put into a block.
    pub(crate) work: watch::Sender<bool>,
    /// The last committed height.
    pub(crate) tip: watch::Sender<u64>,
    /// Heights from here on miss their bodies.
    pub(crate) missing_from: watch::Sender<u64>,
    /// Proposes something invalid in round 0 of this height.
    pub(crate) invalid_at: watch::Sender<u64>,
    /// Proposes another block's body in round 0 of this height.
    pub(crate) detached_at: watch::Sender<u64>,
    /// How many values came through sync.
    pub(crate) synced: watch::Sender<u64>,
    /// How often a verdict was asked for.
    pub(crate) assessed: watch::Sender<u64>,
}

impl TestApp {
    pub(crate) fn new(address: account::Id, validators: validator::Set, pace: Pace) -> Self {
        Self {
            address,
            validators,
            pace,
            store: Mutex::default(),
            work: watch::Sender::new(false),
            tip: watch::Sender::new(0),
            missing_from: watch::Sender::new(u64::MAX),
            invalid_at: watch::Sender::new(0),
            detached_at: watch::Sender::new(0),
            synced: watch::Sender::new(0),
            assessed: watch::Sender::new(0),
        }
    }

    pub(crate) fn signed_headers(&self) -> Vec<SignedHeader> {
        let store = self.store.lock().unwrap();
        let signed = |(payload, commit): &(Payload, Commit)| {
            SignedHeader::new(payload.header.clone(), commit.clone()).unwrap()
        };
        store.blocks.iter().map(signed).collect()
    }

    fn last(&self) -> Option<Header> {
        self.store.lock().unwrap().blocks.last().map(|(payload, _)| payload.header.clone())
    }

    fn build(&self, height: Height, round: u32) -> Payload {
        let last = self.last();
        let body = Bytes::copy_from_slice(&height.value().to_be_bytes());
        let earliest = last.as_ref().map(|last| (last.time + Duration::from_millis(1)).unwrap());
        let invalid = round == 0 && *self.invalid_at.borrow() == height.value();
        let header = Header {
            version: Version { block: 11, app: 1 },
            chain_id: CHAIN_ID.parse().unwrap(),
            height,
            time: earliest.map_or_else(now, |earliest| earliest.max(now())),
            last_block_id: last.as_ref().map(|last| BlockRef::of(last).block_id()),
            last_commit_hash: None,
            data_hash: Some(Hash::Sha256(if invalid { [0; 32] } else { Sha256::digest(&body) })),
            validators_hash: self.validators.hash(),
            next_validators_hash: self.validators.hash(),
            consensus_hash: Hash::Sha256([1; 32]),
            app_hash: AppHash::try_from(vec![2; 32]).unwrap(),
            last_results_hash: None,
            evidence_hash: body_hash(&body),
            proposer_address: self.address,
        };
        Payload { header, body }
    }

    fn next(&self) -> NextHeight {
        let height = self.last().map_or(Height::from(1u32), |last| last.height.increment());
        NextHeight { height, validators: self.validators.clone() }
    }

    fn broken_rule(&self, payload: &Payload) -> Option<&'static str> {
        let header = &payload.header;
        let parent = self.last().map(|last| BlockRef::of(&last).block_id());
        if header.data_hash != Some(Hash::Sha256(Sha256::digest(&payload.body))) {
            Some("data hash")
        } else if header.last_block_id != parent {
            Some("parent")
        } else if header.validators_hash != self.validators.hash() {
            Some("validators")
        } else {
            None
        }
    }
}

#[async_trait]
impl Application for TestApp {
    async fn next_height(&self) -> Result<NextHeight, AppError> {
        Ok(self.next())
    }

    async fn ready_to_start(&self, _height: Height) {
        let since = self.last().and_then(|last| now().duration_since(last.time).ok());
        let left = |pause: Duration| pause.saturating_sub(since.unwrap_or(pause));
        let (interval, idle) = (left(self.pace.interval), left(self.pace.idle));
        let start = Instant::now();
        tokio::time::sleep_until(start + interval).await;
        let mut work = self.work.subscribe();
        tokio::select! {
            _ = work.wait_for(|work| *work) => {}
            () = tokio::time::sleep_until(start + idle) => {}
        }
    }

    async fn propose(&self, height: Height, round: u32, _deadline: Instant) -> Result<Payload, AppError> {
        let payload = self.build(height, round);
        let detached = round == 0 && *self.detached_at.borrow() == height.value();
        Ok(if detached { Payload { body: Bytes::from_static(b"another"), ..payload } } else { payload })
    }

    fn check_body(&self, payload: &Payload) -> Result<(), AppError> {
        if payload.header.evidence_hash == body_hash(&payload.body) {
            Ok(())
        } else {
            Err("another block's body".into())
        }
    }

    async fn assess(&self, height: Height, _proposer: account::Id, payload: &Payload) -> Verdict {
        assert!(self.check_body(payload).is_ok(), "a body that was not checked");
        self.assessed.send_modify(|assessed| *assessed += 1);
        if height.value() >= *self.missing_from.borrow() {
            return Verdict::NotYet;
        }
        self.broken_rule(payload).map_or(Verdict::Valid, |rule| Verdict::Invalid(rule.into()))
    }

    async fn store_undecided(&self, height: Height, bytes: Bytes) -> Result<(), AppError> {
        self.store.lock().unwrap().undecided.entry(height.value()).or_default().push(bytes);
        Ok(())
    }

    async fn undecided(&self, height: Height) -> Result<Vec<Bytes>, AppError> {
        Ok(self.store.lock().unwrap().undecided.get(&height.value()).cloned().unwrap_or_default())
    }

    async fn commit(
        &self,
        height: Height,
        payload: &Payload,
        commit: Commit,
    ) -> Result<NextHeight, AppError> {
        if self.next().height != height || commit.height != height {
            return Err(format!("height {height} is out of order").into());
        }
        {
            let mut store = self.store.lock().unwrap();
            store.blocks.push((payload.clone(), commit));
            store.undecided.remove(&height.value());
        }
        self.work.send_replace(false);
        self.tip.send_replace(height.value());
        Ok(self.next())
    }

    async fn finalized(&self, height: Height, commit: Commit) -> Result<(), AppError> {
        let mut store = self.store.lock().unwrap();
        let (_, kept) = store.blocks.last_mut().unwrap();
        assert_eq!(kept.height, height);
        let signatures = |c: &Commit| c.signatures.iter().filter(|s| s.is_commit()).count();
        assert!(signatures(&commit) > signatures(kept));
        *kept = commit;
        Ok(())
    }

    async fn decided(&self, height: Height) -> Result<Option<DecidedValue>, AppError> {
        let store = self.store.lock().unwrap();
        let at = (height.value() as usize).checked_sub(1);
        Ok(at
            .and_then(|at| store.blocks.get(at))
            .map(|(payload, commit)| DecidedValue { value_bytes: payload.encode(), commit: commit.clone() }))
    }

    async fn min_height(&self) -> Height {
        1u32.into()
    }

    async fn synced(&self, _height: Height, value_bytes: Bytes) -> Result<Payload, SyncFault> {
        let payload = Payload::decode(value_bytes).map_err(|e| SyncFault::Peer(e.to_string()))?;
        if let Some(rule) = self.broken_rule(&payload) {
            return Err(SyncFault::Peer(rule.into()));
        }
        self.synced.send_modify(|synced| *synced += 1);
        Ok(payload)
    }
}
