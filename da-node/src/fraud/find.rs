//! What is wrong with a whole square.

use std::sync::Arc;

use c_kzg::KzgSettings;
use chain::{Block, Height, KzgOpening};
use erasure::{
    CommittedSquare, FalseForeign, ForeignKind, FraudProof, FraudRules as _, Placement, RepairedSquare,
    WrongIndex, foreign::eip4844_versioned_hash,
};

use crate::node::{Node, NodeError};

/// Bytes of an EIP-4844 blob.
const KZG_CHUNK_BYTES: usize = 131_072;

/// What became of a square.
#[derive(Debug)]
pub(crate) enum Judged {
    /// It is right.
    Right(Arc<CommittedSquare>),
    /// It is proven wrong, and this node is halted.
    Wrong,
}

impl Node {
    /// Judges the square of a committed block. Hashes all of it: not for an async thread.
    pub(crate) fn judge(
        &self,
        height: Height,
        block: &Block,
        placement: &Placement,
        square: CommittedSquare,
    ) -> Result<Judged, NodeError> {
        let found = FraudProof::find(&square, &self.genesis.parameters)
            .or_else(|| self.false_kzg(block, placement, &square).map(FraudProof::FalseForeign));
        match found {
            Some(proof) if self.accuse(height, &proof)? => Ok(Judged::Wrong),
            _ => Ok(Judged::Right(Arc::new(square))),
        }
    }

    /// Judges a square that was rebuilt from cells, and whose index has to be that of the block's transactions.
    pub(crate) fn judge_rebuilt(
        &self,
        height: Height,
        block: &Block,
        placement: &Placement,
        square: RepairedSquare,
    ) -> Result<Judged, NodeError> {
        let wrong_index = WrongIndex::of(&square).map(FraudProof::WrongIndex);
        match square.commit(placement.index.clone()) {
            Ok(square) => self.judge(height, block, placement, square),
            Err(_) => match wrong_index {
                Some(proof) if self.accuse(height, &proof)? => Ok(Judged::Wrong),
                // It is a valid block's square, with other transactions than validators decided and applied.
                _ => Err(NodeError::OtherTransactions(height)),
            },
        }
    }

    /// A KZG commitment in the index that is not that of the blob's bytes. Those whose opening in the
    /// transaction holds are right; the others are computed anew.
    fn false_kzg(
        &self,
        block: &Block,
        placement: &Placement,
        square: &CommittedSquare,
    ) -> Option<FalseForeign> {
        let openings = openings(block);
        let entries = square.index().entries().iter().enumerate().skip(1);
        entries.zip(&placement.order).find_map(|((position, entry), at)| {
            let values = entry.foreign.iter().filter(|foreign| foreign.kind == ForeignKind::Eip4844);
            let values: Vec<_> = values.map(|foreign| foreign.value).collect();
            let bytes = (!values.is_empty()).then(|| square.blob_bytes(entry)).flatten()?;
            let claimed = openings.get(*at)?;
            bytes.chunks_exact(KZG_CHUNK_BYTES).zip(&values).enumerate().find_map(
                |(chunk, (bytes, value))| {
                    let holds = claimed.get(chunk).is_some_and(|KzgOpening { commitment, proof }| {
                        eip4844_versioned_hash(commitment) == *value
                            && self.genesis.parameters.kzg_opens(bytes, commitment, proof)
                    });
                    if holds {
                        return None;
                    }
                    let right = open(c_kzg::ethereum_kzg_settings(0), chunk, bytes)?;
                    FalseForeign::opened(square, position, right)
                },
            )
        })
    }
}

/// The openings that transactions carry, for each blob in their order.
fn openings(block: &Block) -> Vec<Vec<KzgOpening>> {
    let of_transaction = |transaction: &chain::Transaction| {
        let mut rest = transaction.kzg.clone().into_iter();
        let counts = transaction
            .blobs()
            .iter()
            .map(|blob| blob.foreign.iter().filter(|foreign| foreign.kind == ForeignKind::Eip4844).count());
        counts.map(|count| rest.by_ref().take(count).collect()).collect::<Vec<_>>()
    };
    block.transactions.iter().flat_map(of_transaction).collect()
}

/// The right commitment of a chunk; none where it is no list of field elements.
pub(super) fn open(settings: &KzgSettings, chunk: usize, bytes: &[u8]) -> Option<erasure::KzgOpening> {
    let blob = c_kzg::Blob::from_bytes(bytes).ok()?;
    let commitment = settings.blob_to_kzg_commitment(&blob).ok()?.to_bytes();
    let proof = settings.compute_blob_kzg_proof(&blob, &commitment).ok()?.to_bytes();
    Some(erasure::KzgOpening {
        chunk: u8::try_from(chunk).ok()?,
        commitment: commitment.into_inner(),
        proof: proof.into_inner(),
    })
}
