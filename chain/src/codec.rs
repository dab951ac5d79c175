//! Protobuf forms of what is hashed, stored and sent. Decoding is canonical: bytes that would not be written
//! again the same way are refused.

use erasure::{ForeignCommitment, ForeignKind, Namespace};
use prost::Message;

use crate::{
    address::Address,
    bls::{AttestationKey, AttestationSignature},
    certificate::AttestationData,
    evidence::{DoubleAttestation, Equivocation, Evidence, SignedStep, Step},
    reservation::ReservationId,
    staking::ValidatorKeys,
    transaction::{Action, BlobHeader, KzgOpening, Payload, Submission, Transaction},
    upgrade::Upgrade,
};

/// Why bytes are no message. Their sender is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not protobuf, or of another message.
    #[error("malformed protobuf: {0}")]
    Protobuf(String),
    /// A field has the wrong number of bytes.
    #[error("{field}: expected {expected} bytes, got {got}")]
    Length {
        /// Which field.
        field: &'static str,
        /// Bytes wanted.
        expected: usize,
        /// Bytes found.
        got: usize,
    },
    /// A field holds a value that it cannot have.
    #[error("{field}: {reason}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A field that must be there is not.
    #[error("{0}: missing")]
    Missing(&'static str),
    /// A second way of writing the same message.
    #[error("not the canonical encoding of this message")]
    NotCanonical,
    /// More elements than the limit.
    #[error("{field}: at most {limit}, got {got}")]
    TooMany {
        /// Which field.
        field: &'static str,
        /// Elements allowed.
        limit: usize,
        /// Elements found.
        got: usize,
    },
}

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Protobuf(error.to_string())
    }
}

pub(crate) fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Length { field, expected: N, got: bytes.len() })
}

#[derive(Clone, PartialEq, Message)]
struct ForeignMessage {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct BlobMessage {
    #[prost(bytes = "vec", tag = "1")]
    namespace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    commitment: Vec<u8>,
    #[prost(uint64, tag = "3")]
    len: u64,
    #[prost(message, repeated, tag = "4")]
    foreign: Vec<ForeignMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SubmitBlobsMessage {
    #[prost(message, repeated, tag = "1")]
    blobs: Vec<BlobMessage>,
    /// Empty: on demand.
    #[prost(bytes = "vec", tag = "2")]
    reservation: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct TransferMessage {
    #[prost(bytes = "vec", tag = "1")]
    to: Vec<u8>,
    #[prost(uint64, tag = "2")]
    amount: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ReserveMessage {
    #[prost(uint64, tag = "1")]
    rate: u64,
    #[prost(uint64, tag = "2")]
    blocks: u64,
    #[prost(bytes = "vec", repeated, tag = "3")]
    signers: Vec<Vec<u8>>,
    #[prost(uint64, tag = "4")]
    price_cap: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ExtendReservationMessage {
    #[prost(bytes = "vec", tag = "1")]
    reservation: Vec<u8>,
    #[prost(uint64, tag = "2")]
    blocks: u64,
    #[prost(uint64, tag = "3")]
    price_cap: u64,
}

#[derive(Clone, PartialEq, Message)]
struct BondMessage {
    #[prost(uint64, tag = "1")]
    stake: u64,
    #[prost(message, optional, tag = "2")]
    keys: Option<KeysMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct KeysMessage {
    #[prost(bytes = "vec", tag = "1")]
    consensus: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    consensus_proof: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    attestation: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    attestation_proof: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct UnbondMessage {
    #[prost(uint64, tag = "1")]
    stake: u64,
}

#[derive(Clone, PartialEq, Message)]
struct EvidenceMessage {
    #[prost(bytes = "vec", tag = "1")]
    validator: Vec<u8>,
    #[prost(uint32, tag = "2")]
    step: u32,
    #[prost(uint64, tag = "3")]
    height: u64,
    #[prost(uint32, tag = "4")]
    round: u32,
    #[prost(message, optional, tag = "5")]
    first: Option<SignedStepMessage>,
    #[prost(message, optional, tag = "6")]
    second: Option<SignedStepMessage>,
    /// Alone, without the fields above.
    #[prost(message, optional, tag = "7")]
    double_attestation: Option<DoubleAttestationMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct DoubleAttestationMessage {
    #[prost(bytes = "vec", tag = "1")]
    validator: Vec<u8>,
    /// What was signed ‖ the signature.
    #[prost(bytes = "vec", tag = "2")]
    first: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    second: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct SignedStepMessage {
    /// Empty: nil.
    #[prost(bytes = "vec", tag = "1")]
    header: Vec<u8>,
    #[prost(int64, tag = "2")]
    seconds: i64,
    #[prost(uint32, tag = "3")]
    nanos: u32,
    /// One more than the round; 0 for none.
    #[prost(uint32, tag = "4")]
    pol_round: u32,
    #[prost(bytes = "vec", tag = "5")]
    signature: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct SignalMessage {
    /// 0 takes back.
    #[prost(uint64, tag = "1")]
    version: u64,
    #[prost(uint64, tag = "2")]
    height: u64,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ActionMessage {
    #[prost(message, tag = "6")]
    SubmitBlobs(SubmitBlobsMessage),
    #[prost(message, tag = "7")]
    Transfer(TransferMessage),
    #[prost(message, tag = "8")]
    Reserve(ReserveMessage),
    #[prost(message, tag = "9")]
    ExtendReservation(ExtendReservationMessage),
    #[prost(message, tag = "10")]
    Bond(BondMessage),
    #[prost(message, tag = "11")]
    Unbond(UnbondMessage),
    #[prost(message, tag = "12")]
    Evidence(EvidenceMessage),
    #[prost(message, tag = "13")]
    Signal(SignalMessage),
}

#[derive(Clone, PartialEq, Message)]
struct TransactionMessage {
    #[prost(bytes = "vec", tag = "1")]
    sender: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    salt: Vec<u8>,
    #[prost(uint64, tag = "3")]
    valid_until: u64,
    #[prost(uint64, tag = "4")]
    fee_cap: u64,
    #[prost(uint64, tag = "5")]
    tip: u64,
    #[prost(oneof = "ActionMessage", tags = "6, 7, 8, 9, 10, 11, 12, 13")]
    action: Option<ActionMessage>,
    /// 96 bytes an opening: commitment ‖ proof.
    #[prost(bytes = "vec", tag = "14")]
    kzg: Vec<u8>,
    #[prost(bytes = "vec", tag = "15")]
    signature: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct SubmissionMessage {
    #[prost(bytes = "vec", tag = "1")]
    transaction: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    bodies: Vec<Vec<u8>>,
}

pub(crate) fn encode_transaction(transaction: &Transaction) -> Vec<u8> {
    let payload = &transaction.payload;
    TransactionMessage {
        sender: payload.sender.as_bytes().to_vec(),
        salt: payload.salt.to_vec(),
        valid_until: payload.valid_until,
        fee_cap: payload.fee_cap,
        tip: payload.tip,
        action: Some(action_message(&payload.action)),
        kzg: transaction.kzg.iter().flat_map(|o| o.commitment.into_iter().chain(o.proof)).collect(),
        signature: transaction.signature.to_vec(),
    }
    .encode_to_vec()
}

fn action_message(action: &Action) -> ActionMessage {
    match action {
        Action::SubmitBlobs { blobs, reservation } => ActionMessage::SubmitBlobs(SubmitBlobsMessage {
            blobs: blobs.iter().map(blob_message).collect(),
            reservation: reservation.map(|id| id.0.to_vec()).unwrap_or_default(),
        }),
        Action::Transfer { to, amount } => {
            ActionMessage::Transfer(TransferMessage { to: to.as_bytes().to_vec(), amount: *amount })
        }
        Action::Reserve { rate, blocks, signers, price_cap } => ActionMessage::Reserve(ReserveMessage {
            rate: *rate,
            blocks: *blocks,
            signers: signers.iter().map(|signer| signer.as_bytes().to_vec()).collect(),
            price_cap: *price_cap,
        }),
        Action::ExtendReservation { reservation, blocks, price_cap } => {
            ActionMessage::ExtendReservation(ExtendReservationMessage {
                reservation: reservation.0.to_vec(),
                blocks: *blocks,
                price_cap: *price_cap,
            })
        }
        Action::Bond { stake, keys } => ActionMessage::Bond(BondMessage {
            stake: *stake,
            keys: keys.as_deref().map(|keys| KeysMessage {
                consensus: keys.consensus.to_vec(),
                consensus_proof: keys.consensus_proof.to_vec(),
                attestation: keys.attestation.to_vec(),
                attestation_proof: keys.attestation_proof.to_vec(),
            }),
        }),
        Action::Unbond { stake } => ActionMessage::Unbond(UnbondMessage { stake: *stake }),
        Action::Evidence(evidence) => ActionMessage::Evidence(evidence_message(evidence)),
        Action::Signal(upgrade) => ActionMessage::Signal(upgrade.map_or_else(
            SignalMessage::default,
            |Upgrade { version, height }| SignalMessage { version, height },
        )),
    }
}

fn evidence_message(evidence: &Evidence) -> EvidenceMessage {
    let evidence = match evidence {
        Evidence::Equivocation(evidence) => evidence,
        Evidence::DoubleAttestation(double) => {
            let signed = |(data, signature): &(AttestationData, AttestationSignature)| {
                [&data.encode()[..], &signature.to_bytes()].concat()
            };
            let double_attestation = Some(DoubleAttestationMessage {
                validator: double.validator.as_bytes().to_vec(),
                first: signed(&double.first),
                second: signed(&double.second),
            });
            return EvidenceMessage { double_attestation, ..Default::default() };
        }
    };
    let signed = |message: &SignedStep| {
        let (header, time) = message.block.unzip();
        SignedStepMessage {
            header: header.map(Vec::from).unwrap_or_default(),
            seconds: time.map_or(0, |time| time.unix_timestamp()),
            nanos: time.map_or(0, |time| (time.unix_timestamp_nanos().rem_euclid(1_000_000_000)) as u32),
            pol_round: message.pol_round.map_or(0, |round| round.saturating_add(1)),
            signature: message.signature.to_vec(),
        }
    };
    EvidenceMessage {
        validator: evidence.validator.to_vec(),
        step: evidence.step as u32,
        height: evidence.height,
        round: evidence.round,
        first: Some(signed(&evidence.first)),
        second: Some(signed(&evidence.second)),
        double_attestation: None,
    }
}

pub(crate) fn encode_evidence(evidence: &Evidence) -> Vec<u8> {
    evidence_message(evidence).encode_to_vec()
}

pub(crate) fn decode_evidence_bytes(bytes: &[u8]) -> Result<Evidence, DecodeError> {
    let evidence = decode_evidence(&EvidenceMessage::decode(bytes)?)?;
    if encode_evidence(&evidence) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(evidence)
}

fn decode_double(message: &DoubleAttestationMessage) -> Result<DoubleAttestation, DecodeError> {
    let refused =
        |field, error: &dyn std::fmt::Display| DecodeError::Field { field, reason: error.to_string() };
    let signed = |field, bytes: &[u8]| {
        let short = DecodeError::Length { field, expected: 224, got: bytes.len() };
        let (data, signature) = bytes.split_at_checked(176).ok_or(short)?;
        let signature = AttestationSignature::from_bytes(&fixed(field, signature)?);
        Ok::<_, DecodeError>((AttestationData::decode(data)?, signature.map_err(|e| refused(field, &e))?))
    };
    let key = AttestationKey::from_bytes(fixed("evidence.validator", &message.validator)?);
    Ok(DoubleAttestation {
        validator: key.map_err(|error| refused("evidence.validator", &error))?,
        first: signed("evidence.first", &message.first)?,
        second: signed("evidence.second", &message.second)?,
    })
}

fn decode_evidence(message: &EvidenceMessage) -> Result<Evidence, DecodeError> {
    if let Some(double) = &message.double_attestation {
        return decode_double(double).map(Evidence::DoubleAttestation);
    }
    let signed = |field: &'static str, message: &Option<SignedStepMessage>| {
        let message = message.as_ref().ok_or(DecodeError::Missing(field))?;
        let time = || {
            tendermint::Time::from_unix_timestamp(message.seconds, message.nanos)
                .map_err(|error| DecodeError::Field { field, reason: error.to_string() })
        };
        let block = match message.header.as_slice() {
            [] => None,
            hash => Some((fixed(field, hash)?, time()?)),
        };
        let signature = fixed(field, &message.signature)?;
        Ok::<_, DecodeError>(SignedStep { block, pol_round: message.pol_round.checked_sub(1), signature })
    };
    let step = Step::from_number(message.step).ok_or_else(|| DecodeError::Field {
        field: "evidence.step",
        reason: format!("must be 1 (prevote), 2 (precommit) or 32 (proposal), got {}", message.step),
    })?;
    Ok(Evidence::Equivocation(Equivocation {
        validator: fixed("evidence.validator", &message.validator)?,
        step,
        height: message.height,
        round: message.round,
        first: signed("evidence.first", &message.first)?,
        second: signed("evidence.second", &message.second)?,
    }))
}

fn decode_action(message: ActionMessage) -> Result<Action, DecodeError> {
    Ok(match message {
        ActionMessage::SubmitBlobs(submit) => Action::SubmitBlobs {
            blobs: submit.blobs.iter().map(decode_blob).collect::<Result<_, _>>()?,
            reservation: match submit.reservation.as_slice() {
                [] => None,
                id => Some(ReservationId(fixed("reservation", id)?)),
            },
        },
        ActionMessage::Transfer(transfer) => {
            Action::Transfer { to: address("transfer.to", &transfer.to)?, amount: transfer.amount }
        }
        ActionMessage::Reserve(reserve) => Action::Reserve {
            rate: reserve.rate,
            blocks: reserve.blocks,
            signers: reserve.signers.iter().map(|s| address("signers", s)).collect::<Result<_, _>>()?,
            price_cap: reserve.price_cap,
        },
        ActionMessage::ExtendReservation(extend) => Action::ExtendReservation {
            reservation: ReservationId(fixed("reservation", &extend.reservation)?),
            blocks: extend.blocks,
            price_cap: extend.price_cap,
        },
        ActionMessage::Bond(bond) => Action::Bond {
            stake: bond.stake,
            keys: bond.keys.as_ref().map(|keys| decode_keys(keys).map(Box::new)).transpose()?,
        },
        ActionMessage::Unbond(unbond) => Action::Unbond { stake: unbond.stake },
        ActionMessage::Evidence(evidence) => Action::Evidence(Box::new(decode_evidence(&evidence)?)),
        ActionMessage::Signal(SignalMessage { version, height }) => {
            Action::Signal((version > 0).then_some(Upgrade { version, height }))
        }
    })
}

fn decode_keys(keys: &KeysMessage) -> Result<ValidatorKeys, DecodeError> {
    Ok(ValidatorKeys {
        consensus: fixed("keys.consensus", &keys.consensus)?,
        consensus_proof: fixed("keys.consensus_proof", &keys.consensus_proof)?,
        attestation: fixed("keys.attestation", &keys.attestation)?,
        attestation_proof: fixed("keys.attestation_proof", &keys.attestation_proof)?,
    })
}

fn address(field: &'static str, bytes: &[u8]) -> Result<Address, DecodeError> {
    fixed(field, bytes).map(Address::from_bytes)
}

fn blob_message(blob: &BlobHeader) -> BlobMessage {
    BlobMessage {
        namespace: blob.namespace.as_bytes().to_vec(),
        commitment: blob.commitment.to_vec(),
        len: blob.len,
        foreign: blob
            .foreign
            .iter()
            .map(|f| ForeignMessage { kind: f.kind as u32, value: f.value.to_vec() })
            .collect(),
    }
}

pub(crate) fn decode_transaction(bytes: &[u8]) -> Result<Transaction, DecodeError> {
    let message = TransactionMessage::decode(bytes)?;
    let transaction = Transaction {
        payload: Payload {
            sender: address("sender", &message.sender)?,
            salt: fixed("salt", &message.salt)?,
            valid_until: message.valid_until,
            fee_cap: message.fee_cap,
            tip: message.tip,
            action: decode_action(message.action.ok_or(DecodeError::Missing("action"))?)?,
        },
        kzg: message
            .kzg
            .chunks(96)
            .map(|opening| {
                let opening: [u8; 96] = fixed("kzg", opening)?;
                let (commitment, proof) = opening.split_at(48);
                Ok(KzgOpening { commitment: fixed("kzg", commitment)?, proof: fixed("kzg", proof)? })
            })
            .collect::<Result<_, DecodeError>>()?,
        signature: fixed("signature", &message.signature)?,
    };
    if encode_transaction(&transaction) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(transaction)
}

fn decode_blob(message: &BlobMessage) -> Result<BlobHeader, DecodeError> {
    Ok(BlobHeader {
        namespace: Namespace::from_bytes(&message.namespace)
            .map_err(|error| DecodeError::Field { field: "blobs.namespace", reason: error.to_string() })?,
        commitment: fixed("blobs.commitment", &message.commitment)?,
        len: message.len,
        foreign: message
            .foreign
            .iter()
            .map(|f| {
                let kind = u8::try_from(f.kind).ok().and_then(|kind| ForeignKind::try_from(kind).ok());
                Ok(ForeignCommitment {
                    kind: kind.ok_or_else(|| DecodeError::Field {
                        field: "blobs.foreign.kind",
                        reason: format!("kinds are 1 to 5, got {}", f.kind),
                    })?,
                    value: fixed("blobs.foreign.value", &f.value)?,
                })
            })
            .collect::<Result<_, DecodeError>>()?,
    })
}

pub(crate) fn encode_submission(submission: &Submission) -> Vec<u8> {
    // Field by field, so that megabytes are copied once.
    let transaction = submission.transaction.encode();
    let mut out = Vec::with_capacity(
        transaction.len() + 16 + submission.bodies.iter().map(|body| body.len() + 16).sum::<usize>(),
    );
    prost::encoding::bytes::encode(1, &transaction, &mut out);
    for body in &submission.bodies {
        prost::encoding::bytes::encode(2, body, &mut out);
    }
    out
}

pub(crate) fn decode_submission(bytes: &[u8]) -> Result<Submission, DecodeError> {
    let message = SubmissionMessage::decode(bytes)?;
    let transaction = decode_transaction(&message.transaction)?;
    let blobs = transaction.blobs().len();
    if message.bodies.len() != blobs {
        return Err(DecodeError::Field {
            field: "bodies",
            reason: format!(
                "the transaction announces {blobs} blobs, {} bodies came along",
                message.bodies.len()
            ),
        });
    }
    let submission = Submission { transaction, bodies: message.bodies };
    if encode_submission(&submission) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(submission)
}
