//! Counters of the client, registered as `weft_light_client_*`.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use prometheus_client::registry::{Registry, Unit};

/// What the client counts. Cheap to clone; clones share their counters.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Headers verified.
    pub headers_verified: Counter,
    /// Of them, those that a certificate vouched for.
    pub headers_certified: Counter,
    /// Attempts to get or verify a header that failed.
    pub headers_failed: Counter,
    /// Cells asked for, retries included.
    pub samples_asked: Counter,
    /// Cells that came and were verified.
    pub samples_verified: Counter,
    /// Blocks found available.
    pub blocks_available: Counter,
    /// Alarms: blocks found unavailable.
    pub blocks_unavailable: Counter,
    /// Blocks left out for the sake of the budget.
    pub blocks_over_budget: Counter,
    /// Peers dropped because of a wrong answer.
    pub peers_dropped: Counter,
    /// Headers that a witness had, too.
    pub headers_witnessed: Counter,
    /// Notices of fraud proofs.
    pub fraud_notices: Counter,
    /// Fraud proofs that were checked, whether they held or not.
    pub fraud_proofs_judged: Counter,
    /// Alarms that a hook was told of.
    pub alarms_told: Counter,
    /// Attempts to tell a hook of an alarm that failed, and alarms that found the queue full.
    pub alarms_failed: Counter,
    /// The highest verified height.
    pub height: Gauge,
    /// The highest available height.
    pub available_height: Gauge,
    /// 1 while no peer can be reached.
    pub offline: Gauge,
    /// 1 once the client follows no further.
    pub halted: Gauge,
    /// 1 once the next blocks follow rules that this program does not know.
    pub outdated: Gauge,
    /// Memory in RAM; set when it is read.
    pub resident: Gauge,
}

impl Metrics {
    /// Registers all of them.
    pub(crate) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("weft_light_client");
        for (name, help, counter) in [
            ("headers_verified", "Headers verified", &metrics.headers_verified),
            ("headers_certified", "Headers verified by a certificate", &metrics.headers_certified),
            ("headers_failed", "Headers not had or not verified", &metrics.headers_failed),
            ("samples_asked", "Cells asked for, retries included", &metrics.samples_asked),
            ("samples_verified", "Cells verified", &metrics.samples_verified),
            ("blocks_available", "Blocks found available", &metrics.blocks_available),
            ("blocks_unavailable", "Blocks found unavailable", &metrics.blocks_unavailable),
            ("blocks_over_budget", "Blocks left out for the budget", &metrics.blocks_over_budget),
            ("peers_dropped", "Peers dropped for a wrong answer", &metrics.peers_dropped),
            ("headers_witnessed", "Headers that a witness had, too", &metrics.headers_witnessed),
            ("fraud_notices", "Notices of fraud proofs", &metrics.fraud_notices),
            ("fraud_proofs_judged", "Fraud proofs checked", &metrics.fraud_proofs_judged),
            ("alarms_told", "Alarms that a hook was told of", &metrics.alarms_told),
            ("alarms_failed", "Alarms that a hook was not told of", &metrics.alarms_failed),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in [
            ("height", "Highest verified height", &metrics.height),
            ("available_height", "Highest available height", &metrics.available_height),
            ("offline", "1 while no peer can be reached", &metrics.offline),
            ("halted", "1 once the client follows no further", &metrics.halted),
            ("outdated", "1 once blocks follow rules that are not known here", &metrics.outdated),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register_with_unit("resident", "Memory in RAM", Unit::Bytes, metrics.resident.clone());
        metrics
    }
}
