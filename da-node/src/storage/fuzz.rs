//! What the fuzz target of this crate runs, and the test below a bounded number of times: a database of which a record
//! is another than was written.

#![allow(clippy::unwrap_used, reason = "a body panics when something does not hold")]

use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use blob_api::MarketBlock;
use chain::{Attestation, AttestationData, AttestationSecret, DoubleAttestation, Evidence, State, StateKey};
use rocksdb::WriteBatch;
use tempfile::TempDir;
use tendermint::Time;

use super::{FAMILIES, Included, Pooled, Store, StoreError, StoredFraud};
use crate::test_chain::{TestChain, blob, key};

/// How bytes are changed: themselves, others, a script.
pub type Edit = fn(&[u8], &[u8], &[u8]) -> Vec<u8>;

/// A database in which every family but the empty ones has a record.
struct Scene {
    _folder: TempDir,
    store: Store,
    records: Vec<(&'static str, Vec<u8>, Vec<u8>)>,
    transaction: chain::TxId,
    attesters: [u8; 32],
}

static SCENE: LazyLock<Mutex<Scene>> = LazyLock::new(|| Mutex::new(Scene::new()));

/// What a signature key of no chain says twice of one height.
fn evidence() -> Evidence {
    let secret = AttestationSecret::from_seed(&[1; 32]).unwrap();
    let domain = chain::Domain::new("weft-fuzz", &[0; 32]);
    let attested = |header| {
        let (hash, next_attesters) = ([2; 32], [0; 32]);
        let (data_root, history_root, attesters) = (hash, hash, hash);
        let data = AttestationData {
            height: 1,
            time: 1,
            header,
            data_root,
            history_root,
            attesters,
            next_attesters,
        };
        (data, Attestation::sign(data, 0, &secret, &domain).signature)
    };
    let (first, second) = (attested([1; 32]), attested([2; 32]));
    Evidence::DoubleAttestation(DoubleAttestation { validator: secret.key(), first, second })
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut chain = TestChain::new("weft-fuzz");
        let store = Store::open(folder.path(), &chain.genesis).unwrap();
        let mut transaction = chain::TxId([0; 32]);
        for height in 1..=2u8 {
            let candidate =
                chain.transaction(1, height, 50, vec![blob(2, vec![2; 3_000]), blob(1, vec![1; 7])]);
            transaction = candidate.transaction().id();
            let valid = chain.propose(&store, &[candidate], Duration::from_secs(1));
            store.put_candidate(&valid, valid.square.as_deref()).unwrap();
            let commit = chain.decide(&valid);
            store.commit_block(&valid, &commit).unwrap();
            store
                .put_market(&MarketBlock {
                    height: height.into(),
                    time: valid.block.header.time,
                    excess: 1,
                    used: 2,
                    transactions: 3,
                    blob_bytes: 4,
                })
                .unwrap();
        }
        let next = chain.propose(&store, &[], Duration::from_secs(1));
        store.put_candidate(&next, next.square.as_deref()).unwrap();
        store.put_undecided(3, b"a proposal").unwrap();
        let pooled = Pooled { id: transaction, arrival: 7, submission: vec![1; 30] };
        store.change_pool(Some(&pooled), &[]).unwrap();
        let fraud = StoredFraud { height: 1, header: [1; 32], proof: [2; 32], accusation: vec![3; 50] };
        store.put_fraud(&fraud).unwrap();
        store.put_judged(1).unwrap();
        let evidence = evidence();
        let Evidence::DoubleAttestation(double) = &evidence else { unreachable!() };
        let (data, signature) = double.first;
        store.put_certificate(&chain::Certificate { data, signers: vec![7], signature }).unwrap();
        let attester = chain::Attester { operator: key(1).address(), key: double.validator, power: 3 };
        let attesters = chain::Attesters::new(vec![attester]).unwrap();
        store.put_attesters(&attesters).unwrap();
        store.put_evidence(&[evidence]).unwrap();
        let mut records = Vec::new();
        for family in FAMILIES {
            for record in store.scan(family, &[]).unwrap() {
                let (key, value) = record.unwrap();
                records.push((family, key.into_vec(), value.into_vec()));
            }
        }
        Self { _folder: folder, store, records, transaction, attesters: attesters.hash() }
    }

    /// Reads all there is.
    fn read(&self) {
        let store = &self.store;
        let _ = (store.tip(), store.load_pruned(), store.missing(), store.pooled(), store.evidence());
        let _ = (store.frauds(), store.judged(), store.certified(), store.attesters(&self.attesters));
        let _ = (store.market(2, 9), store.undecided(3), store.data_roots(1..9), store.snapshot_head());
        let _ = (store.last_before(Time::unix_epoch()), store.last_before(crate::clock::now()));
        let _: Result<Option<Included>, StoreError> = store.transaction(&self.transaction);
        for height in 1..=2 {
            let _ = (store.commit(height), store.certificate(height), store.light_block(height));
            if let Ok(Some(block)) = store.block(height) {
                let _ = store.validators(block.header.validators_hash);
            }
            if let Ok(Some((parts, index))) = store.index(height) {
                let root = parts.data_root();
                let _ = store.shares(height, &root, parts.width, 0, parts.width.shares() as u32);
                for entry in index.entries() {
                    let _ = store.find(&entry.commitment.into());
                }
            }
            let state = State::at(store, height);
            let _ = (state.root(), state.attesters(), state.history(), state.upgrade(), state.signals());
            for account in [1, 2, 9, 100].map(|seed| key(seed).address()) {
                let _ = (state.balance(&account), state.prove(&StateKey::Validator(account)));
            }
        }
        for (family, key, _) in &self.records {
            if *family == "candidates" && key.len() > 8 {
                let _ = store.candidate(3, &key[8..]);
            }
        }
    }

    fn write(&self, family: &'static str, key: &[u8], value: Option<&[u8]>) {
        let (mut batch, family) = (WriteBatch::default(), self.store.family(family).unwrap());
        match value {
            Some(value) => batch.put_cf(family, key, value),
            None => batch.delete_cf(family, key),
        }
        self.store.db.write(batch).unwrap();
    }
}

/// Reads a database after the value of the record that the first two bytes of `data` choose, and then its key, was
/// changed by the rest: errors, but no panic.
pub fn records(data: &[u8], edit: Edit) {
    let scene = SCENE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(([high, low], script)) = data.split_first_chunk() else { return };
    let chosen = usize::from(u16::from_be_bytes([*high, *low])) % scene.records.len();
    let (family, key, value) = &scene.records[chosen];
    scene.write(family, key, Some(&edit(value, key, script)));
    scene.read();
    scene.write(family, key, Some(value));
    let moved = edit(key, value, script);
    if scene.store.get(family, &moved).unwrap().is_none() {
        scene.write(family, &moved, Some(value));
        scene.read();
        scene.write(family, &moved, None);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn records_hold() {
        fuzzing::run(|data| super::records(data, fuzzing::edited), 300, 14);
    }
}
