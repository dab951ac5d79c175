//! `genesis.json`, the parameters it fixes, and `network.toml`, all that a light client starts from.

use std::time::Duration;

use erasure::Width;
use serde::{Deserialize, Serialize};
use tendermint::{Hash, Time, validator};

use crate::{
    Amount, Height, NANO_PER_WEFT,
    address::Address,
    bls::AttestationKey,
    eip712::Domain,
    fees::FeeRules,
    header::TrustOptions,
    hex_text::{HexError, parse},
    upgrade::{RULES_VERSION, UPGRADE_HORIZON, UPGRADE_NOTICE_MIN},
};

/// Longest chain id, Tendermint's own limit.
const CHAIN_ID_CHARS: usize = 50;

/// The most that `validators_limit` may be: every block reads the sets, and carries a signature of each member.
const VALIDATORS_LIMIT_MAX: u32 = 1_000;

/// The most that `epoch_heights` may be: one certificate covers them all, and attesters keep their place for as long.
const EPOCH_HEIGHTS_MAX: u64 = 65_536;

/// The rules' numbers, the same for every node of a chain. Times in the unit that the name says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// Widest original square, in shares a line: a power of two from 2 to 512. 128 is 8 MiB a block.
    pub k_max: u32,
    /// Longest blob in bytes.
    pub max_blob_bytes: u64,
    /// Blobs in one transaction at most.
    pub blobs_per_transaction: u32,
    /// Transactions in one block at most.
    pub transactions_per_block: u32,
    /// Bytes of a block's transaction blob at most.
    pub transaction_blob_bytes: u64,
    /// Shortest time between two headers when there is work.
    pub block_interval_ms: u64,
    /// Longest time between two headers when there is none.
    pub idle_interval_ms: u64,
    /// How long every node keeps blobs at least.
    pub retention_seconds: u64,
    /// How old a header may be that a light client starts from. Shorter than unbonding.
    pub trusting_period_seconds: u64,
    /// How long unbonded stake stays slashable.
    pub unbonding_seconds: u64,
    /// Validators at most; one with more stake takes the place of the one with the least.
    pub validators_limit: u32,
    /// The least that a validator bonds, in nano: at least one WEFT.
    pub minimum_stake: Amount,
    /// Share of its stake, bonded and unbonding, that a validator loses for contradicting itself, in percent; 0 turns
    /// slashing off. A twentieth of what is lost goes to whoever reports it, the rest is burned.
    pub slash_percent: u8,
    /// Heights for which the same validators attest: at least 2. The next ones are fixed in the middle.
    pub epoch_heights: u64,
    /// How far ahead of its height an upgrade of the rules has to be agreed on, in heights, so that everybody can have
    /// the new build by then.
    pub upgrade_notice_heights: Height,
    /// Share of the base fee that is burned, in percent; the rest goes to the validators by stake.
    pub burn_percent: u8,
}

impl Default for Parameters {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            k_max: 128,
            max_blob_bytes: 4 * 1024 * 1024,
            blobs_per_transaction: 64,
            transactions_per_block: 4_096,
            transaction_blob_bytes: 1024 * 1024,
            block_interval_ms: 1_000,
            idle_interval_ms: 10_000,
            retention_seconds: 30 * DAY,
            trusting_period_seconds: 7 * DAY,
            unbonding_seconds: 21 * DAY,
            validators_limit: 100,
            minimum_stake: 10 * NANO_PER_WEFT,
            slash_percent: 5,
            epoch_heights: 4_096,
            // A day of full blocks, ten of empty ones.
            upgrade_notice_heights: 86_400,
            burn_percent: 50,
        }
    }
}

impl Parameters {
    /// The widest square. [`Genesis::from_json`] refuses parameters that have none.
    pub fn width(&self) -> Width {
        Width::new(self.k_max).unwrap_or(Width::MIN)
    }

    /// What a Tendermint header's `consensus_hash` commits to: SHA-256 of the parameters' JSON.
    pub fn hash(&self) -> Hash {
        Hash::Sha256(erasure::sha256(&serde_json::to_vec(self).unwrap_or_default()))
    }

    /// Refuses parameters that no chain can have: whoever was told some checks them before computing with them.
    pub fn check(&self) -> Result<(), GenesisError> {
        let bad = |field, reason: String| Err(GenesisError::Field { field, reason });
        if let Err(error) = Width::new(self.k_max) {
            return bad("parameters.k_max", error.to_string());
        }
        let square_bytes = self.width().shares() as u64 * erasure::SHARE_BYTES as u64;
        if self.max_blob_bytes == 0 || self.max_blob_bytes > square_bytes {
            let reason =
                format!("must be 1 to the {square_bytes} bytes of a square, got {}", self.max_blob_bytes);
            return bad("parameters.max_blob_bytes", reason);
        }
        if self.trusting_period_seconds >= self.unbonding_seconds {
            return bad(
                "parameters.trusting_period_seconds",
                format!(
                    "must be below unbonding_seconds ({}), or unbonded validators could sign a false chain for free; got {}",
                    self.unbonding_seconds, self.trusting_period_seconds
                ),
            );
        }
        if self.idle_interval_ms < self.block_interval_ms {
            let reason = format!(
                "must be at least block_interval_ms ({}), got {}",
                self.block_interval_ms, self.idle_interval_ms
            );
            return bad("parameters.idle_interval_ms", reason);
        }
        if self.minimum_stake < NANO_PER_WEFT {
            let reason = format!("must be at least one WEFT ({NANO_PER_WEFT}), got {}", self.minimum_stake);
            return bad("parameters.minimum_stake", reason);
        }
        if self.validators_limit > VALIDATORS_LIMIT_MAX {
            let reason = format!("must be 1 to {VALIDATORS_LIMIT_MAX}, got {}", self.validators_limit);
            return bad("parameters.validators_limit", reason);
        }
        if !(2..=EPOCH_HEIGHTS_MAX).contains(&self.epoch_heights) {
            let reason = format!("must be 2 to {EPOCH_HEIGHTS_MAX}, got {}", self.epoch_heights);
            return bad("parameters.epoch_heights", reason);
        }
        let notice = UPGRADE_NOTICE_MIN..=UPGRADE_HORIZON / 2;
        if !notice.contains(&self.upgrade_notice_heights) {
            let (least, most) = notice.into_inner();
            let reason = format!("must be {least} to {most}, got {}", self.upgrade_notice_heights);
            return bad("parameters.upgrade_notice_heights", reason);
        }
        for (field, value) in
            [("parameters.burn_percent", self.burn_percent), ("parameters.slash_percent", self.slash_percent)]
        {
            if value > 100 {
                return bad(field, format!("must be 0 to 100, got {value}"));
            }
        }
        for (field, value) in [
            ("parameters.blobs_per_transaction", self.blobs_per_transaction),
            ("parameters.transactions_per_block", self.transactions_per_block),
            ("parameters.validators_limit", self.validators_limit),
        ] {
            if value == 0 {
                return bad(field, "must be at least 1".into());
            }
        }
        Ok(())
    }
}

/// An account and its first balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// Whose money.
    pub address: Address,
    /// In nano.
    pub balance: Amount,
}

/// A validator of the first set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// For people.
    pub name: String,
    /// ed25519 consensus key, hexadecimal.
    #[serde(with = "hex::serde")]
    pub public_key: [u8; 32],
    /// Voting power, at least 1: whole WEFT that it has bonded at genesis, besides what accounts own.
    pub power: u32,
    /// Account that receives its fees, and whose stake it is.
    pub operator: Address,
    /// BLS12-381 attestation key, hexadecimal; without one it takes no part in certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation_key: Option<AttestationKey>,
}

impl GenesisValidator {
    /// What it has bonded, in nano.
    pub fn stake(&self) -> Amount {
        Amount::from(self.power) * NANO_PER_WEFT
    }

    /// The validator as Tendermint knows it.
    pub fn info(&self) -> Result<validator::Info, GenesisError> {
        let key =
            tendermint::PublicKey::from_raw_ed25519(&self.public_key).ok_or_else(|| GenesisError::Field {
                field: "validators.public_key",
                reason: format!("{} is no ed25519 key", hex::encode(self.public_key)),
            })?;
        Ok(validator::Info::new(key, self.power.into()))
    }
}

/// The chain's beginning, `genesis.json`; the same file on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// 1 to 50 characters: letters, digits, `-`, `_`, `.`.
    pub chain_id: String,
    /// The first header is later than this.
    pub time: Time,
    /// The rules' numbers.
    #[serde(default)]
    pub parameters: Parameters,
    /// First balances.
    pub accounts: Vec<GenesisAccount>,
    /// First validator set.
    pub validators: Vec<GenesisValidator>,
}

impl Genesis {
    /// Reads and checks `genesis.json`.
    pub fn from_json(text: &str) -> Result<Self, GenesisError> {
        let genesis: Self =
            serde_json::from_str(text).map_err(|error| GenesisError::Json(error.to_string()))?;
        genesis.check()?;
        Ok(genesis)
    }

    /// Refuses a genesis that no chain can start from.
    pub fn check(&self) -> Result<(), GenesisError> {
        let bad = |field, reason: String| Err(GenesisError::Field { field, reason });
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.chain_id.is_empty()
            || self.chain_id.len() > CHAIN_ID_CHARS
            || !self.chain_id.chars().all(allowed)
        {
            let reason =
                format!("1 to {CHAIN_ID_CHARS} of letters, digits, '-', '_', '.'; got '{}'", self.chain_id);
            return bad("chain_id", reason);
        }
        self.parameters.check()?;
        let limit = self.parameters.validators_limit as usize;
        if self.validators.len() > limit {
            let got = self.validators.len();
            return bad("validators", format!("at most validators_limit ({limit}), got {got}"));
        }
        let mut keys: Vec<_> = self.validators.iter().map(|v| v.public_key).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() || keys.len() < self.validators.len() {
            return bad("validators", "at least one, each key once".into());
        }
        for validator in &self.validators {
            validator.info()?;
            if validator.power == 0 {
                return bad("validators.power", format!("{} has none; at least 1", validator.name));
            }
        }
        let mut operators: Vec<_> = self.validators.iter().map(|v| v.operator).collect();
        operators.sort_unstable();
        operators.dedup();
        if operators.len() < self.validators.len() {
            return bad("validators.operator", "an account operates one validator".into());
        }
        let keys: Vec<_> = self.validators.iter().filter_map(|v| v.attestation_key).collect();
        if keys.iter().enumerate().any(|(at, key)| keys[..at].contains(key)) {
            return bad("validators.attestation_key", "each key once".into());
        }
        let mut accounts: Vec<_> = self.accounts.iter().map(|a| a.address).collect();
        accounts.sort_unstable();
        accounts.dedup();
        if accounts.len() < self.accounts.len() {
            return bad("accounts", "an address appears twice".into());
        }
        if self.supply().is_none() {
            return bad(
                "accounts.balance",
                format!("the sum of all balances and stake exceeds {} nano", u64::MAX),
            );
        }
        Ok(())
    }

    /// The sum of all balances and all stake, in nano.
    pub fn supply(&self) -> Option<Amount> {
        let stakes = self.validators.iter().map(GenesisValidator::stake);
        let mut all = self.accounts.iter().map(|account| account.balance).chain(stakes);
        all.try_fold(0, Amount::checked_add)
    }

    /// keccak-256 of "weft/genesis/1" and the canonical JSON.
    pub fn hash(&self) -> [u8; 32] {
        let json = serde_json::to_vec(self).unwrap_or_default();
        erasure::keccak256(&[b"weft/genesis/1", json.as_slice()].concat())
    }

    /// What signatures of this chain are bound to.
    pub fn domain(&self) -> Domain {
        Domain::new(&self.chain_id, &self.hash())
    }

    /// The fee market's constants.
    pub fn fee_rules(&self) -> FeeRules {
        FeeRules::new(&self.parameters)
    }

    /// The validator set in Tendermint's order.
    pub fn validator_set(&self) -> Result<validator::Set, GenesisError> {
        let infos = self.validators.iter().map(GenesisValidator::info).collect::<Result<Vec<_>, _>>()?;
        Ok(validator::Set::without_proposer(infos))
    }
}

/// A header that its reader trusts for reasons of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Its height.
    pub height: Height,
    /// Its hash, hexadecimal.
    #[serde(with = "hex::serde")]
    pub hash: [u8; 32],
}

/// `network.toml`: what a light client or a verifying reader starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// The chain's id.
    pub chain_id: String,
    /// [`Genesis::hash`], hexadecimal.
    #[serde(with = "hex::serde")]
    pub genesis_hash: [u8; 32],
    /// How old a trusted header may be.
    pub trusting_period_seconds: u64,
    /// libp2p addresses of nodes to start from, each ending in `/p2p/<peer id>`.
    #[serde(default)]
    pub bootstrap: Vec<String>,
    /// HTTP URLs of nodes.
    #[serde(default)]
    pub api: Vec<String>,
    /// The trusted header.
    pub checkpoint: Checkpoint,
}

impl NetworkConfig {
    /// How far headers may be trusted: the file's period, 10 s of clock drift, and the rules that this crate knows.
    pub fn trust_options(&self) -> TrustOptions {
        TrustOptions {
            trusting_period: Duration::from_secs(self.trusting_period_seconds),
            clock_drift: Duration::from_secs(10),
            newest_rules: RULES_VERSION,
        }
    }

    /// What signatures of this chain are bound to.
    pub fn domain(&self) -> Domain {
        Domain::new(&self.chain_id, &self.genesis_hash)
    }
}

impl std::str::FromStr for Checkpoint {
    type Err = GenesisError;

    /// `height:hash`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |reason: String| GenesisError::Field { field: "checkpoint", reason };
        let (height, hash) = text.split_once(':').ok_or_else(|| bad("write it as height:hash".into()))?;
        Ok(Self {
            height: height.parse().map_err(|_| bad(format!("'{height}' is no height")))?,
            hash: parse(hash).map_err(|error: HexError| bad(error.to_string()))?,
        })
    }
}

/// Why a genesis or a network file cannot be used. Whoever wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// Not the JSON of a genesis.
    #[error("genesis.json: {0}")]
    Json(String),
    /// A field has a value that it cannot have.
    #[error("{field}: {reason}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
}
