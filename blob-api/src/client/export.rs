//! Writing a namespace's history to a file: verified here, and again by whoever reads it.

use std::{io::Write, ops::RangeInclusive};

use chain::{HeaderError, Height, VerifiedHeader};
use erasure::Namespace;

use super::{Client, ClientError, trust::now};
use crate::archive::{ArchiveScope, ArchiveWriter};

/// What an export has written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Heights.
    pub heights: u64,
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Client {
    /// Writes all blobs of a namespace at these heights to `out`, with proofs and headers, as
    /// [`Archive`](crate::Archive) reads them. Calls `progress` after every height. Gives the header of the last
    /// height: its hash, kept somewhere safe, is all that a reader has to trust.
    ///
    /// Fails where a height is not decided yet, or a blob is not to be had any more. Then the file is incomplete.
    pub async fn export<W: Write>(
        &self,
        namespace: Namespace,
        heights: RangeInclusive<Height>,
        out: W,
        mut progress: impl FnMut(Exported),
    ) -> Result<VerifiedHeader, ClientError> {
        let network = &self.trust()?.network;
        let (from, to) = (*heights.start(), *heights.end());
        let failed = |error: std::io::Error| ClientError::Local(format!("cannot write the archive: {error}"));
        let end = self.header(to).await?;
        let top = to.max(network.checkpoint.height);
        let scope = ArchiveScope { chain_id: network.chain_id.clone(), namespace, heights };
        let mut writer = ArchiveWriter::new(out, &scope, &self.bridge(top).await?).map_err(failed)?;
        for height in (from..top).rev() {
            writer.header(self.header(height).await?.header()).map_err(failed)?;
        }
        let mut done = Exported::default();
        for height in from..=to {
            let list = self.list(height, namespace).await?;
            let blobs = self.read(&list).await?;
            writer.height(list.proof(), blobs.iter().map(|blob| blob.bytes())).map_err(failed)?;
            done.heights += 1;
            done.blobs += blobs.len() as u64;
            done.bytes += blobs.iter().map(|blob| blob.bytes().len() as u64).sum::<u64>();
            progress(done);
        }
        writer.finish().map_err(failed)?;
        Ok(end)
    }

    /// Headers of which each verifies the next by signatures, from the checkpoint to `top`.
    async fn bridge(&self, top: Height) -> Result<Vec<VerifiedHeader>, ClientError> {
        let (network, options) = (&self.trust()?.network, self.trust()?.options);
        let mut at = self.header(network.checkpoint.height).await?;
        let mut bridge = vec![at.clone()];
        let mut ahead = if top > at.height() { vec![self.header(top).await?] } else { Vec::new() };
        while let Some(next) = ahead.pop() {
            match at.advance(next.light_block().clone(), now(), &options) {
                Ok(verified) => {
                    bridge.push(verified.clone());
                    at = verified;
                }
                Err(HeaderError::NotEnoughTrust { from, to }) if to > from + 1 => {
                    ahead.push(next);
                    ahead.push(self.header(from + (to - from) / 2).await?);
                }
                Err(HeaderError::UnknownRules(unknown)) => return Err(ClientError::UnknownRules(unknown)),
                Err(error) => return Err(ClientError::StaleCheckpoint(error.to_string())),
            }
        }
        Ok(bridge)
    }
}
