//! Squares from transactions and bodies.

use std::{num::NonZeroUsize, sync::Arc};

use erasure::{CommittedSquare, Committer, OriginalSquare, Placement};

use crate::block::{BlockError, Candidate};

/// Builds squares, and has the last one at hand for whoever asks for the same again.
///
/// A validator that has arranged its own pool holds the proposal's square already, if the proposer's pool held the same.
/// An index commits to every byte of a square, so equal indexes are equal squares.
#[derive(Debug)]
pub struct SquareBuilder {
    committer: Committer,
    last: Option<Arc<CommittedSquare>>,
}

impl SquareBuilder {
    /// A builder that works on this many threads, the caller's among them.
    pub fn new(threads: NonZeroUsize) -> Self {
        Self { committer: Committer::new(threads), last: None }
    }

    /// The square of these transactions' blobs.
    pub(crate) fn build(
        &mut self,
        placement: &Placement,
        transaction_blob: &[u8],
        candidates: &[Candidate],
    ) -> Result<Arc<CommittedSquare>, BlockError> {
        if let Some(last) = self.last.as_ref().filter(|last| *last.index() == placement.index) {
            return Ok(last.clone());
        }
        let blobs: Vec<_> = candidates.iter().flat_map(Candidate::blobs).collect();
        let missing = || BlockError::Square("a blob's bytes are missing".into());
        let ordered = placement
            .order
            .iter()
            .map(|&at| blobs.get(at).map(|blob| &blob.bytes()[..]).ok_or_else(missing))
            .collect::<Result<Vec<_>, _>>()?;
        let original = OriginalSquare::build(placement, transaction_blob, &ordered)
            .map_err(|error| BlockError::Square(error.to_string()))?;
        // Before new memory is taken.
        self.last.take().into_iter().for_each(|last| self.recycle(last));
        let square = Arc::new(self.committer.commit(&original, placement.index.clone()));
        self.last = Some(square.clone());
        Ok(square)
    }

    /// Takes the memory of a square that nobody else uses any more, for the next one.
    pub fn recycle(&mut self, square: Arc<CommittedSquare>) {
        if let Some(square) = Arc::into_inner(square) {
            self.committer.recycle(square);
        }
    }
}
