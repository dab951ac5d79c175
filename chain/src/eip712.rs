//! The EIP-712 digest of a payload, so that wallets and key services can sign it.
//!
//! Domain: `EIP712Domain(string name,string version,bytes32 salt)` with name `Weft`, version `1` and
//! salt = keccak256("weft/chain/1" ‖ genesis hash ‖ chain id). The digest is the transaction's id.

use erasure::keccak256;

use crate::transaction::{Action, BlobHeader, Payload};

const DOMAIN_TYPE: &str = "EIP712Domain(string name,string version,bytes32 salt)";
const FOREIGN_TYPE: &str = "Foreign(uint8 kind,bytes32 value)";
const BLOB_TYPE: &str = "Blob(bytes namespace,bytes32 commitment,uint64 length,Foreign[] foreign)";
const SUBMIT_TYPE: &str = "SubmitBlobs(address sender,bytes16 salt,uint64 validUntil,uint64 feeCapPerShare,\
                           uint64 tipPerShare,Blob[] blobs)";
const SUBMIT_RESERVED_TYPE: &str = "SubmitReserved(address sender,bytes16 salt,uint64 validUntil,\
                                    uint64 feeCapPerShare,uint64 tipPerShare,bytes32 reservation,Blob[] blobs)";
const TRANSFER_TYPE: &str = "Transfer(address sender,bytes16 salt,uint64 validUntil,uint64 feeCapPerShare,\
                             uint64 tipPerShare,address to,uint64 amount)";
const RESERVE_TYPE: &str = "Reserve(address sender,bytes16 salt,uint64 validUntil,uint64 feeCapPerShare,\
                            uint64 tipPerShare,uint64 rate,uint64 blocks,address[] signers,uint64 priceCap)";
const EXTEND_TYPE: &str = "ExtendReservation(address sender,bytes16 salt,uint64 validUntil,\
                           uint64 feeCapPerShare,uint64 tipPerShare,bytes32 reservation,uint64 blocks,\
                           uint64 priceCap)";

const BOND_TYPE: &str = "Bond(address sender,bytes16 salt,uint64 validUntil,uint64 feeCapPerShare,\
                         uint64 tipPerShare,uint64 stake,bytes consensusKey,bytes consensusProof,\
                         bytes attestationKey,bytes attestationProof)";
const UNBOND_TYPE: &str = "Unbond(address sender,bytes16 salt,uint64 validUntil,uint64 feeCapPerShare,\
                           uint64 tipPerShare,uint64 stake)";
const SIGNAL_TYPE: &str = "Signal(address sender,bytes16 salt,uint64 validUntil,uint64 feeCapPerShare,\
                           uint64 tipPerShare,uint64 version,uint64 height)";
const EVIDENCE_TYPE: &str = "Evidence(address sender,bytes16 salt,uint64 validUntil,uint64 feeCapPerShare,\
                             uint64 tipPerShare,bytes evidence)";

/// The chain that a signature is for: chain id and genesis hash, folded into EIP-712's separator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    chain: [u8; 32],
    separator: [u8; 32],
}

impl Domain {
    /// The domain of the chain `chain_id` that began with the genesis of this hash.
    pub fn new(chain_id: &str, genesis_hash: &[u8; 32]) -> Self {
        let chain = keccak256(&[b"weft/chain/1", &genesis_hash[..], chain_id.as_bytes()].concat());
        let separator = Words::of_type(DOMAIN_TYPE).bytes(b"Weft").bytes(b"1").word(chain).hash();
        Self { chain, separator }
    }

    /// keccak-256 of chain id and genesis hash: EIP-712's salt, and the chain in certificates.
    pub fn chain(&self) -> &[u8; 32] {
        &self.chain
    }

    /// EIP-712's domain separator.
    pub fn separator(&self) -> &[u8; 32] {
        &self.separator
    }

    fn digest(&self, struct_hash: [u8; 32]) -> [u8; 32] {
        keccak256(&[&[0x19, 0x01], &self.separator[..], &struct_hash[..]].concat())
    }
}

/// `encodeData` of EIP-712: 32-byte words after the type's hash.
struct Words(Vec<u8>);

impl Words {
    fn of_type(signature: &str) -> Self {
        Self(keccak256(signature.as_bytes()).to_vec())
    }

    fn word(mut self, word: [u8; 32]) -> Self {
        self.0.extend_from_slice(&word);
        self
    }

    /// `bytes` and `string`: their hash.
    fn bytes(self, bytes: &[u8]) -> Self {
        self.word(keccak256(bytes))
    }

    /// An array: the hash of its elements' words, which for structs are their hashes.
    fn array(self, hashes: impl Iterator<Item = [u8; 32]>) -> Self {
        self.bytes(&hashes.flatten().collect::<Vec<u8>>())
    }

    fn right(self, bytes: &[u8]) -> Self {
        self.word(right_aligned(bytes))
    }

    /// `bytesN`: left-aligned.
    fn left(self, bytes: &[u8]) -> Self {
        let mut word = [0; 32];
        word[..bytes.len()].copy_from_slice(bytes);
        self.word(word)
    }

    fn number(self, number: u64) -> Self {
        self.right(&number.to_be_bytes())
    }

    fn hash(self) -> [u8; 32] {
        keccak256(&self.0)
    }
}

/// Unsigned numbers and addresses as a word.
fn right_aligned(bytes: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    word[32 - bytes.len()..].copy_from_slice(bytes);
    word
}

fn blob_hash(blob: &BlobHeader) -> [u8; 32] {
    let foreign =
        blob.foreign.iter().map(|f| Words::of_type(FOREIGN_TYPE).number(f.kind as u64).word(f.value).hash());
    Words::of_type(&[BLOB_TYPE, FOREIGN_TYPE].concat())
        .bytes(blob.namespace.as_bytes())
        .word(blob.commitment)
        .number(blob.len)
        .array(foreign)
        .hash()
}

impl Payload {
    /// What is signed, and the transaction's id.
    pub(crate) fn digest(&self, domain: &Domain) -> [u8; 32] {
        let common = |words: Words| {
            words
                .right(self.sender.as_bytes())
                .left(&self.salt)
                .number(self.valid_until)
                .number(self.fee_cap)
                .number(self.tip)
        };
        let hash = match &self.action {
            Action::SubmitBlobs { blobs, reservation } => {
                let submit = if reservation.is_some() { SUBMIT_RESERVED_TYPE } else { SUBMIT_TYPE };
                let words = common(Words::of_type(&[submit, BLOB_TYPE, FOREIGN_TYPE].concat()));
                let words = reservation.iter().fold(words, |words, id| words.word(id.0));
                words.array(blobs.iter().map(blob_hash)).hash()
            }
            Action::Transfer { to, amount } => {
                common(Words::of_type(TRANSFER_TYPE)).right(to.as_bytes()).number(*amount).hash()
            }
            Action::Reserve { rate, blocks, signers, price_cap } => common(Words::of_type(RESERVE_TYPE))
                .number(*rate)
                .number(*blocks)
                .array(signers.iter().map(|signer| right_aligned(signer.as_bytes())))
                .number(*price_cap)
                .hash(),
            Action::ExtendReservation { reservation, blocks, price_cap } => {
                common(Words::of_type(EXTEND_TYPE))
                    .word(reservation.0)
                    .number(*blocks)
                    .number(*price_cap)
                    .hash()
            }
            Action::Bond { stake, keys } => {
                let words = common(Words::of_type(BOND_TYPE)).number(*stake);
                let parts: [&[u8]; 4] = keys.as_deref().map_or([&[]; 4], |keys| {
                    [&keys.consensus, &keys.consensus_proof, &keys.attestation, &keys.attestation_proof]
                });
                parts.into_iter().fold(words, Words::bytes).hash()
            }
            Action::Unbond { stake } => common(Words::of_type(UNBOND_TYPE)).number(*stake).hash(),
            Action::Evidence(evidence) => {
                common(Words::of_type(EVIDENCE_TYPE)).bytes(&evidence.encode()).hash()
            }
            Action::Signal(upgrade) => {
                let (version, height) = upgrade.map_or((0, 0), |upgrade| (upgrade.version, upgrade.height));
                common(Words::of_type(SIGNAL_TYPE)).number(version).number(height).hash()
            }
        };
        domain.digest(hash)
    }
}
