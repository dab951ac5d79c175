//! The id of a transaction of every kind, computed with `eth-account` (Python): what wallets have to arrive at.

use chain::{
    Action, Address, BlobHeader, Domain, Equivocation, Evidence, Payload, ReservationId, SignedStep, Step,
    Transaction, Upgrade, ValidatorKeys,
};
use erasure::{ForeignCommitment, ForeignKind};

use crate::support::{key, namespace};

fn blobs() -> Vec<BlobHeader> {
    let foreign = vec![ForeignCommitment { kind: ForeignKind::Keccak256, value: [8; 32] }];
    vec![BlobHeader { namespace: namespace(5), commitment: [7; 32], len: 100, foreign }]
}

#[test]
fn every_kind_has_the_id_that_eip_712_gives_it() {
    let reservation = ReservationId([6; 32]);
    let two = Address::from_bytes([2; 20]);
    let keys = ValidatorKeys {
        consensus: [1; 32],
        consensus_proof: [2; 64],
        attestation: [3; 96],
        attestation_proof: [4; 48],
    };
    let time = tendermint::Time::from_unix_timestamp(1_700_000_000, 5).unwrap();
    let evidence = Equivocation {
        validator: [1; 32],
        step: Step::Precommit,
        height: 7,
        round: 0,
        first: SignedStep { block: Some(([2; 32], time)), pol_round: None, signature: [3; 64] },
        second: SignedStep { block: None, pol_round: None, signature: [4; 64] },
    };
    let vectors = [
        (
            Action::SubmitBlobs { blobs: blobs(), reservation: None },
            "255ed745212cb8f9eb885ca366c1bf5acee61f67525b6be0f6fd70d8727602f9",
        ),
        (
            Action::SubmitBlobs { blobs: blobs(), reservation: Some(reservation) },
            "553c06e60e20ae94dd0d20262f2407a2ebd9cabc1bf54ff2d4eebfce9e9003f4",
        ),
        (
            Action::Transfer { to: two, amount: 5 },
            "826cea714a37aca3cc75fa4039b9c54074ad2acb1e5888b88930b70a2fe02508",
        ),
        (
            Action::Reserve {
                rate: 3,
                blocks: 4,
                signers: vec![two, Address::from_bytes([3; 20])],
                price_cap: 7,
            },
            "69b5fdc13d86c0294f8465e5e59ee134402fea932e654dc8437105d181cddba1",
        ),
        (
            Action::ExtendReservation { reservation, blocks: 4, price_cap: 7 },
            "5ffeacfdca3423b273ef62d171ed4aea7a671eb2328218b97fc5072329cbebdf",
        ),
        (
            Action::Bond { stake: 8, keys: Some(Box::new(keys)) },
            "96d59008ea13295a0641256cdb5b666e11751174fb2b9efcfb38b27895dd20c6",
        ),
        (
            Action::Bond { stake: 8, keys: None },
            "739039b141bb3b728e10d0c80feed8162e4ef0891f57f9e22040ead35f23f5b6",
        ),
        (Action::Unbond { stake: 8 }, "bbc59dd38a5c6bc6a6dac9c5ed7304ef5589ae5ec18e678fe65b7b51c1f8cb16"),
        (
            Action::Evidence(Box::new(Evidence::Equivocation(evidence))),
            "b9fa91fc7e0cd2ea413145d123d7a062ec7b058c0d4a5dbf646dac1eb8a2d432",
        ),
        (
            Action::Signal(Some(Upgrade { version: 2, height: 1_000 })),
            "7ae03918a80645765bee02c5bfb30191690e710e9e84fc9cc5db20d5a7bda427",
        ),
        (Action::Signal(None), "f4c21266ee233f5e49fdd1abb2ac5abf981b88105cc6f79a7b3f79ec0730642c"),
    ];
    let domain = Domain::new("weft-vector", &[3; 32]);
    for (action, expected) in vectors {
        let mut payload = Payload {
            sender: key(1).address(),
            salt: [9; 16],
            valid_until: 42,
            fee_cap: 2_000,
            tip: 10,
            action,
        };
        if payload.reservation().is_some() {
            (payload.fee_cap, payload.tip) = (0, 0);
        }
        let transaction = key(1).sign(payload, vec![], &domain).unwrap();
        assert_eq!(transaction.id(&domain).to_string(), expected, "{:?}", transaction.payload.action);
        assert_eq!(Transaction::decode(&transaction.encode()).unwrap(), transaction);
    }
}
