//! Blocks that no validator should have signed.

use std::{sync::Arc, time::Duration};

use chain::{Action, BlobHeader, Block, Candidate, Height, LightBlock, Payload, Transaction};
use erasure::{Axis, CommittedSquare, Coordinates, ForeignKind, Index, OriginalSquare};
use tendermint::{Hash, block::signed_header::SignedHeader};

use super::grid::{Cells, Grid};
use crate::{
    storage::Store,
    test_chain::{FEE_CAP, TestChain, blob, key, namespace},
};

/// What a block is wrong in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    SplitCell,
    BadEncoding,
    Checkerboard,
    ForgedIndex,
    MisplacedBlob,
    BadPadding,
    FalseForeign,
    FalseKzg,
}

impl Wrong {
    pub(super) const ALL: [Self; 8] = [
        Self::SplitCell,
        Self::BadEncoding,
        Self::Checkerboard,
        Self::ForgedIndex,
        Self::MisplacedBlob,
        Self::BadPadding,
        Self::FalseForeign,
        Self::FalseKzg,
    ];
}

/// A square as its producers serve it.
pub(super) enum Published {
    Square(Arc<CommittedSquare>),
    Grid(Box<Grid>),
}

impl Published {
    fn data_root(&self) -> [u8; 32] {
        match self {
            Self::Square(square) => square.data_root(),
            Self::Grid(grid) => grid.data_root(),
        }
    }

    pub(super) fn sample(&self, at: Coordinates) -> Option<Vec<u8>> {
        match self {
            Self::Square(square) => square.sample(at).map(|sample| sample.encode()),
            Self::Grid(grid) => grid.sample(at),
        }
    }

    pub(super) fn line(&self, axis: Axis, index: usize) -> Option<Vec<u8>> {
        match self {
            Self::Square(square) => square.line(axis, index).map(|line| line.encode()),
            Self::Grid(grid) => grid.line(axis, index),
        }
    }
}

/// A signed block with what its producers serve of it.
pub(super) struct Signed {
    pub(super) block: Block,
    pub(super) light: LightBlock,
    pub(super) square: Published,
}

fn flip(cell: &mut [u8; 512]) {
    cell[9] ^= 1;
}

/// The documented encoding: protobuf, field 1 repeated, behind its length.
fn transaction_blob(transactions: &[Transaction]) -> Vec<u8> {
    let mut list = Vec::new();
    for transaction in transactions {
        prost::encoding::bytes::encode(1, &transaction.encode(), &mut list);
    }
    erasure::transaction_blob(&list)
}

/// The square of any transactions and bodies, as a proposer lays it out who checks neither.
fn lay_out(chain: &TestChain, block: &Block, bodies: &[&[u8]]) -> CommittedSquare {
    let placement = chain::place(&chain.genesis, block).unwrap();
    let bodies: Vec<_> = placement.order.iter().map(|at| bodies[*at]).collect();
    let list = transaction_blob(&block.transactions);
    OriginalSquare::build(&placement, &list, &bodies).unwrap().commit(placement.index)
}

/// Makes the next block of a chain, signs it by all validators, and makes it the head. It is wrong in `wrong`, or
/// right.
pub(super) fn sign(chain: &mut TestChain, store: &Store, height: Height, wrong: Option<Wrong>) -> Signed {
    let candidates = [
        chain.transaction(1, height as u8, 100, vec![blob(9, vec![1; 3_000]), blob(2, vec![2; 100])]),
        chain.transaction(2, height as u8, 100, vec![blob(2, vec![3; 5_000])]),
    ];
    sign_of(chain, store, &candidates, wrong)
}

/// The same of a right block that is 16 shares wide.
pub(super) fn sign_wide(chain: &mut TestChain, store: &Store, height: Height) -> Signed {
    let bytes = (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let candidates = [chain.transaction(1, height as u8, 100, vec![blob(9, bytes)])];
    sign_of(chain, store, &candidates, None)
}

fn sign_of(chain: &mut TestChain, store: &Store, candidates: &[Candidate], wrong: Option<Wrong>) -> Signed {
    let mut valid = chain.propose(store, candidates, Duration::from_secs(1));
    let square = valid.square.clone().unwrap();
    let index = valid.placement.index.clone();
    let changed = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = square.original().into_bytes();
        change(&mut bytes);
        let original = OriginalSquare::from_shares(square.width(), &bytes).unwrap();
        Published::Square(Arc::new(original.commit(index.clone())))
    };
    let grid = |change: &dyn Fn(&mut Cells)| Published::Grid(Box::new(Grid::new(&square, change)));
    let square = match wrong {
        None => Published::Square(square),
        Some(Wrong::SplitCell) => grid(&|cells| flip(&mut cells.by_column[7][7])),
        Some(Wrong::BadEncoding) => grid(&|cells| {
            flip(&mut cells.by_row[1][6]);
            flip(&mut cells.by_column[1][6]);
        }),
        Some(Wrong::Checkerboard) => grid(&|Cells { by_row, by_column }| {
            let n = by_row.len();
            for (row, column) in (0..n).flat_map(|row| (0..n).map(move |column| (row, column))) {
                let under = if (row + column) % 2 == 0 { &mut *by_row } else { &mut *by_column };
                flip(&mut under[row][column]);
            }
        }),
        Some(Wrong::ForgedIndex) => {
            let metas = index.entries()[1..].iter().map(|entry| erasure::BlobMeta {
                namespace: entry.namespace,
                commitment: entry.commitment,
                len: entry.len,
                signer: [7; 20],
                foreign: entry.foreign.clone(),
            });
            let list = transaction_blob(&valid.block.transactions);
            let forged =
                Index::place(&list, metas.collect(), chain.genesis.parameters.width()).unwrap().index;
            Published::Square(Arc::new(square.original().commit(forged)))
        }
        Some(Wrong::MisplacedBlob) => {
            let start = index.entries()[1].start as usize;
            changed(&|bytes| bytes[start * 512] ^= 1)
        }
        Some(Wrong::BadPadding) => changed(&|bytes| *bytes.last_mut().unwrap() ^= 1),
        Some(Wrong::FalseForeign) => {
            let bytes = [5; 700];
            let mut header = BlobHeader::describe(namespace(4), &bytes, &[ForeignKind::Keccak256], &[]);
            header.foreign[0].value[0] ^= 1;
            valid.block.transactions = vec![submission(chain, header, Vec::new())];
            Published::Square(Arc::new(lay_out(chain, &valid.block, &[&bytes])))
        }
        Some(Wrong::FalseKzg) => {
            let (bytes, other) = (chunk(5), chunk(6));
            let opening = open(&other);
            let header = BlobHeader::describe(
                namespace(4),
                &bytes,
                &[ForeignKind::Eip4844],
                std::slice::from_ref(&opening),
            );
            valid.block.transactions = vec![submission(chain, header, vec![opening])];
            Published::Square(Arc::new(lay_out(chain, &valid.block, &[&bytes])))
        }
    };
    valid.block.header.data_hash = Some(Hash::Sha256(square.data_root()));
    let body = valid.proposal(&chain.genesis).body_hash();
    valid.block.header.evidence_hash = Some(body);
    let commit = chain.decide(&valid);
    let validators = chain.genesis.validator_set().unwrap();
    let light = LightBlock {
        signed_header: SignedHeader::new(valid.block.header.clone(), commit).unwrap(),
        next_validators: validators.clone(),
        validators,
    };
    Signed { block: valid.block, light, square }
}

fn submission(chain: &TestChain, blob: BlobHeader, kzg: Vec<chain::KzgOpening>) -> Transaction {
    let action = Action::SubmitBlobs { blobs: vec![blob], reservation: None };
    let sender = key(3).address();
    let payload = Payload { sender, salt: [9; 16], valid_until: 100, fee_cap: FEE_CAP, tip: 0, action };
    key(3).sign(payload, kzg, &chain.genesis.domain()).unwrap()
}

/// 131,072 bytes that are field elements.
fn chunk(fill: u8) -> Vec<u8> {
    (0..131_072).map(|i| if i % 32 == 0 { 0 } else { fill }).collect()
}

fn open(bytes: &[u8]) -> chain::KzgOpening {
    let opening = super::super::find::open(c_kzg::ethereum_kzg_settings(0), 0, bytes).unwrap();
    chain::KzgOpening { commitment: opening.commitment, proof: opening.proof }
}
