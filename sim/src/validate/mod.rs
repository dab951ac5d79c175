//! Published numbers, and what this code makes of them.
//!
//! | module | numbers | from |
//! | --- | --- | --- |
//! | `sampling` | samples for a confidence, detection, Common Prefix's audit, PeerDAS, ZODA | arXiv:1809.09044; consensus-specs |
//! | `recovery` | clients that rebuild a block, patterns, peeling thresholds | arXiv:1809.09044, table 1; celestia-node; das-research |
//! | `disclosure` | clients fooled by selective disclosure | Monte-Carlo of the paper's two models |
//! | `market` | fee steps | EIP-4844, EIP-7691 |
//! | `engine` | block times, an absent proposer's turn | Malachite, measured |

mod disclosure;
mod engine;
mod market;
mod recovery;
mod sampling;

use std::fmt::Display;

use serde::Serialize;

/// One published number against ours.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What the number is.
    pub what: String,
    /// The published number.
    pub target: String,
    /// What this code finds.
    pub ours: String,
    /// Whether they agree.
    pub holds: bool,
}

impl Check {
    fn equal<T: PartialEq + Display>(what: impl Into<String>, target: &T, ours: &T) -> Self {
        let (target, ours) = (target.to_string(), ours.to_string());
        Self { what: what.into(), holds: ours == target, target, ours }
    }

    /// Agreement within `tolerance`, shown with this many decimals.
    fn near(what: impl Into<String>, target: f64, ours: f64, tolerance: f64, decimals: usize) -> Self {
        Self {
            what: what.into(),
            target: format!("{target:.decimals$} ± {tolerance:.decimals$}"),
            ours: format!("{ours:.decimals$}"),
            holds: (ours - target).abs() <= tolerance,
        }
    }

    /// Agreement to the last of the decimals that are published, however it was rounded.
    fn digits(what: impl Into<String>, target: f64, ours: f64, decimals: usize) -> Self {
        let last = (0..decimals).fold(1.0, |unit, _| unit / 10.0);
        Self {
            what: what.into(),
            target: format!("{target:.decimals$}"),
            ours: format!("{ours:.decimals$}"),
            holds: (ours - target).abs() <= last,
        }
    }
}

/// Compares every published number that the simulator covers with what the formulas of this code give, and
/// with what it counts. `progress` is told how many of [`PARTS`] are done.
///
/// # Errors
/// A table of this module names an impossible width or confidence.
pub fn checks(progress: &dyn Fn(u64)) -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    let parts: [fn() -> anyhow::Result<Vec<Check>>; PARTS] =
        [sampling::checks, recovery::checks, disclosure::checks, market::checks, engine::checks];
    for part in parts {
        checks.extend(part()?);
        progress(1);
    }
    Ok(checks)
}

/// How many parts [`checks`] has.
pub const PARTS: usize = 5;
