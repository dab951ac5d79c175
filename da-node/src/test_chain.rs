//! A chain for unit tests, whose validators' keys are all at hand: blocks are made without consensus, and every
//! validator signs every commit.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use chain::{
    Action, Amount, BlobHeader, Candidate, CheckedBlob, Genesis, GenesisAccount, GenesisValidator, Height,
    Parameters, Parent, Payload, RULES_VERSION, SecretKey, State, StateStore, StateUpdate, Upgrade,
    ValidBlock,
};
use ed25519_consensus::SigningKey;
use erasure::{ForeignKind, Namespace};
use tendermint::{
    Signature, Time, account,
    block::{self, Commit, CommitSig, Round, parts, signed_header::SignedHeader},
    vote::{Type, ValidatorIndex, Vote},
};

/// What each account owns at genesis.
pub(crate) const FUNDS: Amount = 1_000_000_000_000;

/// What every transaction offers per share.
pub(crate) const FEE_CAP: u64 = 2_000;

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32]).unwrap()
}

pub(crate) fn namespace(id: u8) -> Namespace {
    Namespace::from_user_id([id; 10])
}

pub(crate) fn blob(id: u8, bytes: Vec<u8>) -> Arc<CheckedBlob> {
    let header = BlobHeader::describe(namespace(id), &bytes, &[ForeignKind::Sha256], &[]);
    Arc::new(CheckedBlob::check(&header, &[], bytes.into()).unwrap())
}

fn signers() -> impl Iterator<Item = SigningKey> {
    (1..=4).map(|seed| SigningKey::from([seed; 32]))
}

pub(crate) struct TestChain {
    pub(crate) genesis: Genesis,
    parent: Parent,
    pub(crate) proposer: account::Id,
}

impl TestChain {
    pub(crate) fn new(chain_id: &str) -> Self {
        let accounts = (1..=3).map(|seed| GenesisAccount { address: key(seed).address(), balance: FUNDS });
        let validators = signers().zip(100..).map(|(signer, operator)| GenesisValidator {
            name: "one of four".into(),
            public_key: signer.verification_key().to_bytes(),
            power: 1,
            operator: key(operator).address(),
            attestation_key: None,
        });
        let genesis = Genesis {
            chain_id: chain_id.into(),
            time: Time::from_unix_timestamp(1_700_000_000, 0).unwrap(),
            parameters: Parameters::default(),
            accounts: accounts.collect(),
            validators: validators.collect(),
        };
        let validators = genesis.validator_set().unwrap();
        let parent = Parent {
            state_root: StateUpdate::genesis(&genesis).unwrap().root,
            last: None,
            last_validators: validators.clone(),
            validators: validators.clone(),
            next_validators: validators.clone(),
            upgrade: Upgrade::GENESIS,
            newest_rules: RULES_VERSION,
        };
        Self { genesis, parent, proposer: validators.validators()[0].address }
    }

    /// A transaction of account `from`, valid until `valid_until`.
    pub(crate) fn transaction(
        &self,
        from: u8,
        salt: u8,
        valid_until: Height,
        blobs: Vec<Arc<CheckedBlob>>,
    ) -> Candidate {
        let headers = blobs.iter().map(|blob| blob.header().clone()).collect();
        let action = Action::SubmitBlobs { blobs: headers, reservation: None };
        self.sign(from, [salt; 16], valid_until, (FEE_CAP, 0), action, blobs)
    }

    /// A transaction of account `from` that offers a cap and a tip.
    pub(crate) fn offer(
        &self,
        from: u8,
        salt: u8,
        offer: (u64, u64),
        blobs: Vec<Arc<CheckedBlob>>,
    ) -> Candidate {
        let headers = blobs.iter().map(|blob| blob.header().clone()).collect();
        let action = Action::SubmitBlobs { blobs: headers, reservation: None };
        self.sign(from, [salt; 16], 50, offer, action, blobs)
    }

    /// A transfer of account `from` to nobody.
    pub(crate) fn transfer(&self, from: u8, amount: Amount) -> Candidate {
        let action = Action::Transfer { to: key(99).address(), amount };
        let salt = [amount.to_be_bytes(); 2].concat().try_into().unwrap();
        self.sign(from, salt, 100, (FEE_CAP, 0), action, Vec::new())
    }

    pub(crate) fn sign(
        &self,
        from: u8,
        salt: [u8; 16],
        valid_until: Height,
        (fee_cap, tip): (u64, u64),
        action: Action,
        blobs: Vec<Arc<CheckedBlob>>,
    ) -> Candidate {
        let sender = key(from).address();
        let payload = Payload { sender, salt, valid_until, fee_cap, tip, action };
        let domain = self.genesis.domain();
        let signed = key(from).sign(payload, Vec::new(), &domain).unwrap();
        Candidate::new(Arc::new(signed.verify(&domain, &self.genesis.parameters).unwrap()), blobs).unwrap()
    }

    /// The next block with exactly these transactions, `later` than its parent by so much.
    pub(crate) fn propose<S: StateStore>(
        &self,
        store: &S,
        chosen: &[Candidate],
        later: Duration,
    ) -> ValidBlock {
        let time = self.parent.last.as_ref().map_or(self.genesis.time, |last| last.header.time);
        let state = State::at(store, self.parent.next_height() - 1);
        let (now, mut squares) = ((time + later).unwrap(), chain::SquareBuilder::new(NonZeroUsize::MIN));
        chain::propose(&self.genesis, &self.parent, state, chosen, self.proposer, now, &mut squares).unwrap()
    }

    /// Makes `valid` the head; gives its commit.
    pub(crate) fn decide(&mut self, valid: &ValidBlock) -> Commit {
        let header = valid.block.header.clone();
        let part_set_header = parts::Header::new(1, header.hash()).unwrap();
        let block_id = block::Id { hash: header.hash(), part_set_header };
        let sign = |(index, validator): (usize, &tendermint::validator::Info)| {
            let signer =
                signers().find(|signer| validator.pub_key.to_bytes() == signer.verification_key().to_bytes());
            let vote = Vote {
                vote_type: Type::Precommit,
                height: header.height,
                round: Round::default(),
                block_id: Some(block_id),
                timestamp: Some(header.time),
                validator_address: validator.address,
                validator_index: ValidatorIndex::try_from(index).unwrap(),
                signature: None,
                extension: Vec::new(),
                extension_signature: None,
            };
            let signed = signer.unwrap().sign(&vote.into_signable_vec(header.chain_id.clone()));
            CommitSig::BlockIdFlagCommit {
                validator_address: validator.address,
                timestamp: header.time,
                signature: Signature::new(signed.to_bytes()).unwrap(),
            }
        };
        let signatures = self.parent.validators.validators().iter().enumerate().map(sign).collect();
        let commit = Commit { height: header.height, round: Round::default(), block_id, signatures };
        self.parent.state_root = valid.update.root;
        self.parent.last = Some(SignedHeader::new(header, commit.clone()).unwrap());
        commit
    }
}
