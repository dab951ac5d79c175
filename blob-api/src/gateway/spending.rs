//! What the gateway's key may spend: a cap over a sliding window, kept in a file across restarts.
//!
//! ```text
//!  reserve (the most it may cost) ─▶ signed and sent ─▶ settle (what the node says it cost, or nothing)
//! ```
//!
//! A reservation is on disk before anything is signed away; one whose end nobody learned counts in full until it
//! leaves the window. The window slides in sixtieths and counts a sixtieth too long rather than too short.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chain::Amount;
use serde::{Deserialize, Serialize};

/// Parts that a window slides by.
const SLOTS: u64 = 60;

/// The most that may be spent within any span of time as long as the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpendingCap {
    /// In nano.
    pub limit: Amount,
    /// Seconds to days; shorter than a minute counts as a minute.
    pub window: Duration,
}

impl SpendingCap {
    fn slot_seconds(&self) -> u64 {
        (self.window.as_secs() / SLOTS).max(1)
    }
}

/// Why nothing may be spent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpendingError {
    /// Wait, or raise the cap.
    #[error(
        "the spending cap is {limit} nano in {window_seconds} s, {spent} of it is spent or promised and this may cost \
         {needed}: {}", advice(.retry_after)
    )]
    Cap {
        /// The cap, in nano.
        limit: Amount,
        /// The cap's window.
        window_seconds: u64,
        /// What is spent or promised already, in nano.
        spent: Amount,
        /// What was asked for, in nano.
        needed: Amount,
        /// When there is room; none where there never is.
        retry_after: Option<Duration>,
    },
    /// The record could not be read or written; nothing is spent that would not be remembered.
    #[error("spending record {path}: {reason}")]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Two gateways with one record would each spend the whole cap.
    #[error(
        "spending record {path}: another gateway uses it; stop that one, or give this one its own --state"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

fn advice(retry_after: &Option<Duration>) -> String {
    match retry_after {
        Some(wait) => format!("retry in {} s, or raise --spend-limit", wait.as_secs()),
        None => "one submission alone is over the cap: raise --spend-limit".to_owned(),
    }
}

/// Seconds since 1970 at which a slot starts, and what was spent in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Slots(BTreeMap<u64, Amount>);

impl Slots {
    /// What is spent within the window that ends now; forgets what is older.
    fn spent(&mut self, now: u64, cap: &SpendingCap) -> Amount {
        self.0.retain(|start, _| start + leaves_after(cap) > now);
        self.0.values().fold(0, |sum, nano| sum.saturating_add(*nano))
    }

    fn reserve(&mut self, now: u64, cap: &SpendingCap, needed: Amount) -> Result<u64, SpendingError> {
        let spent = self.spent(now, cap);
        if spent.saturating_add(needed) > cap.limit {
            let retry_after = self.room_after(now, cap, needed);
            let (limit, window_seconds) = (cap.limit, cap.window.as_secs());
            return Err(SpendingError::Cap { limit, window_seconds, spent, needed, retry_after });
        }
        let start = now - now % cap.slot_seconds();
        let slot = self.0.entry(start).or_default();
        *slot = slot.saturating_add(needed);
        Ok(start)
    }

    /// How long until enough has left the window.
    fn room_after(&self, now: u64, cap: &SpendingCap, needed: Amount) -> Option<Duration> {
        let mut left = self.0.values().fold(0, |sum: Amount, nano| sum.saturating_add(*nano));
        self.0.iter().find_map(|(start, nano)| {
            left = left.saturating_sub(*nano);
            let wait = Duration::from_secs((start + leaves_after(cap)).saturating_sub(now));
            (left.saturating_add(needed) <= cap.limit).then_some(wait)
        })
    }

    fn give_back(&mut self, slot: u64, unspent: Amount) {
        if let Some(nano) = self.0.get_mut(&slot) {
            *nano = nano.saturating_sub(unspent);
        }
    }
}

/// Seconds from a slot's start until all of it is older than the window.
fn leaves_after(cap: &SpendingCap) -> u64 {
    cap.window.as_secs().max(SLOTS) + cap.slot_seconds()
}

/// The record of what was spent, under a cap. One at a time holds a file.
#[derive(Debug)]
pub struct Spending {
    cap: SpendingCap,
    path: PathBuf,
    slots: Mutex<Slots>,
    _lock: File,
}

/// What a submission under way may cost at most.
#[derive(Debug)]
pub(super) struct Reservation {
    slot: u64,
    nano: Amount,
}

impl Spending {
    /// Opens the record at `path`, or starts one.
    ///
    /// # Errors
    /// The file cannot be read or written, is damaged, or another gateway holds it.
    pub fn open(path: &Path, cap: SpendingCap) -> Result<Self, SpendingError> {
        let path = path.to_owned();
        let bad = |reason: String| SpendingError::Record { path: path.clone(), reason };
        let lock = File::create(path.with_extension("lock")).map_err(|error| bad(error.to_string()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpendingError::InUse { path }),
            Err(TryLockError::Error(error)) => return Err(bad(error.to_string())),
        }
        let slots = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                bad(format!("{error}; if nothing was spent lately, move it away and start again"))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Slots::default(),
            Err(error) => return Err(bad(error.to_string())),
        };
        let spending = Self { cap, path: path.clone(), slots: Mutex::new(slots), _lock: lock };
        spending.change(|_| Ok(()))?;
        Ok(spending)
    }

    /// What is spent or promised within the window, in nano.
    pub fn spent(&self) -> Amount {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).spent(now(), &self.cap)
    }

    /// Promises `nano`, durably.
    pub(super) fn reserve(&self, nano: Amount) -> Result<Reservation, SpendingError> {
        let slot = self.change(|slots| slots.reserve(now(), &self.cap, nano))?;
        Ok(Reservation { slot, nano })
    }

    /// Replaces a promise by what was charged.
    pub(super) fn settle(&self, reservation: &Reservation, charged: Amount) {
        let unspent = reservation.nano.saturating_sub(charged);
        if let Err(error) = self.change(|slots| {
            slots.give_back(reservation.slot, unspent);
            Ok(())
        }) {
            // The file then says too much, which is the safe side.
            tracing::warn!(%error, "could not record what was not spent");
        }
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Slots) -> Result<T, SpendingError>,
    ) -> Result<T, SpendingError> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = slots.clone();
        let result = change(&mut changed)?;
        self.write(&changed)
            .map_err(|error| SpendingError::Record { path: self.path.clone(), reason: error.to_string() })?;
        *slots = changed;
        Ok(result)
    }

    /// A new file takes the old one's place, so that a crash leaves one of the two; the folder is synced, so that it
    /// leaves the new one once this has returned.
    fn write(&self, slots: &Slots) -> std::io::Result<()> {
        let fresh = self.path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(slots)?)?;
        file.sync_data()?;
        fs::rename(fresh, &self.path)?;
        sync_folder_of(&self.path)
    }
}

#[cfg(unix)]
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Elsewhere a folder cannot be opened.
#[cfg(not(unix))]
fn sync_folder_of(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]
    use super::*;

    const HOUR: SpendingCap = SpendingCap { limit: 100, window: Duration::from_secs(3600) };

    #[test]
    fn the_window_slides_and_tells_when_there_is_room() {
        let mut slots = Slots::default();
        slots.reserve(6_000, &HOUR, 60).unwrap();
        let later = slots.reserve(7_800, &HOUR, 40).unwrap();
        let Err(SpendingError::Cap { spent, retry_after, .. }) = slots.reserve(8_000, &HOUR, 30) else {
            panic!("over the cap");
        };
        // The slot that starts at 6,000 leaves an hour and a minute later.
        assert_eq!((spent, retry_after.unwrap().as_secs()), (100, 6_000 + 3_660 - 8_000));
        slots.give_back(later, 30);
        slots.reserve(8_000, &HOUR, 30).unwrap();
        assert!(slots.reserve(9_659, &HOUR, 1).is_err());
        slots.reserve(9_660, &HOUR, 60).unwrap();
        match slots.reserve(9_660, &HOUR, 101) {
            Err(error @ SpendingError::Cap { retry_after: None, .. }) => {
                assert!(error.to_string().contains("alone is over the cap"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_spent_survives_a_restart_and_is_held_by_one_gateway() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spending.json");
        let spending = Spending::open(&path, HOUR).unwrap();
        assert!(matches!(Spending::open(&path, HOUR), Err(SpendingError::InUse { .. })));
        let reservation = spending.reserve(90).unwrap();
        spending.settle(&reservation, 20);
        spending.reserve(50).unwrap();
        drop(spending);
        let spending = Spending::open(&path, HOUR).unwrap();
        assert_eq!(spending.spent(), 70);
        assert!(matches!(spending.reserve(31), Err(SpendingError::Cap { spent: 70, needed: 31, .. })));
        drop(spending);
        fs::write(&path, "{").unwrap();
        assert!(matches!(Spending::open(&path, HOUR), Err(SpendingError::Record { .. })));
    }
}
