//! The JSON bodies of the chain's rules.

use chain::{Height, Upgrade};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which rules hold, and what is agreed on to follow them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RulesBody {
    /// The version that the next block follows, `version.app` of its header.
    pub version: u64,
    /// The newest version that the node's software knows. Where `upgrade` is to a later one, the node stops before it.
    pub newest_known: u64,
    /// What is agreed on and still to come.
    pub upgrade: Option<UpgradeBody>,
}

/// An upgrade of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpgradeBody {
    /// To which version.
    pub version: u64,
    /// The first height that follows it.
    pub height: Height,
}

impl RulesBody {
    /// What holds after the block at `height`.
    pub(crate) fn new(height: Height, upgrade: Upgrade, newest_known: u64) -> Self {
        let next = height + 1;
        let Upgrade { version, height } = upgrade;
        Self {
            version: upgrade.version_at(next),
            newest_known,
            upgrade: (next < height).then_some(UpgradeBody { version, height }),
        }
    }
}
