//! How long until every validator has a block's bodies, and every light client its samples.
//!
//! ```text
//!  body at some node ─ announce ─▶ neighbours ─ pull ─▶ … validators and full nodes, each rebuilds the square
//!  a validator that rebuilt it proposes ─▶ prevotes of 2/3 ─▶ precommits of 2/3 ─▶ decided
//!  header ─ flood ─▶ full nodes, which serve once they rebuilt the square ─ hint ─▶ light clients
//!  light client: header ─▶ probe ─▶ all samples at once, spread over its peers ─ hedge, retry ─▶ done, or alarm
//! ```
//!
//! What is modelled and what is real: light clients draw with `light_client::sampler::draw`, and some of them
//! *are* the light client's own [`BlockSampler`](light_client::sampler::BlockSampler), fed with samples of a real
//! square; the others follow its rules in a few bytes each (`clients`). Both are counted apart, so every
//! answer shows how good the model is. Nodes, gossip and votes are models (`run`): votes go straight from
//! validator to validator, connections need no handshakes, congestion control does not slow anybody down.
//!
//! Nodes that a fault removed are unknown to nobody: they are asked, and do not answer.

mod clients;
mod run;

use std::fmt::Write as _;

use light_client::sampler::{Confidence, samples_needed};
use serde::Serialize;

use crate::{Interval, Processing, Scenario};
use run::{Found, Run};

/// What to find out.
#[derive(Clone, Debug)]
pub struct Propagation {
    /// The network, and what happens to it.
    pub scenario: Scenario,
    /// How long a node's work takes.
    pub processing: Processing,
    /// Light clients, of those of the scenario, that run the light client's own sampler on a real square. At k = 512
    /// that square takes a gigabyte.
    pub real: u32,
    /// Runs, each with a network of its own.
    pub runs: u32,
    /// What every random choice is derived from.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Spread {
    /// The question's scenario.
    pub scenario: Scenario,
    /// Cells that each light client samples.
    pub samples: usize,
    /// Rebuilding the square at a node, in milliseconds.
    pub rebuild_ms: f64,
    /// Where that comes from.
    pub rebuild_source: String,
    /// Runs.
    pub runs: u32,
    /// The question's seed.
    pub seed: u64,
    /// Events that were handled.
    pub events: u64,
    /// Each stage.
    pub stages: Vec<Stage>,
    /// Light clients that raised the alarm, a run.
    pub alarmed: f64,
    /// Light clients that sampled successfully although the block was withheld, a run.
    pub fooled: f64,
    /// What the eclipsed client made of it, where there is one: `alarmed`, `pending` or `FOOLED`; the worst run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eclipsed: Option<&'static str>,
    /// Megabytes that a full node sent, mean of all.
    pub full_node_sent_mb: f64,
    /// Megabytes that the busiest one sent.
    pub full_node_sent_mb_most: f64,
    /// Kilobytes that a light client received, mean of all.
    pub light_client_received_kb: f64,
}

/// When nodes got through a stage, in milliseconds after the bodies were submitted.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// Nodes that could.
    pub nodes: usize,
    /// Nodes that did, a run.
    pub done: f64,
    /// By share of the nodes that could; those that were reached in every run.
    pub quantiles: Vec<Quantile>,
}

/// When a share of the nodes was through.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Quantile {
    /// Percent of the nodes.
    pub percent: f64,
    /// Milliseconds, mean of the runs.
    pub ms: f64,
    /// 95 % interval of that mean.
    pub interval: Interval,
}

const STAGES: [&str; 6] = [
    "validators have the bodies",
    "validators decided",
    "full nodes serve",
    "light clients have the header",
    "modelled light clients sampled",
    "real samplers sampled",
];
const BODIES: usize = 0;
const DECIDED: usize = 1;
const SERVING: usize = 2;
const HEADERS: usize = 3;
const SAMPLED: usize = 4;
const REALLY_SAMPLED: usize = 5;

const PERCENTS: [f64; 12] = [1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.9, 100.0];

impl Propagation {
    /// Runs all runs. `progress` is told of each.
    ///
    /// # Errors
    /// The scenario is wrong.
    pub fn answer(&self, progress: &dyn Fn()) -> anyhow::Result<Spread> {
        self.scenario.check()?;
        let width = self.scenario.square()?;
        let mut runs = Vec::new();
        for run in 0..self.runs {
            runs.push(Run::new(self, run)?.finish());
            progress();
        }
        let mean =
            |of: &dyn Fn(&Found) -> f64| runs.iter().map(of).sum::<f64>() / f64::from(self.runs.max(1));
        let stage = |(stage, name): (usize, &'static str)| Stage {
            name,
            nodes: runs.first().map_or(0, |run| run.nodes[stage]),
            done: mean(&|run| run.times[stage].len() as f64),
            quantiles: PERCENTS.into_iter().filter_map(|percent| quantile(&runs, stage, percent)).collect(),
        };
        let eclipsed = runs.iter().filter_map(|run| run.eclipsed).max();
        Ok(Spread {
            scenario: self.scenario.clone(),
            samples: samples_needed(width, Confidence::DEFAULT),
            rebuild_ms: self.processing.commit(width) as f64 / 1e6,
            rebuild_source: self.processing.commit_source.clone(),
            runs: self.runs,
            seed: self.seed,
            events: runs.iter().map(|run| run.events).sum(),
            stages: STAGES.into_iter().enumerate().map(stage).collect(),
            alarmed: mean(&|run| run.alarmed as f64),
            fooled: mean(&|run| {
                let sampled = run.times[SAMPLED].len() + run.times[REALLY_SAMPLED].len();
                if run.withheld { sampled as f64 } else { 0.0 }
            }),
            eclipsed: eclipsed.map(|end| ["alarmed", "pending", "FOOLED"][end]),
            full_node_sent_mb: mean(&|run| run.sent_mb.0),
            full_node_sent_mb_most: runs.iter().map(|run| run.sent_mb.1).fold(0.0, f64::max),
            light_client_received_kb: mean(&|run| run.received_kb),
        })
    }
}

fn quantile(runs: &[Found], stage: usize, percent: f64) -> Option<Quantile> {
    let at = |run: &Found| {
        let rank = (run.nodes[stage] as f64 * percent / 100.0).ceil() as usize;
        run.times[stage].get(rank.saturating_sub(1)).map(|at| *at as f64 / 1e6)
    };
    let times = runs.iter().map(at).collect::<Option<Vec<f64>>>()?;
    let (ms, interval) = Interval::of_mean(&times);
    Some(Quantile { percent, ms, interval })
}

impl Spread {
    /// The quantiles as CSV, with a header line.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut csv = "stage,percent,ms,interval_low,interval_high\n".to_owned();
        for Stage { name, quantiles, .. } in &self.stages {
            for Quantile { percent, ms, interval: Interval { low, high } } in quantiles {
                let _ = writeln!(csv, "{name},{percent},{ms},{low},{high}");
            }
        }
        csv
    }
}
