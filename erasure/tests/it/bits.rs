//! Every bit of every proof that the smallest squares have counts: with it flipped, a proof does not decode, or
//! does not verify. The bits of fraud proofs: `fraud_mutations`.

use erasure::{
    Axis, CommittedSquare, DataRootParts, DecodeError, EntryProof, ForeignCommitment, ForeignKind,
    ForeignProof, Index, Line, LineSamples, NamespaceProof, ProofError, RangeProof, Sample, Width,
    transaction_blob,
};

use crate::support::{Block, everywhere, meta, namespace, noise, none_survives};

/// Takes a proof as whoever receives it does, then with each of its bits flipped.
fn every_bit_counts<P, V>(
    name: &str,
    bytes: &[u8],
    decode: fn(&[u8]) -> Result<P, DecodeError>,
    verify: impl Fn(P) -> Result<V, ProofError>,
) {
    let verifies = |bytes: &[u8]| decode(bytes).is_ok_and(|proof| verify(proof).is_ok());
    assert!(verifies(bytes), "{name}");
    none_survives(name, bytes, 0..8 * bytes.len(), verifies);
}

fn squares() -> [CommittedSquare; 2] {
    [Block::of_width(2).commit(), Block::small().commit()]
}

#[test]
fn of_a_sample_at_every_place_through_both_axes() {
    for square in squares() {
        for at in everywhere(square.width()) {
            let sample = square.sample(at).unwrap().encode();
            let verify = |sample: Sample| sample.verify(&square.data_root(), at);
            every_bit_counts(&format!("sample at {at}"), &sample, Sample::decode, verify);
        }
    }
}

#[test]
fn of_every_set_of_cells_of_a_line() {
    let square = Block::of_width(2).commit();
    for (axis, line) in [(Axis::Row, 1), (Axis::Column, 2)] {
        for set in 1..1 << square.width().extended() {
            let places: Vec<u16> = (0..16).filter(|place| set >> place & 1 == 1).collect();
            let samples = square.line_samples(axis, line, &places).unwrap().encode();
            let verify = |samples: LineSamples| samples.verify(&square.data_root(), axis, line, &places);
            every_bit_counts(&format!("{axis} {line} at {places:?}"), &samples, LineSamples::decode, verify);
        }
    }
}

#[test]
fn of_every_line() {
    for square in squares() {
        for (axis, index) in (0..square.width().extended()).flat_map(|i| [(Axis::Row, i), (Axis::Column, i)])
        {
            let line = square.line(axis, index).unwrap().encode();
            let verify = |line: Line| line.verify(&square.data_root(), axis, index);
            every_bit_counts(&format!("{axis} {index}"), &line, Line::decode, verify);
        }
    }
}

#[test]
fn of_every_range_of_shares() {
    let [narrow, wide] = squares();
    let all = |end: u32| (0..end).flat_map(move |start| (start + 1..=end).map(move |end| start..end));
    let narrow = all(4).map(|range| (&narrow, range));
    // In the wider one, what lies in a row, ends one and goes into the next.
    for (square, range) in narrow.chain([0..3, 3..4, 3..5, 5..6].map(|range| (&wide, range))) {
        let proof = square.range(range.clone()).unwrap().encode();
        let verify = |proof: RangeProof| proof.verify(&square.data_root(), range.clone());
        every_bit_counts(&format!("range {range:?}"), &proof, RangeProof::decode, verify);
    }
}

/// Indexes of one entry to six, which two namespaces share: trees of every shape up to there. All foreign
/// commitments, true or not, are in the last entry.
fn indexes() -> impl Iterator<Item = (Index, DataRootParts)> {
    (1..=6).map(|entries| {
        let mut metas: Vec<_> = [10, 20, 20, 30, 40][..entries - 1]
            .iter()
            .map(|id| meta(*id, &noise(600, u64::from(*id))))
            .collect();
        if let Some(last) = metas.last_mut() {
            last.len = 131_072;
            last.foreign =
                ForeignKind::ALL.map(|kind| ForeignCommitment { kind, value: [kind as u8; 32] }).into();
        }
        let placement = Index::place(&transaction_blob(&[]), metas, Width::MAX).unwrap();
        let (width, index_root) = (placement.width, placement.index.root());
        (placement.index, DataRootParts { width, axis_root: [7; 32], index_root })
    })
}

#[test]
fn of_every_entry_and_its_foreign_commitments() {
    for (index, parts) in indexes() {
        let (root, count) = (parts.data_root(), index.entries().len());
        for (position, entry) in index.entries().iter().enumerate() {
            let proof = index.prove_entry(position, parts).unwrap();
            let name = format!("entry {position} of {count}");
            every_bit_counts(&name, &proof.encode(), EntryProof::decode, |proof| proof.verify(&root));
            for ForeignCommitment { kind, value } in &entry.foreign {
                let proof = ForeignProof { entry_proof: proof.clone(), kind: *kind, value: *value }.encode();
                let verify = |proof: ForeignProof| proof.verify(&root, *kind, value);
                every_bit_counts(&format!("{name}, {kind:?}"), &proof, ForeignProof::decode, verify);
            }
        }
    }
}

#[test]
fn of_every_namespace_present_or_absent_and_of_the_index() {
    for (index, parts) in indexes() {
        let (root, count) = (parts.data_root(), index.entries().len());
        for id in [0, 5, 10, 15, 20, 25, 30, 35, 40, 255] {
            let proof = index.prove_namespace(namespace(id), parts).encode();
            let verify = |proof: NamespaceProof| proof.verify(&root, namespace(id));
            every_bit_counts(
                &format!("namespace {id}, {count} entries"),
                &proof,
                NamespaceProof::decode,
                verify,
            );
        }
        let verify = |index: Index| index.verify(parts, &root);
        every_bit_counts(&format!("index of {count}"), &index.encode(), Index::decode, verify);
        none_survives("parts", &parts.encode(), 0..8 * parts.encode().len(), |bytes| {
            DataRootParts::decode(bytes).is_ok_and(|parts| parts.data_root() == root)
        });
    }
}
