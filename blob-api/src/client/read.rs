//! Reading: what is returned was verified down to a header that follows from the checkpoint.

use std::time::Duration;

use bytes::Bytes;
use chain::{Height, VerifiedHeader};
use erasure::{EntryProof, IndexEntry, Namespace, NamespaceProof, VerifiedNamespace};

use super::{
    Client, ClientError,
    error::{Fault, ProofKind, lied},
    hedge::Node,
    request::{json, read, send},
};
use crate::{
    AbsenceBody, BlobName, NamespaceBody, ProofBody,
    server::{HEIGHT_HEADER, PROOF_HEADER},
};

/// Blobs arrive within this: a block of them over a line of 1 Mbit/s.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// An index entry and the verified header whose data root commits to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEntryAt {
    header: VerifiedHeader,
    entry: IndexEntry,
    proof: EntryProof,
}

impl VerifiedEntryAt {
    pub(super) fn check(header: VerifiedHeader, proof: EntryProof, name: &BlobName) -> Result<Self, Fault> {
        let entry = proof.clone().verify(&header.data_root()).map_err(lied(ProofKind::Entry))?.into_entry();
        if !name.names(&entry) {
            let got = hex::encode(entry.commitment);
            return Err(lied(ProofKind::Entry)(format!("the entry is that of blob {got}, not of {name}")));
        }
        Ok(Self { header, entry, proof })
    }

    /// The block's header.
    pub fn header(&self) -> &VerifiedHeader {
        &self.header
    }

    /// The entry.
    pub fn entry(&self) -> &IndexEntry {
        &self.entry
    }

    /// The proof, for somebody else to check against the header's data root.
    pub fn proof(&self) -> &EntryProof {
        &self.proof
    }
}

/// A blob whose bytes have the commitment of an entry that a verified header commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBlob {
    header: VerifiedHeader,
    entry: IndexEntry,
    bytes: Bytes,
}

impl VerifiedBlob {
    /// The block's height.
    pub fn height(&self) -> Height {
        self.header.height()
    }

    /// The block's header.
    pub fn header(&self) -> &VerifiedHeader {
        &self.header
    }

    /// The blob's entry in the block's index.
    pub fn entry(&self) -> &IndexEntry {
        &self.entry
    }

    /// The blob.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The blob, without the proof that it was checked.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// All entries of a namespace in a block; none where it is proven absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedList {
    header: VerifiedHeader,
    namespace: VerifiedNamespace,
    proof: NamespaceProof,
}

impl VerifiedList {
    /// The block's height.
    pub fn height(&self) -> Height {
        self.header.height()
    }

    /// The block's header.
    pub fn header(&self) -> &VerifiedHeader {
        &self.header
    }

    /// Whose entries.
    pub fn namespace(&self) -> Namespace {
        self.namespace.namespace()
    }

    /// The entries, in the order of the square.
    pub fn entries(&self) -> &[IndexEntry] {
        self.namespace.entries()
    }

    /// The proof, for somebody else to check against the header's data root.
    pub fn proof(&self) -> &NamespaceProof {
        &self.proof
    }
}

/// What a block holds under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The blob.
    Found(VerifiedBlob),
    /// Proven absent: all entries that the namespace has in that block, none of them of this name.
    Absent(VerifiedList),
}

impl Client {
    /// The blob of this commitment, native or foreign, wherever it is.
    pub async fn get(&self, name: impl Into<BlobName>) -> Result<VerifiedBlob, ClientError> {
        self.trust()?;
        let name = &name.into();
        Ok(self.transport.any(|node| self.get_from(node, name)).await?.1)
    }

    /// Height and index entry of the blob of this commitment, native or foreign, without its bytes.
    pub async fn proof(&self, name: impl Into<BlobName>) -> Result<VerifiedEntryAt, ClientError> {
        self.trust()?;
        let name = &name.into();
        Ok(self.transport.any(|node| self.proof_from(node, name)).await?.1)
    }

    /// The first blob of this name in one block and namespace, or the proof that it is not there.
    pub async fn lookup(
        &self,
        height: Height,
        namespace: Namespace,
        name: impl Into<BlobName>,
    ) -> Result<Lookup, ClientError> {
        let (list, name) = (self.list(height, namespace).await?, name.into());
        match list.entries().iter().find(|entry| name.names(entry)) {
            Some(entry) => Ok(Lookup::Found(self.read_entry(&list.header, entry).await?)),
            None => Ok(Lookup::Absent(list)),
        }
    }

    /// All entries of a namespace in a block. An empty list is proven, too.
    pub async fn list(&self, height: Height, namespace: Namespace) -> Result<VerifiedList, ClientError> {
        self.trust()?;
        Ok(self.transport.any(|node| self.list_from(node, height, namespace)).await?.1)
    }

    /// The blobs of a list, in its order.
    pub async fn read(&self, list: &VerifiedList) -> Result<Vec<VerifiedBlob>, ClientError> {
        let bytes = match list.entries() {
            [] => Vec::new(),
            entries => self.transport.any(|node| self.all_from(node, list, entries)).await?.1,
        };
        let blob = |(entry, bytes): (&IndexEntry, Bytes)| VerifiedBlob {
            header: list.header.clone(),
            entry: entry.clone(),
            bytes,
        };
        Ok(list.entries().iter().zip(bytes).map(blob).collect())
    }

    /// All blobs of a list in one answer, checked one by one.
    async fn all_from(
        &self,
        node: Node,
        list: &VerifiedList,
        entries: &[IndexEntry],
    ) -> Result<Vec<Bytes>, Fault> {
        let path = format!("/v1/height/{}/namespace/{}/blobs", list.height(), list.namespace());
        let response = match send(self.transport.get(&node, &path).timeout(READ_TIMEOUT)).await {
            Err(Fault::Answer(detail)) if detail.is_absent() => {
                return Err(lied(ProofKind::Namespace)("called a namespace absent that has entries"));
            }
            response => response?,
        };
        let mut all = read(response, entries.iter().map(|entry| entry.len).sum()).await?;
        let (expected, got) = (entries.iter().map(|entry| entry.len).sum::<u64>(), all.len() as u64);
        if expected != got {
            return Err(Fault::Passing(format!("answered with {got} of {expected} bytes")));
        }
        entries.iter().map(|entry| check_bytes(entry, all.split_to(entry.len as usize))).collect()
    }

    async fn read_entry(
        &self,
        header: &VerifiedHeader,
        entry: &IndexEntry,
    ) -> Result<VerifiedBlob, ClientError> {
        let (_, bytes) = self.transport.any(|node| self.bytes_from(node, entry)).await?;
        Ok(VerifiedBlob { header: header.clone(), entry: entry.clone(), bytes })
    }

    async fn get_from(&self, node: Node, name: &BlobName) -> Result<VerifiedBlob, Fault> {
        let response = send(self.transport.get(&node, &name.path()).timeout(READ_TIMEOUT)).await?;
        let text = |name| {
            let value = response.headers().get(&name).and_then(|value| value.to_str().ok());
            value.ok_or_else(|| Fault::Passing(format!("answered without the header {name}")))
        };
        let height = text(HEIGHT_HEADER)?.parse().map_err(lied(ProofKind::Entry))?;
        let proof = hex::decode(text(PROOF_HEADER)?).map_err(lied(ProofKind::Entry))?;
        let proof = EntryProof::decode(&proof).map_err(lied(ProofKind::Entry))?;
        let header = self.header_from(&node, height).await?;
        let VerifiedEntryAt { header, entry, .. } = VerifiedEntryAt::check(header, proof, name)?;
        let bytes = check_bytes(&entry, read(response, entry.len).await?)?;
        Ok(VerifiedBlob { header, entry, bytes })
    }

    async fn proof_from(&self, node: Node, name: &BlobName) -> Result<VerifiedEntryAt, Fault> {
        let path = format!("{}/proof", name.path());
        let body: ProofBody = json(self.transport.get(&node, &path)).await?;
        let proof = EntryProof::decode(&body.proof.0).map_err(lied(ProofKind::Entry))?;
        let header = self.header_from(&node, body.height).await?;
        VerifiedEntryAt::check(header, proof, name)
    }

    async fn list_from(
        &self,
        node: Node,
        height: Height,
        namespace: Namespace,
    ) -> Result<VerifiedList, Fault> {
        let path = format!("/v1/height/{height}/namespace/{namespace}");
        let proof = match json::<NamespaceBody>(self.transport.get(&node, &path)).await {
            Ok(NamespaceBody { proof, .. }) => proof,
            Err(Fault::Answer(detail)) if detail.is_absent() => match detail.proof {
                Some(AbsenceBody { proof, .. }) => proof,
                None => return Err(lied(ProofKind::Namespace)("said absent, without a proof")),
            },
            Err(fault) => return Err(fault),
        };
        self.check_list(&node, height, namespace, &proof.0).await
    }

    /// Verifies a namespace proof that `node` served, down to a header.
    pub(super) async fn check_list(
        &self,
        node: &Node,
        height: Height,
        namespace: Namespace,
        proof: &[u8],
    ) -> Result<VerifiedList, Fault> {
        let proof = NamespaceProof::decode(proof).map_err(lied(ProofKind::Namespace))?;
        let header = self.header_from(node, height).await?;
        let verified =
            proof.clone().verify(&header.data_root(), namespace).map_err(lied(ProofKind::Namespace))?;
        Ok(VerifiedList { header, namespace: verified, proof })
    }

    async fn bytes_from(&self, node: Node, entry: &IndexEntry) -> Result<Bytes, Fault> {
        let path = format!("/v1/blob/{}", hex::encode(entry.commitment));
        let response = send(self.transport.get(&node, &path).timeout(READ_TIMEOUT)).await?;
        check_bytes(entry, read(response, entry.len).await?)
    }
}

fn check_bytes(entry: &IndexEntry, bytes: Bytes) -> Result<Bytes, Fault> {
    if bytes.len() as u64 != entry.len {
        return Err(lied(ProofKind::Commitment)(format!("{} bytes instead of {}", bytes.len(), entry.len)));
    }
    let got = erasure::blob_commitment(&entry.namespace, &bytes);
    if got != entry.commitment {
        return Err(lied(ProofKind::Commitment)(format!(
            "the bytes have commitment {}, not {}",
            hex::encode(got),
            hex::encode(entry.commitment)
        )));
    }
    Ok(bytes)
}
