//! The chain of verified headers, from the checkpoint to wherever a proof needs one.
//!
//! ```text
//!  lower height verified, and young:   advance; too little trust ─▶ verify the middle first
//!  the next one verified, or no other: step back by hash, one by one
//! ```
//!
//! A header is verified once; any number of reads use it. Stepping back far keeps the last thousand headers of the
//! way and one of each 512 before them, so that whoever reads forward from there asks for each header twice at most.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chain::{HeaderError, Height, LightBlock, NetworkConfig, TrustOptions, VerifiedHeader};
use tendermint::Time;

use super::{
    Client, ClientError,
    error::{Fault, ProofKind, lied},
    hedge::Node,
    request::json,
};

/// Verified headers kept. The checkpoint, the highest and, while there are others, the anchors stay.
const KEPT_HEADERS: usize = 4096;

/// Of the headers on the way back, those at a multiple of this are kept.
const ANCHOR_INTERVAL: Height = 512;

/// Of the headers on the way back, so many of the last are kept.
const KEPT_BEHIND: Height = 1_024;

/// What the client trusts, and what follows from it so far.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) network: NetworkConfig,
    pub(super) options: TrustOptions,
    verified: Mutex<BTreeMap<Height, VerifiedHeader>>,
}

impl Trust {
    pub(super) fn new(network: NetworkConfig, newest_rules: u64) -> Self {
        let options = TrustOptions { newest_rules, ..network.trust_options() };
        Self { network, options, verified: Mutex::default() }
    }

    fn verified(&self) -> MutexGuard<'_, BTreeMap<Height, VerifiedHeader>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, header: &VerifiedHeader) {
        let height = header.height();
        let mut verified = self.verified();
        verified.insert(height, header.clone());
        while verified.len() > KEPT_HEADERS {
            // The farthest from where reading goes on.
            let (highest, checkpoint) =
                (verified.keys().next_back().copied(), self.network.checkpoint.height);
            let stays = |at: &Height| *at == checkpoint || Some(*at) == highest || *at == height;
            let mut going = verified.keys().filter(|at| !stays(at) && !at.is_multiple_of(ANCHOR_INTERVAL));
            let (first, last) = (going.next().copied(), going.next_back().copied());
            let farthest = first.into_iter().chain(last).max_by_key(|at| at.abs_diff(height));
            let anchor = || verified.keys().find(|at| !stays(at)).copied();
            let Some(gone) = farthest.or_else(anchor) else { break };
            verified.remove(&gone);
        }
    }

    fn is_young(&self, header: &VerifiedHeader) -> bool {
        now().duration_since(header.time()).unwrap_or_default() < self.options.trusting_period
    }

    fn at_or_below(&self, height: Height) -> Option<VerifiedHeader> {
        self.verified().range(..=height).next_back().map(|(_, header)| header.clone())
    }

    fn above(&self, height: Height) -> Option<VerifiedHeader> {
        self.verified().range(height..).next().map(|(_, header)| header.clone())
    }
}

impl Client {
    /// The header at `height`, verified.
    pub async fn header(&self, height: Height) -> Result<VerifiedHeader, ClientError> {
        self.trust()?;
        Ok(self.transport.any(|node| async move { self.header_from(&node, height).await }).await?.1)
    }

    /// The latest header that a node has, verified.
    pub async fn latest(&self) -> Result<VerifiedHeader, ClientError> {
        self.trust()?;
        let ask = |node: Node| async move {
            let block = self.block(&node, None).await?;
            self.verify(&node, block).await
        };
        Ok(self.transport.any(ask).await?.1)
    }

    /// The header at `height`, verified with the help of one node.
    pub(super) async fn header_from(&self, node: &Node, height: Height) -> Result<VerifiedHeader, Fault> {
        let known =
            self.trust().map_err(Fault::Final)?.at_or_below(height).filter(|known| known.height() == height);
        match known {
            Some(header) => Ok(header),
            None => self.verify(node, self.block(node, Some(height)).await?).await,
        }
    }

    async fn verify(&self, node: &Node, block: LightBlock) -> Result<VerifiedHeader, Fault> {
        let trust = self.trust().map_err(Fault::Final)?;
        self.start(node, trust).await?;
        match (trust.at_or_below(block.height()), trust.above(block.height())) {
            (_, Some(later)) if later.height() == block.height() + 1 => {
                self.step_back(node, trust, later, block).await
            }
            (Some(base), None) => self.advance(node, trust, base, block).await,
            (Some(base), Some(_)) if trust.is_young(&base) || base.height() == block.height() => {
                self.advance(node, trust, base, block).await
            }
            (_, Some(later)) => self.step_back(node, trust, later, block).await,
            (None, None) => Err(Fault::Passing("served no checkpoint".into())),
        }
    }

    /// Verifies the checkpoint's own header, once.
    async fn start(&self, node: &Node, trust: &Trust) -> Result<(), Fault> {
        let NetworkConfig { chain_id, checkpoint, .. } = &trust.network;
        if trust.verified().contains_key(&checkpoint.height) {
            return Ok(());
        }
        let block = self.block(node, Some(checkpoint.height)).await?;
        let header = VerifiedHeader::from_checkpoint(block, chain_id, checkpoint, now(), &trust.options)
            .map_err(fault)?;
        trust.keep(&header);
        Ok(())
    }

    async fn advance(
        &self,
        node: &Node,
        trust: &Trust,
        mut base: VerifiedHeader,
        block: LightBlock,
    ) -> Result<VerifiedHeader, Fault> {
        // Headers still to be verified, the next one last.
        let mut ahead = vec![block];
        while let Some(next) = ahead.last() {
            if next.height() <= base.height() {
                let same = next.signed_header.header.hash() == base.header().hash()
                    && next.height() == base.height();
                if !same {
                    return Err(lied(ProofKind::Header)(
                        "another header than the verified one of this height",
                    ));
                }
                ahead.pop();
                continue;
            }
            match base.advance(next.clone(), now(), &trust.options) {
                Ok(header) => {
                    trust.keep(&header);
                    base = header;
                    ahead.pop();
                }
                Err(HeaderError::NotEnoughTrust { from, to }) if to > from + 1 => {
                    ahead.push(self.block(node, Some(from + (to - from) / 2)).await?);
                }
                Err(error) => return Err(fault(error)),
            }
        }
        Ok(base)
    }

    async fn step_back(
        &self,
        node: &Node,
        trust: &Trust,
        mut later: VerifiedHeader,
        block: LightBlock,
    ) -> Result<VerifiedHeader, Fault> {
        let height = block.height();
        let mut last = Some(block);
        while later.height() > height {
            let next = later.height() - 1;
            let block = match last.take_if(|_| next == height) {
                Some(block) => block,
                None => self.block(node, Some(next)).await?,
            };
            later = later.step_back(block).map_err(fault)?;
            if next.is_multiple_of(ANCHOR_INTERVAL) || next < height + KEPT_BEHIND {
                trust.keep(&later);
            }
        }
        Ok(later)
    }

    /// A light block of exactly this height, unverified.
    async fn block(&self, node: &Node, height: Option<Height>) -> Result<LightBlock, Fault> {
        let name = height.map_or_else(|| "latest".to_owned(), |height| height.to_string());
        let block: LightBlock = json(self.transport.get(node, &format!("/v1/header/{name}"))).await?;
        match height.filter(|height| *height != block.height()) {
            None => Ok(block),
            Some(height) => {
                Err(lied(ProofKind::Header)(format!("asked for height {height}, got {}", block.height())))
            }
        }
    }
}

/// A header that does not verify is its server's fault, unless it is only time that is to blame.
fn fault(error: HeaderError) -> Fault {
    match error {
        HeaderError::TooOld { .. } => Fault::Final(ClientError::StaleCheckpoint(error.to_string())),
        HeaderError::UnknownRules(unknown) => Fault::Final(ClientError::UnknownRules(unknown)),
        HeaderError::Chain { .. } => Fault::Passing(error.to_string()),
        error => Fault::Lied(ProofKind::Header, error.to_string()),
    }
}

pub(super) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Time::from_unix_timestamp(seconds, since.subsec_nanos()).unwrap_or_else(|_| Time::unix_epoch())
}
