//! Alarms for a rollup's operator: balance low, reservation ending, posting stalled.
//!
//! Each new block, and every few seconds without one, what is watched is looked at anew. An alarm is raised once and
//! cleared once; both are logged, counted in a metric and told to the webhook. A webhook that does not answer is tried
//! again a few times; alarms never hold up the node.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use blob_api::AlarmBody;
use chain::{Address, Amount, Height};
use tendermint::Time;
use tokio::sync::mpsc;

use crate::{
    clock,
    node::{Node, NodeError},
    settings::{AlarmConfig, Watch},
};

/// Pause between two looks when there is no block.
const LOOK: Duration = Duration::from_secs(5);

/// How long the webhook may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Pauses before a message is sent to the webhook once more.
const SEND_AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

/// Messages that wait for a slow webhook; more are dropped, and counted in the log.
const WAITING: usize = 256;

/// What is known of a watched account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    next: Height,
    balance: Amount,
    /// The first height at which the watched reservation is over; none if it is not in the state.
    reserved_to: Option<Height>,
    silent: Duration,
}

/// The alarms that these facts raise, by name, with what they say.
fn judge(watch: &Watch, facts: &Facts) -> Vec<(&'static str, String)> {
    let account = watch.account;
    let mut raised = Vec::new();
    if let Some(limit) = watch.balance_below.filter(|limit| facts.balance < *limit) {
        let balance = facts.balance;
        raised.push((
            "balance_low",
            format!("account {account} has {balance} nano, below {limit}: fund it, or its submissions stop"),
        ));
    }
    if let Some(id) = watch.reservation {
        let blocks = facts.reserved_to.map_or(0, |end| end.saturating_sub(facts.next));
        if blocks <= watch.ending_within_blocks {
            let message =
                format!("reservation {id} lasts for {blocks} more blocks: extend it, or pay on demand");
            raised.push(("reservation_ending", message));
        }
    }
    let limit = watch.silent_for_seconds.map(Duration::from_secs);
    if let Some(limit) = limit.filter(|limit| facts.silent >= *limit) {
        let seconds = facts.silent.as_secs();
        raised.push((
            "posting_stalled",
            format!(
                "no block included a transaction of account {account} for {seconds} s, {} s is the limit: look at \
                 its batcher",
                limit.as_secs()
            ),
        ));
    }
    raised
}

/// Watches accounts for an operator.
#[derive(Debug)]
pub(crate) struct Alarms {
    node: Arc<Node>,
    config: AlarmConfig,
    raised: Mutex<BTreeMap<(&'static str, String), AlarmBody>>,
}

impl Alarms {
    /// Watches what `config` names.
    pub(crate) fn new(node: Arc<Node>, config: AlarmConfig) -> Self {
        Self { node, config, raised: Mutex::default() }
    }

    /// The alarms raised now.
    pub(crate) fn raised(&self) -> Vec<AlarmBody> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Watches for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        if self.config.watch.is_empty() {
            return std::future::pending().await;
        }
        let (tell, told) = mpsc::channel(WAITING);
        if let Some(url) = self.config.webhook.clone() {
            tokio::spawn(send_all(url, told));
        }
        let mut heads = self.node.heads();
        let mut looked_at = self.node.tip();
        let started = clock::now();
        let mut posted: BTreeMap<Address, Time> =
            self.config.watch.iter().map(|watch| (watch.account, started)).collect();
        loop {
            match self.look(&mut looked_at, &mut posted) {
                Ok(changed) => {
                    for alarm in changed {
                        tracing::warn!(alarm = alarm.alarm, raised = alarm.raised, "{}", alarm.message);
                        if self.config.webhook.is_some() && tell.try_send(alarm).is_err() {
                            tracing::warn!("the webhook is too slow; a message to it was dropped");
                        }
                    }
                }
                Err(error) => self.node.fail(&error),
            }
            // A head that is gone means that the node stops.
            if let Ok(Err(_)) = tokio::time::timeout(LOOK, heads.changed()).await {
                return;
            }
        }
    }

    /// Looks at the blocks since the last look and at all accounts; gives what changed.
    fn look(
        &self,
        looked_at: &mut Height,
        posted: &mut BTreeMap<Address, Time>,
    ) -> Result<Vec<AlarmBody>, NodeError> {
        let tip = self.node.tip();
        for height in *looked_at + 1..=tip {
            let Some(block) = self.node.store.block(height)? else { break };
            for transaction in &block.transactions {
                if let Some(last) = posted.get_mut(&transaction.payload.sender) {
                    *last = (*last).max(block.header.time);
                }
            }
        }
        *looked_at = tip;
        let (state, now) = (self.node.state(), clock::now());
        let mut due = BTreeMap::new();
        for watch in &self.config.watch {
            let reservation = match &watch.reservation {
                Some(id) => state.reservation(id)?,
                None => None,
            };
            let last = posted.get(&watch.account).copied().unwrap_or(now);
            let facts = Facts {
                next: tip + 1,
                balance: state.balance(&watch.account)?,
                reserved_to: reservation.map(|reservation| reservation.end),
                silent: now.duration_since(last).unwrap_or_default(),
            };
            for (alarm, message) in judge(watch, &facts) {
                let subject = match (alarm, watch.reservation) {
                    ("reservation_ending", Some(id)) => id.to_string(),
                    _ => watch.account.to_string(),
                };
                due.insert((alarm, subject), message);
            }
        }
        Ok(self.change(due, tip))
    }

    fn change(&self, due: BTreeMap<(&'static str, String), String>, height: Height) -> Vec<AlarmBody> {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::new();
        raised.retain(|key, alarm| {
            let stays = due.contains_key(key);
            if !stays {
                changed.push(AlarmBody { raised: false, height, ..alarm.clone() });
            }
            stays
        });
        for ((alarm, subject), message) in due {
            let key = (alarm, subject.clone());
            match raised.get_mut(&key) {
                Some(known) => known.message = message,
                None => {
                    let chain_id = self.node.genesis.chain_id.clone();
                    let body = AlarmBody {
                        alarm: alarm.to_owned(),
                        subject,
                        raised: true,
                        message,
                        chain_id,
                        height,
                    };
                    changed.push(body.clone());
                    raised.insert(key, body);
                }
            }
        }
        self.node.metrics.alarms.set(raised.len() as i64);
        self.node.metrics.alarms_raised.inc_by(changed.iter().filter(|alarm| alarm.raised).count() as u64);
        changed
    }
}

/// Sends each alarm in turn, trying a few times.
async fn send_all(url: String, mut alarms: mpsc::Receiver<AlarmBody>) {
    let http = match reqwest::Client::builder().timeout(ANSWER_LIMIT).build() {
        Ok(http) => http,
        Err(error) => return tracing::error!(%error, "no alarms to the webhook: no HTTP client"),
    };
    while let Some(alarm) = alarms.recv().await {
        let mut pauses = SEND_AGAIN.iter();
        loop {
            let sent =
                http.post(&url).json(&alarm).send().await.and_then(reqwest::Response::error_for_status);
            let Err(error) = sent else { break };
            tracing::warn!(%error, alarm = alarm.alarm, "the webhook did not take an alarm");
            match pauses.next() {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_chain::key;

    #[test]
    fn each_alarm_has_its_limit() {
        let watch = Watch {
            account: key(1).address(),
            balance_below: Some(100),
            silent_for_seconds: Some(60),
            reservation: Some(chain::ReservationId([7; 32])),
            ending_within_blocks: 10,
        };
        let fine = Facts { next: 50, balance: 100, reserved_to: Some(61), silent: Duration::from_secs(59) };
        let names =
            |facts: Facts| judge(&watch, &facts).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(fine), [""; 0]);
        assert_eq!(names(Facts { balance: 99, ..fine }), ["balance_low"]);
        assert_eq!(names(Facts { reserved_to: Some(60), ..fine }), ["reservation_ending"]);
        assert_eq!(names(Facts { reserved_to: None, ..fine }), ["reservation_ending"]);
        assert_eq!(names(Facts { silent: Duration::from_secs(60), ..fine }), ["posting_stalled"]);
        let quiet = Watch { balance_below: None, silent_for_seconds: None, reservation: None, ..watch };
        let worst = Facts { next: 50, balance: 0, reserved_to: None, silent: Duration::MAX };
        assert_eq!(judge(&quiet, &worst), []);
    }
}
