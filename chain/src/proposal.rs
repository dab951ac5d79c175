//! What consensus agrees on: a header, the ids of its transactions, the previous height's commit.

use prost::Message;
use tendermint::block::{Commit, Header};
use tendermint_proto::v0_38::types as raw;

use crate::{
    block::Block,
    codec::{DecodeError, fixed},
    transaction::{Transaction, TxId},
};

/// Transactions that a message may name at most, whatever the chain's own limit.
const TRANSACTIONS_LIMIT: usize = 65_536;

/// A block without its transactions and bodies, which travel ahead of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The header; its data root commits to the transactions, its `last_commit_hash` to the commit.
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

impl Proposal {
    /// All but the header, as protobuf.
    pub fn encode_body(&self) -> Vec<u8> {
        ProposalBodyMessage {
            ids: self.ids.iter().map(|id| id.0.to_vec()).collect(),
            last_commit: self.last_commit.clone().map(Into::into),
        }
        .encode_to_vec()
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
