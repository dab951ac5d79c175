//! Block time and throughput, against validators, block size and bandwidth.
//!
//! ```text
//!  proposer ─ proposal ─▶ validators ─ rebuild ─▶ prevotes ─ 2/3 ─▶ precommits ─ 2/3 ─▶ decided ─▶ next height
//!  digests: proposals are small; the bodies of the next block spread by announce and pull meanwhile
//!  whole bodies: the proposal is the block, pushed part by part to every neighbour
//! ```
//!
//! A model of Tendermint (Buchman, Kwon, Milosevic, arXiv:1807.04938) over a gossip mesh (`run`): rounds, timeouts,
//! locks and round skips as in the paper, votes flooded and checked copy by copy, large things queueing on the
//! links, validators that leave and regions that are cut off. Nobody equivocates. Full blocks all the time: with
//! digests a height starts when the interval is over and the next block's bodies are there.

mod run;

use std::fmt::Write as _;

use erasure::{SHARE_BYTES, Width};
use serde::Serialize;

use crate::network::Distance;
use crate::{Interval, Processing, Scenario};
use run::Run;

/// What proposals carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Carries {
    /// Header and transaction ids; bodies travel ahead.
    Digests,
    /// The whole block.
    Bodies,
}

/// How long the steps of a round may take, in milliseconds; each further round adds `delta_ms`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Timeouts {
    /// From the start of a round to a proposal that was checked.
    pub propose_ms: u64,
    /// From two thirds of the prevotes for anything to a quorum.
    pub prevote_ms: u64,
    /// From two thirds of the precommits for anything to a quorum.
    pub precommit_ms: u64,
    /// What each further round adds.
    pub delta_ms: u64,
}

impl Default for Timeouts {
    /// Those of the `consensus` crate.
    fn default() -> Self {
        Self { propose_ms: 2_000, prevote_ms: 700, precommit_ms: 700, delta_ms: 500 }
    }
}

/// What to find out.
#[derive(Clone, Debug)]
pub struct Consensus {
    /// Loss and faults; nodes, links and width are those below.
    pub scenario: Scenario,
    /// Where the validators are.
    pub distance: Distance,
    /// Numbers of validators.
    pub validators: Vec<u16>,
    /// Widths of full blocks.
    pub widths: Vec<Width>,
    /// Uplinks and downlinks, in megabits a second.
    pub mbits: Vec<u64>,
    /// Shortest time between two proposals, in milliseconds.
    pub interval_ms: u64,
    /// How long the steps of a round may take.
    pub timeouts: Timeouts,
    /// How long the work takes.
    pub processing: Processing,
    /// Blocks that are counted; one before them is not.
    pub blocks: u32,
    /// Runs of each, with networks of their own.
    pub runs: u32,
    /// What every random choice is derived from.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Pace {
    /// The question's scenario, in a line.
    pub about: String,
    /// How long the work was taken to take.
    pub processing: Processing,
    /// Shortest time between two proposals, in milliseconds.
    pub interval_ms: u64,
    /// How long the steps of a round may take.
    pub timeouts: Timeouts,
    /// Blocks of a run.
    pub blocks: u32,
    /// Runs of each.
    pub runs: u32,
    /// The question's seed.
    pub seed: u64,
    /// One for each combination.
    pub cases: Vec<Case>,
}

/// One combination.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Case {
    /// What proposals carry.
    pub carries: Carries,
    /// Validators.
    pub validators: u16,
    /// The width of the full blocks.
    pub width: usize,
    /// Megabits a second.
    pub mbit: u64,
    /// Bytes of original data in a block.
    pub block_bytes: u64,
    /// From one decided proposal to the next, in milliseconds: mean of the runs. Missing if a run did not get
    /// through its blocks within ten minutes.
    pub block_ms: Option<f64>,
    /// 95 % interval of it.
    pub interval: Option<Interval>,
    /// From a proposal to its decision at the next proposer, in milliseconds: mean of the runs.
    pub decision_ms: Option<f64>,
    /// Rounds that failed, a block.
    pub failed_rounds: f64,
    /// Original data, in megabytes a second.
    pub megabytes_per_second: Option<f64>,
}

/// What one run found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    /// Nothing if it stood still.
    pub(crate) block_ms: Option<f64>,
    pub(crate) decision_ms: Option<f64>,
    pub(crate) failed_rounds: f64,
}

impl Consensus {
    fn combinations(&self) -> Vec<(Carries, u64, Width, u16)> {
        let mut all = Vec::new();
        for carries in [Carries::Digests, Carries::Bodies] {
            for &mbit in &self.mbits {
                for &width in &self.widths {
                    all.extend(self.validators.iter().map(|&validators| (carries, mbit, width, validators)));
                }
            }
        }
        all
    }

    /// How many runs the answer takes.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.combinations().len() as u64 * u64::from(self.runs)
    }

    /// Runs all combinations, on as many threads as there are cores. `progress` is told of each run.
    #[must_use]
    pub fn answer(&self, progress: &(dyn Fn() + Sync)) -> Pace {
        let combinations = self.combinations();
        let runs = u64::from(self.runs);
        let ran = crate::parallel::map(self.asked(), |at| {
            let (carries, mbit, width, validators) = combinations[(at / runs) as usize];
            let ran = self.run(carries, mbit, width, validators, (at % runs) as u32);
            progress();
            ran
        });
        let cases =
            combinations.iter().zip(ran.chunks(self.runs.max(1) as usize)).map(|(combination, ran)| {
                let (carries, mbit, width, validators) = *combination;
                let all = |of: fn(&Ran) -> Option<f64>| ran.iter().map(of).collect::<Option<Vec<f64>>>();
                let paced = all(|ran| ran.block_ms).map(|times| Interval::of_mean(&times));
                let block_bytes = (width.shares() * SHARE_BYTES) as u64;
                Case {
                    carries,
                    validators,
                    width: width.get(),
                    mbit,
                    block_bytes,
                    block_ms: paced.map(|(mean, _)| mean),
                    interval: paced.map(|(_, interval)| interval),
                    decision_ms: all(|ran| ran.decision_ms).map(|times| Interval::of_mean(&times).0),
                    failed_rounds: ran.iter().map(|ran| ran.failed_rounds).sum::<f64>() / ran.len() as f64,
                    megabytes_per_second: paced.map(|(mean, _)| block_bytes as f64 / 1e3 / mean),
                }
            });
        Pace {
            about: self.scenario.about.clone(),
            processing: self.processing.clone(),
            interval_ms: self.interval_ms,
            timeouts: self.timeouts,
            blocks: self.blocks,
            runs: self.runs,
            seed: self.seed,
            cases: cases.collect(),
        }
    }

    /// One run of one combination.
    pub(crate) fn run(&self, carries: Carries, mbit: u64, width: Width, validators: u16, run: u32) -> Ran {
        Run::new(self, carries, mbit, width, validators, run).finish()
    }
}

impl Pace {
    /// The cases as CSV, with a header line; what is missing is empty.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut csv =
            "carries,validators,width,mbit,block_bytes,block_ms,interval_low,interval_high,decision_ms,\
                       failed_rounds,mb_per_s\n"
                .to_owned();
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        for case in &self.cases {
            let Case { carries, validators, width, mbit, block_bytes, failed_rounds, .. } = case;
            let carries = if *carries == Carries::Digests { "digests" } else { "bodies" };
            let [block, low, high, decision, speed] = [
                case.block_ms,
                case.interval.map(|interval| interval.low),
                case.interval.map(|interval| interval.high),
                case.decision_ms,
                case.megabytes_per_second,
            ]
            .map(number);
            let _ = writeln!(
                csv,
                "{carries},{validators},{width},{mbit},{block_bytes},{block},{low},{high},{decision},\
                 {failed_rounds},{speed}"
            );
        }
        csv
    }
}
