//! What the worker knows about one block, for those who read it.

use chain::VerifiedHeader;
use erasure::{DataRootParts, Digest, Sample};

use super::Worker;
use crate::follow::Known;
use crate::sampler::Millis;
use crate::store::StoreError;

impl Worker {
    pub(super) fn block(&self, height: u64, now: Millis) -> Result<Known, StoreError> {
        let report = self.reports.get(&height).cloned();
        let available_at = report.as_ref().and_then(|report| report.available_at);
        let quiet_since = self.online_since.max(Millis(available_at.unwrap_or(0)));
        // Every height up to the trusted one has a report, unless it was forgotten, or never followed.
        let trusted = self.args.trusted.as_ref().map_or(0, VerifiedHeader::height);
        let mut known = Known {
            halted: self.halted.clone(),
            outdated: self.outdated,
            lost: report.is_none() && height <= trusted,
            quiet_for: now.since(quiet_since),
            offline: self.offline_since.is_some() || self.alone_since.is_some(),
            report,
            header: None,
            parts: None,
        };
        if known.report.as_ref().is_some_and(|report| report.state.confidence().is_some()) {
            known.header = self.args.store.header(height)?;
            let samples = self.args.store.samples(height)?;
            let header = known.header.as_ref();
            known.parts = header.and_then(|header| samples.iter().find_map(|s| parts(s, &header.data_root)));
        }
        Ok(known)
    }
}

/// What the data root is the hash of, from a sample that proves it.
fn parts(sample: &[u8], data_root: &Digest) -> Option<DataRootParts> {
    let sample = Sample::decode(sample).ok()?;
    let at = sample.coordinates();
    Some(sample.verify(data_root, at).ok()?.parts())
}
