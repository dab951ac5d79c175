//! Parts of blobs, and the blobs of a transaction.

use std::ops::Range;

use bytes::Bytes;
use chain::{Payload, Transaction, TxId, VerifiedHeader};
use erasure::{EntryProof, IndexEntry, RangeProof, SHARE_BYTES};

use super::{
    Client, ClientError, VerifiedEntryAt,
    error::{Fault, ProofKind, lied},
    hedge::Node,
    request::json,
    submit::{check_height, is_entry_of},
};
use crate::{BlobName, RangeBody, TxBlobsBody, server::shares_of};

/// A part of a blob: the bytes that a verified header commits to at the blob's place. The commitment of the whole
/// blob was not recomputed; that its place holds it, validators checked, and anybody who sees otherwise can prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPart {
    header: VerifiedHeader,
    entry: IndexEntry,
    offset: u64,
    bytes: Bytes,
}

impl VerifiedPart {
    /// The block's header.
    pub fn header(&self) -> &VerifiedHeader {
        &self.header
    }

    /// The blob's entry in the block's index.
    pub fn entry(&self) -> &IndexEntry {
        &self.entry
    }

    /// The first byte, counted from the blob's beginning.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Client {
    /// Bytes `range` of the blob of this commitment, 1 byte to 1 MiB, with the shares that hold them proven and no
    /// others fetched.
    pub async fn read_part(
        &self,
        commitment: [u8; 32],
        range: Range<u64>,
    ) -> Result<VerifiedPart, ClientError> {
        self.trust()?;
        let range = &range;
        Ok(self.transport.any(|node| self.part_from(node, commitment, range)).await?.1)
    }

    /// Where the blobs of a transaction are, in the order in which it announces them. The transaction is checked
    /// against the id, and each entry against what it announces. That the blobs are in that block is proven; that this
    /// very transaction brought them there is not.
    pub async fn transaction_blobs(&self, id: TxId) -> Result<Vec<VerifiedEntryAt>, ClientError> {
        self.trust()?;
        Ok(self.transport.any(|node| self.transaction_blobs_from(node, id)).await?.1)
    }

    async fn part_from(
        &self,
        node: Node,
        commitment: [u8; 32],
        range: &Range<u64>,
    ) -> Result<VerifiedPart, Fault> {
        let (offset, len) = (range.start, range.end.saturating_sub(range.start));
        let path = format!("/v1/blob/{}/range?offset={offset}&len={len}", hex::encode(commitment));
        let body: RangeBody = json(self.transport.get(&node, &path)).await?;
        let proof = EntryProof::decode(&body.entry_proof.0).map_err(lied(ProofKind::Entry))?;
        let header = self.header_from(&node, body.height).await?;
        let at = VerifiedEntryAt::check(header, proof, &BlobName::Commitment(commitment))?;
        let (header, entry) = (at.header().clone(), at.entry().clone());
        let shares = RangeProof::decode(&body.range_proof.0)
            .map(|proof| proof.verify(&header.data_root(), shares_of(&entry, range)))
            .map_err(lied(ProofKind::Range))?
            .map_err(lied(ProofKind::Range))?;
        let first = (offset % SHARE_BYTES as u64) as usize;
        let bytes = shares.bytes().get(first..first + len as usize).filter(|_| range.end <= entry.len);
        let bytes = bytes.ok_or_else(|| lied(ProofKind::Range)("the range leaves the blob"))?;
        if bytes != body.data.0 {
            return Err(lied(ProofKind::Range)("the bytes are not those that the proof holds"));
        }
        Ok(VerifiedPart { header, entry, offset, bytes: Bytes::copy_from_slice(bytes) })
    }

    async fn transaction_blobs_from(&self, node: Node, id: TxId) -> Result<Vec<VerifiedEntryAt>, Fault> {
        let domain = self.trust().map_err(Fault::Final)?.network.domain();
        let body: TxBlobsBody = json(self.transport.get(&node, &format!("/v1/tx/{id}/blobs"))).await?;
        let transaction = Transaction::decode(&body.transaction.0).map_err(lied(ProofKind::Inclusion))?;
        let got = transaction.id(&domain);
        if got != id {
            return Err(lied(ProofKind::Inclusion)(format!("the transaction is {got}, not {id}")));
        }
        if body.blobs.len() != transaction.blobs().len() {
            let (expected, got) = (transaction.blobs().len(), body.blobs.len());
            return Err(lied(ProofKind::Inclusion)(format!("{got} entries of {expected} blobs")));
        }
        let Payload { sender, valid_until, .. } = &transaction.payload;
        check_height(body.height, *valid_until).map_err(lied(ProofKind::Inclusion))?;
        let header = self.header_from(&node, body.height).await?;
        let mut entries: Vec<VerifiedEntryAt> = Vec::with_capacity(body.blobs.len());
        for (announced, blob) in transaction.blobs().iter().zip(&body.blobs) {
            let proof = EntryProof::decode(&blob.proof.0).map_err(lied(ProofKind::Entry))?;
            let name = BlobName::Commitment(announced.commitment);
            let at = VerifiedEntryAt::check(header.clone(), proof, &name)?;
            if at.entry().signer != *sender.as_bytes() {
                return Err(lied(ProofKind::Inclusion)("an entry is of another signer"));
            }
            if !is_entry_of(at.entry(), announced, sender) {
                // The signer's other submission of the same blob in that block, which a node may have found first.
                return Err(Fault::Passing("proved an entry with other foreign commitments".into()));
            }
            if entries.iter().any(|other| other.entry().start == at.entry().start) {
                return Err(lied(ProofKind::Inclusion)("an entry stands for two blobs"));
            }
            entries.push(at);
        }
        Ok(entries)
    }
}
