//! The one place where the client reads the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tendermint::Time;

use crate::sampler::Millis;

/// Where a client takes the time from: the system, plus what it was told to jump. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicU64>,
}

impl Clock {
    /// Moves the clock ahead, as a machine that slept sees it.
    pub fn jump(&self, by: Duration) {
        self.ahead_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The time, in milliseconds since the Unix epoch.
    pub fn now(&self) -> Millis {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ahead = Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed));
        Millis::default().after(elapsed).after(ahead)
    }

    /// The time as headers have it.
    pub(crate) fn now_in_headers(&self) -> Time {
        let Millis(now) = self.now();
        let seconds = i64::try_from(now / 1_000).unwrap_or(i64::MAX);
        let nanos = (now % 1_000) as u32 * 1_000_000;
        Time::from_unix_timestamp(seconds, nanos).unwrap_or(Time::unix_epoch())
    }
}
