//! Malachite 0.8 as measured: four processes, whole blocks by gossip, no pacing; against the model of `consensus`.
//!
//! The measurements include a busy machine's work, of which the model has the commits and the checks of votes only:
//! a factor of 1.3 is allowed.

use erasure::Width;

use super::Check;
use crate::{Carries, Consensus, Distance, Fault, Group, Processing, Scenario, Timeouts};

/// One-way delay in milliseconds, and milliseconds a block of 64 KiB takes.
const PACE: [(u64, f64); 2] = [(25, 92.0), (75, 248.0)];

/// Timeouts to propose and to precommit, and milliseconds that an absent proposer's turn takes.
const ABSENT: [(u64, u64, f64); 2] = [(3_000, 1_000, 4_080.0), (800, 300, 1_310.0)];

const VALIDATORS: u16 = 4;

pub(super) fn checks() -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    let calm = Scenario { loss_permille: 0, ..Scenario::calm()? };
    let question = Consensus {
        scenario: calm,
        distance: Distance::Everywhere(0),
        validators: Vec::new(),
        widths: Vec::new(),
        mbits: Vec::new(),
        interval_ms: 0,
        timeouts: Timeouts::default(),
        processing: Processing::committed()?,
        blocks: 8,
        runs: 1,
        seed: 1,
    };
    // The width whose blocks are nearest to 64 KiB: 32 KiB.
    let width = Width::new(8)?;
    let block_ms = |question: &Consensus| {
        question.run(Carries::Bodies, 10_000, width, VALIDATORS, 0).block_ms.unwrap_or(f64::INFINITY)
    };
    let within = |what: String, target: f64, ours: f64| Check {
        what,
        target: format!("{target}, factor 1.3"),
        ours: format!("{ours:.0}"),
        holds: (target / 1.3..=target * 1.3).contains(&ours),
    };
    for (one_way, target) in PACE {
        let ours = block_ms(&Consensus { distance: Distance::Everywhere(one_way), ..question.clone() });
        let what = format!("Malachite: ms a small block, {one_way} ms between validators");
        checks.push(within(what, target, ours));
    }
    for (propose_ms, precommit_ms, target) in ABSENT {
        let timeouts = Timeouts { propose_ms, precommit_ms, ..question.timeouts };
        let leave = Fault::Leave { at_ms: 0, of: Group::Validators, percent: 25 };
        let scenario = Scenario { faults: vec![leave], ..question.scenario.clone() };
        // One turn in four is the absent one's, and the others' take next to nothing.
        let ours = f64::from(VALIDATORS) * block_ms(&Consensus { scenario, timeouts, ..question.clone() });
        let what =
            format!("Malachite: ms of an absent proposer's turn, timeouts {propose_ms} + {precommit_ms}");
        checks.push(within(what, target, ours));
    }
    Ok(checks)
}
