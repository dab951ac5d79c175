//! Extended squares kept in memory for serving; the oldest used goes first.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chain::Height;
use erasure::CommittedSquare;
use lru::LruCache;

/// Bytes of extended cells kept: three squares of the default limit.
const CACHE_BYTES: usize = 100 << 20;

/// Squares kept at most, however small.
const CACHE_SQUARES: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The cache, and a lock so that one square is rebuilt at a time.
#[derive(Debug)]
pub(crate) struct Squares {
    kept: Mutex<LruCache<Height, Arc<CommittedSquare>>>,
    loading: Mutex<()>,
}

impl Default for Squares {
    fn default() -> Self {
        Self { kept: Mutex::new(LruCache::new(CACHE_SQUARES)), loading: Mutex::new(()) }
    }
}

fn bytes(square: &CommittedSquare) -> usize {
    square.width().shares() * 4 * erasure::SHARE_BYTES
}

impl Squares {
    fn kept(&self) -> MutexGuard<'_, LruCache<Height, Arc<CommittedSquare>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a square.
    pub(crate) fn insert(&self, height: Height, square: Arc<CommittedSquare>) {
        let mut kept = self.kept();
        kept.put(height, square);
        while kept.len() > 1 && kept.iter().map(|(_, square)| bytes(square)).sum::<usize>() > CACHE_BYTES {
            kept.pop_lru();
        }
    }

    /// The square at `height`, loaded once if it is not kept.
    pub(crate) fn get_or_load<E>(
        &self,
        height: Height,
        load: impl FnOnce() -> Result<Option<Arc<CommittedSquare>>, E>,
    ) -> Result<Option<Arc<CommittedSquare>>, E> {
        if let Some(square) = self.kept().get(&height) {
            return Ok(Some(square.clone()));
        }
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(square) = self.kept().get(&height) {
            return Ok(Some(square.clone()));
        }
        let loaded = load()?;
        if let Some(square) = &loaded {
            self.insert(height, square.clone());
        }
        Ok(loaded)
    }
}
