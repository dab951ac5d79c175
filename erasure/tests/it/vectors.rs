//! Known answers: a change of any of these is a change of the format.

use erasure::{Axis, Index, OriginalSquare, Width, transaction_blob};

use crate::support::{Block, at, meta, namespace};

#[test]
fn the_smallest_square() {
    let (list, blob) = (transaction_blob(b"weft"), b"hello, square");
    let placement = Index::place(&list, vec![meta(1, blob)], Width::MIN).unwrap();
    let square = OriginalSquare::build(&placement, &list, &[blob]).unwrap();
    let square = square.commit(placement.index);
    let answers = [
        ("blob commitment", square.index().entries()[1].commitment),
        ("row 0", square.root(Axis::Row, 0).unwrap()),
        ("column 3", square.root(Axis::Column, 3).unwrap()),
        ("axis root", square.parts().axis_root),
        ("index root", square.parts().index_root),
        ("data root", square.data_root()),
    ];
    let expected = [
        ("blob commitment", "4c0e35a76dded7d1e57eaf30baf995e48839b4b752ff451beee0bad74379a3d2"),
        ("row 0", "f5b8d6840fd4de5f8e86e2b2a16f3e95a494e4404bbea4714b8753d4c85eec38"),
        ("column 3", "877d5806ca2d2d8f4c61b94f01df5a1816554ab0b52566233e3f9098b18f0315"),
        ("axis root", "d2f1ab70ed86c9f0aab63a836867ca2f4c442d84315c040328b53997905194b1"),
        ("index root", "66ec0624ed3889f2bcd6fa4a7d6aff945c8846157a1a5050daad6e3c0ede1c37"),
        ("data root", "c91d3470846f0cd01cd14da43be1fd7f27a8babacf590a6d3c58aaba7208d1d7"),
    ];
    let answers = answers.map(|(name, digest)| (name, hex::encode(digest)));
    assert_eq!(answers, expected.map(|(name, digest)| (name, digest.to_owned())));
}

#[test]
fn every_encoding_of_a_larger_square() {
    let square = Block::small().commit();
    let (index, parts) = (square.index(), square.parts());
    let place = at(5, 2, Axis::Column);
    let encodings = [
        ("sample", square.sample(place).unwrap().encode()),
        ("line", square.line(Axis::Row, 6).unwrap().encode()),
        ("range", square.range(2..9).unwrap().encode()),
        ("entry", index.prove_entry(3, parts).unwrap().encode()),
        ("namespace", index.prove_namespace(namespace(20), parts).encode()),
        ("index", index.encode()),
        ("parts", parts.encode()),
    ];
    let expected = [
        ("sample", "7b91fe2e9ea77deedf225357238a7678fb642167ae811c57f5872f328fbb5a75"),
        ("line", "208060f58287aa81c3f3ee41168bf400cc093ebe2595087f2c027922fb46d6b6"),
        ("range", "ce91c7e6a08075bc46b432dacc8159aac22bded8e43e7902735a211c9f559a05"),
        ("entry", "030d9c7485d3356bda57cbb682cae9945f2737bd81b2e912a77113cd0569cc9d"),
        ("namespace", "c8e47e81fa5e8c9402eba8cc5dfb24884a5f88a8b9790e3d57997f131c1c23c4"),
        ("index", "dc6efd814ebbaf46061b77156f8071e778847916b90436c0ae291ac9fbcedbb0"),
        ("parts", "052d34557de40a0b2ee8c756dc3077839107f3b410a41cdbafd309d7ded4587e"),
    ];
    let hashes = encodings.map(|(name, bytes)| (name, blake3::hash(&bytes).to_hex().to_string()));
    assert_eq!(hashes, expected.map(|(name, hash)| (name, hash.to_owned())));
}
