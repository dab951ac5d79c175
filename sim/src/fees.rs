//! What rollups pay and how long they wait, in bursts and under a griefer.
//!
//! ```text
//!  rollups ──▶ signed transactions, capped by the quote ──▶ pool ──▶ chain::select ──▶ chain::Ledger ──▶ price
//!                       ▲ signed anew when they expire                                                    │
//!                       └─────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Prices, order of inclusion, limits and charges are the chain's own code on its own state; only the
//! agents are made up:
//!
//! | agent | submits | caps its price at |
//! | --- | --- | --- |
//! | steady | 1 MiB every block | the quote that is guaranteed for 100 blocks, and its tip |
//! | bursty | 3 MiB every block while a burst lasts (10 blocks on average, 30 between bursts) | the same |
//! | patient | 1 MiB every block | 1.5 times the floor, so that it waits for cheap blocks |
//! | griefer | 8 MiB every block of the middle third, with a tip of ten floors | as steady does |
//! | reserved | 1 MiB every block, from a reservation that the first block sells it for the whole run | – |
//!
//! Transactions of steady and bursty expire after ten blocks and are signed anew with ten times the tip; others
//! after the hundred that the chain allows, with the same tip.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use chain::fees::MIN_BASE_FEE;
use chain::{
    Action, BlobHeader, Candidate, CheckedBlob, Genesis, GenesisAccount, GenesisValidator, Ledger,
    MemoryState, Parameters, Payload, ReservationId, SUBMIT_HORIZON, SecretKey, State, StateUpdate,
};
use erasure::Namespace;
use serde::Serialize;

use crate::Interval;
use crate::parallel::map;
use crate::rng::Rng;

const MIB: usize = 1 << 20;

/// Blobs of the griefer: as many as fit leave no room for one of 1 MiB.
const GRIEFER_BLOB: usize = MIB / 2;
const GRIEFER_BLOBS: usize = 16;

/// What the griefer tips: more than anybody.
const GRIEFER_TIP: u64 = 10 * MIN_BASE_FEE;
const TIP: u64 = 10;

/// Blocks after which a rollup that does not wait for a price bids more.
const PATIENCE: u64 = 10;

const FUNDS: u64 = 1 << 60;

/// What to find out.
#[derive(Clone, Copy, Debug)]
pub struct FeeQuestion {
    /// Blocks of one run.
    pub blocks: u64,
    /// Runs, each with bursts of its own.
    pub runs: u32,
    /// Whether there is a griefer.
    pub griefer: bool,
    /// What every random choice is derived from.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FeeAnswer {
    /// Blocks of one run.
    pub blocks: u64,
    /// Runs.
    pub runs: u32,
    /// The question's seed.
    pub seed: u64,
    /// The lowest base fee per share, in nano.
    pub floor: u64,
    /// Block by block.
    pub path: Vec<PricePoint>,
    /// Agent by agent.
    pub agents: Vec<AgentOutcome>,
}

/// One block.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct PricePoint {
    /// Its height.
    pub height: u64,
    /// Base fee per share in nano, mean of all runs.
    pub base_fee: f64,
    /// 95 % interval of that mean.
    pub interval: Interval,
    /// Share of the capacity that is used, mean of all runs.
    pub used: f64,
}

/// One agent.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AgentOutcome {
    /// Its name.
    pub name: &'static str,
    /// Blobs that were included, a run.
    pub included: f64,
    /// Blobs that still wait at the end, a run.
    pub waiting: f64,
    /// Blocks from submission to inclusion: mean of the runs' means; 0 is the next block.
    pub delay: f64,
    /// 95 % interval of it.
    pub delay_interval: Interval,
    /// 95 % of the included blobs, of all runs, waited at most this many blocks.
    pub delay_p95: u64,
    /// Spent in a run, in nano; for a reservation too.
    pub spend: f64,
    /// 95 % interval of it.
    pub spend_interval: Interval,
    /// Paid per share, in floors.
    pub price: f64,
}

struct Agent {
    name: &'static str,
    key: SecretKey,
    blob: Arc<CheckedBlob>,
}

/// A blob on its way.
struct Pending {
    agent: usize,
    born: u64,
    tries: u32,
    valid_until: u64,
    candidate: Candidate,
}

#[derive(Default)]
struct Tally {
    delays: Vec<u64>,
    spend: u64,
    shares: u64,
    waiting: u64,
}

struct Run {
    path: Vec<(u64, u64)>,
    tallies: Vec<Tally>,
}

struct World {
    genesis: Genesis,
    agents: Vec<Agent>,
}

impl FeeQuestion {
    /// Runs all runs, on as many threads as there are cores. `progress` is told of each block.
    ///
    /// # Errors
    /// The chain refuses what this module signs.
    pub fn answer(&self, progress: &(dyn Fn() + Sync)) -> anyhow::Result<FeeAnswer> {
        let world = World::new()?;
        let runs = map(self.runs.into(), |run| world.run(self, run, progress));
        let runs = runs.into_iter().collect::<anyhow::Result<Vec<Run>>>()?;
        let capacity = world.genesis.fee_rules().capacity as f64;
        let path = (0..self.blocks as usize).map(|at| {
            let prices: Vec<f64> = runs.iter().map(|run| run.path[at].0 as f64).collect();
            let used: f64 = runs.iter().map(|run| run.path[at].1 as f64).sum();
            let (base_fee, interval) = Interval::of_mean(&prices);
            PricePoint {
                height: at as u64 + 1,
                base_fee,
                interval,
                used: used / capacity / runs.len() as f64,
            }
        });
        let agents = world.agents.iter().enumerate().map(|(at, agent)| {
            let tallies = || runs.iter().map(|run| &run.tallies[at]);
            let per_run = |of: fn(&Tally) -> f64| Interval::of_mean(&tallies().map(of).collect::<Vec<_>>());
            let mut delays: Vec<u64> = tallies().flat_map(|tally| tally.delays.iter().copied()).collect();
            delays.sort_unstable();
            let (delay, delay_interval) =
                per_run(|tally| tally.delays.iter().sum::<u64>() as f64 / tally.delays.len().max(1) as f64);
            let (spend, spend_interval) = per_run(|tally| tally.spend as f64);
            let shares: u64 = tallies().map(|tally| tally.shares).sum();
            let spent: u64 = tallies().map(|tally| tally.spend).sum();
            AgentOutcome {
                name: agent.name,
                included: per_run(|tally| tally.delays.len() as f64).0,
                waiting: per_run(|tally| tally.waiting as f64).0,
                delay,
                delay_interval,
                delay_p95: delays.get(delays.len() * 95 / 100).copied().unwrap_or(0),
                spend,
                spend_interval,
                price: spent as f64 / shares.max(1) as f64 / MIN_BASE_FEE as f64,
            }
        });
        Ok(FeeAnswer {
            blocks: self.blocks,
            runs: self.runs,
            seed: self.seed,
            floor: MIN_BASE_FEE,
            path: path.collect(),
            agents: agents.filter(|agent| self.griefer || agent.name != "griefer").collect(),
        })
    }
}

impl World {
    fn new() -> anyhow::Result<Self> {
        let mut agents = Vec::new();
        let sizes = [
            ("steady", MIB),
            ("bursty", MIB),
            ("patient", MIB),
            ("griefer", GRIEFER_BLOB),
            ("reserved", MIB),
        ];
        for (id, (name, bytes)) in (1..).zip(sizes) {
            let bytes = vec![id; bytes];
            let header = BlobHeader::describe(Namespace::from_user_id([id; 10]), &bytes, &[], &[]);
            let blob = Arc::new(CheckedBlob::check(&header, &[], bytes.into())?);
            agents.push(Agent { name, key: SecretKey::from_bytes(&[id; 32])?, blob });
        }
        let operator = SecretKey::from_bytes(&[9; 32])?;
        // The ed25519 base point: a key that nobody signs with.
        let mut public_key = [0x66; 32];
        public_key[0] = 0x58;
        let genesis = Genesis {
            chain_id: "weft-sim".to_owned(),
            time: serde_json::from_str("\"2026-01-01T00:00:00Z\"")?,
            parameters: Parameters::default(),
            accounts: agents
                .iter()
                .map(|agent| GenesisAccount { address: agent.key.address(), balance: FUNDS })
                .collect(),
            validators: vec![GenesisValidator {
                name: "one".to_owned(),
                public_key,
                power: 1,
                operator: operator.address(),
                attestation_key: None,
            }],
        };
        genesis.check()?;
        Ok(Self { genesis, agents })
    }

    fn run(&self, question: &FeeQuestion, run: u64, progress: &(dyn Fn() + Sync)) -> anyhow::Result<Run> {
        let rules = self.genesis.fee_rules();
        let mut rng = Rng::new("weft/sim-rollups/1", [question.seed, run]);
        let mut store = MemoryState::default();
        store.apply(StateUpdate::genesis(&self.genesis)?);
        let set = self.genesis.validator_set()?;
        let proposer = set.validators().first().context("no validator")?.address;
        let operator = self.genesis.validators.first().context("no validator")?.operator;
        let mut tallies: Vec<Tally> = self.agents.iter().map(|_| Tally::default()).collect();
        let (mut pool, mut path, mut burst, mut salt) = (Vec::<Pending>::new(), Vec::new(), false, 0_u128);
        let mut reservation = None;
        for height in 1..=question.blocks {
            let excess = State::at(&store, height - 1).excess()?;
            let mut ledger = Ledger::new(State::at(&store, height - 1), &self.genesis)?;
            let quote = rules.guaranteed_cap(excess, SUBMIT_HORIZON);

            burst = rng.percent(if burst { 90.0 } else { 100.0 / 30.0 });
            let grief = question.griefer && (question.blocks / 3..2 * question.blocks / 3).contains(&height);
            let bursts = if burst { 3 } else { 0 };
            let fresh = [1, bursts, 1, if grief { GRIEFER_BLOBS } else { 0 }, 1];
            let mut due: Vec<(usize, u64, u32)> = fresh
                .into_iter()
                .enumerate()
                .flat_map(|(agent, blobs)| vec![(agent, height, 0); blobs])
                .collect();
            // The griefer does not come back for what was not included.
            pool.retain(|pending| {
                let expired = pending.valid_until < height || self.agents[pending.agent].name == "griefer";
                if expired && self.agents[pending.agent].name != "griefer" {
                    due.push((pending.agent, pending.born, pending.tries + 1));
                }
                !expired
            });
            for (agent, born, tries) in due {
                salt += 1;
                let action = self.action(agent, question, reservation);
                let (valid_until, candidate) = self.submit(agent, action, tries, height, quote, salt)?;
                if let (None, "reserved") = (reservation, self.agents[agent].name) {
                    reservation = Some(ReservationId::from(candidate.transaction().id()));
                }
                pool.push(Pending { agent, born, tries, valid_until, candidate });
            }

            let candidates: Vec<Candidate> = pool.iter().map(|pending| pending.candidate.clone()).collect();
            let selected =
                chain::select(&self.genesis, State::at(&store, height - 1), &proposer, &candidates)?;
            for chosen in &selected.chosen {
                let receipt = ledger.apply(chosen.transaction(), operator)?;
                let id = chosen.transaction().id();
                let at = pool.iter().position(|pending| pending.candidate.transaction().id() == id);
                let Pending { agent, born, .. } = pool.remove(at.context("chosen from the pool")?);
                let tally = &mut tallies[agent];
                tally.spend += receipt.charged + receipt.spent;
                if !chosen.blobs().is_empty() {
                    tally.delays.push(height - born);
                    tally.shares += receipt.shares;
                }
            }
            if let Some((id, error)) = selected.refused.iter().find(|(_, error)| !error.may_pass()) {
                anyhow::bail!("transaction {id} was refused: {error}");
            }
            path.push((ledger.base_fee(), ledger.used()));
            let update = ledger.finish(None)?;
            store.apply(update);
            progress();
        }
        for pending in &pool {
            tallies[pending.agent].waiting += 1;
        }
        Ok(Run { path, tallies })
    }

    /// What this agent does now: it publishes its blob, or first buys the capacity for it.
    fn action(&self, agent: usize, question: &FeeQuestion, reservation: Option<ReservationId>) -> Action {
        let Agent { name, blob, .. } = &self.agents[agent];
        let blobs = vec![blob.header().clone()];
        match (*name, reservation) {
            // A share more than the blob's, for the transaction itself.
            ("reserved", None) => Action::Reserve {
                rate: erasure::shares_for(blob.header().len) + 1,
                blocks: question.blocks,
                signers: Vec::new(),
                price_cap: FUNDS / 2,
            },
            ("reserved", Some(id)) => Action::SubmitBlobs { blobs, reservation: Some(id) },
            _ => Action::SubmitBlobs { blobs, reservation: None },
        }
    }

    /// One transaction of this agent, signed at this height, and until when.
    fn submit(
        &self,
        agent: usize,
        action: Action,
        tries: u32,
        height: u64,
        quote: u64,
        salt: u128,
    ) -> anyhow::Result<(u64, Candidate)> {
        let Agent { name, key, blob } = &self.agents[agent];
        let bid = TIP * 10_u64.pow(tries.min(6));
        let (fee_cap, tip, patience) = match *name {
            "patient" => (MIN_BASE_FEE * 3 / 2, TIP, SUBMIT_HORIZON),
            "griefer" => (quote.saturating_add(GRIEFER_TIP), GRIEFER_TIP, SUBMIT_HORIZON),
            _ => (quote.saturating_add(bid), bid, PATIENCE),
        };
        let from_reservation = matches!(action, Action::SubmitBlobs { reservation: Some(_), .. });
        let (fee_cap, tip) = if from_reservation { (0, 0) } else { (fee_cap, tip) };
        let blobs = match action {
            Action::SubmitBlobs { .. } => vec![blob.clone()],
            _ => Vec::new(),
        };
        let valid_until = height + patience;
        let payload =
            Payload { sender: key.address(), salt: salt.to_be_bytes(), valid_until, fee_cap, tip, action };
        let domain = self.genesis.domain();
        let verified = key.sign(payload, Vec::new(), &domain)?.verify(&domain, &self.genesis.parameters)?;
        let candidate = Candidate::new(Arc::new(verified), blobs).context("bodies that match")?;
        Ok((valid_until, candidate))
    }
}

impl FeeAnswer {
    /// The path as CSV, with a header line.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut csv = "height,base_fee,interval_low,interval_high,used\n".to_owned();
        for PricePoint { height, base_fee, interval: Interval { low, high }, used } in &self.path {
            let _ = writeln!(csv, "{height},{base_fee},{low},{high},{used}");
        }
        csv
    }
}
