//! What the network does when parts of it fail: four validators as processes in namespaces of their own, with
//! links that break, slow down and lose. Each test writes what was expected and what was seen into
//! `docs/faults.md`; `make faults` runs them all.

pub(crate) mod field;
mod record;

use std::time::Duration;

use netlab::{Link, isolated};
use tokio::time::sleep;

use crate::support::ALONE;
use field::{Field, ProposerFault};
use record::record;

/// How long the chain may take to go on after something was mended.
const RESUMES_WITHIN: Duration = Duration::from_secs(40);

/// How long a halted chain is watched.
const WATCHED: Duration = Duration::from_secs(15);

/// Runs `scenario` in a network namespace of its own, one at a time.
pub(crate) fn alone(test: &str, scenario: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _alone = runtime.block_on(ALONE.lock());
    if isolated(test).unwrap() {
        runtime.block_on(scenario());
    }
}

#[test]
#[ignore = "minutes: make faults"]
fn one_of_four_down() {
    alone("faults::one_of_four_down", async || {
        let mut field = Field::start(None).await;
        field.saw("weft_node_committed_blob_bytes_total").await;
        field.kill(4);
        let seen = field.progress(8).await;
        field.agree().await;
        record(
            "one validator of four down",
            "blocks go on; its turns to propose cost a round",
            &format!("8 blocks in {:.0?}, the longest pause {:.1?}", seen.took, seen.longest),
        );
    });
}

#[test]
#[ignore = "minutes: make faults"]
fn two_of_four_down() {
    alone("faults::two_of_four_down", async || {
        let mut field = Field::start(None).await;
        field.kill(3);
        field.kill(4);
        let halted = field.halted(WATCHED).await;
        field.run(3);
        let resumed = field.goes_on(RESUMES_WITHIN).await;
        field.agree().await;
        record(
            "two validators of four down, then one back",
            "halts, resumes when one returns, no fork",
            &format!(
                "{halted} more blocks in {WATCHED:?}, next block {resumed:.1?} after the restart, no fork"
            ),
        );
    });
}

/// Counted for a proposal that breaks a rule, and for one that nobody can judge yet.
const INVALID: &str = "weft_node_proposals_invalid_total";
const INCOMPLETE: &str = "weft_node_proposals_incomplete_total";

fn proposer_fault(test: &str, fault: ProposerFault, verdict: &str, what: &str, expected: &str) {
    alone(test, async || {
        let field = Field::start(Some(fault)).await;
        let seen = field.progress(8).await;
        field.saw(verdict).await;
        field.agree().await;
        let own = field.blocks_of_the_misbehaving().await;
        assert_eq!(own, 0, "a block of the misbehaving proposer was committed");
        record(
            what,
            expected,
            &format!(
                "8 blocks in {:.0?}, none of them its own, the longest pause {:.1?}",
                seen.took, seen.longest
            ),
        );
    });
}

#[test]
#[ignore = "minutes: make faults"]
fn withheld_bodies() {
    let expected = "no verdict: its rounds time out, the next proposer's block is decided";
    proposer_fault(
        "faults::withheld_bodies",
        ProposerFault::Withhold,
        INCOMPLETE,
        "a proposer withholds transactions and bodies",
        expected,
    );
}

#[test]
#[ignore = "minutes: make faults"]
fn invalid_square() {
    let expected = "prevoted nil at once, the next proposer's block is decided";
    proposer_fault(
        "faults::invalid_square",
        ProposerFault::Square,
        INVALID,
        "a proposer commits to another square",
        expected,
    );
}

#[test]
#[ignore = "minutes: make faults"]
fn wrong_state_root() {
    let expected = "prevoted nil at once, the next proposer's block is decided";
    proposer_fault(
        "faults::wrong_state_root",
        ProposerFault::State,
        INVALID,
        "a proposer claims another state root",
        expected,
    );
}

#[test]
#[ignore = "minutes: make faults"]
fn oversize_block() {
    let expected = "prevoted nil at once, the next proposer's block is decided";
    proposer_fault(
        "faults::oversize_block",
        ProposerFault::Oversize,
        INVALID,
        "a proposer names more transactions than a block holds",
        expected,
    );
}

#[test]
#[ignore = "minutes: make faults"]
fn header_a_year_ahead() {
    let expected = "no verdict: costs rounds, never stalls the chain";
    proposer_fault(
        "faults::header_a_year_ahead",
        ProposerFault::Year,
        INCOMPLETE,
        "a proposer dates its header a year ahead",
        expected,
    );
}

#[test]
#[ignore = "minutes: make faults"]
fn clock_ten_seconds_ahead() {
    alone("faults::clock_ten_seconds_ahead", async || {
        let field = Field::start(Some(ProposerFault::Skew)).await;
        let seen = field.progress(8).await;
        field.saw(INCOMPLETE).await;
        field.agree().await;
        record(
            "one proposer's clock is 10 s ahead",
            "costs rounds, never stalls the chain",
            &format!("8 blocks in {:.0?}, the longest pause {:.1?}", seen.took, seen.longest),
        );
    });
}

#[test]
#[ignore = "minutes: make faults"]
fn one_key_on_two_machines() {
    alone("faults::one_key_on_two_machines", async || {
        let mut field = Field::start(None).await;
        field.run_twin_of(4).await;
        let seen = field.progress(8).await;
        field.saw("equivocation_proposals_total").await;
        field.slashed_the_last().await;
        field.progress(4).await;
        field.agree().await;
        record(
            "one validator's key votes on two machines, and signs two blocks of one round",
            "blocks go on, no fork; the others report it, and the ledger slashes it once",
            &format!(
                "8 blocks in {:.0?}, the longest pause {:.1?}, no fork; slashed, and without a vote",
                seen.took, seen.longest
            ),
        );
    });
}

/// Steps of a height, in order, by the log events that stand between its writes and messages.
const STEPS: [&str; 12] = [
    "square stored",
    "payload stored",
    "candidate stored",
    "recording a signature",
    "signature recorded",
    "Wrote log entry",
    "Flushed WAL to disk",
    "Published message",
    "decided",
    "market stored",
    "block stored",
    "block committed",
];

#[test]
#[ignore = "minutes: make faults"]
fn killed_at_every_step_of_a_height() {
    alone("faults::killed_at_every_step_of_a_height", async || {
        let mut field = Field::start(None).await;
        let mut longest = Duration::ZERO;
        for (at, step) in STEPS.into_iter().enumerate() {
            field.kill(4);
            // One in the middle of what a validator does, whatever it did first after its start.
            field.crash(4, step, 5 + at as u32 % 3).await;
            field.run(4);
            longest = longest.max(field.catches_up(4).await);
        }
        let signed_twice = field.counted("equivocation_votes_total").await
            + field.counted("equivocation_proposals_total").await;
        assert_eq!(signed_twice, 0.0, "signatures of one round that differ");
        field.agree().await;
        field.has_all(4).await;
        record(
            &format!(
                "one validator dies at each of {} steps of a height, and comes back each time",
                STEPS.len()
            ),
            "nothing signed twice, no decided block lost, no gap in what it keeps",
            &format!("signed nothing twice, has every block, caught up within {longest:.1?}"),
        );
    });
}

#[test]
#[ignore = "minutes: make faults"]
fn partition_of_two_and_two() {
    alone("faults::partition_of_two_and_two", async || {
        let field = Field::start(None).await;
        field.lab.partition(&[1, 2]);
        let halted = field.halted(Duration::from_secs(60)).await;
        field.lab.set_all(Link::PERFECT);
        let resumed = field.goes_on(RESUMES_WITHIN).await;
        field.agree().await;
        record(
            "partition of two and two, healed after a minute",
            "halts, resumes after healing, no fork",
            &format!(
                "{halted} more blocks within the minute, next block {resumed:.1?} after healing, no fork"
            ),
        );
    });
}

#[test]
#[ignore = "minutes: make faults"]
fn one_fault_after_another() {
    alone("faults::one_fault_after_another", async || {
        let mut field = Field::start(None).await;
        for number in [2, 3] {
            field.kill(number);
        }
        sleep(WATCHED).await;
        for number in [2, 3] {
            field.run(number);
        }
        field.goes_on(RESUMES_WITHIN).await;
        field.lab.partition(&[2, 3]);
        // Each half hears of something that the other does not.
        field.submit(3, 1).await;
        let halted = field.halted(2 * WATCHED).await;
        field.lab.set_all(Link::PERFECT);
        let healed = field.goes_on(RESUMES_WITHIN).await;
        field.lab.partition(&[4]);
        let seen = field.progress(8).await;
        field.lab.set_all(Link::PERFECT);
        field.agree().await;
        record(
            "two validators of four die and come back, then are cut off for half a minute, then another one is",
            "halts twice, resumes each time, and goes on without the last one",
            &format!(
                "{halted} more blocks while two were cut off, next block {healed:.1?} after healing, then 8 blocks in \
                 {:.0?}, no fork",
                seen.took
            ),
        );
    });
}

#[test]
#[ignore = "minutes: make faults"]
fn far_and_lossy_links() {
    alone("faults::far_and_lossy_links", async || {
        let field = Field::start(None).await;
        field.lab.set_all(Link { delay: Duration::from_millis(200), loss: 0.05, rate: None });
        let seen = field.progress(8).await;
        field.agree().await;
        record(
            "200 ms one way and 5 % loss on every link",
            "blocks go on, slower",
            &format!("8 blocks in {:.0?}, the longest pause {:.1?}", seen.took, seen.longest),
        );
    });
}

#[test]
#[ignore = "minutes: make faults"]
fn links_of_one_mebibyte_a_second() {
    alone("faults::links_of_one_mebibyte_a_second", async || {
        let field = Field::start(None).await;
        field.lab.set_all(Link { delay: Duration::from_millis(25), loss: 0.0, rate: Some(1 << 20) });
        // What was under way before the links became slow has arrived.
        sleep(Duration::from_secs(1)).await;
        let took = field.full_block().await;
        assert!(took >= Duration::from_secs(3), "4 MiB came over 1 MiB/s within {took:?}");
        field.agree().await;
        record(
            "every link carries 1 MiB/s; 4 MiB of blobs are submitted to one validator",
            "bodies spread ahead at the links' rate; final when they are there",
            &format!("final on every validator after {took:.1?}"),
        );
    });
}
