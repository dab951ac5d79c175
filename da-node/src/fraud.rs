//! Fraud proofs: what makes this node halt, and what it then tells others.
//!
//! ```text
//!  backfill ── whole square ──▶ find ───────────────┐
//!           ── lines, cells ──▶ Repair contradicts ─┤
//!  gossip, peers' lists ── notice ── pull ──────────┴▶ convict: verify, store, halt ──▶ notices, `fraud`
//! ```
//!
//! | kind | made when |
//! | --- | --- |
//! | split cell, bad encoding | a square is rebuilt from lines and cells, and contradicts itself |
//! | wrong index | a rebuilt square is not the one that its transaction list gives |
//! | misplaced blob, bad padding, false foreign commitment | a whole square is about to be kept |
//!
//! A validator that built a square of its own cannot keep another: it voted against that, and gets the
//! decided block by sync, as every node that was not there. So all squares that were not built here pass
//! [`Node::judge`] before they are kept or served.
//!
//! # Invariants
//! * A proof counts only once it was verified against a header of this node's own chain.
//! * It is on disk before anybody hears of it.
//! * A node that halted stays halted, across restarts, until its operator has judged the height:
//!   `da-node resume`.

mod find;
mod watch;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use chain::{Accusation, Checkpoint, Height, ProvenFraud, TrustOptions, VerifiedHeader};
use erasure::FraudProof;
use network::{Answer, FraudNotice, MAX_FRAUDS, Refusal};
use tokio::sync::watch as channel;

pub(crate) use self::{
    find::Judged,
    watch::{Watch, queue},
};
use crate::{
    node::{Node, NodeError},
    storage::{Store, StoreError, StoredFraud},
};

/// Why a node halted. It ends with this when it is told to stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "halted: block {height} is proven wrong: {what} (proof {}). This node follows no further and \
     gives the proof to its peers; what to do now: docs/fraud-runbook.md",
    hex::encode(proof)
)]
pub(crate) struct Convicted {
    /// The wrong block's height.
    pub(crate) height: Height,
    /// Which fraud, and where in the block.
    pub(crate) what: String,
    /// [`network::fraud_proof_hash`] of the accusation.
    pub(crate) proof: [u8; 32],
}

#[derive(Debug)]
struct Held {
    notice: FraudNotice,
    bytes: Bytes,
}

/// The fraud proofs that this node holds.
#[derive(Debug)]
pub(crate) struct Frauds {
    held: Mutex<Vec<Held>>,
    judged: BTreeSet<Height>,
    convicted: channel::Sender<Option<Convicted>>,
}

impl Frauds {
    /// What the database holds. The node is halted if one of it was not judged by the operator.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let frauds =
            Self { held: Mutex::default(), judged: store.judged()?, convicted: channel::Sender::new(None) };
        for fraud in store.frauds()? {
            let accusation =
                Accusation::decode(&fraud.accusation).map_err(|_| StoreError::Corrupt("fraud"))?;
            frauds.hold(fraud, &accusation.proof)?;
        }
        Ok(frauds)
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, fraud: StoredFraud, proof: &FraudProof) -> Result<(), StoreError> {
        let StoredFraud { height, header, proof: hash, accusation } = fraud;
        let notice = FraudNotice::of(height, header, &accusation).ok_or(StoreError::Corrupt("fraud"))?;
        let mut held = self.held();
        held.insert(0, Held { notice, bytes: accusation.into() });
        held.truncate(MAX_FRAUDS);
        drop(held);
        if !self.judged.contains(&height) {
            let convicted = Convicted { height, what: proof.to_string(), proof: hash };
            self.convicted.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(convicted);
                is_first
            });
        }
        Ok(())
    }

    /// Heights whose proofs no longer halt this node.
    pub(crate) fn judged(&self) -> &BTreeSet<Height> {
        &self.judged
    }

    /// Why the node is halted, if it is.
    pub(crate) fn convicted(&self) -> Option<Convicted> {
        self.convicted.borrow().clone()
    }

    /// Resolves when the node has to halt.
    pub(crate) async fn halted(&self) -> Convicted {
        let mut convicted = self.convicted.subscribe();
        loop {
            if let Some(reason) = convicted.borrow_and_update().clone() {
                return reason;
            }
            if convicted.changed().await.is_err() {
                // The sender is a field of self.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The notices of all proofs, latest first.
    pub(crate) fn notices(&self) -> Vec<FraudNotice> {
        self.held().iter().map(|held| held.notice).collect()
    }

    /// A chunk of a proof, for a peer.
    pub(crate) fn chunk(&self, proof: &[u8; 32], offset: u32, len: u32) -> Answer {
        let held = self.held();
        let found = held.iter().find(|held| held.notice.proof == *proof).ok_or(Refusal::NotFound)?;
        let (start, end) = (offset as usize, offset as usize + len as usize);
        if end > found.bytes.len() { Err(Refusal::Malformed) } else { Ok(found.bytes.slice(start..end)) }
    }
}

impl Node {
    /// A header of this node's own chain, whose commit was verified when it was committed.
    pub(crate) fn verified_header(&self, height: Height) -> Result<Option<VerifiedHeader>, NodeError> {
        let Some(block) = self.light_block(height)? else { return Ok(None) };
        let header = &block.signed_header.header;
        let corrupt = || StoreError::Corrupt("block");
        let hash = header.hash().as_bytes().try_into().map_err(|_| corrupt())?;
        let (checkpoint, now) = (Checkpoint { height, hash }, header.time);
        let options = TrustOptions {
            trusting_period: std::time::Duration::MAX,
            clock_drift: std::time::Duration::ZERO,
            newest_rules: self.newest_rules,
        };
        VerifiedHeader::from_checkpoint(block, &self.genesis.chain_id, &checkpoint, now, &options)
            .map(Some)
            .map_err(|_| corrupt().into())
    }

    /// Accuses the block at `height`; whether the proof holds, and halts the node.
    pub(crate) fn accuse(&self, height: Height, proof: &FraudProof) -> Result<bool, NodeError> {
        let proof = proof.clone();
        let accusation = Accusation { parameters: self.genesis.parameters.clone(), proof };
        let Some(header) = self.verified_header(height)? else { return Ok(false) };
        let bytes = accusation.encode();
        match accusation.verify(&header) {
            Ok(proven) => self.convict(&proven, bytes).map(|()| true),
            Err(error) => {
                tracing::error!(height, %error, "a fraud proof of this node's own does not hold");
                Ok(false)
            }
        }
    }

    /// Keeps what was proven, then halts the node.
    pub(crate) fn convict(&self, proven: &ProvenFraud, accusation: Vec<u8>) -> Result<(), NodeError> {
        let (height, header) = (proven.height(), proven.header_hash());
        let fraud = StoredFraud { height, header, proof: network::fraud_proof_hash(&accusation), accusation };
        self.store.put_fraud(&fraud)?;
        self.metrics.frauds.inc();
        Ok(self.frauds.hold(fraud, proven.fraud().proof())?)
    }
}

/// Lets a halted node go on in spite of what its operator has judged: the heights that are no longer held
/// against the chain.
pub(crate) fn resume(store: &Store) -> Result<BTreeSet<Height>, StoreError> {
    let judged = store.judged()?;
    let heights: BTreeSet<_> = store
        .frauds()?
        .into_iter()
        .map(|fraud| fraud.height)
        .filter(|height| !judged.contains(height))
        .collect();
    heights.iter().try_for_each(|height| store.put_judged(*height))?;
    Ok(heights)
}

/// What `fraud-<height>.json` in a node's folder says: enough for anybody to check it.
pub(crate) fn write_evidence(node: &Node, convicted: &Convicted, folder: &Path) -> std::io::Result<()> {
    let held = node.frauds.held();
    let Some(found) = held.iter().find(|held| held.notice.proof == convicted.proof) else { return Ok(()) };
    let evidence = serde_json::json!({
        "chain_id": node.genesis.chain_id,
        "height": convicted.height,
        "header": hex::encode(found.notice.header),
        "fraud": convicted.what,
        "proof": hex::encode(convicted.proof),
        "accusation": hex::encode(&found.bytes),
    });
    std::fs::write(folder.join(format!("fraud-{}.json", convicted.height)), format!("{evidence:#}\n"))
}

#[cfg(test)]
mod tests;
