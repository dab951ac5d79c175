//! Certificates: more than two thirds of an epoch's attesters say in one signature that a block is final and that they
//! rebuilt its square.
//!
//! ```text
//!  AttestationData ─ Attestation::sign ─▶ Attestation ─ verify ─▶ VerifiedAttestation ┐
//!                                                                              Tally ─┴─▶ Certificate
//!  Certificate ─ verify ─▶ Certified ─┬─ VerifiedHeader::certified: a header without its commit
//!                                     ├─ HistoryProof::verify: the data roots of earlier heights
//!                                     └─ hand_over: the next epoch's attesters
//! ```
//!
//! Signed message: `"weft/attest/1" ‖ chain: 32 ‖ height: u64 ‖ time: u64 ‖ header hash ‖ data root ‖ history root ‖
//! attesters' hash ‖ next attesters' hash`, numbers big-endian, time in seconds since 1970 rounded down, `chain` as
//! [`Domain::chain`], the last hash zero while the next attesters are not fixed. The history root is the root of the
//! keccak tree over `height: u64 BE ‖ data root` of the epoch's heights up to this one.
//!
//! An honest attester signs one message a height: two are [`Evidence`](crate::Evidence).

use std::{collections::BTreeMap, sync::Arc};

use erasure::{Digest, KeccakFrontier, KeccakTree, keccak_root_of_range};
use tendermint::{Hash, block::Header};

use crate::{
    Height,
    attesters::Attesters,
    bls::{AttestationKey, AttestationSecret, AttestationSignature, BlsError, KeyPoint},
    codec::{DecodeError, fixed},
    eip712::Domain,
};

/// Separates attestations from everything else that the keys sign.
const ATTEST_DOMAIN: &[u8] = b"weft/attest/1";

/// Bytes of [`AttestationData::encode`].
const DATA_BYTES: usize = 2 * 8 + 5 * 32;

/// Most bytes of a bitmap: more attesters than any set of validators has members.
const BITMAP_BYTES: usize = 128;

/// Heights that one [`HistoryProof`] is decoded with at most: 2 MiB of data roots.
const HISTORY_LIMIT: usize = 65_536;

/// What attesters sign of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttestationData {
    /// The block's height.
    pub height: Height,
    /// Its header's time in seconds since 1970, rounded down.
    pub time: u64,
    /// Its header's hash.
    pub header: Digest,
    /// Its data root.
    pub data_root: Digest,
    /// Root over the epoch's data roots up to this height's.
    pub history_root: Digest,
    /// [`Attesters::hash`] of those who attest in this epoch.
    pub attesters: Digest,
    /// [`Attesters::hash`] of those of the next epoch; zero before the epoch's middle.
    pub next_attesters: Digest,
}

impl AttestationData {
    /// What is said of the block with this header; `history` is the epoch's before it.
    pub fn new(
        header: &Header,
        mut history: KeccakFrontier,
        attesters: Digest,
        next_attesters: Option<Digest>,
    ) -> Option<Self> {
        let Hash::Sha256(hash) = header.hash() else { return None };
        let Some(Hash::Sha256(data_root)) = header.data_hash else { return None };
        let height = header.height.value();
        history.push(&history_leaf(height, &data_root));
        Some(Self {
            height,
            time: u64::try_from(header.time.unix_timestamp()).unwrap_or(0),
            header: hash,
            data_root,
            history_root: history.root(),
            attesters,
            next_attesters: next_attesters.unwrap_or_default(),
        })
    }

    /// The bytes that are signed.
    pub fn message(&self, domain: &Domain) -> Vec<u8> {
        [ATTEST_DOMAIN, domain.chain(), &self.encode()].concat()
    }

    /// height: u64 BE ‖ time: u64 BE ‖ the five hashes: 176 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let hashes =
            [&self.header, &self.data_root, &self.history_root, &self.attesters, &self.next_attesters];
        let numbers = [self.height.to_be_bytes(), self.time.to_be_bytes()].concat();
        hashes.into_iter().fold(numbers, |bytes, hash| [&bytes[..], hash].concat())
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes: [u8; DATA_BYTES] = fixed("attestation.data", bytes)?;
        let hash = |at: usize| fixed("attestation.data", &bytes[16 + 32 * at..][..32]);
        Ok(Self {
            height: u64::from_be_bytes(fixed("attestation.height", &bytes[..8])?),
            time: u64::from_be_bytes(fixed("attestation.time", &bytes[8..16])?),
            header: hash(0)?,
            data_root: hash(1)?,
            history_root: hash(2)?,
            attesters: hash(3)?,
            next_attesters: hash(4)?,
        })
    }
}

/// A leaf of the history: height: u64 BE ‖ data root.
pub(crate) fn history_leaf(height: Height, data_root: &Digest) -> Vec<u8> {
    [&height.to_be_bytes()[..], data_root].concat()
}

/// One attester's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// What was signed.
    pub data: AttestationData,
    /// Whose place among the attesters.
    pub attester: u32,
    /// The signature.
    pub signature: AttestationSignature,
}

impl Attestation {
    /// Bytes of every attestation.
    pub const BYTES: usize = DATA_BYTES + 4 + 48;

    /// Signs; the caller remembers for which heights it did, durably, before the signature leaves.
    pub fn sign(data: AttestationData, attester: u32, secret: &AttestationSecret, domain: &Domain) -> Self {
        Self { signature: secret.attest(&data.message(domain)), data, attester }
    }

    /// data ‖ attester: u32 BE ‖ signature: 48.
    pub fn encode(&self) -> Vec<u8> {
        [&self.data.encode()[..], &self.attester.to_be_bytes(), &self.signature.to_bytes()].concat()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes: [u8; Self::BYTES] = fixed("attestation", bytes)?;
        let (data, rest) = bytes.split_at(DATA_BYTES);
        let (attester, signature) = rest.split_at(4);
        Ok(Self {
            data: AttestationData::decode(data)?,
            attester: u32::from_be_bytes(fixed("attestation.attester", attester)?),
            signature: signature_of("attestation.signature", signature)?,
        })
    }

    /// Checks the signature with the key that `attesters` have in this place, whatever it says.
    pub fn verify(
        self,
        domain: &Domain,
        attesters: &Attesters,
    ) -> Result<VerifiedAttestation, CertificateError> {
        let count = attesters.members().len();
        let key = attesters.points().get(self.attester as usize);
        let key = key.ok_or(CertificateError::NoAttester { attester: self.attester, count })?;
        self.signature.verify(&self.data.message(domain), key).map_err(CertificateError::Signature)?;
        Ok(VerifiedAttestation(self))
    }
}

fn signature_of(field: &'static str, bytes: &[u8]) -> Result<AttestationSignature, DecodeError> {
    AttestationSignature::from_bytes(&fixed(field, bytes)?)
        .map_err(|error| DecodeError::Field { field, reason: error.to_string() })
}

/// The key's owner signed `data`; for what is shown outside of any set, as evidence is.
pub(crate) fn check_attested(
    key: &AttestationKey,
    data: &AttestationData,
    signature: &AttestationSignature,
    domain: &Domain,
) -> Result<(), BlsError> {
    signature.verify(&data.message(domain), &KeyPoint::of(key)?)
}

/// An attestation with its attester's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedAttestation(Attestation);

impl VerifiedAttestation {
    /// The attestation.
    pub fn attestation(&self) -> &Attestation {
        &self.0
    }
}

/// Attestations of one block, on their way to a certificate.
#[derive(Clone, Debug)]
pub struct Tally {
    data: AttestationData,
    attesters: Arc<Attesters>,
    signatures: BTreeMap<u32, AttestationSignature>,
    power: u64,
}

impl Tally {
    /// No attestation yet; none if others attest.
    pub fn new(data: AttestationData, attesters: Arc<Attesters>) -> Option<Self> {
        let fits = data.attesters == attesters.hash();
        fits.then(|| Self { data, attesters, signatures: BTreeMap::new(), power: 0 })
    }

    /// What is attested.
    pub fn data(&self) -> &AttestationData {
        &self.data
    }

    /// Whose attestations count.
    pub fn attesters(&self) -> &Attesters {
        &self.attesters
    }

    /// The signature of the attester in this place.
    pub fn signature(&self, attester: u32) -> Option<&AttestationSignature> {
        self.signatures.get(&attester)
    }

    /// Counts an attestation; whether it is of this block and its attester's first.
    pub fn add(&mut self, verified: &VerifiedAttestation) -> bool {
        let Attestation { data, attester, signature } = verified.attestation();
        let member = self.attesters.members().get(*attester as usize).filter(|_| *data == self.data);
        let Some(member) = member.filter(|_| !self.signatures.contains_key(attester)) else { return false };
        self.power = self.power.saturating_add(member.power);
        self.signatures.insert(*attester, *signature);
        true
    }

    /// The certificate, once more than two thirds of the attesters' power signed.
    pub fn certificate(&self) -> Option<Certificate> {
        if !is_quorum(self.power, self.attesters.power()) {
            return None;
        }
        let mut signers = vec![0u8; self.attesters.members().len().div_ceil(8)];
        for at in self.signatures.keys() {
            signers[*at as usize / 8] |= 1 << (at % 8);
        }
        // Only attesters who chose their keys together to that end can make the sum infinity: then there is none.
        let signature = AttestationSignature::sum(self.signatures.values()).ok()?;
        Some(Certificate { data: self.data, signers, signature })
    }
}

fn is_quorum(power: u64, of: u64) -> bool {
    u128::from(power) * 3 > u128::from(of) * 2
}

/// The aggregated signature of more than two thirds of the attesters; nothing has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What they signed.
    pub data: AttestationData,
    /// Bit i % 8 (of value 1 << i % 8) of byte i / 8 is set if the attester in place i signed.
    pub signers: Vec<u8>,
    /// The sum of their signatures.
    pub signature: AttestationSignature,
}

impl Certificate {
    /// data: 176 ‖ signature: 48 ‖ signers.
    pub fn encode(&self) -> Vec<u8> {
        [&self.data.encode()[..], &self.signature.to_bytes(), &self.signers].concat()
    }

    /// Reads what [`Self::encode`] wrote; at most 352 bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let short =
            || DecodeError::Length { field: "certificate", expected: DATA_BYTES + 48, got: bytes.len() };
        let (data, rest) = bytes.split_at_checked(DATA_BYTES).ok_or_else(short)?;
        let (signature, signers) = rest.split_at_checked(48).ok_or_else(short)?;
        if signers.len() > BITMAP_BYTES {
            let (limit, got) = (BITMAP_BYTES, signers.len());
            return Err(DecodeError::TooMany { field: "certificate.signers", limit, got });
        }
        Ok(Self {
            data: AttestationData::decode(data)?,
            signers: signers.to_vec(),
            signature: signature_of("certificate.signature", signature)?,
        })
    }

    /// Whether the attester in this place signed.
    pub fn signed(&self, attester: usize) -> bool {
        self.signers.get(attester / 8).is_some_and(|byte| byte >> (attester % 8) & 1 == 1)
    }

    /// How many signed.
    pub fn signer_count(&self) -> u32 {
        self.signers.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Checks that more than two thirds of the power of `attesters` signed.
    pub fn verify(self, domain: &Domain, attesters: &Attesters) -> Result<Certified, CertificateError> {
        if self.data.attesters != attesters.hash() {
            return Err(CertificateError::OtherAttesters { height: self.data.height });
        }
        let count = attesters.members().len();
        let beyond = (count..self.signers.len() * 8).any(|at| self.signed(at));
        if self.signers.len() != count.div_ceil(8) || beyond {
            return Err(CertificateError::Bitmap { count });
        }
        let signing = || (0..count).filter(|at| self.signed(*at));
        let power = signing().fold(0u64, |sum, at| sum.saturating_add(attesters.members()[at].power));
        if !is_quorum(power, attesters.power()) {
            return Err(CertificateError::TooLittle { power, of: attesters.power() });
        }
        let key = KeyPoint::sum(signing().map(|at| &attesters.points()[at]));
        let key = key.map_err(CertificateError::Signature)?;
        self.signature.verify(&self.data.message(domain), &key).map_err(CertificateError::Signature)?;
        Ok(Certified { certificate: self, power })
    }
}

/// A certificate whose signature holds, for attesters that the caller trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    certificate: Certificate,
    power: u64,
}

impl Certified {
    /// What more than two thirds of the attesters signed.
    pub fn data(&self) -> &AttestationData {
        &self.certificate.data
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The power that signed.
    pub fn power(&self) -> u64 {
        self.power
    }

    /// The next epoch's attesters, if these are they.
    pub fn hand_over(&self, next: Attesters) -> Result<Attesters, CertificateError> {
        if self.data().next_attesters != next.hash() {
            return Err(CertificateError::NoHandover { height: self.data().height });
        }
        Ok(next)
    }
}

/// Data roots of consecutive heights, as one certificate of a later height of the same epoch covers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryProof {
    /// The epoch's first height.
    pub first: Height,
    /// The height of the first data root.
    pub from: Height,
    /// The data roots.
    pub data_roots: Vec<Digest>,
    /// The nodes of the tree that they do not give, bottom up, left before right.
    pub siblings: Vec<Digest>,
}

impl HistoryProof {
    /// The proof for `data_roots[from - first ..][.. count]` under the certificate of the last of `data_roots`, which are
    /// the epoch's from `first` on; none if they do not hold the range.
    pub fn new(first: Height, data_roots: &[Digest], from: Height, count: usize) -> Option<Self> {
        let start = usize::try_from(from.checked_sub(first)?).ok()?;
        let range = start..start.checked_add(count).filter(|_| count > 0)?;
        let proven = data_roots.get(range.clone())?.to_vec();
        let leaves = (first..).zip(data_roots).map(|(height, root)| history_leaf(height, root));
        Some(Self { first, from, data_roots: proven, siblings: KeccakTree::new(leaves).siblings(range) })
    }

    /// Checks the data roots against a certificate.
    pub fn verify(self, certified: &Certified) -> Result<VerifiedHistory, CertificateError> {
        let bad = CertificateError::History { height: certified.data().height };
        let count = certified.data().height.checked_sub(self.first).and_then(|count| count.checked_add(1));
        let start = self.from.checked_sub(self.first);
        let (Some(count), Some(start)) = (count, start) else { return Err(bad) };
        let (Ok(count), Ok(start)) = (usize::try_from(count), usize::try_from(start)) else {
            return Err(bad);
        };
        if start.checked_add(self.data_roots.len()).is_none_or(|end| end > count) {
            return Err(bad);
        }
        let leaves = (self.from..).zip(&self.data_roots).map(|(height, root)| history_leaf(height, root));
        match keccak_root_of_range(count, start, leaves, &self.siblings) {
            Some(root) if root == certified.data().history_root => {
                Ok(VerifiedHistory { from: self.from, data_roots: self.data_roots })
            }
            _ => Err(bad),
        }
    }

    /// first: u64 ‖ from: u64 ‖ count: u32 ‖ data roots ‖ siblings, numbers big-endian.
    pub fn encode(&self) -> Vec<u8> {
        [
            &self.first.to_be_bytes()[..],
            &self.from.to_be_bytes(),
            &(self.data_roots.len() as u32).to_be_bytes(),
            self.data_roots.as_flattened(),
            self.siblings.as_flattened(),
        ]
        .concat()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let short = || DecodeError::Length { field: "history", expected: 20, got: bytes.len() };
        let (numbers, hashes) = bytes.split_first_chunk::<20>().ok_or_else(short)?;
        let count = u32::from_be_bytes(fixed("history.count", &numbers[16..])?) as usize;
        if count > HISTORY_LIMIT {
            return Err(DecodeError::TooMany { field: "history", limit: HISTORY_LIMIT, got: count });
        }
        let (hashes, rest) = hashes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() < count || hashes.len() > count + 128 {
            return Err(DecodeError::Length {
                field: "history",
                expected: 20 + 32 * count,
                got: bytes.len(),
            });
        }
        let (data_roots, siblings) = hashes.split_at(count);
        Ok(Self {
            first: u64::from_be_bytes(fixed("history.first", &numbers[..8])?),
            from: u64::from_be_bytes(fixed("history.from", &numbers[8..16])?),
            data_roots: data_roots.to_vec(),
            siblings: siblings.to_vec(),
        })
    }
}

/// Data roots that a certificate covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedHistory {
    from: Height,
    data_roots: Vec<Digest>,
}

impl VerifiedHistory {
    /// Heights with their data roots, ascending.
    pub fn data_roots(&self) -> impl Iterator<Item = (Height, &Digest)> {
        (self.from..).zip(&self.data_roots)
    }
}

/// Why an attestation or a certificate is none. Whoever made or passed it on is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Signed by others than those that were to check it.
    #[error("the certificate of height {height} is by other attesters than those of its epoch")]
    OtherAttesters {
        /// The height.
        height: Height,
    },
    /// No such attester.
    #[error("there is no attester {attester} among {count}")]
    NoAttester {
        /// The place.
        attester: u32,
        /// How many there are.
        count: usize,
    },
    /// Not one bit for each attester.
    #[error(
        "the signers' bitmap is not that of {count} attesters: a byte for each eight, bits past the last are zero"
    )]
    Bitmap {
        /// How many there are.
        count: usize,
    },
    /// Not more than two thirds.
    #[error("attesters with {power} of {of} votes signed; more than two thirds are needed")]
    TooLittle {
        /// Votes that signed.
        power: u64,
        /// Votes in all.
        of: u64,
    },
    /// The signature is not theirs for this chain and block.
    #[error("certificate: {0}")]
    Signature(BlsError),
    /// The certificate names others as the next attesters, or none yet.
    #[error("the certificate of height {height} does not hand over to these attesters")]
    NoHandover {
        /// The height.
        height: Height,
    },
    /// The data roots do not lead to the certificate's history root.
    #[error("the certificate of height {height} does not cover these data roots")]
    History {
        /// The height.
        height: Height,
    },
    /// The header is another one than the certificate's, or lacks what headers have.
    #[error("the certificate of height {height} is for another header")]
    OtherHeader {
        /// The height.
        height: Height,
    },
}
