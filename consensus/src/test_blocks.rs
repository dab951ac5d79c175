//! Headers for unit tests.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use tendermint::block::Header;
use tendermint::block::header::Version;
use tendermint::{AppHash, Hash, Time, account};

pub(crate) const CHAIN_ID: &str = "weft-test";

/// A header that `variant` tells from others of its height.
pub(crate) fn header(height: u32, variant: u8) -> Header {
    Header {
        version: Version { block: 11, app: 1 },
        chain_id: CHAIN_ID.parse().unwrap(),
        height: height.into(),
        time: Time::from_unix_timestamp(1_700_000_000 + i64::from(height), 5).unwrap(),
        last_block_id: None,
        last_commit_hash: None,
        data_hash: Some(Hash::Sha256([variant; 32])),
        validators_hash: Hash::Sha256([1; 32]),
        next_validators_hash: Hash::Sha256([1; 32]),
        consensus_hash: Hash::Sha256([1; 32]),
        app_hash: AppHash::try_from(vec![2; 32]).unwrap(),
        last_results_hash: None,
        evidence_hash: None,
        proposer_address: account::Id::new([3; 20]),
    }
}
