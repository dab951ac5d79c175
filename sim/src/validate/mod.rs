//! Numbers that others published or measured, or that were worked out without this code, and what it makes of them.
//!
//! | module | numbers | from |
//! | --- | --- | --- |
//! | `sampling` | samples for a confidence, detection, Common Prefix's audit, PeerDAS, ZODA | formulas of arXiv:1809.09044, consensus-specs and eprint 2025/034 |
//! | `recovery` | clients that rebuild a block, patterns, peeling thresholds | arXiv:1809.09044, theorems and table 1; celestia-node; das-research; a simulation in another language |
//! | `disclosure` | clients fooled by selective disclosure | a simulation in another language of the paper's two models |
//! | `market` | fee steps | EIP-4844, EIP-7691 |
//! | `engine` | block times, an absent proposer's turn | Malachite, measured |
//!
//! Few of them are published word for word: each [`Check`] says where its target is [from](Source).

mod disclosure;
mod engine;
mod market;
mod recovery;
mod sampling;

use std::fmt::Display;

use serde::Serialize;

/// Where a target is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A paper, a specification or another project's tests state it.
    Published,
    /// Another project's program did it when it was run.
    Measured,
    /// A formula of theirs or a simulation of ours gives it, in a program that shares no code with this one.
    WorkedOut,
}

impl Source {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Measured => "measured",
            Self::WorkedOut => "worked out",
        }
    }
}

/// One number against ours.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What the number is.
    pub what: String,
    /// Where the target is from.
    pub source: Source,
    /// What it should be.
    pub target: String,
    /// What this code finds.
    pub ours: String,
    /// Whether they agree.
    pub holds: bool,
}

impl Check {
    fn published(self) -> Self {
        Self { source: Source::Published, ..self }
    }

    fn measured(self) -> Self {
        Self { source: Source::Measured, ..self }
    }

    fn equal<T: PartialEq + Display>(what: impl Into<String>, target: &T, ours: &T) -> Self {
        let (target, ours) = (target.to_string(), ours.to_string());
        Self { what: what.into(), source: Source::WorkedOut, holds: ours == target, target, ours }
    }

    /// Agreement within `tolerance`, shown with this many decimals.
    fn near(what: impl Into<String>, target: f64, ours: f64, tolerance: f64, decimals: usize) -> Self {
        Self {
            what: what.into(),
            source: Source::WorkedOut,
            target: format!("{target:.decimals$} ± {tolerance:.decimals$}"),
            ours: format!("{ours:.decimals$}"),
            holds: (ours - target).abs() <= tolerance,
        }
    }

    /// Agreement to the last of the decimals that are given, however it was rounded.
    fn digits(what: impl Into<String>, target: f64, ours: f64, decimals: usize) -> Self {
        let last = (0..decimals).fold(1.0, |unit, _| unit / 10.0);
        Self {
            what: what.into(),
            source: Source::WorkedOut,
            target: format!("{target:.decimals$}"),
            ours: format!("{ours:.decimals$}"),
            holds: (ours - target).abs() <= last,
        }
    }
}

/// Compares every number that the simulator covers with what the formulas of this code give, and with what
/// it counts. `progress` is told how many of [`PARTS`] are done.
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
