//! Deciding blocks.

use erasure::Width;
use sim::{Carries, Case, Consensus, Distance, Fault, Group, Processing, Scenario, Timeouts};

fn cases(validators: u16, mbit: u64, faults: Vec<Fault>) -> [Case; 2] {
    let question = Consensus {
        scenario: Scenario { faults, ..Scenario::calm().unwrap() },
        distance: Distance::World,
        validators: vec![validators],
        widths: vec![Width::new(64).unwrap()],
        mbits: vec![mbit],
        interval_ms: 1_000,
        timeouts: Timeouts::default(),
        processing: Processing::committed().unwrap(),
        blocks: 5,
        runs: 2,
        seed: 1,
    };
    let cases = question.answer(&|| ()).cases;
    assert_eq!([cases[0].carries, cases[1].carries], [Carries::Digests, Carries::Bodies]);
    [cases[0], cases[1]]
}

#[test]
fn whole_blocks_take_longer_than_digests_and_slow_links_longest() {
    let [digests, bodies] = cases(20, 1_000, Vec::new());
    assert!(digests.decision_ms < bodies.decision_ms, "{digests:?} {bodies:?}");
    assert_eq!((digests.block_ms, digests.failed_rounds), (Some(1_000.0), 0.0));
    let [_, slow] = cases(20, 100, Vec::new());
    assert!(slow.block_ms > bodies.block_ms, "{slow:?}");
}

#[test]
fn a_small_block_costs_its_own_bytes() {
    let question = |k| Consensus {
        scenario: Scenario { loss_permille: 0, ..Scenario::calm().unwrap() },
        distance: Distance::Everywhere(0),
        validators: vec![4],
        widths: vec![Width::new(k).unwrap()],
        mbits: vec![1],
        interval_ms: 0,
        timeouts: Timeouts::default(),
        processing: Processing::committed().unwrap(),
        blocks: 5,
        runs: 1,
        seed: 1,
    };
    // 512 bytes a square of one share each; a megabit a second carries 8 KiB in 66 ms, and 256 KiB in two seconds.
    let [_, small] = question(4).answer(&|| ()).cases[..] else { panic!() };
    let [_, large] = question(16).answer(&|| ()).cases[..] else { panic!() };
    assert!(small.block_ms < Some(300.0) && large.block_ms > Some(1_000.0), "{small:?} {large:?}");
}

#[test]
fn absent_validators_cost_rounds_and_a_third_of_them_stops_the_chain_until_they_are_back() {
    let leave = |at_ms, percent| Fault::Leave { at_ms, of: Group::Validators, percent };
    let [fewer, _] = cases(10, 1_000, vec![leave(0, 30)]);
    assert!(fewer.block_ms > Some(1_000.0) && fewer.failed_rounds > 0.0, "{fewer:?}");
    let [stopped, _] = cases(10, 1_000, vec![leave(0, 40)]);
    assert_eq!(stopped.block_ms, None);
    let back = Fault::Return { at_ms: 20_000, of: Group::Validators };
    let [resumed, _] = cases(10, 1_000, vec![leave(2_500, 40), back]);
    assert!(resumed.block_ms > Some(2_500.0), "{resumed:?}");
}
