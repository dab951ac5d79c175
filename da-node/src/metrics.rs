//! What the node measures, in Prometheus' units.

use std::time::Instant;

use chain::{Parent, ValidBlock};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// A step of a block's way through the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Stage {
    /// Choosing transactions from the pool.
    Select,
    /// Applying them, arranging, extending and committing the square, to propose it.
    Build,
    /// Getting what a proposal names and the pool lacks.
    Gather,
    /// The same as building, to check another's proposal.
    Validate,
    /// Writing a square that may be decided, before the vote.
    Store,
    /// Writing the decided block and its state.
    Commit,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StageLabel {
    stage: Stage,
}

#[derive(Clone, Debug)]
pub(crate) struct StageSeconds(Family<StageLabel, Histogram>);

impl Default for StageSeconds {
    fn default() -> Self {
        // 1 ms to 8 s.
        Self(Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 14))))
    }
}

/// The node's own metrics; `network` and the engine have theirs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    /// Latest committed height.
    pub(crate) height: Gauge,
    /// Blocks committed since start.
    pub(crate) blocks: Counter,
    /// Bytes of blobs in them.
    pub(crate) blob_bytes: Counter,
    /// Shares charged in them.
    pub(crate) shares: Counter,
    /// Nano charged in them.
    pub(crate) charged_nano: Counter,
    /// Width of the latest square.
    pub(crate) width: Gauge,
    /// Pooled transactions.
    pub(crate) pool_transactions: Gauge,
    /// Bytes in the pool.
    pub(crate) pool_bytes: Gauge,
    /// Proposals found valid.
    pub(crate) proposals_valid: Counter,
    /// Valid proposals whose square had been built before they came.
    pub(crate) proposals_prepared: Counter,
    /// Proposals that broke a rule.
    pub(crate) proposals_invalid: Counter,
    /// Proposals judged too late for lack of something.
    pub(crate) proposals_incomplete: Counter,
    /// Alarms that are raised.
    pub(crate) alarms: Gauge,
    /// Alarms raised since start.
    pub(crate) alarms_raised: Counter,
    /// Highest height whose square was dropped.
    pub(crate) pruned_height: Gauge,
    /// Bytes of the database's tables.
    pub(crate) disk_bytes: Gauge,
    /// Squares fetched after their block was committed.
    pub(crate) squares_backfilled: Counter,
    /// Fraud proofs that held.
    pub(crate) frauds: Counter,
    /// Attestations counted, this node's own, too.
    pub(crate) attestations: Counter,
    /// Certificates kept, better ones of a height counted again.
    pub(crate) certificates: Counter,
    /// Latest height with a certificate.
    pub(crate) certified_height: Gauge,
    /// Version of the rules that the next block follows.
    pub(crate) rules_version: Gauge,
    /// Height of an upgrade that is agreed on and still to come; 0 without one.
    pub(crate) upgrade_height: Gauge,
    /// 1 while it is to rules that this build does not know.
    pub(crate) upgrade_unknown: Gauge,
    /// How long each stage took.
    stages: StageSeconds,
}

impl Metrics {
    /// Registers all of them as `weft_node_*`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let node = registry.sub_registry_with_prefix("weft_node");
        node.register("height_blocks", "Latest committed height", metrics.height.clone());
        node.register("committed_blocks", "Blocks committed since start", metrics.blocks.clone());
        node.register("committed_blob_bytes", "Blob bytes in them", metrics.blob_bytes.clone());
        node.register("committed_shares", "Shares charged in them", metrics.shares.clone());
        node.register("charged_nano", "Nano charged in them", metrics.charged_nano.clone());
        node.register("square_width_shares", "Width of the latest square", metrics.width.clone());
        node.register("pool_transactions", "Transactions in the pool", metrics.pool_transactions.clone());
        node.register("pool_bytes", "Bytes in the pool", metrics.pool_bytes.clone());
        node.register("proposals_valid", "Proposals found valid", metrics.proposals_valid.clone());
        node.register(
            "proposals_prepared",
            "Valid proposals whose square had been built before they came",
            metrics.proposals_prepared.clone(),
        );
        node.register("proposals_invalid", "Proposals that broke a rule", metrics.proposals_invalid.clone());
        node.register(
            "proposals_incomplete",
            "Proposals that lacked a body",
            metrics.proposals_incomplete.clone(),
        );
        node.register("alarms", "Alarms that are raised", metrics.alarms.clone());
        node.register("alarms_raised", "Alarms raised since start", metrics.alarms_raised.clone());
        node.register("attestations", "Attestations counted", metrics.attestations.clone());
        node.register("certificates", "Certificates kept", metrics.certificates.clone());
        node.register(
            "certified_height_blocks",
            "Latest height with a certificate",
            metrics.certified_height.clone(),
        );
        node.register("frauds", "Fraud proofs that held", metrics.frauds.clone());
        node.register(
            "pruned_height_blocks",
            "Highest height whose square was dropped",
            metrics.pruned_height.clone(),
        );
        node.register("database_bytes", "Bytes of the database's tables", metrics.disk_bytes.clone());
        node.register(
            "squares_backfilled",
            "Squares fetched after commit",
            metrics.squares_backfilled.clone(),
        );
        node.register("rules_version", "Rules of the next block", metrics.rules_version.clone());
        node.register(
            "upgrade_height_blocks",
            "Height of an upgrade still to come, or 0",
            metrics.upgrade_height.clone(),
        );
        node.register(
            "upgrade_unknown",
            "1 while it is to rules that this build does not know",
            metrics.upgrade_unknown.clone(),
        );
        node.register("stage_seconds", "How long a block's stages took", metrics.stages.0.clone());
        metrics
    }

    /// Shows the pool's size.
    pub(crate) fn pool_size(&self, transactions: usize, bytes: usize) {
        self.pool_transactions.set(transactions as i64);
        self.pool_bytes.set(bytes as i64);
    }

    /// Shows the rules of the block that builds on `parent`, and what is agreed on to follow them.
    pub(crate) fn rules(&self, parent: &Parent) {
        let (next, upgrade) = (parent.next_height(), parent.upgrade);
        let coming = next < upgrade.height;
        self.rules_version.set(upgrade.version_at(next) as i64);
        self.upgrade_height.set(if coming { upgrade.height as i64 } else { 0 });
        self.upgrade_unknown.set((coming && upgrade.version > parent.newest_rules).into());
    }

    /// Runs `work` and counts how long it took.
    pub(crate) fn timed<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = work();
        self.took(stage, started);
        done
    }

    /// Counts a stage that began at `started` and ends now.
    pub(crate) fn took(&self, stage: Stage, started: Instant) {
        self.stages.0.get_or_create(&StageLabel { stage }).observe(started.elapsed().as_secs_f64());
    }

    /// Counts a committed block.
    pub(crate) fn committed(&self, valid: &ValidBlock, (transactions, bytes): (usize, usize)) {
        self.height.set(valid.block.header.height.value() as i64);
        self.blocks.inc();
        self.width.set(valid.placement.width.get() as i64);
        self.blob_bytes.inc_by(valid.placement.index.entries().iter().skip(1).map(|entry| entry.len).sum());
        self.shares.inc_by(valid.receipts.iter().map(|receipt| receipt.shares).sum());
        self.charged_nano.inc_by(valid.receipts.iter().map(|receipt| receipt.charged).sum());
        self.pool_size(transactions, bytes);
    }
}
