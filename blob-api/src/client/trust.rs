//! The chain of verified headers, from the checkpoint to wherever a proof needs one.
//!
//! ```text
//!  lower height verified:   advance; too little trust ─▶ verify the middle first
//!  only higher ones:        step back by hash, one by one
//! ```
//!
//! A header is verified once; any number of reads use it.

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
    transport::{Node, json},
};

/// Verified headers kept; the lowest but one goes first, so that the checkpoint stays.
const KEPT_HEADERS: usize = 4096;

/// What the client trusts, and what follows from it so far.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) network: NetworkConfig,
    options: TrustOptions,
    verified: Mutex<BTreeMap<Height, VerifiedHeader>>,
}

impl Trust {
    pub(super) fn new(network: NetworkConfig) -> Self {
        let options = network.trust_options();
        Self { network, options, verified: Mutex::default() }
    }

    fn verified(&self) -> MutexGuard<'_, BTreeMap<Height, VerifiedHeader>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, header: &VerifiedHeader) {
        let mut verified = self.verified();
        verified.insert(header.height(), header.clone());
        while verified.len() > KEPT_HEADERS {
            let Some(second) = verified.keys().nth(1).copied() else { break };
            verified.remove(&second);
        }
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
            (Some(base), _) => self.advance(node, trust, base, block).await,
            (None, Some(later)) => self.step_back(node, trust, later, block.height()).await,
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
        height: Height,
    ) -> Result<VerifiedHeader, Fault> {
        while later.height() > height {
            let block = self.block(node, Some(later.height() - 1)).await?;
            later = later.step_back(block).map_err(fault)?;
        }
        trust.keep(&later);
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
        HeaderError::Chain { .. } => Fault::Passing(error.to_string()),
        error => Fault::Lied(ProofKind::Header, error.to_string()),
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Time::from_unix_timestamp(seconds, since.subsec_nanos()).unwrap_or_else(|_| Time::unix_epoch())
}
