//! Valid objects of one chain, for the fuzz bodies: each with what it is verified against.

use std::{sync::LazyLock, time::Duration};

use chain::{
    Action, Attestation, AttestationData, Attesters, BlobHeader, Block, Candidate, Certificate, Certified,
    CertifiedBlock, CheckedBlob, Checkpoint, DoubleAttestation, Evidence, Genesis, HeaderHint, HistoryProof,
    LightBlock, MemoryState, NANO_PER_WEFT, Parameters, ReservationId, SnapshotHead, State, StateChunk,
    StateKey, StateRestore, StateUpdate, Step, Submission, Tally, Transaction, TrustOptions, UnprovenValue,
    Upgrade, VerifiedHeader,
};
use tendermint::Time;

use crate::support::{Chain, attestation_secret, contradiction, key, namespace, validator_keys};

const ALL: [usize; 6] = [0, 1, 2, 3, 4, 5];

const OPTIONS: TrustOptions = TrustOptions {
    trusting_period: Duration::from_secs(3_600),
    clock_drift: Duration::from_secs(5),
    newest_rules: chain::RULES_VERSION,
};

/// Six blocks with a transaction of every kind, and what readers get of them.
pub(crate) struct Scene {
    pub(crate) genesis: Genesis,
    pub(crate) transactions: Vec<Transaction>,
    late: Vec<Candidate>,
    pub(crate) body: (BlobHeader, Vec<u8>),
    pub(crate) submission: Submission,
    pub(crate) light: Vec<LightBlock>,
    pub(crate) blocks: Vec<Block>,
    /// Every record of the state, as each block wrote it.
    pub(crate) updates: Vec<StateUpdate>,
    pub(crate) now: Time,
    pub(crate) trusted: VerifiedHeader,
    pub(crate) attesters: Attesters,
    pub(crate) next_attesters: Attesters,
    pub(crate) attestation: Attestation,
    pub(crate) certified: Certified,
    pub(crate) history: HistoryProof,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) proven: Vec<(StateKey, UnprovenValue)>,
    pub(crate) chunks: Vec<StateChunk>,
    /// After the last but one block, whose root the last header carries.
    pub(crate) root: [u8; 32],
}

pub(crate) static SCENE: LazyLock<Scene> = LazyLock::new(Scene::new);

fn hash_of(block: &LightBlock) -> [u8; 32] {
    block.signed_header.header.hash().as_bytes().try_into().unwrap()
}

pub(crate) fn checkpoint(block: &LightBlock) -> Checkpoint {
    Checkpoint { height: block.height(), hash: hash_of(block) }
}

impl Scene {
    fn new() -> Self {
        let mut chain = Chain::new(Parameters { epoch_heights: 8, ..Parameters::default() });
        let body = vec![3; 700];
        let submit = chain.submit(&key(1), 1, &[(namespace(9), body.clone()), (namespace(2), vec![2; 100])]);
        let header = submit.blobs()[0].header().clone();
        let transaction = submit.transaction().transaction().clone();
        let submission = Submission { transaction, bodies: vec![body.clone(), vec![2; 100]] };
        let data = |header: [u8; 32]| AttestationData {
            height: 1,
            time: 1_700_000_000,
            header,
            data_root: [2; 32],
            history_root: [3; 32],
            attesters: [4; 32],
            next_attesters: [0; 32],
        };
        let secret = attestation_secret(2);
        let attested = |hash| {
            let signed = Attestation::sign(data([hash; 32]), 0, &secret, &chain.genesis.domain());
            (signed.data, signed.signature)
        };
        let double = DoubleAttestation { validator: secret.key(), first: attested(1), second: attested(5) };
        let evidence = vec![
            Evidence::Equivocation(contradiction(1, Step::Precommit, 1)),
            Evidence::Equivocation(contradiction(1, Step::Proposal, 7)),
            Evidence::DoubleAttestation(double),
        ];
        let reserve =
            Action::Reserve { rate: 4, blocks: 9, signers: vec![key(2).address()], price_cap: 1 << 40 };
        let keys = Some(Box::new(validator_keys(&chain, &key(1), 5)));
        let actions = [
            (1, Action::Transfer { to: key(7).address(), amount: 5 }),
            (1, reserve),
            (1, Action::Bond { stake: 20 * NANO_PER_WEFT, keys }),
            (100, Action::Unbond { stake: NANO_PER_WEFT }),
            (101, Action::Signal(Some(Upgrade { version: 2, height: 100_000 }))),
            (2, Action::Evidence(Box::new(evidence[0].clone()))),
        ];
        let extend =
            Action::ExtendReservation { reservation: ReservationId([9; 32]), blocks: 5, price_cap: 1 << 40 };
        let mut transactions: Vec<_> = actions
            .into_iter()
            .map(|(from, action)| chain.sign(&key(from), chain.payload(&key(from), from, action)))
            .collect();
        let mut candidates: Vec<_> =
            transactions.iter().map(|transaction| chain.candidate(transaction.clone(), vec![])).collect();
        candidates.push(submit);
        transactions.push(chain.sign(&key(3), chain.payload(&key(3), 3, extend)));
        transactions.push(submission.transaction.clone());

        let mut updates = vec![StateUpdate::genesis(&chain.genesis).unwrap()];
        let (mut light, mut blocks) = (Vec::new(), Vec::new());
        for at in 0..6 {
            let valid = chain.propose(if at == 0 { &candidates[..] } else { &[] });
            updates.push(valid.update.clone());
            blocks.push(valid.block.clone());
            light.push(chain.decide(valid, &ALL));
        }
        let height = chain.height() - 2;
        let state = State::at(&chain.store, height);
        let root = state.root().unwrap();
        let prove = |key| {
            let (value, proof) = state.prove(&key).unwrap();
            (key, UnprovenValue { value, proof })
        };
        let proven = [
            StateKey::Account(key(1).address()),
            StateKey::Account(key(66).address()),
            StateKey::Validators,
            StateKey::Attesters,
            StateKey::Validator(key(100).address()),
            StateKey::Signals,
            StateKey::Upgrade,
        ]
        .map(prove)
        .to_vec();
        let chunks = state.chunks().unwrap().map(Result::unwrap).collect();

        let late = [
            (1, Action::Transfer { to: key(66).address(), amount: 5 }),
            (
                2,
                Action::Bond {
                    stake: 20 * NANO_PER_WEFT,
                    keys: Some(Box::new(validator_keys(&chain, &key(2), 6))),
                },
            ),
            (100, Action::Unbond { stake: 9 * NANO_PER_WEFT }),
            (102, Action::Signal(Some(Upgrade { version: 2, height: 100_000 }))),
        ];
        let late = late.map(|(from, action)| {
            let payload = chain.payload(&key(from), from.wrapping_add(40), action);
            chain.candidate(chain.sign(&key(from), payload), vec![])
        });
        let late = late.to_vec();

        let now = chain.now();
        let trusted = VerifiedHeader::from_checkpoint(
            light[0].clone(),
            "weft-test",
            &checkpoint(&light[0]),
            now,
            &OPTIONS,
        );
        let state = chain.state();
        let (attesters, next_attesters) =
            (state.attesters().unwrap(), state.next_attesters().unwrap().unwrap());
        let data = AttestationData::new(
            &light[5].signed_header.header,
            state.history().unwrap(),
            attesters.hash(),
            Some(next_attesters.hash()),
        );
        let data = data.unwrap();
        let domain = chain.genesis.domain();
        let attest = |seed| {
            let secret = attestation_secret(seed);
            Attestation::sign(data, attesters.index_of(&secret.key()).unwrap(), &secret, &domain)
        };
        let mut tally = Tally::new(data, attesters.clone().into()).unwrap();
        for seed in [1, 2, 4] {
            assert!(tally.add(&attest(seed).verify(&domain, &attesters).unwrap()));
        }
        let certified = tally.certificate().unwrap().verify(&domain, &attesters).unwrap();
        let roots: Vec<[u8; 32]> = light
            .iter()
            .map(|block| block.signed_header.header.data_hash.unwrap().as_bytes().try_into().unwrap())
            .collect();
        Self {
            genesis: chain.genesis.clone(),
            transactions,
            late,
            body: (header, body),
            submission,
            now,
            trusted: trusted.unwrap(),
            attestation: attest(3),
            certified,
            history: HistoryProof::new(1, &roots, 2, 3).unwrap(),
            attesters,
            next_attesters,
            evidence,
            proven,
            chunks,
            root,
            updates,
            light,
            blocks,
        }
    }

    /// Transactions that the next block can hold: they touch what is there, and pay what was not.
    pub(crate) fn late(&self) -> &[Candidate] {
        &self.late
    }

    pub(crate) fn last(&self) -> &LightBlock {
        &self.light[5]
    }

    pub(crate) fn known(&self) -> &tendermint::validator::Set {
        &self.last().validators
    }

    pub(crate) fn head(&self) -> SnapshotHead {
        SnapshotHead { last: self.light[4].clone(), next: self.light[5].clone() }
    }

    pub(crate) fn certified_block(&self) -> CertifiedBlock {
        let block = self.last().clone().without_commit();
        CertifiedBlock { certificate: self.certified.certificate().clone(), block }
    }

    fn json(&self) -> [Vec<u8>; 4] {
        let network = chain::NetworkConfig {
            chain_id: self.genesis.chain_id.clone(),
            genesis_hash: self.genesis.hash(),
            trusting_period_seconds: 9,
            bootstrap: vec!["/ip4/127.0.0.1/tcp/1".into()],
            api: vec!["http://127.0.0.1:1".into()],
            checkpoint: checkpoint(self.last()),
        };
        [
            serde_json::to_vec(&self.genesis),
            serde_json::to_vec(self.last()),
            serde_json::to_vec(&network),
            serde_json::to_vec(&chain::TxStatus::Rejected { reason: "no".into() }),
        ]
        .map(Result::unwrap)
    }

    /// Every kind of object, encoded.
    pub(crate) fn encoded(&self) -> Vec<Vec<u8>> {
        let known = self.known().hash().as_bytes().try_into().unwrap();
        let header = &self.trusted.light_block().signed_header.header;
        let proposal = |block: &Block| chain::Proposal {
            header: header.clone(),
            ids: block.transactions.iter().map(|t| t.id(&self.genesis.domain())).collect(),
            last_commit: block.last_commit.clone(),
        };
        let mut all = vec![
            self.submission.encode(),
            self.last().encode(),
            self.last().encode_for(&known),
            self.light[1].encode(),
            self.certified_block().encode_for(None),
            self.certified_block().encode_for(Some(&known)),
            self.head().encode(),
            HeaderHint { height: 6, hash: known }.encode(),
            self.certified.data().encode(),
            self.attestation.encode(),
            self.certified.certificate().encode(),
            self.history.encode(),
            self.attesters.encode(),
            self.certified_text().into_bytes(),
            StateKey::Validator(key(100).address()).to_string().into_bytes(),
        ];
        all.extend(self.transactions.iter().map(Transaction::encode));
        all.extend(self.evidence.iter().map(Evidence::encode));
        all.extend(self.blocks[..2].iter().flat_map(|b| [b.encode(), proposal(b).encode_body()]));
        all.extend(self.proven.iter().flat_map(|(_, value)| {
            [Some(value.encode()), Some(value.proof.encode()), value.value.clone()].into_iter().flatten()
        }));
        all.extend(self.chunks.iter().map(StateChunk::encode));
        all.extend(self.json());
        all.extend(bombs());
        all
    }

    fn certified_text(&self) -> String {
        let Checkpoint { height, hash } = checkpoint(self.last());
        format!("{height}:{}", hex::encode(hash))
    }
}

/// What takes much more memory than bytes, if one lets it: siblings that are empty, signatures that are absent.
fn bombs() -> [Vec<u8>; 3] {
    let siblings = [&3_000u32.to_le_bytes()[..], &[0; 3_000]].concat();
    let commit = [&[0x22, 2, 8, 1][..]; 1_000].concat();
    let commit = [&[0x12, 0xa0, 0x1f][..], &commit].concat();
    let chunk = [&[0; 4][..], &siblings].concat();
    [[&[0][..], &siblings].concat(), chunk, [&[0x0a, 0xa3, 0x1f][..], &commit].concat()]
}

/// What bytes establish, if anything.
type Check = dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync;

/// Bytes, what they establish, and the check of them.
pub(crate) struct Honest {
    pub(crate) bytes: Vec<u8>,
    pub(crate) claim: Vec<u8>,
    pub(crate) check: Box<Check>,
}

impl AsRef<[u8]> for Honest {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn honest(bytes: Vec<u8>, check: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) -> Honest {
    let claim = check(&bytes).expect("a valid object verifies");
    Honest { bytes, claim, check: Box::new(check) }
}

/// Everything that has a verifier. What a check gives back is all that was established.
pub(crate) static HONEST: LazyLock<Vec<Honest>> = LazyLock::new(|| {
    let scene = &*SCENE;
    let domain = scene.genesis.domain();
    let mut all = vec![
        honest(scene.attestation.encode(), move |bytes| {
            let verified = Attestation::decode(bytes).ok()?.verify(&domain, &scene.attesters).ok()?;
            Some(verified.attestation().encode())
        }),
        honest(scene.certified.certificate().encode(), move |bytes| {
            let certified = Certificate::decode(bytes).ok()?.verify(&domain, &scene.attesters).ok()?;
            Some([certified.certificate().encode(), certified.power().to_be_bytes().to_vec()].concat())
        }),
        honest(scene.history.encode(), |bytes| {
            let verified = HistoryProof::decode(bytes).ok()?.verify(&scene.certified).ok()?;
            Some(
                verified
                    .data_roots()
                    .flat_map(|(height, root)| [&height.to_be_bytes()[..], root].concat())
                    .collect(),
            )
        }),
        honest(scene.next_attesters.encode(), |bytes| {
            Some(scene.certified.hand_over(Attesters::decode(bytes).ok()?).ok()?.encode())
        }),
        honest(scene.body.1.clone(), |bytes| {
            Some(CheckedBlob::check(&scene.body.0, &[], bytes.into()).ok()?.bytes().to_vec())
        }),
        honest(scene.last().encode(), |bytes| {
            let block = LightBlock::decode(bytes).ok()?;
            Some(headers(&scene.trusted.advance(block, scene.now, &OPTIONS).ok()?))
        }),
        honest(scene.light[0].encode(), |bytes| {
            let (block, point) = (LightBlock::decode(bytes).ok()?, checkpoint(&scene.light[0]));
            Some(headers(
                &VerifiedHeader::from_checkpoint(block, "weft-test", &point, scene.now, &OPTIONS).ok()?,
            ))
        }),
        honest(scene.certified_block().encode_for(None), move |bytes| {
            let CertifiedBlock { certificate, block } =
                CertifiedBlock::decode_for(bytes, scene.known()).ok()?;
            let certified = certificate.verify(&domain, &scene.attesters).ok()?;
            Some(headers(&scene.trusted.certified(block, &certified, scene.now, &OPTIONS).ok()?))
        }),
        honest(scene.head().encode(), |bytes| {
            let head = SnapshotHead::decode(bytes).ok()?;
            let trust = checkpoint(scene.last());
            let trusted = head.trusted("weft-test", &trust, scene.now, &OPTIONS).ok()?;
            let verified = head.verify(&scene.genesis, &trusted, scene.now, &OPTIONS).ok()?;
            Some([headers(verified.last()), verified.next_hash().to_vec()].concat())
        }),
        honest(scene.chunks[0].encode(), |bytes| {
            let mut restore = StateRestore::new(5, scene.root);
            let mut store = MemoryState::default();
            store.apply(restore.add(StateChunk::decode(bytes).ok()?).ok()?);
            store.apply(restore.finish().ok()?);
            Some(State::at(&store, 5).chunks().unwrap().flat_map(|chunk| chunk.unwrap().encode()).collect())
        }),
    ];
    for transaction in &scene.transactions {
        all.push(honest(transaction.encode(), move |bytes| {
            let decoded = Transaction::decode(bytes).ok()?;
            let verified = decoded.verify(&domain, &scene.genesis.parameters).ok()?;
            Some([&verified.id().0[..], &verified.transaction().encode()].concat())
        }));
    }
    for evidence in &scene.evidence {
        all.push(honest(evidence.encode(), |bytes| {
            let evidence = Evidence::decode(bytes).ok()?;
            evidence.check(&scene.genesis).ok()?;
            Some(evidence.encode())
        }));
    }
    for (key, value) in &scene.proven {
        all.push(honest(value.encode(), move |bytes| {
            let UnprovenValue { value, proof } = UnprovenValue::decode(bytes).ok()?;
            let proven = proof.verify_root(scene.root, key, value).ok()?;
            Some(proven.value().map_or_else(Vec::new, |value| [&[1], value].concat()))
        }));
    }
    all
});

/// All that readers take from a verified header.
fn headers(verified: &VerifiedHeader) -> Vec<u8> {
    let block = verified.light_block();
    let sets = [&block.validators, &block.next_validators].map(|set| set.hash().as_bytes().to_vec()).concat();
    [verified.hash().to_vec(), verified.data_root().to_vec(), sets].concat()
}
