//! A chain whose every key is the test's.

use std::{num::NonZeroUsize, sync::Arc};

use chain::{
    Action, Amount, AttestationSecret, BlobHeader, Candidate, CheckedBlob, Equivocation, Genesis,
    GenesisAccount, GenesisValidator, Height, KzgOpening, LightBlock, MemoryState, Parameters, Parent,
    Payload, RULES_VERSION, SecretKey, SignedStep, State, StateKey, StateUpdate, Step, Transaction,
    Unbonding, ValidBlock, ValidatorKeys,
};
use ed25519_consensus::SigningKey;
use erasure::{ForeignKind, Namespace};
use tendermint::{
    Signature, Time, account,
    block::{self, Commit, CommitSig, Round, parts, signed_header::SignedHeader},
    vote::{self, Vote},
};

pub(crate) const FUNDS: Amount = 1_000_000_000_000;

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32]).unwrap()
}

pub(crate) fn namespace(id: u8) -> Namespace {
    Namespace::from_user_id([id; 10])
}

pub(crate) struct Chain {
    pub(crate) genesis: Genesis,
    pub(crate) store: MemoryState,
    pub(crate) parent: Parent,
    signers: Vec<SigningKey>,
}

impl Chain {
    pub(crate) fn new(parameters: Parameters) -> Self {
        Self::funded(parameters, FUNDS)
    }

    /// A chain whose accounts 1 to 3 own `balance` each.
    pub(crate) fn funded(parameters: Parameters, balance: Amount) -> Self {
        // The fifth and the sixth are of validators that join later.
        let signers: Vec<_> = (1..=6u8).map(|seed| SigningKey::from([seed; 32])).collect();
        let genesis = Genesis {
            chain_id: "weft-test".into(),
            time: Time::from_unix_timestamp(1_700_000_000, 0).unwrap(),
            parameters,
            accounts: (1..=3).map(|seed| GenesisAccount { address: key(seed).address(), balance }).collect(),
            validators: signers[..4]
                .iter()
                .enumerate()
                .map(|(at, signer)| GenesisValidator {
                    name: format!("v{at}"),
                    public_key: signer.verification_key().to_bytes(),
                    power: 10,
                    operator: key(100 + at as u8).address(),
                    attestation_key: Some(attestation_secret(1 + at as u8).key()),
                })
                .collect(),
        };
        genesis.check().unwrap();
        let mut store = MemoryState::default();
        store.apply(StateUpdate::genesis(&genesis).unwrap());
        let parent = Parent::new(State::at(&store, 0), None, RULES_VERSION).unwrap();
        Self { genesis, store, parent, signers }
    }

    pub(crate) fn height(&self) -> Height {
        self.parent.next_height()
    }

    pub(crate) fn state(&self) -> State<'_, MemoryState> {
        State::at(&self.store, self.height() - 1)
    }

    pub(crate) fn proposer(&self) -> account::Id {
        self.parent.validators.validators()[0].address
    }

    pub(crate) fn now(&self) -> Time {
        (self.genesis.time + std::time::Duration::from_secs(self.height())).unwrap()
    }

    pub(crate) fn payload(&self, from: &SecretKey, salt: u8, action: Action) -> Payload {
        Payload {
            sender: from.address(),
            salt: [salt; 16],
            valid_until: self.height() + 50,
            fee_cap: 2_000,
            tip: 10,
            action,
        }
    }

    pub(crate) fn sign(&self, from: &SecretKey, payload: Payload) -> Transaction {
        from.sign(payload, Vec::new(), &self.genesis.domain()).unwrap()
    }

    pub(crate) fn submit(&self, from: &SecretKey, salt: u8, blobs: &[(Namespace, Vec<u8>)]) -> Candidate {
        let kinds = [ForeignKind::Keccak256, ForeignKind::Sha256];
        let headers = blobs.iter().map(|(ns, bytes)| BlobHeader::describe(*ns, bytes, &kinds, &[])).collect();
        let transaction = self
            .sign(from, self.payload(from, salt, Action::SubmitBlobs { blobs: headers, reservation: None }));
        self.candidate(transaction, blobs.iter().map(|(_, bytes)| bytes.clone()).collect())
    }

    pub(crate) fn candidate(&self, transaction: Transaction, bodies: Vec<Vec<u8>>) -> Candidate {
        let verified =
            Arc::new(transaction.verify(&self.genesis.domain(), &self.genesis.parameters).unwrap());
        let blobs = verified
            .openings()
            .zip(bodies)
            .map(|((header, kzg), bytes)| Arc::new(CheckedBlob::check(header, kzg, bytes.into()).unwrap()))
            .collect();
        Candidate::new(verified, blobs).unwrap()
    }

    pub(crate) fn propose(&self, candidates: &[Candidate]) -> ValidBlock {
        let selected = chain::select(&self.genesis, self.state(), &self.proposer(), candidates).unwrap();
        chain::propose(
            &self.genesis,
            &self.parent,
            self.state(),
            &selected.chosen,
            self.proposer(),
            self.now(),
            &mut chain::SquareBuilder::new(NonZeroUsize::MIN),
        )
        .unwrap()
    }

    /// All money there is: balances, stake, unbonding stake and what was burned, of the accounts that tests use.
    pub(crate) fn accounted(&self) -> Amount {
        let state = self.state();
        let accounts = || (1..=9).chain(100..104).map(|seed| key(seed).address());
        let balances: Amount = accounts().map(|account| state.balance(&account).unwrap()).sum();
        let validators = accounts().filter_map(|account| state.validator(&account).unwrap());
        let stakes = validators.map(|validator| {
            let unbonding = validator.unbonding.iter().map(|place| {
                let (value, _) = state.prove(&StateKey::Unbonding(*place)).unwrap();
                Unbonding::decode(&value.unwrap()).unwrap().amount
            });
            validator.stake + unbonding.sum::<Amount>()
        });
        balances + stakes.sum::<Amount>() + state.burned().unwrap()
    }

    /// Signs `valid` as the validators of `signing`, and makes it the head.
    pub(crate) fn decide(&mut self, valid: ValidBlock, signing: &[usize]) -> LightBlock {
        let commit = self.sign_commit(&valid.block.header, signing);
        let signed = SignedHeader::new(valid.block.header, commit).unwrap();
        let height = valid.update.version;
        self.store.apply(valid.update);
        let newest_rules = self.parent.newest_rules;
        let state = State::at(&self.store, height);
        self.parent = Parent::new(state, Some(signed.clone()), newest_rules).unwrap();
        LightBlock {
            signed_header: signed,
            validators: self.parent.last_validators.clone(),
            next_validators: self.parent.validators.clone(),
        }
    }

    pub(crate) fn sign_commit(&self, header: &block::Header, signing: &[usize]) -> Commit {
        let block_id =
            block::Id { hash: header.hash(), part_set_header: parts::Header::new(1, header.hash()).unwrap() };
        let signatures = self
            .parent
            .validators
            .validators()
            .iter()
            .map(|info| {
                let at = self
                    .signers
                    .iter()
                    .position(|s| s.verification_key().to_bytes() == info.pub_key.to_bytes()[..])
                    .unwrap();
                if !signing.contains(&at) {
                    return CommitSig::BlockIdFlagAbsent;
                }
                let vote = Vote {
                    vote_type: vote::Type::Precommit,
                    height: header.height,
                    round: Round::default(),
                    block_id: Some(block_id),
                    timestamp: Some(header.time),
                    validator_address: info.address,
                    validator_index: 0u32.try_into().unwrap(),
                    signature: None,
                    extension: vec![],
                    extension_signature: None,
                };
                let bytes = vote.into_signable_vec(header.chain_id.clone());
                CommitSig::BlockIdFlagCommit {
                    validator_address: info.address,
                    timestamp: header.time,
                    signature: Signature::new(self.signers[at].sign(&bytes).to_bytes()).unwrap(),
                }
            })
            .collect();
        Commit { height: header.height, round: Round::default(), block_id, signatures }
    }
}

/// The attestation key of the validator with this seed.
pub(crate) fn attestation_secret(seed: u8) -> AttestationSecret {
    AttestationSecret::from_seed(&[seed; 32]).unwrap()
}

/// The keys of a validator that joins after genesis, for the account `operator`.
pub(crate) fn validator_keys(chain: &Chain, operator: &SecretKey, seed: u8) -> ValidatorKeys {
    let consensus = SigningKey::from([seed; 32]);
    ValidatorKeys::prove(
        &chain.genesis.domain(),
        &operator.address(),
        consensus.verification_key().to_bytes(),
        |message| consensus.sign(message).to_bytes(),
        &attestation_secret(seed),
    )
}

/// A blob of field elements below the order, and its KZG opening.
pub(crate) fn kzg_blob(fill: u8) -> (Vec<u8>, KzgOpening) {
    let mut bytes: Vec<u8> = (0..131_072u32).map(|at| fill.wrapping_mul((at / 7) as u8)).collect();
    bytes.iter_mut().step_by(32).for_each(|byte| *byte = 0);
    let settings = c_kzg::ethereum_kzg_settings(0);
    let blob = c_kzg::Blob::from_bytes(&bytes).unwrap();
    let commitment = settings.blob_to_kzg_commitment(&blob).unwrap().to_bytes();
    let proof = settings.compute_blob_kzg_proof(&blob, &commitment).unwrap().to_bytes();
    (bytes, KzgOpening { commitment: commitment.into_inner(), proof: proof.into_inner() })
}

/// Two messages of the validator with this seed, for two blocks.
pub(crate) fn contradiction(seed: u8, step: Step, height: Height) -> Equivocation {
    let signer = SigningKey::from([seed; 32]);
    let message = |hash| {
        let time = Time::from_unix_timestamp(1_700_000_001, 0).unwrap();
        SignedStep { block: Some(([hash; 32], time)), pol_round: None, signature: [0; 64] }
    };
    let validator = signer.verification_key().to_bytes();
    let mut evidence =
        Equivocation { validator, step, height, round: 0, first: message(1), second: message(2) };
    evidence.first.signature = signer.sign(&evidence.sign_bytes(&evidence.first, "weft-test")).to_bytes();
    evidence.second.signature = signer.sign(&evidence.sign_bytes(&evidence.second, "weft-test")).to_bytes();
    evidence
}
