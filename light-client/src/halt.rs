//! Why a client follows no further, and what proves it.
//!
//! A client that halted serves what it has and says why, across restarts, until its operator has
//! judged the evidence and names a new checkpoint: [`resume`].

use std::path::{Path, PathBuf};

use chain::{Checkpoint, NetworkConfig};
use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError, chain_name};

/// A client's end of following.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// The block that is disputed.
    pub height: u64,
    /// The lowest height in doubt: [`resume`] forgets it and all above.
    pub from: u64,
    /// When it was found, in milliseconds since the Unix epoch.
    pub since: u64,
    /// What was found.
    #[serde(flatten)]
    pub reason: HaltReason,
    /// The file that proves it to others, as JSON.
    pub evidence: PathBuf,
}

/// What makes a client halt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HaltReason {
    /// Two headers of one height follow from the same trusted one, each signed by enough of its
    /// stake: more than a third of it signed both, or keys were stolen.
    ConflictingHeaders {
        /// The hash of the header that was followed, hexadecimal.
        followed: String,
        /// The hash of the other one.
        other: String,
        /// The peer that had the other one.
        witness: String,
    },
    /// A verified fraud proof.
    Fraud {
        /// Which of the kinds, in words.
        kind: String,
    },
}

impl HaltReason {
    /// The reason in one word, as in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::ConflictingHeaders { .. } => "conflicting-headers",
            Self::Fraud { .. } => "fraud",
        }
    }
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let height = self.height;
        match &self.reason {
            HaltReason::ConflictingHeaders { followed, other, witness } => {
                write!(f, "two signed headers at height {height}: {followed}, and {other} of peer {witness}")
            }
            HaltReason::Fraud { kind } => write!(f, "block {height} is proven wrong: {kind}"),
        }
    }
}

/// What [`resume`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Why the client had halted, if it had. The evidence file stays.
    pub halt: Option<Halt>,
    /// The lowest height that was forgotten.
    pub forgotten_from: u64,
}

/// Lets the client of this directory, which must not be running, start from a new checkpoint.
///
/// The checkpoint is trusted instead of the one in `network.toml`, until that is another one:
/// whoever calls this vouches for it.
/// Headers, samples and reports from the lowest height in doubt on, or from the checkpoint on
/// where that is lower, are forgotten; those below are kept.
///
/// # Errors
/// When the directory holds no client of this chain, or the client is running.
pub fn resume(home: &Path, network: &NetworkConfig, checkpoint: &Checkpoint) -> Result<Resumed, StoreError> {
    let store = Store::open_existing(home, &chain_name(network))?;
    let halt = store.halt()?;
    let forgotten_from = halt.as_ref().map_or(checkpoint.height, |halt| halt.from.min(checkpoint.height));
    store.resume(checkpoint, &network.checkpoint, forgotten_from)?;
    Ok(Resumed { halt, forgotten_from })
}
