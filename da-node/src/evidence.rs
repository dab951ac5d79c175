//! Contradictions of validators, on their way from the engine to the ledger.
//!
//! ```text
//!  engine ─▶ disk ─▶ a transaction of this node's operator ─▶ pool ─▶ a block slashes, once, whoever was first
//! ```
//!
//! What was seen is on disk before the next height starts, and stays there until the ledger would refuse it: the
//! validator is slashed, or nobody's.

use std::{collections::HashMap, sync::Arc};

use chain::{
    Action, Candidate, Culprit, Evidence, Height, Ledger, LedgerError, Payload, SecretKey, SignedStep, Step,
    VerifiedTransaction,
};
use consensus::{Equivocation, Signed, SignedMessage};

use crate::{
    fetch::Fetcher,
    node::{Node, NodeError},
    storage::StoreError,
};

/// Heights for which a report may wait to be included, before another one is signed.
const VALID_FOR: Height = 50;

/// How many times the base fee of now a report may cost.
const FEE_MARGIN: u64 = 4;

/// Evidence in the ledger's words.
pub(crate) fn of(found: Equivocation) -> Evidence {
    let Equivocation { validator, signed, height, round, first, second } = found;
    let step = match signed {
        Signed::Prevote => Step::Prevote,
        Signed::Precommit => Step::Precommit,
        Signed::Proposal => Step::Proposal,
    };
    let message = |SignedMessage { block, pol_round, signature }| SignedStep { block, pol_round, signature };
    let (first, second) = (message(first), message(second));
    Evidence::Equivocation(chain::Equivocation { validator, step, height, round, first, second })
}

/// Why a report is not on its way.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{0}")]
    Refused(String),
}

impl From<StoreError> for ReportError {
    fn from(error: StoreError) -> Self {
        Self::Node(error.into())
    }
}

/// Hands evidence to the ledger, signed by the operator.
pub(crate) struct Reporter {
    node: Arc<Node>,
    fetcher: Arc<Fetcher>,
    operator: SecretKey,
    /// Until which height a report of the validator with this key may be included.
    reported: HashMap<Culprit, Height>,
}

impl Reporter {
    pub(crate) fn new(node: Arc<Node>, fetcher: Arc<Fetcher>, operator: SecretKey) -> Self {
        Self { node, fetcher, operator, reported: HashMap::new() }
    }

    /// Looks at every block whether something is to be reported, until the node ends.
    pub(crate) async fn run(mut self) {
        let mut heads = self.node.heads();
        loop {
            if let Err(error) = self.report_all().await {
                return self.node.fail(&error);
            }
            if heads.changed().await.is_err() {
                return;
            }
        }
    }

    async fn report_all(&mut self) -> Result<(), StoreError> {
        let next = self.node.head().next_height();
        for evidence in self.node.store.evidence()? {
            let key = evidence.culprit();
            if self.reported.get(&key).is_some_and(|until| next <= *until) {
                continue;
            }
            let validator = hex::encode(key.as_bytes());
            match self.report(evidence, next).await {
                Ok(()) => {
                    tracing::warn!(validator, "reported a validator that contradicted itself");
                    self.reported.insert(key, next + VALID_FOR);
                }
                Err(ReportError::Node(NodeError::Store(error))) => return Err(error),
                Err(ReportError::Ledger(LedgerError::Evidence(_) | LedgerError::Staking(_))) => {
                    self.node.store.drop_evidence(&key)?;
                    self.reported.remove(&key);
                }
                Err(error) => tracing::debug!(validator, %error, "a contradiction is not reported yet"),
            }
        }
        Ok(())
    }

    async fn report(&self, evidence: Evidence, next: Height) -> Result<(), ReportError> {
        let transaction = self.transaction(evidence, next)?;
        let ledger = Ledger::new(self.node.state(), &self.node.genesis).map_err(StoreError::from)?;
        ledger.check(&transaction)?;
        let candidate = Candidate::new(Arc::new(transaction), Vec::new())
            .ok_or_else(|| ReportError::Refused("bodies of no blobs".into()))?;
        let tx = candidate.transaction().id();
        let node = self.node.clone();
        let admitted = tokio::task::spawn_blocking(move || node.admit(candidate)).await;
        admitted
            .map_err(|error| NodeError::Task(error.to_string()))?
            .map_err(|error| ReportError::Refused(error.to_string()))?;
        self.fetcher.announce(&[tx]).await;
        Ok(())
    }

    fn transaction(&self, evidence: Evidence, next: Height) -> Result<VerifiedTransaction, ReportError> {
        let base_fee = self.node.base_fee().map_err(StoreError::from)?;
        let mut salt = [0; 16];
        salt.copy_from_slice(
            &erasure::sha256(&[evidence.culprit().as_bytes(), &next.to_be_bytes()].concat())[..16],
        );
        let payload = Payload {
            sender: self.operator.address(),
            salt,
            valid_until: next + VALID_FOR,
            fee_cap: base_fee.saturating_mul(FEE_MARGIN),
            tip: base_fee,
            action: Action::Evidence(Box::new(evidence)),
        };
        let refused = |error: &dyn std::fmt::Display| ReportError::Refused(error.to_string());
        let signed = self.operator.sign(payload, Vec::new(), &self.node.domain).map_err(|e| refused(&e))?;
        signed.verify(&self.node.domain, &self.node.genesis.parameters).map_err(|e| refused(&e))
    }
}
