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
const TRANSFER_TYPE: &str = "Transfer(address sender,bytes16 salt,uint64 validUntil,uint64 feeCapPerShare,\
                             uint64 tipPerShare,address to,uint64 amount)";

/// The chain that a signature is for: chain id and genesis hash, folded into EIP-712's separator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    separator: [u8; 32],
}

impl Domain {
    /// The domain of the chain `chain_id` that began with the genesis of this hash.
    pub fn new(chain_id: &str, genesis_hash: &[u8; 32]) -> Self {
        let salt = keccak256(&[b"weft/chain/1", &genesis_hash[..], chain_id.as_bytes()].concat());
        let separator = Words::of_type(DOMAIN_TYPE).bytes(b"Weft").bytes(b"1").word(salt).hash();
        Self { separator }
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

    /// An array of structs: the hash of their hashes.
    fn array(self, hashes: impl Iterator<Item = [u8; 32]>) -> Self {
        self.bytes(&hashes.flatten().collect::<Vec<u8>>())
    }

    /// Unsigned numbers and addresses: right-aligned.
    fn right(self, bytes: &[u8]) -> Self {
        let mut word = [0; 32];
        word[32 - bytes.len()..].copy_from_slice(bytes);
        self.word(word)
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
            Action::SubmitBlobs { blobs } => {
                common(Words::of_type(&[SUBMIT_TYPE, BLOB_TYPE, FOREIGN_TYPE].concat()))
                    .array(blobs.iter().map(blob_hash))
                    .hash()
            }
            Action::Transfer { to, amount } => {
                common(Words::of_type(TRANSFER_TYPE)).right(to.as_bytes()).number(*amount).hash()
            }
        };
        domain.digest(hash)
    }
}
