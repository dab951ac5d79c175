//! What the node measures, in Prometheus' units.

use chain::ValidBlock;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

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
    /// Proposals that broke a rule.
    pub(crate) proposals_invalid: Counter,
    /// Proposals judged too late for lack of something.
    pub(crate) proposals_incomplete: Counter,
    /// Squares fetched after their block was committed.
    pub(crate) squares_backfilled: Counter,
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
        node.register("proposals_invalid", "Proposals that broke a rule", metrics.proposals_invalid.clone());
        node.register(
            "proposals_incomplete",
            "Proposals that lacked a body",
            metrics.proposals_incomplete.clone(),
        );
        node.register(
            "squares_backfilled",
            "Squares fetched after commit",
            metrics.squares_backfilled.clone(),
        );
        metrics
    }

    /// Shows the pool's size.
    pub(crate) fn pool_size(&self, transactions: usize, bytes: usize) {
        self.pool_transactions.set(transactions as i64);
        self.pool_bytes.set(bytes as i64);
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
