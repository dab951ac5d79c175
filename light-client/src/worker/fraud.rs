//! Fraud proofs: notices are screened, proofs pulled, judged, and acted upon.
//!
//! ```text
//!  gossip, peers' lists ── notice ─▶ FraudScreen ── pull ─▶ Accusation::verify(own header) ─▶ halt
//! ```
//!
//! A proof counts only against a header that this client verified itself. What a flood of notices may
//! cost is bounded by [`FraudScreen`]; whoever sends a proof that does not hold is dropped.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chain::{Accusation, ProvenFraud, VerifiedHeader};
use network::{
    FraudNotice, FraudPull, FraudScreen, Gossip, Kind, Network, Offence, PeerId, PeerInfo, PullError,
    Request, Standing,
};
use thiserror::Error;

use super::{Args, Done, Gap, Worker};
use crate::client::ClientError;
use crate::halt::HaltReason;
use crate::sampler::Millis;
use crate::store::{StoreError, StoredFraud};

/// Longest proof that is pulled: those of the default parameters twice over, while those of wider squares can be
/// longer. Proofs are held in memory while they are judged, one of dialled peers and one of strangers at a time.
const MAX_PROOF_BYTES: u32 = 16 << 20;

/// Heights ahead of the trusted one at which a notice is worth waiting for the header.
const AHEAD: u64 = 64;

/// How often notices of headers to come are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How often peers are asked again for their lists.
const LIST_AGAIN: Duration = Duration::from_secs(70);

/// Whose notices are followed up.
pub(super) struct Accusers {
    screen: FraudScreen,
    /// Peers that were asked for their list within the last [`LIST_AGAIN`].
    listed: HashSet<PeerId>,
    /// The connected peers when they were asked.
    peers: Arc<[PeerInfo]>,
    list_at: Millis,
    look_at: Millis,
}

/// What became of a proof.
pub(super) struct Judged {
    pull: FraudPull,
    result: Result<(Box<ProvenFraud>, Bytes), Fault>,
}

/// A peer's answer to [`Request::Frauds`].
pub(super) struct Listed {
    peer: PeerId,
    notices: Option<Vec<FraudNotice>>,
}

/// A proof that was not had, or does not hold.
#[derive(Debug, Error)]
enum Fault {
    #[error("it announced a fraud proof: {0}")]
    Pull(#[from] PullError),
    #[error("it sent a fraud proof that does not hold: {0}")]
    Wrong(String),
    #[error("the check of a fraud proof ended early")]
    Ended,
}

impl Accusers {
    pub(super) fn new() -> Self {
        Self {
            screen: FraudScreen::new(MAX_PROOF_BYTES, Instant::now()),
            listed: HashSet::new(),
            peers: Arc::default(),
            list_at: Millis::default(),
            look_at: Millis::default(),
        }
    }
}

impl Worker {
    /// Takes in gossip about fraud.
    pub(super) async fn noticed(&mut self, gossip: Gossip) -> Result<(), StoreError> {
        let peer = gossip.source;
        let Some(dialled) = self.dialled(peer) else {
            // Dropped since.
            self.args.network.ignore(gossip).await;
            return Ok(());
        };
        match FraudNotice::decode(&gossip.data) {
            Ok(notice) => {
                let pull = FraudPull { notice, peer, dialled, since: None, gossip: Some(gossip) };
                self.offer(pull).await.map(drop)
            }
            Err(error) => {
                self.args.network.reject(gossip).await;
                self.drop_peer(peer, Offence::BadGossip, error.to_string()).await;
                Ok(())
            }
        }
    }

    /// Offers a notice to the screen; says whether its peer is to stay.
    async fn offer(&mut self, pull: FraudPull) -> Result<bool, StoreError> {
        self.args.metrics.fraud_notices.inc();
        let (notice, peer, gossip) = (pull.notice, pull.peer, pull.gossip.clone());
        let mut failed = None;
        let offered = self.accusers.screen.offer(pull, Instant::now(), || {
            // Just verified and not written yet, or about to be fetched.
            let unwritten = || self.batch.headers.iter().any(|header| header.height == notice.height);
            let in_gap = |gap: &Gap| (gap.floor..gap.cursor.height()).contains(&notice.height);
            let coming = || self.stepping || unwritten() || self.gaps.iter().any(in_gap);
            let standing = match self.halted {
                Some(_) => Ok(Standing::Foreign),
                None => standing(&self.args, coming, &notice),
            };
            standing.unwrap_or_else(|error| {
                failed = Some(error);
                Standing::Foreign
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let Err(refused) = offered else {
            return Ok(true);
        };
        if let Some(gossip) = gossip {
            self.args.network.ignore(gossip).await;
        }
        let offence = refused.offence();
        if let Some(offence) = offence {
            self.drop_peer(peer, offence, format!("it announced a fraud proof: {refused}")).await;
        }
        Ok(offence.is_none())
    }

    /// Pulls what is next, asks new peers for their lists, and looks again at notices of headers to come.
    pub(super) async fn watch_for_fraud(&mut self, now: Millis) -> Result<(), StoreError> {
        if self.halted.is_some() {
            return Ok(());
        }
        if now >= self.accusers.list_at || self.accusers.list_at > now.after(LIST_AGAIN) {
            self.accusers.list_at = now.after(LIST_AGAIN);
            self.accusers.listed.clear();
            self.accusers.peers = Arc::default();
        }
        self.ask_for_lists();
        if now >= self.accusers.look_at {
            self.accusers.look_at = now.after(LOOK_AGAIN);
            let tip = self.args.trusted.as_ref().map_or(0, VerifiedHeader::height);
            for pull in self.accusers.screen.caught_up(tip, Instant::now()) {
                self.offer(pull).await?;
            }
        }
        self.pull_next()
    }

    /// Pulls what is next.
    pub(super) fn pull_next(&mut self) -> Result<(), StoreError> {
        if self.halted.is_some() {
            return Ok(());
        }
        while let Some(pull) = self.accusers.screen.next_pull() {
            // Too old to be trusted is too old to be judged.
            let Some(header) = self.known(pull.notice.height)? else {
                self.accusers.screen.done(&pull, true);
                continue;
            };
            let network = self.args.network.clone();
            self.jobs.spawn(async move {
                let result = check(&network, &pull, header).await;
                Done::Judged(Box::new(Judged { pull, result }))
            });
        }
        Ok(())
    }

    fn ask_for_lists(&mut self) {
        let peers = self.args.network.peers();
        if self.args.trusted.is_none() || Arc::ptr_eq(&peers, &self.accusers.peers) {
            return;
        }
        let serving: HashSet<PeerId> = self.peers(Kind::Frauds).into_iter().collect();
        self.accusers.peers = peers;
        self.accusers.listed.retain(|listed| serving.contains(listed));
        for peer in serving {
            if self.accusers.listed.insert(peer) {
                let network = self.args.network.clone();
                self.jobs.spawn(async move {
                    let answer = network.request(peer, Request::Frauds).await.unwrap_or_default();
                    Done::Listed(Listed { peer, notices: FraudNotice::decode_list(&answer).ok() })
                });
            }
        }
    }

    pub(super) async fn listed(&mut self, Listed { peer, notices }: Listed) -> Result<(), StoreError> {
        let Some(notices) = notices else {
            let reason = "its list of fraud proofs is none".to_owned();
            self.drop_peer(peer, Offence::Malformed, reason).await;
            return Ok(());
        };
        let Some(dialled) = self.dialled(peer) else {
            return Ok(());
        };
        for notice in notices {
            let pull = FraudPull { notice, peer, dialled, since: None, gossip: None };
            if !self.offer(pull).await? {
                break;
            }
        }
        Ok(())
    }

    pub(super) async fn judged(&mut self, Judged { pull, result }: Judged) -> Result<(), ClientError> {
        let judged = !matches!(result, Err(Fault::Pull(_) | Fault::Ended));
        self.args.metrics.fraud_proofs_judged.inc_by(u64::from(judged));
        self.accusers.screen.done(&pull, judged);
        let fault = match result {
            Ok((proven, accusation)) => {
                self.convict(&proven, &accusation).await?;
                if let Some(gossip) = pull.gossip {
                    // Whoever hears it from here asks for the proof, which is kept by now.
                    self.args.network.accept(gossip).await;
                }
                return Ok(());
            }
            Err(fault) => fault,
        };
        let offence = match &fault {
            Fault::Pull(error) => error.offence(),
            Fault::Wrong(_) => Some(Offence::WrongProof),
            Fault::Ended => None,
        };
        if let Some(gossip) = pull.gossip {
            self.args.network.reject(gossip).await;
        }
        if let Some(offence) = offence {
            self.drop_peer(pull.peer, offence, fault.to_string()).await;
        }
        Ok(())
    }

    /// Keeps the proof, to be served to others, and follows no further.
    async fn convict(&mut self, proven: &ProvenFraud, accusation: &Bytes) -> Result<(), ClientError> {
        let (height, header) = (proven.height(), proven.header_hash());
        let (proof, accusation) = (network::fraud_proof_hash(accusation), accusation.to_vec());
        let kind = proven.fraud().proof().to_string();
        let evidence = serde_json::json!({
            "chain_id": self.args.chain_id,
            "height": height,
            "header": hex::encode(header),
            "fraud": kind,
            "proof": hex::encode(proof),
            "accusation": hex::encode(&accusation),
        });
        let store = self.args.store.clone();
        let fraud = StoredFraud { height, header, proof, accusation };
        let kept = tokio::task::spawn_blocking(move || store.put_fraud(&fraud));
        kept.await.map_err(|_| StoreError::Damaged("writer"))??;
        self.halt(height, height, HaltReason::Fraud { kind }, &evidence).await
    }
}

/// How a notice stands to this client's headers; `coming` says whether a header below the trusted one is still to
/// be had.
fn standing(
    args: &Args,
    coming: impl FnOnce() -> bool,
    notice: &FraudNotice,
) -> Result<Standing, StoreError> {
    let trusted = args.trusted.as_ref().map_or(0, VerifiedHeader::height);
    let own = match args.trusted.as_ref().filter(|trusted| trusted.height() == notice.height) {
        Some(trusted) => Some(trusted.hash()),
        None => args.store.header(notice.height)?.map(|header| header.hash),
    };
    Ok(match own {
        Some(own) if own == notice.header => Standing::Committed,
        Some(_) => Standing::Foreign,
        None if (trusted + 1..=trusted + AHEAD).contains(&notice.height) || coming() => Standing::Ahead,
        None => Standing::Foreign,
    })
}

async fn check(
    network: &Network,
    pull: &FraudPull,
    header: VerifiedHeader,
) -> Result<(Box<ProvenFraud>, Bytes), Fault> {
    let bytes = network.pull_fraud(pull.peer, &pull.notice).await?;
    let work = move || {
        let accusation = Accusation::decode(&bytes).map_err(|error| Fault::Wrong(error.to_string()))?;
        let proven = accusation.verify(&header).map_err(|error| Fault::Wrong(error.to_string()))?;
        Ok((Box::new(proven), bytes))
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Fault::Ended)?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside the proof, an accusation has at most 4 KiB of parameters.
    #[test]
    fn every_proof_of_the_default_parameters_is_pulled() {
        let longest = erasure::FraudProof::max_bytes(chain::Parameters::default().width()) + (8 << 10);
        assert!(longest <= MAX_PROOF_BYTES as usize, "{longest}");
    }
}
