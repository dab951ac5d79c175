//! Fraud proofs of every kind, and the same made of a valid block, as well as can be.

use erasure::{
    Axis, BadEncoding, CommittedSquare, Digest, ForeignKind, FraudKind, FraudProof, IndexEntry, SplitCell,
    WrongIndex,
};

use crate::{
    adversary::{Proposal, Rules, Wrong, meta},
    oracle,
    support::{at, noise},
};

/// Three shares of four: the transaction blob's, and one blob of two with a hash.
pub(crate) fn smallest() -> Proposal {
    let bytes = noise(700, 5);
    Proposal { metas: vec![meta(7, &bytes, &[ForeignKind::Sha256])], blobs: vec![bytes] }
}

/// A proof of each kind, of bad encoding through either axis and both, with the root it is for.
pub(crate) fn proofs() -> Vec<(String, FraudProof, Digest)> {
    let (honest, mut proofs) = (smallest(), Vec::new());
    let split = Wrong::new(&honest, |grid| grid.by_column[3][1][5] ^= 1);
    let samples = [Axis::Row, Axis::Column].map(|axis| split.sample(at(3, 1, axis)));
    let split_cell = FraudProof::SplitCell(SplitCell::new(&samples[0], &samples[1]).unwrap());
    proofs.push(("split cell".to_owned(), split_cell, split.data_root()));
    let wrong = Wrong::new(&honest, |grid| {
        grid.by_row[2][1][9] ^= 1;
        grid.by_column[2][1][9] ^= 1;
    });
    for (name, axes) in [
        ("own", [Some(Axis::Column), None, None, Some(Axis::Column)]),
        ("crossing", [None, Some(Axis::Row), Some(Axis::Row), None]),
        ("both", [None, Some(Axis::Row), None, Some(Axis::Column)]),
    ] {
        let samples = wrong.on_line(Axis::Column, 1, |place| axes[place]);
        let proof = BadEncoding::new(&wrong.line_root(Axis::Column, 1), &samples).unwrap();
        proofs.push((
            format!("bad encoding, {name} lines"),
            FraudProof::BadEncoding(proof),
            wrong.data_root(),
        ));
    }
    let mut other = honest.clone();
    other.metas[0].signer[3] ^= 1;
    let mut false_hash = honest.clone();
    false_hash.metas[0].foreign[0].value[0] ^= 1;
    for square in [
        honest.original().commit(other.place().index),
        honest.commit_changed(&honest, |bytes| bytes[600] ^= 1),
        honest.commit_changed(&honest, |bytes| bytes[3 * 512 + 1] = 1),
        false_hash.commit(),
    ] {
        let proof = FraudProof::find(&square, &Rules).unwrap();
        proofs.push((proof.kind().to_string(), proof, square.data_root()));
    }
    proofs
}

/// Proofs of what is not so: made as well as can be, of a valid block.
pub(crate) fn accusations(proposal: &Proposal) -> Vec<(String, Vec<u8>)> {
    let (square, block) = (proposal.commit(), Wrong::new(proposal, |_| {}));
    assert_eq!(block.data_root(), square.data_root());
    let (n, mut made) = (square.width().extended(), Vec::new());
    let mut accuse = |kind: FraudKind, bytes: &[u8]| {
        made.push((kind.to_string(), [&[kind as u8], bytes].concat()));
    };
    accuse(FraudKind::SplitCell, &split(&block, 1, 2));
    for axes in [0b00_usize, 0b11, 0b01] {
        let by = |place| (place < n / 2).then_some([Axis::Row, Axis::Column][axes >> (place & 1) & 1]);
        let proof = BadEncoding::new(&block.line_root(Axis::Row, 1), &block.on_line(Axis::Row, 1, by));
        accuse(FraudKind::BadEncoding, &FraudProof::BadEncoding(proof.unwrap()).encode()[1..]);
    }
    let index = WrongIndex::new(&square, square.parts().index_root).unwrap();
    accuse(FraudKind::WrongIndex, &FraudProof::WrongIndex(index).encode()[1..]);
    for (position, entry) in square.index().entries().iter().enumerate() {
        let proof = square.index().prove_entry(position, square.parts()).unwrap().encode();
        accuse(FraudKind::MisplacedBlob, &[&proof[..], &digests(&square, entry)].concat());
        for share in 0..square.width().shares() {
            let k = square.width().get();
            let sample = square.sample(at(share / k, share % k, Axis::Column)).unwrap();
            accuse(FraudKind::BadPadding, &[&proof[..], &sample.encode()].concat());
        }
        for kind in ForeignKind::ALL {
            let opened: &[u8] = if kind == ForeignKind::Eip4844 { &[0] } else { &[] };
            let bytes = square.blob_bytes(entry).unwrap();
            accuse(FraudKind::FalseForeign, &[&proof[..], &[kind as u8], opened, &bytes].concat());
        }
    }
    made
}

/// A split cell's documented encoding.
pub(crate) fn split(block: &Wrong, row: usize, column: usize) -> Vec<u8> {
    let half = |axis, line, place| {
        let leaves = block.grid.line(axis, line);
        let n = leaves.len();
        let roots = block.grid.line_roots();
        let of_axis = if axis == Axis::Row { &roots[..n] } else { &roots[n..] };
        let paths = [oracle::blake_path(&leaves, place), oracle::blake_path(of_axis, line)].concat();
        [&leaves[place][..], &paths.concat()].concat()
    };
    [
        &(block.grid.k as u16).to_be_bytes()[..],
        &(row as u16).to_be_bytes(),
        &(column as u16).to_be_bytes(),
        &block.parts.index_root,
        &half(Axis::Row, row, column),
        &half(Axis::Column, column, row),
    ]
    .concat()
}

/// What a misplaced blob's proof has after its entry: the range proof with digests for its cells.
fn digests(square: &CommittedSquare, entry: &IndexEntry) -> Vec<u8> {
    let range = square.range(entry.range()).unwrap().encode();
    let (cells, hashes) = range[42..].split_at(entry.range().len() * 512);
    let leaves: Vec<Digest> = cells.chunks(512).map(oracle::blake).collect();
    [leaves.concat(), hashes.to_vec()].concat()
}
