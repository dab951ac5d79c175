//! The one place where the node reads the time.

use std::time::{SystemTime, UNIX_EPOCH};

use tendermint::Time;

/// The time as headers have it.
pub(crate) fn now() -> Time {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX);
    Time::from_unix_timestamp(seconds, elapsed.subsec_nanos()).unwrap_or(Time::unix_epoch())
}
