//! A chain whose validators' keys are in the test's hands.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chain::{Checkpoint, LightBlock, NetworkConfig};
use ed25519_consensus::SigningKey;
use erasure::{
    BlobMeta, CommittedSquare, Index, Namespace, OriginalSquare, SHARE_BYTES, Width, blob_commitment, sha256,
    transaction_blob,
};
use tendermint::block::header::Version;
use tendermint::block::parts::Header as PartSetHeader;
use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{Commit, CommitSig, Header, Id, Round};
use tendermint::vote::{Type, ValidatorIndex, Vote};
use tendermint::{Hash, PublicKey, Signature, Time, account, validator};

pub(crate) const CHAIN: &str = "weft-test";

/// How long ago the first block was made; blocks are a second apart.
pub(crate) const AGE: Duration = Duration::from_secs(3_600);

#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) square: Arc<CommittedSquare>,
    pub(crate) light: LightBlock,
}

/// Blocks 1, 2, 3 …
pub(crate) struct Chain {
    pub(crate) blocks: Vec<Block>,
    start: Time,
    /// Validators that join, and leave, with each block.
    rotating: u8,
    /// `version.app` of the next headers.
    pub(crate) rules: u64,
}

const VALIDATORS: u8 = 4;

impl Chain {
    pub(crate) fn new() -> Self {
        Self::rotating(0)
    }

    /// A chain whose set changes by so many of its four validators with each block.
    pub(crate) fn rotating(rotating: u8) -> Self {
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - AGE;
        Self {
            blocks: Vec::new(),
            start: Time::from_unix_timestamp(start.as_secs() as i64, 0).unwrap(),
            rotating,
            rules: 1,
        }
    }

    /// A chain of blocks of these widths.
    pub(crate) fn of(widths: &[u32]) -> Self {
        let mut chain = Self::new();
        for (i, k) in widths.iter().enumerate() {
            chain.push(square(*k, i as u8));
        }
        chain
    }

    /// The same chain up to a height, to be continued otherwise by the same validators.
    pub(crate) fn fork(&self, height: usize) -> Self {
        Self { blocks: self.blocks[..height].to_vec(), ..*self }
    }

    pub(crate) fn push(&mut self, square: Arc<CommittedSquare>) -> &Block {
        let light = self.sign(square.data_root());
        self.blocks.push(Block { square, light });
        self.blocks.last().unwrap()
    }

    pub(crate) fn height(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// Block `height`; the latest if it is 0.
    pub(crate) fn block(&self, height: u64) -> Option<&Block> {
        let height = if height == 0 { self.height() } else { height };
        self.blocks.get(usize::try_from(height).unwrap().checked_sub(1)?)
    }

    pub(crate) fn checkpoint(&self, height: u64) -> Checkpoint {
        let light = &self.block(height).unwrap().light;
        let Hash::Sha256(hash) = light.signed_header.header.hash() else { panic!("no hash") };
        Checkpoint { height, hash }
    }

    pub(crate) fn network_config(&self, checkpoint: u64) -> NetworkConfig {
        NetworkConfig {
            chain_id: CHAIN.to_owned(),
            genesis_hash: [7; 32],
            trusting_period_seconds: 7 * 24 * 3_600,
            bootstrap: Vec::new(),
            api: Vec::new(),
            checkpoint: self.checkpoint(checkpoint),
        }
    }

    fn keys(&self, height: u64) -> Vec<SigningKey> {
        let first = height as u8 * self.rotating;
        let keys = (first..first + VALIDATORS).map(|i| SigningKey::from([i + 1; 32]));
        let mut keys: Vec<_> = keys.collect();
        keys.sort_by_key(|key| account::Id::from(public(key)));
        keys
    }

    fn set(&self, height: u64) -> validator::Set {
        let keys = self.keys(height);
        let infos = keys.iter().map(|key| validator::Info::new(public(key), 10_u32.into()));
        validator::Set::without_proposer(infos.collect())
    }

    /// The next light block, with this data root.
    pub(crate) fn sign(&self, data_root: [u8; 32]) -> LightBlock {
        let height = self.height() + 1;
        let (keys, validators, next_validators) = (self.keys(height), self.set(height), self.set(height + 1));
        let last = self.blocks.last().map(|block| &block.light.signed_header.commit);
        let time = (self.start + Duration::from_secs(height)).unwrap();
        let empty = Some(Hash::Sha256(sha256(&[])));
        let header = Header {
            version: Version { block: 11, app: self.rules },
            chain_id: CHAIN.try_into().unwrap(),
            height: height.try_into().unwrap(),
            time,
            last_block_id: last.map(|commit| commit.block_id),
            last_commit_hash: empty,
            data_hash: Some(Hash::Sha256(data_root)),
            validators_hash: validators.hash(),
            next_validators_hash: next_validators.hash(),
            consensus_hash: chain::Parameters::default().hash(),
            app_hash: vec![4; 32].try_into().unwrap(),
            last_results_hash: empty,
            evidence_hash: empty,
            proposer_address: account::Id::from(public(&keys[0])),
        };
        let block_id =
            Id { hash: header.hash(), part_set_header: PartSetHeader::new(1, header.hash()).unwrap() };
        let signatures = keys.iter().enumerate().map(|(index, key)| {
            let vote = Vote {
                vote_type: Type::Precommit,
                height: header.height,
                round: Round::default(),
                block_id: Some(block_id),
                timestamp: Some(time),
                validator_address: account::Id::from(public(key)),
                validator_index: ValidatorIndex::try_from(index).unwrap(),
                signature: None,
                extension: Vec::new(),
                extension_signature: None,
            };
            let signed = key.sign(&vote.into_signable_vec(header.chain_id.clone()));
            CommitSig::BlockIdFlagCommit {
                validator_address: account::Id::from(public(key)),
                timestamp: time,
                signature: Signature::new(signed.to_bytes()).unwrap(),
            }
        });
        let commit = Commit {
            height: header.height,
            round: Round::default(),
            block_id,
            signatures: signatures.collect(),
        };
        LightBlock { signed_header: SignedHeader::new(header, commit).unwrap(), validators, next_validators }
    }
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_raw_ed25519(key.verification_key().as_bytes()).unwrap()
}

/// The square of these blobs.
pub(crate) fn square_of(blobs: &[(Namespace, &[u8])]) -> Arc<CommittedSquare> {
    let metas = blobs.iter().map(|(namespace, bytes)| BlobMeta {
        namespace: *namespace,
        commitment: blob_commitment(namespace, bytes),
        len: bytes.len() as u64,
        signer: [5; 20],
        foreign: Vec::new(),
    });
    let transactions = transaction_blob(&[]);
    let placement = Index::place(&transactions, metas.collect(), Width::MAX).unwrap();
    let ordered: Vec<&[u8]> = placement.order.iter().map(|&i| blobs[i].1).collect();
    let square = OriginalSquare::build(&placement, &transactions, &ordered).unwrap();
    Arc::new(square.commit(placement.index))
}

/// A full square of this width.
pub(crate) fn square(k: u32, fill: u8) -> Arc<CommittedSquare> {
    let width = Width::new(k).unwrap();
    let bytes: Vec<u8> = (0..width.shares() * SHARE_BYTES).map(|i| (i / 11) as u8 ^ fill).collect();
    let placement = Index::place(&transaction_blob(&[]), Vec::new(), Width::MAX).unwrap();
    let square = OriginalSquare::from_shares(width, &bytes).unwrap();
    Arc::new(square.commit(placement.index))
}
