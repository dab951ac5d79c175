//! A validator that breaks the rules whenever it proposes, for the tests of faults:
//! `misbehave withhold|square|state|oversize|year|skew HOME`. Everything else it does as an honest node does.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use bytes::Bytes;
use chain::{Proposal, TxId};
use consensus::{AppError, Application, DecidedValue, Equivocation, NextHeight, Payload, SyncFault, Verdict};
use da_node::{home::Home, run};
use tendermint::{
    AppHash, Hash, account,
    block::{Commit, Height},
};
use tokio::{io::AsyncReadExt as _, time::Instant};

/// What is wrong with its proposals.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// They name a transaction that nobody has.
    Withhold,
    /// Their data root is of no square.
    Square,
    /// They claim another state.
    State,
    /// They name more transactions than a block holds.
    Oversize,
    /// They are dated this far ahead.
    Dated(Duration),
}

#[derive(Debug)]
struct Misbehaving<A: ?Sized> {
    fault: Fault,
    honest: Arc<A>,
}

impl<A: ?Sized> Misbehaving<A> {
    fn spoil(&self, mut payload: Payload) -> Result<Payload, AppError> {
        let mut proposal = Proposal::decode(payload.header.clone(), &payload.body)?;
        match self.fault {
            Fault::Withhold => proposal.ids.push(TxId([0xaa; 32])),
            Fault::Oversize => proposal.ids = (0..5_000u32).map(number_as_id).collect(),
            Fault::Square => payload.header.data_hash = Some(Hash::Sha256([0xaa; 32])),
            Fault::State => {
                payload.header.app_hash =
                    AppHash::try_from(vec![0xaa; 32]).map_err(|error| error.to_string())?;
            }
            Fault::Dated(ahead) => {
                payload.header.time = (payload.header.time + ahead).map_err(|error| error.to_string())?;
            }
        }
        payload.header.evidence_hash = Some(proposal.body_hash());
        payload.body = proposal.encode_body().into();
        Ok(payload)
    }
}

fn number_as_id(number: u32) -> TxId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    TxId(id)
}

#[async_trait]
impl<A: Application + ?Sized> Application for Misbehaving<A> {
    async fn propose(&self, height: Height, round: u32, deadline: Instant) -> Result<Payload, AppError> {
        self.spoil(self.honest.propose(height, round, deadline).await?)
    }

    async fn next_height(&self) -> Result<NextHeight, AppError> {
        self.honest.next_height().await
    }

    async fn ready_to_start(&self, height: Height) {
        self.honest.ready_to_start(height).await;
    }

    fn expected_bytes(&self) -> u64 {
        self.honest.expected_bytes()
    }

    fn check_body(&self, payload: &Payload) -> Result<(), AppError> {
        self.honest.check_body(payload)
    }

    async fn assess(&self, height: Height, proposer: account::Id, payload: &Payload) -> Verdict {
        self.honest.assess(height, proposer, payload).await
    }

    async fn store_undecided(&self, height: Height, bytes: Bytes) -> Result<(), AppError> {
        self.honest.store_undecided(height, bytes).await
    }

    async fn undecided(&self, height: Height) -> Result<Vec<Bytes>, AppError> {
        self.honest.undecided(height).await
    }

    async fn commit(
        &self,
        height: Height,
        payload: &Payload,
        commit: Commit,
    ) -> Result<NextHeight, AppError> {
        self.honest.commit(height, payload, commit).await
    }

    async fn finalized(&self, height: Height, commit: Commit) -> Result<(), AppError> {
        self.honest.finalized(height, commit).await
    }

    async fn equivocated(&self, found: Vec<Equivocation>) -> Result<(), AppError> {
        self.honest.equivocated(found).await
    }

    async fn decided(&self, height: Height) -> Result<Option<DecidedValue>, AppError> {
        self.honest.decided(height).await
    }

    async fn min_height(&self) -> Height {
        self.honest.min_height().await
    }

    async fn synced(&self, height: Height, value_bytes: Bytes) -> Result<Payload, SyncFault> {
        self.honest.synced(height, value_bytes).await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let (fault, home) = (arguments.next().context("which fault?")?, arguments.next().context("which home?")?);
    let fault = match fault.as_str() {
        "withhold" => Fault::Withhold,
        "square" => Fault::Square,
        "state" => Fault::State,
        "oversize" => Fault::Oversize,
        "year" => Fault::Dated(Duration::from_secs(365 * 86_400)),
        "skew" => Fault::Dated(Duration::from_secs(10)),
        other => anyhow::bail!("no fault '{other}'"),
    };
    let wrap = move |honest| Arc::new(Misbehaving { fault, honest }) as Arc<dyn Application>;
    let node = run::start_as(&Home::new(home), run::Options::default(), wrap).await?;
    node.until(async {
        // Whatever comes is of no interest; the end is.
        while tokio::io::stdin().read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
    })
    .await
}
