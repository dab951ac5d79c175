//! What operators see of signing.

use arc_malachitebft_metrics::SharedRegistry;
use arc_malachitebft_metrics::prometheus::metrics::counter::Counter;
use arc_malachitebft_metrics::prometheus::metrics::gauge::Gauge;

/// `weft_consensus_…`: how often the key was used in vain, and whether it is at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    pub(super) signatures: Counter,
    pub(super) missed: Counter,
    pub(super) late: Counter,
    pub(super) connected: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &SharedRegistry) -> Self {
        let metrics = Self::default();
        let Self { signatures, missed, late, connected } = metrics.clone();
        registry.with_prefix("weft_consensus", |registry| {
            registry.register("signatures", "Signatures asked for", signatures);
            registry.register(
                "signatures_missed",
                "Signatures asked for that the signer did not give",
                missed,
            );
            registry.register("signatures_late", "Signatures that the signer gave when asked again", late);
            registry.register("signer_connected", "1 while the validator's key is at hand", connected);
        });
        metrics
    }
}
