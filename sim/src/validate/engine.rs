//! Malachite 0.8 as measured: four processes, whole blocks by gossip, no pacing; against the model of `consensus`.
//!
//! The measurements include a busy machine's work, of which the model has the commits and the checks of votes only. A
//! factor of 1.3 is allowed for a block's time, which one hop more would pass as well: so how that time grows with
//! the distance, which no work adds to, is held to hops. The work of an absent proposer's turn, which is four
//! blocks, may be a quarter of a second.

use erasure::Width;

use super::{Check, Source};
use crate::{Carries, Consensus, Distance, Fault, Group, Processing, Scenario, Timeouts};

/// One-way delay in milliseconds, and milliseconds a block of 64 KiB takes.
const PACE: [(u64, f64); 2] = [(25, 92.0), (75, 248.0)];

/// Timeouts to propose and to precommit, and milliseconds that an absent proposer's turn takes.
const ABSENT: [(u64, u64, f64); 2] = [(3_000, 1_000, 4_080.0), (800, 300, 1_310.0)];

/// What those turns may take more than the model says.
const WORK_MS: f64 = 250.0;

/// One-way times by which a block takes longer, for each by which validators are further apart: (248 − 92) / 50.
const HOPS: f64 = 3.1;

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
    let paced = PACE.map(|(one_way, _)| {
        block_ms(&Consensus { distance: Distance::Everywhere(one_way), ..question.clone() })
    });
    checks.extend(pace(paced));
    for (propose_ms, precommit_ms, target) in ABSENT {
        let timeouts = Timeouts { propose_ms, precommit_ms, ..question.timeouts };
        let leave = Fault::Leave { at_ms: 0, of: Group::Validators, percent: 25 };
        let scenario = Scenario { faults: vec![leave], ..question.scenario.clone() };
        // One turn in four is the absent one's, and the others' take next to nothing.
        let ours = f64::from(VALIDATORS) * block_ms(&Consensus { scenario, timeouts, ..question.clone() });
        let what =
            format!("Malachite: ms of an absent proposer's turn, timeouts {propose_ms} + {precommit_ms}");
        checks.push(turn(what, target, ours));
    }
    Ok(checks)
}

/// What blocks take at the two distances of [`PACE`].
fn pace(ours: [f64; 2]) -> [Check; 3] {
    let [near, far] = [0, 1].map(|at| {
        let ((one_way, target), ours) = (PACE[at], ours[at]);
        Check {
            what: format!("Malachite: ms a small block, {one_way} ms between validators"),
            source: Source::Measured,
            target: format!("{target}, factor 1.3"),
            ours: format!("{ours:.0}"),
            holds: (target / 1.3..=target * 1.3).contains(&ours),
        }
    });
    let hops = (ours[1] - ours[0]) / (PACE[1].0 - PACE[0].0) as f64;
    [near, far, Check::near("Malachite: one-way times a small block", HOPS, hops, 0.3, 1).measured()]
}

fn turn(what: String, target: f64, ours: f64) -> Check {
    Check {
        what,
        source: Source::Measured,
        target: format!("{target}"),
        ours: format!("{ours:.0} to {:.0}", ours + WORK_MS),
        holds: (ours..=ours + WORK_MS).contains(&target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_more_or_less_is_noticed() {
        let verdicts =
            |hops: f64| pace([25.0, 75.0].map(|one_way| hops * one_way + 1.0)).map(|check| check.holds);
        assert_eq!(verdicts(3.0), [true, true, true]);
        // The factor alone lets it pass.
        assert_eq!(verdicts(4.0), [true, true, false]);
        assert!(!verdicts(2.0)[2]);
    }

    #[test]
    fn a_turn_is_neither_longer_than_measured_nor_much_shorter() {
        let holds = |ours| turn(String::new(), 4_080.0, ours).holds;
        assert_eq!([3_800.0, 3_830.0, 4_080.0, 4_081.0].map(holds), [false, true, true, false]);
    }
}
