//! What consensus agrees on: a header, the ids of its transactions, the previous height's commit.

use erasure::sha256;
use prost::Message;
use tendermint::{
    Hash,
    block::{Commit, Header},
};
use tendermint_proto::v0_38::types as raw;

use crate::{
    block::{Block, BlockError},
    codec::{DecodeError, fixed},
    transaction::{Transaction, TxId},
};

/// Transactions that a message may name at most, whatever the chain's own limit.
const TRANSACTIONS_LIMIT: usize = 65_536;

/// Separates the hash of a proposal's body from every other hash.
const BODY_DOMAIN: &[u8] = b"weft/proposal-body/1";

/// A block without its transactions and bodies, which travel ahead of it.
///
/// The header's `evidence_hash` is SHA-256(`"weft/proposal-body/1"` ‖ body): whoever holds a header knows at once
/// whether the body that came with it is its own, before any transaction is at hand, so nobody can make a block look
/// invalid by another body. (Tendermint's list of evidence, which the field is named after, is empty: evidence travels
/// in transactions.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The header; its data root commits to the transactions, its `evidence_hash` to all that follows.
    pub header: Header,
    /// The transactions in order.
    pub ids: Vec<TxId>,
    /// Signatures over the previous header; none at height 1.
    pub last_commit: Option<Commit>,
}

#[derive(Clone, PartialEq, Message)]
struct ProposalBodyMessage {
    #[prost(bytes = "vec", repeated, tag = "1")]
    ids: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "2")]
    last_commit: Option<raw::Commit>,
}

#[derive(Clone, PartialEq, Message)]
struct BlockMessage {
    #[prost(message, optional, tag = "1")]
    header: Option<raw::Header>,
    #[prost(message, optional, tag = "2")]
    last_commit: Option<raw::Commit>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    transactions: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct TransactionListMessage {
    #[prost(bytes = "vec", repeated, tag = "1")]
    transactions: Vec<Vec<u8>>,
}

fn bad(field: &'static str) -> impl Fn(tendermint::Error) -> DecodeError {
    move |error| DecodeError::Field { field, reason: error.to_string() }
}

fn limited(field: &'static str, got: usize) -> Result<(), DecodeError> {
    if got > TRANSACTIONS_LIMIT {
        return Err(DecodeError::TooMany { field, limit: TRANSACTIONS_LIMIT, got });
    }
    Ok(())
}

fn encode_body(ids: &[TxId], last_commit: Option<&Commit>) -> Vec<u8> {
    ProposalBodyMessage {
        ids: ids.iter().map(|id| id.0.to_vec()).collect(),
        last_commit: last_commit.cloned().map(Into::into),
    }
    .encode_to_vec()
}

fn hash_of(body: &[u8]) -> Hash {
    Hash::Sha256(sha256(&[BODY_DOMAIN, body].concat()))
}

/// The `evidence_hash` of a header whose proposal has this body.
pub(crate) fn body_hash(ids: &[TxId], last_commit: Option<&Commit>) -> Hash {
    hash_of(&encode_body(ids, last_commit))
}

impl Proposal {
    /// All but the header, as protobuf.
    pub fn encode_body(&self) -> Vec<u8> {
        encode_body(&self.ids, self.last_commit.as_ref())
    }

    /// The `evidence_hash` of its header.
    pub fn body_hash(&self) -> Hash {
        body_hash(&self.ids, self.last_commit.as_ref())
    }

    /// `body` is the one that `header` commits to. If not, whoever joined the two is at fault, and nothing is known of
    /// the block.
    pub fn check_body(header: &Header, body: &[u8]) -> Result<(), BlockError> {
        if header.evidence_hash == Some(hash_of(body)) { Ok(()) } else { Err(BlockError::Body) }
    }

    /// Reads what [`Self::encode_body`] wrote.
    pub fn decode(header: Header, body: &[u8]) -> Result<Self, DecodeError> {
        let message = ProposalBodyMessage::decode(body)?;
        limited("ids", message.ids.len())?;
        Ok(Self {
            header,
            ids: message
                .ids
                .iter()
                .map(|id| Ok(TxId(fixed("ids", id)?)))
                .collect::<Result<_, DecodeError>>()?,
            last_commit: message
                .last_commit
                .map(TryInto::try_into)
                .transpose()
                .map_err(bad("last_commit"))?,
        })
    }
}

impl Block {
    /// Protobuf: header, last commit, transactions.
    pub fn encode(&self) -> Vec<u8> {
        BlockMessage {
            header: Some(self.header.clone().into()),
            last_commit: self.last_commit.clone().map(Into::into),
            transactions: self.transactions.iter().map(Transaction::encode).collect(),
        }
        .encode_to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let message = BlockMessage::decode(bytes)?;
        limited("transactions", message.transactions.len())?;
        Ok(Self {
            header: message
                .header
                .ok_or(DecodeError::Missing("header"))?
                .try_into()
                .map_err(bad("header"))?,
            last_commit: message
                .last_commit
                .map(TryInto::try_into)
                .transpose()
                .map_err(bad("last_commit"))?,
            transactions: message
                .transactions
                .iter()
                .map(|t| Transaction::decode(t))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Reads what [`transaction_list`] wrote, and nothing else.
pub(crate) fn decode_transaction_list(bytes: &[u8]) -> Result<Vec<Transaction>, DecodeError> {
    let message = TransactionListMessage::decode(bytes)?;
    let transactions =
        message.transactions.iter().map(|t| Transaction::decode(t)).collect::<Result<Vec<_>, _>>()?;
    if transaction_list(transactions.iter()) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(transactions)
}

/// The list that the transaction blob holds: protobuf, field 1 repeated.
pub(crate) fn transaction_list<'a>(transactions: impl Iterator<Item = &'a Transaction>) -> Vec<u8> {
    TransactionListMessage { transactions: transactions.map(Transaction::encode).collect() }.encode_to_vec()
}
