//! What must hold, each as a check that says what is wrong. None of them asks anybody anything.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use chain::Amount;
use light_client::{StateReport, Status};

/// How long what must happen may take: a block while there is a quorum, catching up, an answer. A pause in the
/// faults' table is at most seven seconds; a machine with every core busy takes several times as long.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// One broken promise.
pub(super) type Broken = String;

/// Every header that anybody showed: one for each height.
#[derive(Debug, Default)]
pub(super) struct Headers {
    seen: BTreeMap<u64, (String, String)>,
    /// Comparisons made.
    pub(super) compared: u64,
}

impl Headers {
    /// `who` has this hash at `height`.
    pub(super) fn see(&mut self, who: &str, height: u64, hash: &str) -> Result<(), Broken> {
        let (known, by) = self.seen.entry(height).or_insert_with(|| (hash.to_owned(), who.to_owned()));
        self.compared += u64::from(by != who);
        if known == hash {
            return Ok(());
        }
        Err(format!("fork at height {height}: {by} has {known}, {who} has {hash}"))
    }
}

/// Whether the highest block moves on while there is a quorum.
#[derive(Debug, Default)]
pub(super) struct Pace {
    tip: u64,
    /// Since when there is a quorum and no block.
    waiting: Option<Duration>,
    /// The longest wait so far, at its end.
    pub(super) longest: Duration,
}

impl Pace {
    /// The highest height at `now`; `quorum` says since when enough validators reach each other.
    pub(super) fn see(&mut self, now: Duration, tip: u64, quorum: Option<Duration>) -> Result<(), Broken> {
        let Some(quorum) = quorum else {
            self.waiting = None;
            self.tip = self.tip.max(tip);
            return Ok(());
        };
        let since = self.waiting.unwrap_or(quorum).max(quorum);
        self.longest = self.longest.max(now.saturating_sub(since));
        if tip > self.tip {
            self.tip = tip;
            self.waiting = Some(now);
            return Ok(());
        }
        self.waiting = Some(since);
        let waited = now.saturating_sub(since);
        if waited > PATIENCE {
            return Err(format!("no block after {tip} for {waited:.0?}, with a quorum all the time"));
        }
        Ok(())
    }
}

/// The highest height over time, for those who have to follow.
#[derive(Debug, Default)]
pub(super) struct Tips(VecDeque<(Duration, u64)>);

impl Tips {
    pub(super) fn push(&mut self, now: Duration, tip: u64) {
        self.0.push_back((now, tip));
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= PATIENCE) {
            self.0.pop_front();
        }
    }

    /// `height` of a machine that is reachable since `well`: it must have what was the tip [`PATIENCE`] ago.
    pub(super) fn follows(
        &self,
        who: &str,
        now: Duration,
        well: Option<Duration>,
        height: Option<u64>,
    ) -> Result<(), Broken> {
        let Some((at, tip)) = self.0.front().filter(|(at, _)| now.saturating_sub(*at) >= PATIENCE) else {
            return Ok(());
        };
        // It has had its time since the tip was there, and since it could be reached.
        if well.is_none_or(|well| well > *at) || height.is_some_and(|height| height >= *tip) {
            return Ok(());
        }
        let has = height.map_or("does not answer".to_owned(), |height| format!("is at {height}"));
        Err(format!("{who} {has}, {:.0?} after the block {tip} that it could have had", now - *at))
    }
}

/// What is owned, bonded, unbonding and burned together is what there was at genesis.
pub(super) fn supply(genesis: Amount, parts: &[(String, Amount)]) -> Result<(), Broken> {
    let sum: u128 = parts.iter().map(|(_, amount)| u128::from(*amount)).sum();
    if sum == u128::from(genesis) {
        return Ok(());
    }
    Err(format!("the supply is {sum} nano, at genesis it was {genesis}: {parts:?}"))
}

/// An account paid for what was included, and for nothing else.
pub(super) fn paid(who: &str, expected: Amount, balance: Amount) -> Result<(), Broken> {
    if expected == balance {
        return Ok(());
    }
    Err(format!("{who} has {balance} nano; by what was included it should have {expected}"))
}

/// A light client has no doubt about a chain whose blocks are all published.
pub(super) fn untroubled(who: &str, status: &Status) -> Result<(), Broken> {
    if let Some(halt) = &status.halted {
        return Err(format!("{who} halted: {halt}"));
    }
    let bad =
        |state: &StateReport| matches!(state, StateReport::Unavailable { .. } | StateReport::Fraud { .. });
    match status.heights.iter().find(|report| bad(&report.state)) {
        Some(report) => Err(format!("{who} calls block {} {}", report.height, report.state.word())),
        None => Ok(()),
    }
}

/// Metrics that count what no honest validator does.
const NEVER: [&str; 4] = [
    "equivocation_votes_total",
    "equivocation_proposals_total",
    "weft_node_proposals_invalid_total",
    "weft_node_frauds_total",
];

/// Nothing was signed twice, proposed against the rules or proven false, by a node's metrics.
pub(super) fn honest(who: &str, metrics: &str) -> Result<(), Broken> {
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (metric, value) = line.rsplit_once(' ').unwrap_or_default();
        let name = metric.split('{').next().unwrap_or_default();
        if NEVER.iter().any(|never| name.ends_with(never)) && value.parse() != Ok(0.0) {
            return Err(format!("{who} counts {line}"));
        }
    }
    Ok(())
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Memory in RAM, in bytes.
    pub(super) resident: u64,
    /// Open files, sockets among them.
    pub(super) files: u64,
}

/// What a process may hold, and by how much its memory may grow, however long it runs, once it is warm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) most: Held,
    pub(super) growth: u64,
}

const MIB: u64 = 1 << 20;

/// A node: three quarters of what `make bench-api` promises under full load. 256 files of the database, and as many
/// sockets. Write buffers that fill up or are written out are steps of up to 32 MiB; two of them are no trend.
pub(super) const OF_NODES: Bounds =
    Bounds { most: Held { resident: 768 * MIB, files: 512 }, growth: 64 * MIB };

/// A light client: three times what `make bench-light` measures. The last 2,048 blocks, that it remembers, take some
/// MiB, and fill up in more time than it takes to be warm.
pub(super) const OF_LIGHTS: Bounds =
    Bounds { most: Held { resident: 64 * MIB, files: 128 }, growth: 8 * MIB };

/// From the start of a process until its caches are full.
pub(super) const WARM_AFTER: Duration = Duration::from_secs(20 * 60);

/// The shortest time from which a growth is told: a cache that is written out once looks like growth for minutes.
const GROWTH_OVER: Duration = Duration::from_secs(10 * 60);

/// What one process held over its life.
#[derive(Clone, Debug)]
pub(super) struct Life {
    began: Duration,
    held: Vec<(Duration, Held)>,
}

impl Life {
    pub(super) fn new(began: Duration) -> Self {
        Self { began, held: Vec::new() }
    }

    pub(super) fn see(
        &mut self,
        who: &str,
        now: Duration,
        held: Held,
        bounds: &Bounds,
    ) -> Result<(), Broken> {
        self.held.push((now, held));
        for (what, got, most) in [
            ("bytes in memory", held.resident, bounds.most.resident),
            ("open files", held.files, bounds.most.files),
        ] {
            if got > most {
                return Err(format!("{who} has {got} {what}, at most {most} are allowed"));
            }
        }
        Ok(())
    }

    /// Bytes that its memory has grown by since it was warm, on the line of least squares; none of a short life.
    pub(super) fn growth(&self) -> Option<f64> {
        let warm: Vec<(f64, f64)> = self
            .held
            .iter()
            .filter(|(at, _)| *at >= self.began + WARM_AFTER)
            .map(|(at, held)| (at.as_secs_f64(), held.resident as f64))
            .collect();
        let span = warm.last()?.0 - warm.first()?.0;
        if span < GROWTH_OVER.as_secs_f64() {
            return None;
        }
        let count = warm.len() as f64;
        let (x, y) = warm.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
        let (above, below) = warm.iter().fold((0.0, 0.0), |(above, below), point| {
            (above + (point.0 - x) * (point.1 - y), below + (point.0 - x).powi(2))
        });
        Some(above / below * span)
    }

    pub(super) fn bounded(&self, who: &str, bounds: &Bounds) -> Result<(), Broken> {
        match self.growth().filter(|growth| *growth > bounds.growth as f64) {
            Some(growth) => Err(format!(
                "{who} has grown by {:.1} MiB since it was warm, {} are allowed",
                growth / MIB as f64,
                bounds.growth / MIB
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_fork_is_found_whoever_shows_it() {
        let mut headers = Headers::default();
        for who in ["v1", "v2"] {
            headers.see(who, 1, "aa").unwrap();
        }
        headers.see("v1", 2, "bb").unwrap();
        assert_eq!(headers.compared, 1);
        let broken = headers.see("light1", 2, "cc").unwrap_err();
        assert!(broken.contains("v1 has bb, light1 has cc"), "{broken}");
        // Also of one who says something else than before.
        assert!(headers.see("v1", 1, "ab").is_err());
    }

    #[test]
    fn no_block_is_excused_only_while_there_is_no_quorum() {
        let mut pace = Pace::default();
        pace.see(SECOND, 5, Some(Duration::ZERO)).unwrap();
        pace.see(PATIENCE, 5, Some(Duration::ZERO)).unwrap();
        // None for long, then one: the time without does not count.
        pace.see(PATIENCE * 3, 5, None).unwrap();
        let back = PATIENCE * 3 + SECOND;
        pace.see(back + PATIENCE, 5, Some(back)).unwrap();
        assert!(pace.see(back + PATIENCE + SECOND, 5, Some(back)).unwrap_err().contains("no block after 5"));
        pace.see(back + PATIENCE + SECOND * 2, 6, Some(back)).unwrap();
        assert_eq!(pace.longest, PATIENCE + SECOND * 2);
        assert!(pace.see(back + PATIENCE * 3, 6, Some(back)).is_err());
    }

    #[test]
    fn who_stays_behind_is_found_once_it_had_its_time() {
        let mut tips = Tips::default();
        tips.push(Duration::ZERO, 9);
        let later = PATIENCE + SECOND;
        tips.follows("v1", SECOND, Some(Duration::ZERO), Some(1)).unwrap();
        tips.push(later, 50);
        tips.follows("v1", later, Some(Duration::ZERO), Some(9)).unwrap();
        tips.follows("v1", later, Some(SECOND), Some(8)).unwrap();
        tips.follows("v1", later, None, None).unwrap();
        assert!(tips.follows("v1", later, Some(Duration::ZERO), Some(8)).unwrap_err().contains("is at 8"));
        assert!(
            tips.follows("v1", later, Some(Duration::ZERO), None).unwrap_err().contains("does not answer")
        );
        // The older tip is forgotten once the newer one is old enough.
        tips.push(later + PATIENCE, 90);
        assert!(tips.follows("v1", later + PATIENCE, Some(Duration::ZERO), Some(49)).is_err());
    }

    #[test]
    fn a_nano_too_many_or_too_few_is_found() {
        let parts = |burned| vec![("v1".to_owned(), 60), ("burned".to_owned(), burned)];
        supply(100, &parts(40)).unwrap();
        assert!(supply(100, &parts(41)).is_err());
        assert!(supply(100, &parts(39)).unwrap_err().contains("99 nano, at genesis it was 100"));
        paid("a", 7, 7).unwrap();
        assert!(paid("a", 7, 6).is_err());
        assert!(paid("a", 7, 8).is_err());
    }

    fn status(height: &Value, halted: &Value) -> Status {
        serde_json::from_value(json!({
            "chain_id": "c", "height": 7, "available_height": 7, "confidence": 0.999, "wanted_confidence": 0.999,
            "blocks_sampled": 1, "offline_since": null, "last_sample": null, "peers": 4,
            "wire_bytes": {"in": 0, "out": 0, "per_block": 0}, "resident_bytes": 0, "witnessed_height": null,
            "halted": halted, "budget": null, "heights": [height]
        }))
        .unwrap()
    }

    #[test]
    fn a_light_client_that_alarms_or_halts_is_found() {
        let report = |mut state: Value| {
            let rest = json!({"height": 7, "samples": 1, "width": 2});
            state.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            state
        };
        let pending = report(json!({"state": "pending"}));
        untroubled("l", &status(&pending, &Value::Null)).unwrap();
        for bad in [
            json!({"state": "unavailable", "cells": [], "since": 1, "asked": []}),
            json!({"state": "fraud", "proof": "split cell"}),
        ] {
            assert!(untroubled("l", &status(&report(bad), &Value::Null)).is_err());
        }
        let halt = json!({
            "height": 7, "from": 7, "since": 1, "reason": "fraud", "kind": "split cell", "evidence": "e.json"
        });
        assert!(untroubled("l", &status(&pending, &halt)).unwrap_err().contains("halted"));
    }

    #[test]
    fn what_no_honest_validator_does_is_found_in_metrics() {
        let fine =
            "# TYPE x counter\nweft_node_proposals_invalid_total 0\nweft_node_proposals_valid_total 9\n";
        honest("v1", fine).unwrap();
        for never in NEVER {
            let prefix = if never.starts_with("weft") { "" } else { "malachitebft_core_consensus_" };
            let text = format!("{fine}{prefix}{never}{{moniker=\"v1\"}} 1\n");
            assert!(honest("v1", &text).unwrap_err().contains(never), "{text}");
        }
    }

    #[test]
    fn too_much_memory_too_many_files_and_what_grows_are_found() {
        let held = |resident, files| Held { resident, files };
        let mut life = Life::new(Duration::ZERO);
        life.see("v1", SECOND, held(OF_NODES.most.resident, OF_NODES.most.files), &OF_NODES).unwrap();
        assert!(life.see("v1", SECOND, held(OF_NODES.most.resident + 1, 1), &OF_NODES).is_err());
        assert!(life.see("v1", SECOND, held(1, OF_NODES.most.files + 1), &OF_NODES).is_err());

        let grown = |mib_per_minute: f64, minutes: u32| {
            let mut life = Life::new(Duration::ZERO);
            for second in (0..minutes * 60).step_by(5) {
                // Ups and downs, and a start that does not count.
                let start = f64::from(second.min(1_000)) * 1e6;
                let wave = if second % 10 == 0 { 2e6 } else { 0.0 };
                let bytes = 9e6 + start + wave + f64::from(second) / 60.0 * mib_per_minute * MIB as f64;
                let bounds = Bounds { most: held(u64::MAX, u64::MAX), ..OF_NODES };
                life.see("v1", SECOND * second, held(bytes as u64, 1), &bounds).unwrap();
            }
            life
        };
        let life = grown(5.0, 40);
        assert!((life.growth().unwrap() / MIB as f64 - 100.0).abs() < 2.0, "{:?}", life.growth());
        assert!(life.bounded("v1", &OF_NODES).unwrap_err().contains("64 are allowed"));
        grown(2.0, 40).bounded("v1", &OF_NODES).unwrap();
        // The longer it runs, the less it may grow a minute.
        assert!(grown(2.0, 60).bounded("v1", &OF_NODES).is_err());
        assert_eq!(grown(50.0, 29).growth(), None);
    }
}
