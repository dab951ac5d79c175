//! The one place where the client reads the time.

use std::time::{SystemTime, UNIX_EPOCH};

use tendermint::Time;

use crate::sampler::Millis;

/// The time, in milliseconds since the Unix epoch.
pub(crate) fn now() -> Millis {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    Millis::default().after(elapsed.unwrap_or_default())
}

/// The time as headers have it.
pub(crate) fn now_in_headers() -> Time {
    let Millis(now) = now();
    let seconds = i64::try_from(now / 1_000).unwrap_or(i64::MAX);
    let nanos = (now % 1_000) as u32 * 1_000_000;
    Time::from_unix_timestamp(seconds, nanos).unwrap_or(Time::unix_epoch())
}
