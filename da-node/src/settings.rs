//! Tables of `node.toml`: who may use the API and how much, and what the operator is told of.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use blob_api::Rate;
use chain::{Address, Amount, ReservationId};
use serde::{Deserialize, Serialize};

use crate::home::Home;

/// A setting that is text with a meaning, or not there.
pub(crate) mod text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// `[api]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Requests a second from one address, twice as many at once; 0 is no limit. Too low: busy clients see 429.
    pub requests_per_second: u32,
    /// Requests being answered at once. Too low: clients see 429.
    pub concurrent_requests: usize,
    /// Submissions and pieces of the largest size being received at once, each with its body in memory; smaller ones
    /// take less of a place, down to a 64th. Too low: clients see 429.
    pub concurrent_submissions: usize,
    /// Streams open at once. Too low: followers see 429.
    pub streams: usize,
    /// Snapshots of the state being given out at once; 0 gives out none. Too low: new nodes wait, or ask others.
    pub snapshots: usize,
    /// File that holds the token for `/v1/operator/…`, relative to the node's folder. Without it that is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_token_file: Option<PathBuf>,
    /// Origins that browsers may ask from; `*` for all. With none, there is no CORS.
    pub origins: Vec<String>,
    /// What one WEFT is worth, as `0.35 usd`; clients may ask for prices in these units.
    pub rates: Vec<Rate>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        let config = blob_api::Config::default();
        Self {
            requests_per_second: config.requests_per_second,
            concurrent_requests: config.concurrent_requests,
            concurrent_submissions: config.concurrent_submissions,
            streams: config.concurrent_followers,
            snapshots: 1,
            operator_token_file: None,
            origins: Vec::new(),
            rates: Vec::new(),
        }
    }
}

impl ApiConfig {
    /// The server's settings, with the token from its file.
    pub(crate) fn server(&self, home: &Home) -> Result<blob_api::Config> {
        let token = |file: &PathBuf| {
            let path = home.path("").join(file);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("operator_token_file: cannot read {}", path.display()))?;
            let token = text.trim().to_owned();
            ensure!(
                !token.is_empty(),
                "operator_token_file: {} is empty; write a token to it",
                path.display()
            );
            Ok(token)
        };
        Ok(blob_api::Config {
            requests_per_second: self.requests_per_second,
            concurrent_requests: self.concurrent_requests,
            concurrent_submissions: self.concurrent_submissions,
            concurrent_followers: self.streams,
            operator_token: self.operator_token_file.as_ref().map(token).transpose()?,
            origins: self.origins.clone(),
            rates: self.rates.clone(),
            ..blob_api::Config::default()
        })
    }
}

/// `[alarms]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmConfig {
    /// Told of every alarm as it is raised and cleared, by POST of JSON; plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// Accounts to watch, each a `[[alarms.watch]]`.
    pub watch: Vec<Watch>,
}

/// What to watch of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Whose.
    pub account: Address,
    /// Alarm when the balance is below, in nano.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_below: Option<Amount>,
    /// Alarm when no block included a transaction of the account for so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_for_seconds: Option<u64>,
    /// A reservation to watch, with `ending_within_blocks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<ReservationId>,
    /// Alarm when the reservation is over, or will be in so many blocks.
    #[serde(default = "an_hour")]
    pub ending_within_blocks: u64,
}

/// Blocks of an hour under load.
fn an_hour() -> u64 {
    3_600
}
