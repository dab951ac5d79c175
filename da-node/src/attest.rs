//! Attesting finished blocks, and gathering others' attestations into certificates.
//!
//! ```text
//!  head ─▶ what is to be signed ─▶ own square here? guard ─▶ signature ─▶ gossip
//!  gossip ─▶ verify ─┬─ ahead ────▶ waits for its block
//!                    ├─ the same ─▶ tally ─ more than 2/3 ─▶ certificate on disk
//!                    └─ another ─▶ evidence on disk, once both are here
//! ```
//!
//! Consensus waits for none of it. A validator attests a block only when its own square is here, and only while the
//! block is young: where nodes catch up, later certificates cover what went by.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use chain::{
    Attestation, AttestationData, AttestationSecret, AttestationSignature, Attesters, DoubleAttestation,
    Evidence, Height, State, Tally, VerifiedAttestation,
};
use consensus::{Guard, GuardError, Step};
use erasure::Digest;
use network::{Gossip, Network, Topic};
use tokio::sync::mpsc;

use crate::{
    clock,
    node::{Node, NodeError},
    storage::StoreError,
};

/// Latest blocks whose attestations are gathered.
const WINDOW: Height = 32;

/// Blocks ahead of this node's latest of which attestations wait for the block.
const AHEAD: Height = 2;

/// Attestations that wait for their block at most.
const WAITING: usize = 2_048;

/// Attestations of one attester that wait for one block at most: an honest one makes one, two convict.
const WAITING_OF_ONE: usize = 2;

/// Attestations handed over and not looked at; more are ignored.
const QUEUE: usize = 1_024;

/// A block older than this is not attested any more.
const YOUNG: Duration = Duration::from_secs(60);

/// Where attestations from gossip go, and where they come out.
pub(crate) fn queue() -> (mpsc::Sender<Gossip>, mpsc::Receiver<Gossip>) {
    mpsc::channel(QUEUE)
}

/// A validator's key, and the file that remembers what it signed.
#[derive(Debug)]
pub(crate) struct Signer {
    pub(crate) secret: AttestationSecret,
    pub(crate) guard: Guard,
}

/// A block whose attestations are gathered.
struct Gathered {
    tally: Tally,
    attesters: Arc<Attesters>,
    /// Whether this node has still to sign.
    unsigned: bool,
    /// Whether more signed than the certificate on disk says.
    improved: bool,
    /// What attesters signed of this height besides.
    others: HashMap<u32, (AttestationData, AttestationSignature)>,
}

/// Attests, gathers, and keeps what comes of it.
pub(crate) struct Attesting {
    node: Arc<Node>,
    network: Network,
    signer: Option<Arc<Signer>>,
    /// The sets lately used: reading one checks all of its keys.
    sets: Vec<Arc<Attesters>>,
    gathered: BTreeMap<Height, Gathered>,
    waiting: Vec<Waiting>,
}

/// A verified attestation of a block to come.
struct Waiting {
    height: Height,
    attester: u32,
    message: Gossip,
}

impl Attesting {
    pub(crate) fn new(node: Arc<Node>, network: Network, signer: Option<Signer>) -> Self {
        let signer = signer.map(Arc::new);
        Self { node, network, signer, sets: Vec::new(), gathered: BTreeMap::new(), waiting: Vec::new() }
    }

    /// Runs until gossip or the node ends.
    pub(crate) async fn run(mut self, mut gossip: mpsc::Receiver<Gossip>) {
        let mut heads = self.node.heads();
        // Whose attestations may come before the first new block does.
        if let Err(error) = self.attesters_after(self.node.tip()) {
            return self.node.fail(&error);
        }
        loop {
            if let Err(error) = self.catch_up().await {
                return self.node.fail(&error);
            }
            let handled = tokio::select! {
                changed = heads.changed() => match changed {
                    Ok(()) => Ok(()),
                    Err(_) => return,
                },
                message = gossip.recv() => match message {
                    Some(message) => self.heard(message).await,
                    None => return,
                },
            };
            if let Err(error) = handled {
                return self.node.fail(&error);
            }
        }
    }

    /// Begins with the blocks that are new, signs what can be signed, and looks at what waited for them.
    async fn catch_up(&mut self) -> Result<(), NodeError> {
        let tip = self.node.tip();
        let known = self.gathered.last_key_value().map_or(0, |(height, _)| *height);
        if tip > known {
            for height in (known + 1).max((tip + 1).saturating_sub(WINDOW))..=tip {
                self.begin(height)?;
            }
            self.keep_improved()?;
            self.gathered = self.gathered.split_off(&(tip + 1).saturating_sub(WINDOW));
        }
        let unsigned: Vec<_> = self
            .gathered
            .iter()
            .filter(|(_, gathered)| gathered.unsigned)
            .map(|(height, _)| *height)
            .collect();
        for height in unsigned {
            self.sign(height).await?;
        }
        let ready = self.waiting.extract_if(.., |waiting| waiting.height <= tip).collect::<Vec<_>>();
        for waiting in ready {
            self.heard(waiting.message).await?;
        }
        Ok(())
    }

    fn begin(&mut self, height: Height) -> Result<(), StoreError> {
        let node = self.node.clone();
        let state = State::at(&node.store, height);
        let Some(block) = node.store.block(height)? else { return Ok(()) };
        let (attesters, next) = self.attesters_after(height)?;
        let data = AttestationData::new(&block.header, state.history()?, attesters.hash(), next)
            .ok_or(StoreError::Corrupt("block"))?;
        if let Some(tally) = Tally::new(data, attesters.clone()) {
            let unsigned = self.signer.is_some();
            let gathered = Gathered { tally, attesters, unsigned, improved: false, others: HashMap::new() };
            self.gathered.insert(height, gathered);
        }
        Ok(())
    }

    /// Those who attest as of the state after `height`, and the hash of those of the next epoch, once they are fixed.
    fn attesters_after(&mut self, height: Height) -> Result<(Arc<Attesters>, Option<Digest>), StoreError> {
        let node = self.node.clone();
        let state = State::at(&node.store, height);
        let attesters = self.set(&state.attesters_bytes()?)?;
        let next = match state.next_attesters_bytes()? {
            Some(bytes) => Some(self.set(&bytes)?.hash()),
            None => None,
        };
        Ok((attesters, next))
    }

    /// The set with these bytes; one that is new here is kept for those who ask for old certificates.
    fn set(&mut self, bytes: &[u8]) -> Result<Arc<Attesters>, StoreError> {
        if let Some(known) = self.sets.iter().find(|known| known.encode() == bytes) {
            return Ok(known.clone());
        }
        let set = Arc::new(Attesters::decode(bytes)?);
        self.node.store.put_attesters(&set)?;
        self.sets.insert(0, set.clone());
        self.sets.truncate(2);
        Ok(set)
    }

    /// Signs the block at `height`, if this node attests in its epoch, has its square and signed no other.
    async fn sign(&mut self, height: Height) -> Result<(), NodeError> {
        let (Some(signer), Some(gathered)) = (&self.signer, self.gathered.get_mut(&height)) else {
            return Ok(());
        };
        let data = *gathered.tally.data();
        let age = clock::now().unix_timestamp().saturating_sub(i64::try_from(data.time).unwrap_or(i64::MAX));
        let Some(place) = gathered.tally.attesters().index_of(&signer.secret.key()) else {
            gathered.unsigned = false;
            return Ok(());
        };
        if age > YOUNG.as_secs() as i64 {
            gathered.unsigned = false;
            return Ok(());
        }
        if !self.node.has_square(height) {
            return Ok(());
        }
        gathered.unsigned = false;
        let attesters = gathered.attesters.clone();
        let (signer, domain) = (signer.clone(), self.node.domain);
        let signed = tokio::task::spawn_blocking(move || {
            signer.guard.admit(Step::Attestation, height, 0, &data.message(&domain))?;
            Ok(Attestation::sign(data, place, &signer.secret, &domain))
        });
        let attestation = match signed.await.map_err(|error| NodeError::Task(error.to_string()))? {
            Ok(attestation) => attestation,
            // A later block was signed while this one's square was fetched.
            Err(GuardError::AlreadySigned { .. }) => return Ok(()),
            Err(error) => return Err(NodeError::Guard(error)),
        };
        let bytes = Bytes::from(attestation.encode());
        if let Some(verified) = self.verify(attestation, attesters).await? {
            self.count(&verified)?;
        }
        if let Err(error) = self.network.publish(Topic::Attestations, bytes).await {
            tracing::debug!(height, %error, "attestation not published");
        }
        Ok(())
    }

    async fn verify(
        &self,
        attestation: Attestation,
        attesters: Arc<Attesters>,
    ) -> Result<Option<VerifiedAttestation>, NodeError> {
        let domain = self.node.domain;
        let verified = tokio::task::spawn_blocking(move || attestation.verify(&domain, &attesters).ok());
        verified.await.map_err(|error| NodeError::Task(error.to_string()))
    }

    /// Judges an attestation that a peer passed on.
    async fn heard(&mut self, message: Gossip) -> Result<(), NodeError> {
        let Ok(attestation) = Attestation::decode(&message.data) else {
            self.network.reject(message).await;
            return Ok(());
        };
        let place = attestation.attester;
        let Some(gathered) = self.gathered.get(&attestation.data.height) else {
            return self.wait(attestation, message).await;
        };
        let same = attestation.data == *gathered.tally.data();
        let known = if same {
            gathered.tally.signature(place).is_some()
        } else {
            gathered.others.contains_key(&place)
        };
        if known {
            self.network.ignore(message).await;
            return Ok(());
        }
        match self.verify(attestation, gathered.attesters.clone()).await? {
            Some(verified) => {
                self.count(&verified)?;
                self.network.accept(message).await;
            }
            None => self.network.reject(message).await,
        }
        Ok(())
    }

    /// Keeps an attestation of a block to come, if one of the attesters whom it names made it, and this node knows them.
    async fn wait(&mut self, attestation: Attestation, message: Gossip) -> Result<(), NodeError> {
        let (height, attester) = (attestation.data.height, attestation.attester);
        // Not the node's tip, which may be above what was begun with: gossip gives nothing a second time.
        let begun = self.gathered.last_key_value().map_or(0, |(height, _)| *height);
        let is_ahead = height > begun && height <= self.node.tip() + AHEAD;
        let of_one = self.waiting.iter().filter(|other| (other.height, other.attester) == (height, attester));
        let has_room = self.waiting.len() < WAITING && of_one.count() < WAITING_OF_ONE;
        let attesters = self.sets.iter().find(|set| set.hash() == attestation.data.attesters).cloned();
        let Some(attesters) = attesters.filter(|_| is_ahead && has_room) else {
            self.network.ignore(message).await;
            return Ok(());
        };
        match self.verify(attestation, attesters).await? {
            Some(_) => self.waiting.push(Waiting { height, attester, message }),
            None => self.network.reject(message).await,
        }
        Ok(())
    }

    /// Counts an attestation; keeps the certificate that it completes, and the contradiction that it shows.
    fn count(&mut self, verified: &VerifiedAttestation) -> Result<(), StoreError> {
        let Attestation { data, attester, signature } = verified.attestation().clone();
        let Some(gathered) = self.gathered.get_mut(&data.height) else { return Ok(()) };
        if gathered.tally.add(verified) {
            self.node.metrics.attestations.inc();
            gathered.improved = true;
        } else {
            gathered.others.entry(attester).or_insert((data, signature));
        }
        let first = gathered.tally.signature(attester).map(|signature| (*gathered.tally.data(), *signature));
        let (Some(first), Some(second)) = (first, gathered.others.get(&attester).copied()) else {
            return self.complete(data.height);
        };
        let members = gathered.tally.attesters().members();
        if let Some(member) = members.get(attester as usize) {
            let validator = member.key;
            tracing::warn!(?validator, height = data.height, "attested two things at once");
            let evidence = DoubleAttestation { validator, first, second };
            self.node.store.put_evidence(&[Evidence::DoubleAttestation(evidence)])?;
        }
        self.complete(data.height)
    }

    /// Writes the block's first certificate. A better one waits until the next block.
    fn complete(&mut self, height: Height) -> Result<(), StoreError> {
        let Some(gathered) = self.gathered.get_mut(&height).filter(|gathered| gathered.improved) else {
            return Ok(());
        };
        if self.node.store.certificate(height)?.is_none()
            && let Some(certificate) = gathered.tally.certificate()
        {
            gathered.improved = false;
            self.node.keep_certificate(&certificate)?;
        }
        Ok(())
    }

    /// Writes the certificates of blocks that more attested since.
    fn keep_improved(&mut self) -> Result<(), StoreError> {
        for gathered in self.gathered.values_mut().filter(|gathered| gathered.improved) {
            if let Some(certificate) = gathered.tally.certificate() {
                gathered.improved = false;
                self.node.keep_certificate(&certificate)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
