//! Fraud proofs: each kind against a block that deserves it, none against one that does not.

use erasure::{
    Axis, BadEncoding, CommittedSquare, DataRootParts, Digest, FalseForeign, ForeignCommitment, ForeignKind,
    FraudError, FraudKind, FraudProof, Inconsistency, IndexEntry, KzgOpening, Line, LineRoot, ProofError,
    Repair, SplitCell, Width, WrongIndex, foreign::eip4844_versioned_hash, transaction_blob,
};
use proptest::prelude::*;

use crate::{
    adversary::{Proposal, Rules, Wrong, kzg, meta},
    oracle,
    support::{at, namespace, noise},
};

/// Checks a proof as whoever receives it does.
pub(crate) fn verify(proof: &FraudProof, data_root: &Digest) -> Result<(), FraudError> {
    let bytes = proof.encode();
    let received = FraudProof::decode(&bytes).unwrap();
    assert_eq!(&received, proof);
    let verified = received.verify(data_root, &Rules)?;
    assert_eq!((verified.proof(), verified.data_root()), (proof, data_root));
    Ok(())
}

fn unfounded(kind: FraudKind) -> Result<(), FraudError> {
    Err(FraudError::Unfounded { kind })
}

/// What is found wrong with a square; it is a proof.
fn found(square: &CommittedSquare) -> FraudProof {
    let proof = FraudProof::find(square, &Rules).unwrap();
    assert_eq!(verify(&proof, &square.data_root()), Ok(()));
    assert!(proof.encode().len() <= FraudProof::max_bytes(square.width()));
    proof
}

#[test]
fn nothing_is_found_wrong_with_a_valid_block() {
    for proposal in [Proposal::small(), Proposal::new(&[]), Proposal::new(&[(1, 5000), (1, 5), (2, 512)])] {
        assert_eq!(FraudProof::find(&proposal.commit(), &Rules), None);
    }
}

#[test]
fn a_split_cell_is_proven_by_its_two_digests() {
    let honest = Proposal::small().commit();
    let wrong = Wrong::new(&Proposal::small(), |grid| grid.by_column[2][7][0] ^= 1);
    let samples = |row, column| [Axis::Row, Axis::Column].map(|axis| wrong.sample(at(row, column, axis)));
    let [by_row, by_column] = samples(2, 7);
    let proof = FraudProof::SplitCell(SplitCell::new(&by_row, &by_column).unwrap());
    assert_eq!(proof.to_string(), "split cell at (2, 7)");
    assert_eq!(verify(&proof, &wrong.data_root()), Ok(()));
    assert!(matches!(verify(&proof, &honest.data_root()), Err(FraudError::Proof(_))));
    let found =
        Inconsistency::SplitCell { by_row: Box::new(by_row.clone()), by_column: Box::new(by_column.clone()) };
    assert_eq!(FraudProof::try_from(&found), Ok(proof));
    assert_eq!(SplitCell::new(&by_column, &by_row), None);
    let [_, elsewhere] = samples(2, 6);
    assert_eq!(SplitCell::new(&by_row, &elsewhere), None);
    let [by_row, by_column] = samples(2, 6);
    assert_eq!(SplitCell::new(&by_row, &by_column), None);
}

/// Junk in one cell of row 1, under both of its lines.
fn junk_in_row_1() -> Wrong {
    Wrong::new(&Proposal::small(), |grid| {
        grid.by_row[1][6][9] ^= 1;
        grid.by_column[1][6][9] ^= 1;
    })
}

#[test]
fn a_line_that_is_no_codeword_is_proven_by_any_k_cells_through_any_axes() {
    let honest = Wrong::new(&Proposal::small(), |_| {});
    let wrong = junk_in_row_1();
    for (axis, index) in [(Axis::Row, 1), (Axis::Column, 6)] {
        for set in (0..256usize).filter(|set| set.count_ones() == 4) {
            for axes in [0, 0b1111_1111, 0b1010_1010, 0b0110_0011] {
                let by = |place: usize| {
                    let by = if axes >> place & 1 == 0 { Axis::Row } else { Axis::Column };
                    (set >> place & 1 == 1).then_some(by)
                };
                let accuse = |block: &Wrong| {
                    let line = block.line_root(axis, index);
                    let cells = block.on_line(axis, index, by);
                    let proof = BadEncoding::new(&line, &cells).unwrap();
                    let found = Inconsistency::BadEncoding { line, cells };
                    assert_eq!(FraudProof::try_from(&found), Ok(FraudProof::BadEncoding(proof.clone())));
                    FraudProof::BadEncoding(proof)
                };
                let proof = accuse(&wrong);
                assert_eq!(proof.to_string(), format!("bad encoding of {axis} {index}"));
                assert_eq!(verify(&proof, &wrong.data_root()), Ok(()));
                assert!(matches!(verify(&proof, &honest.data_root()), Err(FraudError::Proof(_))));
                assert_eq!(verify(&accuse(&honest), &honest.data_root()), unfounded(FraudKind::BadEncoding));
            }
        }
    }
}

#[test]
fn cells_that_are_not_k_of_one_line_are_no_material() {
    let wrong = junk_in_row_1();
    let line = wrong.line_root(Axis::Row, 1);
    let cells = wrong.on_line(Axis::Row, 1, |place| (place < 5).then_some(Axis::Row));
    assert_eq!(BadEncoding::new(&line, &cells), None);
    assert_eq!(BadEncoding::new(&line, &[]), None);
    let [a, b, c, d, _] = &cells[..] else { panic!("five cells") };
    assert!(BadEncoding::new(&line, &[a.clone(), b.clone(), c.clone(), d.clone()]).is_some());
    assert_eq!(BadEncoding::new(&line, &[b.clone(), a.clone(), c.clone(), d.clone()]), None);
    assert_eq!(BadEncoding::new(&line, &[a.clone(), a.clone(), c.clone(), d.clone()]), None);
    let elsewhere = wrong.on_line(Axis::Row, 2, |place| (place < 4).then_some(Axis::Row));
    assert_eq!(BadEncoding::new(&line, &elsewhere), None);
}

/// Under its rows the junk is where row + column is even, under its columns where it is odd: each
/// line's own tree holds k good cells and k of junk.
#[test]
fn a_checkerboard_of_junk_is_proven() {
    let wrong = Wrong::new(&Proposal::small(), |grid| {
        for (row, column) in (0..8).flat_map(|row| (0..8).map(move |column| (row, column))) {
            let junk = noise(512, (row * 8 + column) as u64);
            let under = if (row + column) % 2 == 0 { &mut grid.by_row } else { &mut grid.by_column };
            under[row][column] = junk;
        }
    });
    let line = wrong.line_root(Axis::Row, 3);
    for parity in 0..2 {
        let by = |own: bool| {
            move |place| (place % 2 == parity).then_some(if own { Axis::Row } else { Axis::Column })
        };
        let by_either =
            [true, false].map(|own| BadEncoding::new(&line, &wrong.on_line(Axis::Row, 3, by(own))));
        for proof in by_either {
            assert_eq!(verify(&FraudProof::BadEncoding(proof.unwrap()), &wrong.data_root()), Ok(()));
        }
    }
}

#[test]
fn an_index_that_is_not_the_transaction_lists_is_proven() {
    let proposal = Proposal::small();
    let square = proposal.commit();
    let accuse = |index_root| {
        let proof = FraudProof::WrongIndex(WrongIndex::new(&square, index_root).unwrap());
        verify(&proof, &DataRootParts { index_root, ..square.parts() }.data_root())
    };
    let entries = square.index().entries();
    assert_eq!(accuse(oracle::index_root(entries)), unfounded(FraudKind::WrongIndex));
    type Change = fn(&mut Vec<IndexEntry>);
    let changes: [Change; 9] = [
        |entries| drop(entries.pop()),
        |entries| drop(entries.remove(0)),
        |entries| entries.push(entries[2].clone()),
        |entries| entries.swap(1, 2),
        |entries| entries[2].start -= 1,
        |entries| entries[3].len += 1,
        |entries| entries[1].signer[0] ^= 1,
        |entries| entries[1].commitment[0] ^= 1,
        |entries| entries[3].foreign.truncate(1),
    ];
    for change in changes {
        let mut entries = entries.to_vec();
        change(&mut entries);
        assert_eq!(accuse(oracle::index_root(&entries)), Ok(()));
    }
    assert_eq!(accuse([7; 32]), Ok(()));
}

#[test]
fn a_repairer_proves_a_wrong_index_without_knowing_it() {
    let proposal = Proposal::small();
    let square = proposal.commit();
    for (index_root, wrong) in [([7; 32], true), (square.parts().index_root, false)] {
        let parts = DataRootParts { index_root, ..square.parts() };
        let mut repair = Repair::new(parts.data_root(), parts).unwrap();
        for index in 0..4 {
            // The line's own encoding, with the other index root in it.
            let mut line = square.line(Axis::Row, index).unwrap().encode();
            line[5..37].copy_from_slice(&index_root);
            let line = Line::decode(&line).unwrap().verify(&parts.data_root(), Axis::Row, index).unwrap();
            repair.add_line(&line).unwrap();
        }
        let proof = WrongIndex::of(&repair.finish().unwrap()).unwrap();
        let verified = verify(&FraudProof::WrongIndex(proof), &parts.data_root());
        assert_eq!(verified.is_ok(), wrong, "{verified:?}");
    }
}

#[test]
fn a_square_wider_than_needed_is_proven() {
    let proposal = Proposal::small();
    let mut bytes = proposal.original().into_bytes();
    bytes.resize(64 * 512, 0);
    let wide = erasure::OriginalSquare::from_shares(Width::new(8).unwrap(), &bytes).unwrap();
    let proof = found(&wide.commit(proposal.place().index));
    assert_eq!(proof.kind(), FraudKind::WrongIndex);
    assert_eq!(proof.to_string(), "wrong index");
}

#[test]
fn a_transaction_list_that_is_none_is_proven() {
    let proposal = Proposal::small();
    // Another length, within the square, beyond it, beyond every square; and other transactions.
    for (byte, value) in [(3, 0), (2, 0x1f), (1, 0x0f), (0, 0xff), (4, 1), (4 + 61, 1), (4 + 93, 17)] {
        let square = proposal.commit_changed(&proposal, |bytes| bytes[byte] = value);
        assert_eq!(found(&square).kind(), FraudKind::WrongIndex, "byte {byte}");
    }
    let mut reserved = proposal.clone();
    reserved.metas[0].namespace = namespace(0);
    let list = transaction_blob(&reserved.list());
    let square = proposal.commit_changed(&proposal, |bytes| bytes[..list.len()].copy_from_slice(&list));
    assert_eq!(found(&square).kind(), FraudKind::WrongIndex);
}

#[test]
fn an_accusation_of_the_index_shows_exactly_the_transaction_blob() {
    let square = Proposal::new(&[(1, 10); 8]).commit();
    let range = |end| [&[FraudKind::WrongIndex as u8], &square.range(0..end).unwrap().encode()[..]].concat();
    let verify = |end| FraudProof::decode(&range(end)).unwrap().verify(&square.data_root(), &Rules);
    let shares = square.index().entries()[0].range().end;
    assert!(matches!(verify(shares), Err(FraudError::Unfounded { kind: FraudKind::WrongIndex })));
    for end in [shares - 1, shares + 1] {
        let wrong = ProofError::Range { expected: 0..shares, got: 0..end };
        assert_eq!(verify(end).unwrap_err(), FraudError::Proof(wrong));
    }
}

#[test]
fn a_blob_elsewhere_than_its_entry_says_is_proven() {
    let proposal = Proposal::small();
    let entries = proposal.place().index.entries().to_vec();
    for entry in &entries[1..] {
        for place in [0, entry.len as usize - 1] {
            let byte = entry.start as usize * 512 + place;
            let proof = found(&proposal.commit_changed(&proposal, |bytes| bytes[byte] ^= 1));
            assert_eq!(proof.to_string(), format!("misplaced blob at share {}", entry.start));
        }
    }
}

/// A proposal whose blob commitments are of what the changed shares hold, padding and all.
fn with_padding(change: fn(&mut [u8])) -> CommittedSquare {
    let mut proposal = Proposal::new(&[(20, 1300), (10, 500)]);
    let square = proposal.commit_changed(&proposal, change);
    for (meta, entry) in [1, 0].into_iter().zip(&square.index().entries()[1..]) {
        proposal.metas[meta].commitment = square.blob_commitment(entry).unwrap();
    }
    proposal.commit_changed(&proposal, change)
}

#[test]
fn a_byte_that_should_be_zero_is_proven() {
    let entries = Proposal::new(&[(20, 1300), (10, 500)]).place().index.entries().to_vec();
    let (first, last) = (entries[1].range().end as usize * 512, entries[2].range().end as usize * 512);
    assert_eq!((first, last), (2 * 512, 5 * 512));
    let changes: [fn(&mut [u8]); 5] = [
        |bytes| bytes[2 * 512 - 1] = 1,
        |bytes| bytes[512 + 500] = 1,
        |bytes| bytes[4 * 512 + 276] = 1,
        |bytes| bytes[5 * 512] = 1,
        |bytes| *bytes.last_mut().unwrap() = 1,
    ];
    for change in changes {
        let proof = found(&with_padding(change));
        assert!(proof.to_string().starts_with("bad padding in the cell at ("), "{proof}");
    }
    assert_eq!(FraudProof::find(&with_padding(|_| {}), &Rules), None);
}

#[test]
fn a_false_hash_is_proven() {
    for kind in ForeignKind::ALL.into_iter().filter(|kind| *kind != ForeignKind::Eip4844) {
        let mut proposal = Proposal::small();
        proposal.metas[0] = meta(20, &proposal.blobs[0], &[kind]);
        assert_eq!(FraudProof::find(&proposal.commit(), &Rules), None);
        proposal.metas[0].foreign[0].value[31] ^= 1;
        let square = proposal.commit();
        let proof = found(&square);
        let start = square.index().entries()[2].start;
        assert_eq!(
            proof.to_string(),
            format!("false foreign commitment {kind} of the blob at share {start}")
        );
    }
}

/// A proposal of one blob with KZG commitments, and their openings.
fn kzg_proposal(chunks: usize) -> (Proposal, Vec<KzgOpening>) {
    let mut bytes = noise(chunks * 131_072, 3);
    bytes.iter_mut().step_by(32).for_each(|high| *high &= 0x3f);
    let opening = |(chunk, bytes): (usize, &[u8])| {
        let (commitment, proof) = kzg(bytes);
        KzgOpening { chunk: chunk as u8, commitment, proof }
    };
    let openings: Vec<KzgOpening> = bytes.chunks(131_072).enumerate().map(opening).collect();
    let mut meta = meta(9, &bytes, &[]);
    meta.foreign = openings
        .iter()
        .map(|opening| ForeignCommitment {
            kind: ForeignKind::Eip4844,
            value: eip4844_versioned_hash(&opening.commitment),
        })
        .collect();
    (Proposal { metas: vec![meta], blobs: vec![bytes] }, openings)
}

#[test]
fn a_false_kzg_commitment_is_proven_by_the_right_one_opened() {
    let (honest, openings) = kzg_proposal(2);
    let square = honest.commit();
    assert_eq!(FraudProof::find(&square, &Rules), None);
    assert!(openings.iter().all(|opening| FalseForeign::opened(&square, 1, *opening).is_none()));
    let lie = KzgOpening { commitment: [1; 48], ..openings[1] };
    let lie = FraudProof::FalseForeign(FalseForeign::opened(&square, 1, lie).unwrap());
    assert_eq!(verify(&lie, &square.data_root()), unfounded(FraudKind::FalseForeign));

    let mut wrong = honest;
    wrong.metas[0].foreign.swap(0, 1);
    let square = wrong.commit();
    for opening in openings {
        let proof = FraudProof::FalseForeign(FalseForeign::opened(&square, 1, opening).unwrap());
        assert_eq!(verify(&proof, &square.data_root()), Ok(()));
        assert_eq!(FraudProof::find(&square, &Rules), None, "it takes an opening");
        let beyond = KzgOpening { chunk: 2, ..opening };
        assert_eq!(FalseForeign::opened(&square, 1, beyond), None);
    }
}

#[test]
fn kzg_commitments_that_no_bytes_could_have_are_proven_without_an_opening() {
    let (honest, _) = kzg_proposal(1);
    let mut twice = honest.clone();
    twice.metas[0].foreign.extend_from_within(..);
    let mut too_large = honest.clone();
    too_large.blobs[0][131_072 - 32] = 0x74;
    let mut short = honest;
    short.blobs[0].truncate(1000);
    for mut wrong in [twice, too_large, short] {
        let foreign = wrong.metas[0].foreign.clone();
        wrong.metas[0] = meta(9, &wrong.blobs[0], &[]);
        wrong.metas[0].foreign = foreign;
        assert_eq!(found(&wrong.commit()).kind(), FraudKind::FalseForeign);
    }
}

fn proposals() -> impl Strategy<Value = Proposal> {
    prop::collection::vec((1..6u8, 1..1500usize), 0..6).prop_map(|blobs| Proposal::new(&blobs))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_square_has_a_proof_exactly_when_it_is_no_valid_blocks(
        proposal in proposals(),
        byte in any::<prop::sample::Index>(),
        change in any::<u8>(),
    ) {
        let valid = proposal.commit();
        prop_assert_eq!(FraudProof::find(&valid, &Rules), None);
        let square = proposal.commit_changed(&proposal, |bytes| bytes[byte.index(bytes.len())] ^= change);
        match FraudProof::find(&square, &Rules) {
            None => prop_assert_eq!(change, 0),
            Some(proof) => {
                prop_assert_eq!(verify(&proof, &square.data_root()), Ok(()));
                prop_assert!(verify(&proof, &valid.data_root()).is_err());
            }
        }
    }

    #[test]
    fn an_index_that_differs_in_anything_is_found(
        proposal in proposals(),
        blob in any::<prop::sample::Index>(),
        field in 0..5usize,
    ) {
        prop_assume!(!proposal.metas.is_empty());
        let mut claimed = proposal.clone();
        let meta = &mut claimed.metas[blob.index(proposal.metas.len())];
        match field {
            0 => meta.commitment[7] ^= 4,
            1 => meta.len += 512,
            2 => meta.signer[7] ^= 4,
            3 => meta.namespace = namespace(meta.namespace.user_id()[9] ^ 8),
            _ => meta.foreign = vec![ForeignCommitment { kind: ForeignKind::Sha256, value: [0; 32] }],
        }
        // The index of the claim, over the transactions and the blobs as they are.
        let (list, metas) = (transaction_blob(&proposal.list()), claimed.metas);
        let index = erasure::Index::place(&list, metas, Width::MAX).unwrap().index;
        let proof = FraudProof::find(&proposal.original().commit(index), &Rules);
        prop_assert_eq!(proof.map(|proof| proof.kind()), Some(FraudKind::WrongIndex));
    }
}

#[test]
fn proofs_have_the_sizes_that_the_documentation_says() {
    let blob = (4 << 20) - 100;
    let mut blobs = vec![(1, 1); 16];
    blobs.push((4, blob));
    let proposal = Proposal::new(&blobs);
    let square = proposal.commit();
    assert_eq!(square.width().get(), 128);
    let entries = square.index().entries();
    let size = |square: &CommittedSquare| found(square).encode().len();

    let first = entries[17].start as usize * 512;
    let misplaced = proposal.commit_changed(&proposal, |bytes| bytes[first] ^= 1);
    let split = SplitCell::new(
        &square.sample(at(first / 512 / 128, first / 512 % 128, Axis::Row)).unwrap(),
        &misplaced.sample(at(first / 512 / 128, first / 512 % 128, Axis::Column)).unwrap(),
    );
    // The most hashes: every second crossing line, or every second cell of the line itself.
    let line = LineRoot {
        axis: Axis::Row,
        index: 9,
        root: square.root(Axis::Row, 9).unwrap(),
        path: vec![[0; 32]; 9],
    };
    let encoding = |axis| {
        let samples = (0..128).map(|i| square.sample(at(9, 2 * i, axis)).unwrap());
        let proof = BadEncoding::new(&line, &samples.collect::<Vec<_>>()).unwrap();
        FraudProof::BadEncoding(proof).encode().len()
    };
    let index = WrongIndex::new(&square, [0; 32]).unwrap();
    let padding = proposal.commit_changed(&proposal, |bytes| bytes[512 * 128 * 128 - 1] = 1);
    let mut foreign = proposal;
    foreign.metas[16].foreign = vec![ForeignCommitment { kind: ForeignKind::Sha256, value: [0; 32] }];
    let sizes = [
        FraudProof::SplitCell(split.unwrap()).encode().len(),
        encoding(Axis::Row),
        encoding(Axis::Column),
        FraudProof::WrongIndex(index).encode().len() - 512 * entries[0].shares() as usize,
        size(&misplaced) - 32 * 8192,
        size(&padding),
        size(&foreign.commit()) - blob,
    ];
    assert_eq!(sizes, [1127, 70_342, 103_110, 555, 2793, 1296, 235]);
}
