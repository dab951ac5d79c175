//! Rules that change: which version holds at a height, and how validators agree on the next.
//!
//! ```text
//!  Signal ─▶ signals, one an operator ── 5/6 of the power name one Upgrade ─▶ upgrade ── its height ─▶ new rules
//!            may change at any time       notice ahead of its height           for good
//! ```
//!
//! The state says which version holds at a height, so whoever has the state before a block knows the rules of the
//! block. Power is counted in the set that the block fixes for the height after the next: the latest that is known of
//! who will sign under the new rules, with all stake that the block moved. Five sixths are the two thirds that a commit
//! needs and a sixth more, for what fails or leaves between agreement and height.
//!
//! A build knows all versions from 1 to its newest. It proposes, votes on and accepts no block of others, whatever
//! that block holds: see [`UnknownRules`].

use std::collections::BTreeMap;

use crate::{Height, address::Address, codec::fixed, staking::Roster, state::StateError};

/// The newest version of the rules that this crate implements; it implements all before it, too.
pub const RULES_VERSION: u64 = 1;

/// The least notice that genesis may ask for, in heights: an upgrade is agreed on by the set of the height after the
/// next, and does not begin before that set signs.
pub const UPGRADE_NOTICE_MIN: Height = 2;

/// How far ahead an upgrade may be, in heights: what is agreed on cannot be taken back, and nothing else can be agreed
/// on before it.
pub const UPGRADE_HORIZON: Height = 1_000_000;

/// From a height on, blocks follow another version of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upgrade {
    /// The rules, `version.app` of the headers.
    pub version: u64,
    /// The first height that follows them.
    pub height: Height,
}

impl Upgrade {
    /// What holds before anything was agreed on.
    pub const GENESIS: Self = Self { version: 1, height: 1 };

    /// The version that holds at `height`, this being the last upgrade that was agreed on.
    pub fn version_at(&self, height: Height) -> u64 {
        if height < self.height { self.version - 1 } else { self.version }
    }

    /// version: u64 ‖ height: u64.
    pub fn encode(&self) -> Vec<u8> {
        [self.version.to_be_bytes(), self.height.to_be_bytes()].concat()
    }

    /// Reads what [`Self::encode`] wrote; no version before the first is agreed on.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let bad = || StateError::Malformed("upgrade");
        let number = |bytes| fixed("upgrade", bytes).map(u64::from_be_bytes).map_err(|_| bad());
        let (version, height) = bytes.split_at_checked(8).ok_or_else(bad)?;
        let upgrade = Self { version: number(version)?, height: number(height)? };
        if upgrade.version > 1 { Ok(upgrade) } else { Err(bad()) }
    }
}

impl std::fmt::Display for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "version {} from height {} on", self.version, self.height)
    }
}

/// What each operator signalled last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signals(pub BTreeMap<Address, Upgrade>);

impl Signals {
    /// The power in `roster` whose operators signalled each upgrade.
    pub fn powers(&self, roster: &Roster) -> BTreeMap<Upgrade, u64> {
        let mut powers = BTreeMap::new();
        for member in &roster.0 {
            if let Some(upgrade) = self.0.get(&member.operator) {
                *powers.entry(*upgrade).or_default() += member.power;
            }
        }
        powers
    }

    /// The upgrade that 5/6 of the power in `roster` signalled.
    pub(crate) fn agreed(&self, roster: &Roster) -> Option<Upgrade> {
        let total = u128::from(roster.power());
        let mut powers = self.powers(roster).into_iter();
        powers.find(|(_, power)| u128::from(*power) * 6 >= total * 5).map(|(upgrade, _)| upgrade)
    }

    /// operator: 20 ‖ version: u64 ‖ height: u64, each, ascending by operator.
    pub fn encode(&self) -> Vec<u8> {
        let signal = |(operator, upgrade): (&Address, &Upgrade)| {
            [&operator.as_bytes()[..], &upgrade.encode()].concat()
        };
        self.0.iter().flat_map(signal).collect()
    }

    /// Reads what [`Self::encode`] wrote; operators out of order are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let signal = |bytes: &[u8; 36]| {
            let (operator, upgrade) = bytes.split_at(20);
            let operator = fixed("operator", operator).map_err(|_| StateError::Malformed("signals"))?;
            Ok((Address::from_bytes(operator), Upgrade::decode(upgrade)?))
        };
        let (signals, rest) = bytes.as_chunks::<36>();
        if !rest.is_empty() || !signals.is_sorted_by(|a, b| a[..20] < b[..20]) {
            return Err(StateError::Malformed("signals"));
        }
        Ok(Self(signals.iter().map(signal).collect::<Result<_, StateError>>()?))
    }
}

/// Why a signal is refused. Nothing is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// Only who has a vote has a say.
    #[error("signal: {0} operates no validator of the set; bond stake first")]
    NoValidator(Address),
    /// It is too late for another one, and too early for the one after.
    #[error("signal: {0} is agreed on and cannot be taken back; signal what follows it from then on")]
    Agreed(Upgrade),
    /// Versions follow each other.
    #[error("version: {next} follows the rules in force, got {got}")]
    Version {
        /// The one that may be signalled.
        next: u64,
        /// What was signalled.
        got: u64,
    },
    /// Too early for everybody to have the new build by then, or too late.
    #[error("height: {earliest} to {latest} can be signalled now, got {got}")]
    Height {
        /// The first one.
        earliest: Height,
        /// The last one.
        latest: Height,
        /// What was signalled.
        got: Height,
    },
}

/// A block follows rules that this build does not know: it can neither be judged nor built on. Nobody is at fault; a
/// newer build goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error(
    "rules version {version} hold at height {height}, and this build knows versions up to {newest}: install a newer \
     build"
)]
pub struct UnknownRules {
    /// The version.
    pub version: u64,
    /// The block.
    pub height: Height,
    /// The newest version that this build knows.
    pub newest: u64,
}

impl UnknownRules {
    /// The version of the block at `height`, if a build that knows 1 to `newest` knows it.
    pub fn check(version: u64, height: Height, newest: u64) -> Result<u64, Self> {
        if (1..=newest).contains(&version) { Ok(version) } else { Err(Self { version, height, newest }) }
    }
}
