//! Getting headers from peers and verifying them, from the checkpoint on.
//!
//! ```text
//!  checkpoint ── from_checkpoint ──► trusted ── advance (bisecting where too little of the
//!                                              trusted stake signed) ──► tip
//!  trusted ── state ──► attesters ── certificate ──► tip, where peers have one and it is asked for
//!  tip ── step_back, one at a time ──► the heights that were jumped over
//!  tip ── compare with a witness's ──► the same, or two signed headers of one height
//! ```
//!
//! Whatever comes from a peer is verified against something verified before; a peer that sends
//! anything else is named in the error, with the offence if no honest peer would have sent it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chain::{
    Attesters, CertifiedBlock, Checkpoint, Domain, HeaderError, LightBlock, NetworkConfig, StateKey,
    TrustOptions, UnknownRules, UnprovenValue, VerifiedHeader,
};
use erasure::Digest;
use network::{Network, Offence, PeerId, Request, RequestError};
use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tokio::time::timeout;

use crate::clock::Clock;

/// How long one peer may take to lead to a newer header. A slow link needs a few seconds for the
/// headers in between; a liar must not hold up the others for longer.
const FOLLOW_DEADLINE: Duration = Duration::from_secs(30);

/// Where a height of 0 asks for the latest header.
const LATEST: u64 = 0;

/// A header that was not had or not verified.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The peer did not answer. Ask another.
    #[error("{peer} did not answer: {error}")]
    Request {
        /// Who was asked.
        peer: PeerId,
        /// Why there is no answer.
        error: RequestError,
    },
    /// The answer is no light block, or one of another height. The peer is at fault.
    #[error("{peer} sent no light block of height {height}: {reason}")]
    Malformed {
        /// Who sent it.
        peer: PeerId,
        /// The height that was asked for; 0 is the latest.
        height: u64,
        /// What is wrong.
        reason: String,
    },
    /// The header does not verify.
    #[error("header of {peer}: {error}")]
    Header {
        /// Who sent it.
        peer: PeerId,
        /// Why not.
        error: HeaderError,
    },
    /// The peer answered too slowly, or wanted too many headers in between. Ask another.
    #[error("{peer} led to no verified header within {limit:?}")]
    Slow {
        /// Who was asked.
        peer: PeerId,
        /// How long that may take.
        limit: Duration,
    },
    /// The header is of the future: the peer is at fault, or this machine's clock is behind.
    #[error("header of {peer} is {by:?} ahead of this machine's clock: check the clock")]
    Ahead {
        /// Who sent it.
        peer: PeerId,
        /// How far.
        by: Duration,
    },
}

impl FollowError {
    /// Whom to drop for it. Not for a header that is not the checkpoint: whoever wrote the
    /// checkpoint may be at fault.
    pub(crate) fn offence(&self) -> Option<(PeerId, Offence)> {
        match self {
            Self::Malformed { peer, .. } => Some((*peer, Offence::Malformed)),
            Self::Header { peer, error: HeaderError::Invalid(_) | HeaderError::NotThePredecessor { .. } } => {
                Some((*peer, Offence::WrongProof))
            }
            _ => None,
        }
    }

    /// The rules of a header that verifies, if this program does not know them.
    pub(crate) fn unknown_rules(&self) -> Option<UnknownRules> {
        match self {
            Self::Header { error: HeaderError::UnknownRules(unknown), .. } => Some(*unknown),
            _ => None,
        }
    }

    /// Whether no other peer can help.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Header { error: HeaderError::TooOld { .. }, .. })
    }
}

/// Asks peers for headers.
#[derive(Clone)]
pub(crate) struct Headers {
    network: Network,
    chain_id: String,
    checkpoint: Checkpoint,
    options: TrustOptions,
    clock: Clock,
    certificates: Option<Certificates>,
}

/// What certificates are checked with.
#[derive(Clone)]
struct Certificates {
    domain: Domain,
    /// Attesters that a verified header commits to, latest first: those of the epoch, perhaps of the next.
    known: Arc<Mutex<Vec<Arc<Attesters>>>>,
    verified: Counter,
}

/// What a witness has at the height of a verified header.
pub(crate) enum Compared {
    /// The same header.
    Same,
    /// Nothing yet, or no longer.
    Nothing,
    /// Another header, verified from the same trusted one.
    Other(Box<VerifiedHeader>),
}

impl Headers {
    pub(crate) fn new(network: Network, config: &NetworkConfig, clock: Clock, newest_rules: u64) -> Self {
        Self {
            certificates: None,
            network,
            chain_id: config.chain_id.clone(),
            checkpoint: config.checkpoint.clone(),
            options: TrustOptions { newest_rules, ..config.trust_options() },
            clock,
        }
    }

    /// Takes certificates instead of commits where peers have them, and counts those headers.
    pub(crate) fn by_certificate(mut self, domain: Domain, verified: Counter) -> Self {
        self.certificates = Some(Certificates { domain, known: Arc::default(), verified });
        self
    }

    pub(crate) fn checkpoint_height(&self) -> u64 {
        self.checkpoint.height
    }

    /// The checkpoint's header.
    async fn checkpoint(&self, peer: PeerId) -> Result<VerifiedHeader, FollowError> {
        let block = self.ask(peer, self.checkpoint.height, None).await?;
        self.trust(block, &self.checkpoint).map_err(|error| FollowError::Header { peer, error })
    }

    /// A header whose hash is trusted already: the checkpoint's, or one verified before.
    pub(crate) fn trust(
        &self,
        block: LightBlock,
        checkpoint: &Checkpoint,
    ) -> Result<VerifiedHeader, HeaderError> {
        let now = self.clock.now_in_headers();
        VerifiedHeader::from_checkpoint(block, &self.chain_id, checkpoint, now, &self.options)
    }

    /// The checkpoint's header, and the peer's latest one if that is later.
    pub(crate) async fn first(
        &self,
        peer: PeerId,
    ) -> Result<(VerifiedHeader, Option<VerifiedHeader>), FollowError> {
        let checkpoint = self.checkpoint(peer).await?;
        let tip = self.advance(checkpoint.clone(), LATEST, peer).await?;
        Ok((checkpoint, tip))
    }

    /// The peer's latest header, verified from `trusted`; none if it is not above it. `hinted` is a height that the peer
    /// is said to have, or 0.
    pub(crate) async fn advance(
        &self,
        trusted: VerifiedHeader,
        hinted: u64,
        peer: PeerId,
    ) -> Result<Option<VerifiedHeader>, FollowError> {
        let advance = async {
            if let Some(certified) = self.certified(&trusted, hinted, peer).await? {
                return Ok(Some(certified));
            }
            let target = self.ask(peer, LATEST, Some(&trusted)).await?;
            if target.height() <= trusted.height() {
                return Ok(None);
            }
            Box::pin(self.bisect(trusted, target, peer)).await.map(Some)
        };
        self.in_time(peer, advance).await
    }

    /// The peer's latest header with a certificate, if that is above `trusted` and by attesters that `trusted` leads
    /// to. Without one, a commit shows the same.
    async fn certified(
        &self,
        trusted: &VerifiedHeader,
        hinted: u64,
        peer: PeerId,
    ) -> Result<Option<VerifiedHeader>, FollowError> {
        let Some(certificates) = &self.certificates else { return Ok(None) };
        let set = &trusted.light_block().next_validators;
        let known = set.hash().as_bytes().try_into().ok();
        let answer = self.network.request(peer, Request::Certified { height: hinted, known }).await;
        // A peer that has none, or does not know what that is, may have the commit.
        let Ok(bytes) = answer else { return Ok(None) };
        let malformed = |reason: String| FollowError::Malformed { peer, height: hinted, reason };
        let CertifiedBlock { certificate, block } =
            CertifiedBlock::decode_for(&bytes, set).map_err(|error| malformed(error.to_string()))?;
        if hinted != LATEST && block.height() != hinted {
            return Err(malformed(format!("it is of height {}", block.height())));
        }
        if block.height() <= trusted.height() {
            return Ok(None);
        }
        let Some(attesters) = self.attesters(certificates, certificate.data.attesters, trusted, peer).await?
        else {
            return Ok(None);
        };
        let wrong = |error: HeaderError| FollowError::Header { peer, error };
        let certified = certificate
            .verify(&certificates.domain, &attesters)
            .map_err(|error| wrong(HeaderError::Invalid(error.to_string())))?;
        let now = self.clock.now_in_headers();
        let by = block.signed_header.header.time.duration_since(now).unwrap_or_default();
        if by > self.options.clock_drift {
            return Err(FollowError::Ahead { peer, by });
        }
        let header = trusted.certified(block, &certified, now, &self.options).map_err(wrong)?;
        certificates.verified.inc();
        Ok(Some(header))
    }

    /// The attesters with this hash, from before or from the state that `trusted` commits to; none if they are others.
    async fn attesters(
        &self,
        certificates: &Certificates,
        hash: Digest,
        trusted: &VerifiedHeader,
        peer: PeerId,
    ) -> Result<Option<Arc<Attesters>>, FollowError> {
        let known = || certificates.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attesters) = known().iter().find(|attesters| attesters.hash() == hash) {
            return Ok(Some(attesters.clone()));
        }
        for key in [StateKey::Attesters, StateKey::AttestersNext] {
            let request = Request::State { height: trusted.height(), key: key.to_string() };
            let Ok(bytes) = self.network.request(peer, request).await else { return Ok(None) };
            let wrong = |reason: String| FollowError::Header { peer, error: HeaderError::Invalid(reason) };
            let UnprovenValue { value, proof } =
                UnprovenValue::decode(&bytes).map_err(|error| wrong(error.to_string()))?;
            let proven = proof.verify(trusted, &key, value).map_err(|error| wrong(error.to_string()))?;
            let Some(bytes) = proven.value() else { continue };
            // What the state holds was checked by validators: if it does not decode, no peer is to blame.
            let Ok(attesters) = Attesters::decode(bytes).map(Arc::new) else { return Ok(None) };
            if attesters.hash() == hash {
                let mut known = known();
                known.insert(0, attesters.clone());
                known.truncate(2);
                return Ok(Some(attesters));
            }
        }
        Ok(None)
    }

    /// Whether `witness` has the same header as `ours`; another one counts only if it follows
    /// from `agreed`, too.
    pub(crate) async fn compare(
        &self,
        agreed: VerifiedHeader,
        ours: &VerifiedHeader,
        witness: PeerId,
    ) -> Result<Compared, FollowError> {
        let compare = async {
            let theirs = match self.ask(witness, ours.height(), Some(ours)).await {
                Err(FollowError::Request { error: RequestError::Refused(_), .. }) => {
                    return Ok(Compared::Nothing);
                }
                theirs => theirs?,
            };
            if theirs.signed_header.header.hash().as_bytes() == ours.hash() {
                return Ok(Compared::Same);
            }
            let theirs = Box::pin(self.bisect(agreed, theirs, witness)).await?;
            Ok(Compared::Other(Box::new(theirs)))
        };
        self.in_time(witness, compare).await
    }

    async fn in_time<T>(
        &self,
        peer: PeerId,
        work: impl Future<Output = Result<T, FollowError>>,
    ) -> Result<T, FollowError> {
        let limit = FOLLOW_DEADLINE;
        timeout(limit, work).await.map_err(|_| FollowError::Slow { peer, limit })?
    }

    /// The header `target` of the peer, verified from `trusted`, with others in between if needed.
    async fn bisect(
        &self,
        trusted: VerifiedHeader,
        target: LightBlock,
        peer: PeerId,
    ) -> Result<VerifiedHeader, FollowError> {
        let mut trusted = trusted;
        // Halfway points that are not verified yet, highest first: at most 64 of them.
        let mut waiting = vec![target];
        while let Some(block) = waiting.pop() {
            let (low, high) = (trusted.height(), block.height());
            let now = self.clock.now_in_headers();
            let ahead = block.signed_header.header.time.duration_since(now);
            let by = ahead.unwrap_or_default();
            if by > self.options.clock_drift {
                return Err(FollowError::Ahead { peer, by });
            }
            match trusted.advance(block.clone(), now, &self.options) {
                Ok(verified) => trusted = verified,
                Err(HeaderError::NotEnoughTrust { .. }) if high - low > 1 => {
                    waiting.push(block);
                    waiting.push(self.ask(peer, low + (high - low) / 2, Some(&trusted)).await?);
                }
                Err(error) => return Err(FollowError::Header { peer, error }),
            }
        }
        Ok(trusted)
    }

    /// The header before `later`.
    pub(crate) async fn before(
        &self,
        later: &VerifiedHeader,
        peer: PeerId,
    ) -> Result<VerifiedHeader, FollowError> {
        let block = self.ask(peer, later.height() - 1, Some(later)).await?;
        later.step_back(block).map_err(|error| FollowError::Header { peer, error })
    }

    /// A peer's light block, without the validators that a header at hand names for the next height:
    /// they seldom change.
    async fn ask(
        &self,
        peer: PeerId,
        height: u64,
        at_hand: Option<&VerifiedHeader>,
    ) -> Result<LightBlock, FollowError> {
        let known = at_hand.map(|header| &header.light_block().next_validators);
        let hash = known.and_then(|set| set.hash().as_bytes().try_into().ok());
        let answer = self.network.request(peer, Request::Header { height, known: hash }).await;
        let bytes = answer.map_err(|error| FollowError::Request { peer, error })?;
        let malformed = |reason: String| FollowError::Malformed { peer, height, reason };
        let block = match known {
            Some(known) => LightBlock::decode_for(&bytes, known),
            None => LightBlock::decode(&bytes),
        };
        let block = block.map_err(|error| malformed(error.to_string()))?;
        if height != LATEST && block.height() != height {
            return Err(malformed(format!("it is of height {}", block.height())));
        }
        Ok(block)
    }
}
