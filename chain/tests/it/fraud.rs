//! Fraud proofs: each kind against a block of the chain that deserves it, none against one that does not.

use chain::{
    Accusation, Action, BlobHeader, Block, Checkpoint, DecodeError, LightBlock, Parameters, ProvenFraud,
    ProvenFraudError, Transaction, TrustOptions, ValidBlock, VerifiedHeader,
};
use erasure::{
    Axis, BadEncoding, BlobMeta, CommittedSquare, Coordinates, DataRootParts, Digest, FalseForeign,
    ForeignKind, FraudError, FraudKind, FraudProof, Index, KzgOpening, OriginalSquare, Repair, RepairError,
    Sample, WrongIndex,
};
use tendermint::{Hash, block::signed_header::SignedHeader};

use crate::support::{Chain, key, kzg_blob, namespace};

const OPTIONS: TrustOptions = TrustOptions {
    trusting_period: std::time::Duration::from_secs(3_600),
    clock_drift: std::time::Duration::from_secs(5),
    newest_rules: 1,
};

/// A chain, its next block as honest validators would have it, and that block's blobs in the index's order.
struct Scene {
    chain: Chain,
    valid: ValidBlock,
}

impl Scene {
    fn new() -> Self {
        let chain = Chain::new(Parameters::default());
        let candidates = [
            chain.submit(&key(1), 1, &[(namespace(9), vec![1; 3_000]), (namespace(2), vec![2; 100])]),
            chain.submit(&key(2), 2, &[(namespace(2), vec![3; 5_000])]),
        ];
        let valid = chain.propose(&candidates);
        Self { chain, valid }
    }

    fn square(&self) -> &CommittedSquare {
        self.valid.square.as_ref().unwrap()
    }

    fn parameters(&self) -> &Parameters {
        &self.chain.genesis.parameters
    }

    /// A header with this data root, signed by validators who did not look, as its readers verify it.
    fn header(&self, data_root: Digest) -> VerifiedHeader {
        let mut header = self.valid.block.header.clone();
        header.data_hash = Some(Hash::Sha256(data_root));
        header.consensus_hash = self.parameters().hash();
        let checkpoint =
            Checkpoint { height: self.chain.height(), hash: header.hash().as_bytes().try_into().unwrap() };
        let commit = self.chain.sign_commit(&header, &[0, 1, 2]);
        let block = LightBlock {
            signed_header: SignedHeader::new(header, commit).unwrap(),
            validators: self.chain.parent.validators.clone(),
            next_validators: self.chain.parent.next_validators.clone(),
        };
        VerifiedHeader::from_checkpoint(block, "weft-test", &checkpoint, self.chain.now(), &OPTIONS).unwrap()
    }

    /// Checks a proof as whoever receives it does.
    fn verify(&self, proof: &FraudProof, data_root: Digest) -> Result<ProvenFraud, ProvenFraudError> {
        let received = FraudProof::decode(&proof.encode()).unwrap();
        ProvenFraud::verify(received, &self.header(data_root), self.parameters())
    }

    /// The proof holds against the wrong block and not against the valid one.
    fn assert_proven(&self, proof: &FraudProof, wrong: Digest, kind: FraudKind) {
        let proven = self.verify(proof, wrong).unwrap();
        assert_eq!(proven.fraud().proof().kind(), kind);
        assert_eq!(proven.fraud().data_root(), &wrong);
        assert_eq!((proven.height(), proven.header_hash()), (1, self.header(wrong).hash()));
        let against_valid = self.verify(proof, self.square().data_root()).unwrap_err();
        assert!(matches!(
            against_valid,
            ProvenFraudError::NotProven { height: 1, error: FraudError::Proof(_) }
        ));
    }

    fn assert_unfounded(&self, proof: &FraudProof, data_root: Digest) {
        let error = FraudError::Unfounded { kind: proof.kind() };
        assert_eq!(self.verify(proof, data_root), Err(ProvenFraudError::NotProven { height: 1, error }));
    }

    /// What is found wrong with a square, proven; its kind.
    fn assert_found(&self, square: &CommittedSquare, kind: FraudKind) {
        let proof = FraudProof::find(square, self.parameters()).unwrap();
        self.assert_proven(&proof, square.data_root(), kind);
    }

    /// The valid block's bytes, changed, under its index.
    fn changed(&self, change: impl FnOnce(&mut [u8])) -> CommittedSquare {
        let mut bytes = self.square().original().into_bytes();
        change(&mut bytes);
        let square = OriginalSquare::from_shares(self.square().width(), &bytes).unwrap();
        square.commit(self.valid.placement.index.clone())
    }

    /// The square of any transactions and bodies, as a proposer lays it out who checks neither.
    fn publish(&self, transactions: Vec<Transaction>, bodies: &[&[u8]]) -> CommittedSquare {
        let list = transaction_blob(&transactions);
        let header = self.valid.block.header.clone();
        let block = Block { header, transactions, last_commit: None };
        let placement = chain::place(&self.chain.genesis, &block).unwrap();
        let bodies: Vec<_> = placement.order.iter().map(|at| bodies[*at]).collect();
        OriginalSquare::build(&placement, &list, &bodies).unwrap().commit(placement.index)
    }

    /// A transaction of one blob with this header.
    fn submission(&self, blob: BlobHeader, kzg: Vec<chain::KzgOpening>) -> Transaction {
        let payload =
            self.chain.payload(&key(1), 7, Action::SubmitBlobs { blobs: vec![blob], reservation: None });
        key(1).sign(payload, kzg, &self.chain.genesis.domain()).unwrap()
    }
}

/// The documented encoding: protobuf, field 1 repeated, behind its length.
fn transaction_blob(transactions: &[Transaction]) -> Vec<u8> {
    let mut list = Vec::new();
    for transaction in transactions {
        prost::encoding::bytes::encode(1, &transaction.encode(), &mut list);
    }
    erasure::transaction_blob(&list)
}

fn metas(square: &CommittedSquare) -> Vec<BlobMeta> {
    let entries = square.index().entries()[1..].iter().cloned();
    let meta = |e: erasure::IndexEntry| BlobMeta {
        namespace: e.namespace,
        commitment: e.commitment,
        len: e.len,
        signer: e.signer,
        foreign: e.foreign,
    };
    entries.map(meta).collect()
}

#[test]
fn nothing_is_found_wrong_with_a_valid_block() {
    let mut scene = Scene::new();
    let check = |scene: &Scene| {
        let square = scene.square();
        assert_eq!(FraudProof::find(square, scene.parameters()), None);
        let accusation = WrongIndex::new(square, square.parts().index_root).unwrap();
        scene.assert_unfounded(&FraudProof::WrongIndex(accusation), square.data_root());
    };
    check(&scene);
    let empty = scene.chain.propose(&[]);
    scene.valid = empty;
    check(&scene);
}

/// A block whose rows are the valid one's, and whose columns are those of a square that differs in one share.
struct Split {
    data_root: Digest,
    parts: DataRootParts,
    rows: CommittedSquare,
    columns: CommittedSquare,
    /// Roots over all row roots and over all column roots.
    halves: [Digest; 2],
}

impl Split {
    fn new(scene: &Scene) -> Self {
        let (rows, columns) = (scene.square().clone(), scene.changed(|bytes| *bytes.last_mut().unwrap() = 1));
        // A sample's last hash is the root over the lines of the other axis.
        let other = |square: &CommittedSquare, axis| {
            let sample = square.sample(Coordinates { row: 0, column: 0, axis }).unwrap().encode();
            Digest::try_from(&sample[sample.len() - 32..]).unwrap()
        };
        let halves = [other(&rows, Axis::Column), other(&columns, Axis::Row)];
        let axis_root = *blake3::hash(&halves.concat()).as_bytes();
        let parts = DataRootParts { axis_root, ..rows.parts() };
        Self { data_root: parts.data_root(), parts, rows, columns, halves }
    }

    fn sample(&self, row: usize, column: usize, axis: Axis) -> Sample {
        let (square, other) =
            if axis == Axis::Row { (&self.rows, self.halves[1]) } else { (&self.columns, self.halves[0]) };
        let at = Coordinates { row: row as u16, column: column as u16, axis };
        let mut bytes = square.sample(at).unwrap().encode();
        let end = bytes.len();
        bytes[end - 32..].copy_from_slice(&other);
        Sample::decode(&bytes).unwrap()
    }

    /// What a repairer makes of these cells.
    fn repair(&self, samples: impl IntoIterator<Item = Sample>) -> FraudProof {
        let mut repair = Repair::new(self.data_root, self.parts).unwrap();
        let added = samples.into_iter().try_for_each(|sample| {
            let at = sample.coordinates();
            repair.add(&sample.verify(&self.data_root, at).unwrap())
        });
        let Err(RepairError::Inconsistent(found)) = added.and_then(|()| repair.finish().map(drop)) else {
            panic!("the block contradicts itself");
        };
        FraudProof::try_from(&*found).unwrap()
    }
}

#[test]
fn a_repairer_proves_a_split_cell() {
    let scene = Scene::new();
    let (wrong, last) = (Split::new(&scene), scene.square().width().get() - 1);
    let proof = wrong.repair([Axis::Row, Axis::Column].map(|axis| wrong.sample(last, last, axis)));
    scene.assert_proven(&proof, wrong.data_root, FraudKind::SplitCell);
}

#[test]
fn a_repairer_proves_a_bad_encoding() {
    let scene = Scene::new();
    let (wrong, k) = (Split::new(&scene), scene.square().width().get());
    // The last row's parity as the columns have it, and a cell before the change for the row's root.
    let by_columns = (k..2 * k).map(|column| wrong.sample(k - 1, column, Axis::Column));
    let samples: Vec<_> = by_columns.chain([wrong.sample(k - 1, 0, Axis::Row)]).collect();
    let proof = wrong.repair(samples);
    scene.assert_proven(&proof, wrong.data_root, FraudKind::BadEncoding);
}

#[test]
fn k_cells_of_a_valid_line_accuse_nobody() {
    let scene = Scene::new();
    let (square, k) = (scene.square(), scene.square().width().get());
    let wrong = Split::new(&scene);
    let by_columns = (k..2 * k).map(|column| wrong.sample(k - 1, column, Axis::Column));
    let samples: Vec<_> = by_columns.chain([wrong.sample(k - 1, 0, Axis::Row)]).collect();
    let FraudProof::BadEncoding(accused) = wrong.repair(samples) else { panic!("a line is accused") };
    assert_eq!(accused.line(), (Axis::Row, (k - 1) as u16));
    let at = |column| Coordinates { row: (k - 1) as u16, column, axis: Axis::Row };
    let honest: Vec<_> = (0..k as u16).map(|column| square.sample(at(column)).unwrap()).collect();
    let encoded = honest[0].encode();
    let path = encoded[encoded.len() - 32 * (2 * 2 * k).ilog2() as usize..].as_chunks().0.to_vec();
    let root = square.root(Axis::Row, k - 1).unwrap();
    let line = erasure::LineRoot { axis: Axis::Row, index: (k - 1) as u16, root, path };
    let proof = FraudProof::BadEncoding(BadEncoding::new(&line, &honest).unwrap());
    scene.assert_unfounded(&proof, square.data_root());
}

#[test]
fn an_index_that_is_not_the_transactions_is_proven() {
    let scene = Scene::new();
    let (square, list) = (scene.square(), transaction_blob(&scene.valid.block.transactions));
    let accuse = |metas: Vec<BlobMeta>, order: &[usize]| {
        let placement = Index::place(&list, metas, scene.parameters().width()).unwrap();
        let bodies: Vec<_> =
            order.iter().map(|at| square.blob_bytes(&square.index().entries()[1 + at]).unwrap()).collect();
        let bodies: Vec<_> = placement.order.iter().map(|at| bodies[*at].as_slice()).collect();
        let wrong = OriginalSquare::build(&placement, &list, &bodies).unwrap().commit(placement.index);
        scene.assert_found(&wrong, FraudKind::WrongIndex);
    };
    let honest = metas(square);
    // The two blobs of one namespace, of different transactions, in the other order.
    accuse([1, 0, 2].map(|at: usize| honest[at].clone()).to_vec(), &[1, 0, 2]);
    accuse(honest[..2].to_vec(), &[0, 1]);
    accuse([&honest[..], &honest[2..]].concat(), &[0, 1, 2, 2]);
    let mut stolen = honest;
    stolen[2].signer = *key(3).address().as_bytes();
    accuse(stolen, &[0, 1, 2]);
}

#[test]
fn a_square_wider_than_needed_or_allowed_is_proven() {
    let scene = Scene::new();
    let mut bytes = scene.square().original().into_bytes();
    let k = scene.square().width().get();
    bytes.resize(bytes.len() * 4, 0);
    let wide = OriginalSquare::from_shares(erasure::Width::new(2 * k as u32).unwrap(), &bytes).unwrap();
    scene.assert_found(&wide.commit(scene.valid.placement.index.clone()), FraudKind::WrongIndex);

    // The same block is wrong on a chain of narrower squares, and only there.
    let parameters = Parameters { k_max: k as u32 / 2, max_blob_bytes: 512, ..Parameters::default() };
    let narrow = Scene { chain: Chain::new(parameters), ..scene };
    let (square, usual) = (narrow.square(), Parameters::default());
    let proof = FraudProof::find(square, narrow.parameters()).unwrap();
    assert_eq!(narrow.verify(&proof, square.data_root()).unwrap().fraud().proof(), &proof);
    let other = ProvenFraud::verify(proof, &narrow.header(square.data_root()), &usual).unwrap_err();
    assert!(matches!(other, ProvenFraudError::OtherParameters { height: 1, .. }), "{other}");
}

#[test]
fn a_transaction_list_that_is_not_canonical_is_proven() {
    let scene = Scene::new();
    let length = transaction_blob(&scene.valid.block.transactions).len();
    // The list ends a byte early; a transaction's field number changes; an unknown field is appended.
    let short = scene.changed(|bytes| bytes[..4].copy_from_slice(&(length as u32 - 5).to_be_bytes()));
    scene.assert_found(&short, FraudKind::WrongIndex);
    let unknown = scene.changed(|bytes| bytes[4] = 0x12);
    scene.assert_found(&unknown, FraudKind::WrongIndex);
    let appended = scene.changed(|bytes| {
        bytes[..4].copy_from_slice(&(length as u32 - 4 + 2).to_be_bytes());
        bytes[length..length + 2].copy_from_slice(&[0x10, 0]);
    });
    scene.assert_found(&appended, FraudKind::WrongIndex);
}

#[test]
fn a_blob_elsewhere_and_bytes_behind_it_are_proven() {
    let scene = Scene::new();
    let entry = scene.square().index().entries()[3].clone();
    let start = entry.start as usize * 512;
    scene.assert_found(&scene.changed(|bytes| bytes[start] ^= 1), FraudKind::MisplacedBlob);
    scene.assert_found(&scene.changed(|bytes| *bytes.last_mut().unwrap() = 1), FraudKind::BadPadding);

    // A blob that is committed to with what follows it in its share.
    let padded = |commitment| {
        let blob = BlobHeader { commitment, ..BlobHeader::describe(namespace(4), &[5; 700], &[], &[]) };
        let square = scene.publish(vec![scene.submission(blob, vec![])], &[&[5; 700]]);
        let end = square.index().entries()[1].range().end as usize * 512;
        let mut bytes = square.original().into_bytes();
        bytes[end - 1] = 1;
        let index = square.index().clone();
        OriginalSquare::from_shares(square.width(), &bytes).unwrap().commit(index)
    };
    let square = padded([0; 32]);
    let commitment = square.blob_commitment(&square.index().entries()[1]).unwrap();
    scene.assert_found(&padded(commitment), FraudKind::BadPadding);
}

#[test]
fn a_false_foreign_hash_is_proven() {
    let (scene, bytes) = (Scene::new(), vec![6; 2_000]);
    for kind in ForeignKind::ALL.into_iter().filter(|kind| *kind != ForeignKind::Eip4844) {
        let mut blob = BlobHeader::describe(namespace(4), &bytes, &[kind], &[]);
        let honest = scene.publish(vec![scene.submission(blob.clone(), vec![])], &[&bytes]);
        assert_eq!(FraudProof::find(&honest, scene.parameters()), None);
        blob.foreign[0].value[31] ^= 1;
        let wrong = scene.publish(vec![scene.submission(blob, vec![])], &[&bytes]);
        scene.assert_found(&wrong, FraudKind::FalseForeign);
    }
}

#[test]
fn a_false_kzg_commitment_is_proven_by_the_right_one_opened() {
    let scene = Scene::new();
    let ((bytes, right), (_, other)) = (kzg_blob(3), kzg_blob(5));
    let publish = |opening: &chain::KzgOpening| {
        let openings = [opening.clone()];
        let blob = BlobHeader::describe(namespace(4), &bytes, &[ForeignKind::Eip4844], &openings);
        scene.publish(vec![scene.submission(blob, openings.to_vec())], &[&bytes])
    };
    let opened = |square: &CommittedSquare, commitment: &chain::KzgOpening, proof: &chain::KzgOpening| {
        let opening = KzgOpening { chunk: 0, commitment: commitment.commitment, proof: proof.proof };
        FalseForeign::opened(square, 1, opening).map(FraudProof::FalseForeign)
    };

    let wrong = publish(&other);
    scene.assert_proven(&opened(&wrong, &right, &right).unwrap(), wrong.data_root(), FraudKind::FalseForeign);
    scene.assert_unfounded(&opened(&wrong, &right, &other).unwrap(), wrong.data_root());

    let valid = publish(&right);
    assert_eq!(FraudProof::find(&valid, scene.parameters()), None);
    assert_eq!(opened(&valid, &right, &right), None);
    for proof in [&right, &other] {
        scene.assert_unfounded(&opened(&valid, &other, proof).unwrap(), valid.data_root());
    }
    let no_point = chain::KzgOpening { commitment: [7; 48], proof: [7; 48] };
    scene.assert_unfounded(&opened(&valid, &no_point, &no_point).unwrap(), valid.data_root());
}

#[test]
fn an_accusation_has_one_encoding() {
    let scene = Scene::new();
    let (wrong, last) = (Split::new(&scene), scene.square().width().get() - 1);
    let proof = wrong.repair([Axis::Row, Axis::Column].map(|axis| wrong.sample(last, last, axis)));
    let accusation = Accusation { parameters: scene.parameters().clone(), proof };
    let bytes = accusation.encode();
    assert_eq!(Accusation::decode(&bytes).unwrap().encode(), bytes);
    // A space in the JSON: the same to a reader, but another hash.
    let length = u32::from_be_bytes(bytes[..4].try_into().unwrap());
    let mut spaced = (length + 1).to_be_bytes().to_vec();
    spaced.extend(b"{ ");
    spaced.extend(&bytes[5..]);
    assert_eq!(Accusation::decode(&spaced).unwrap_err(), DecodeError::NotCanonical);
    let mut long = bytes.clone();
    long[..4].copy_from_slice(&4_097u32.to_be_bytes());
    assert!(matches!(Accusation::decode(&long), Err(DecodeError::TooMany { limit: 4_096, got: 4_097, .. })));
    for cut in [0, 3, 4, 100, bytes.len() - 1] {
        assert!(Accusation::decode(&bytes[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn parameters_that_no_chain_has_make_no_rules_that_panic() {
    for k_max in [0, 1, 3, u32::MAX] {
        let rules = chain::fees::FeeRules::new(&Parameters { k_max, ..Parameters::default() });
        assert!(rules.target > 0);
        let (cap, price) = (rules.guaranteed_cap(u64::MAX, 100), rules.reservation_price(1_000, 0, 1, 1));
        assert!(cap >= 1_000 && price > 0, "{k_max}: {cap}, {price}");
    }
}
