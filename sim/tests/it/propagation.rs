//! Spreading a block.

use erasure::Width;
use sim::Propagation;

fn question() -> Propagation {
    Propagation {
        width: Width::new(64).unwrap(),
        validators: 20,
        full_nodes: 100,
        light_clients: 2_000,
        peers: 8,
        loss: 0.0,
        churn: 0.0,
        silent: 0.0,
        victim: false,
        votes_ms: 250,
        rebuild_ms: 20,
        runs: 1,
        seed: 1,
    }
}

fn slowest(spread: &sim::Spread, stage: usize) -> f64 {
    spread.stages[stage].quantiles.last().unwrap().ms
}

#[test]
fn every_stage_ends_and_none_before_the_one_it_waits_for() {
    let calm = question().answer(&|| ());
    assert_eq!(calm.alarmed, 0.0);
    let ends = [0, 1, 2, 3].map(|stage| slowest(&calm, stage));
    assert!(ends[0] > 0.0 && ends[0] < ends[1] && ends[2] < ends[3], "{ends:?}");
    // Header, probe and samples are three round trips.
    assert!(calm.stages[3].quantiles[0].ms > calm.stages[2].quantiles[0].ms, "{calm:?}");
}

#[test]
fn an_eclipsed_client_raises_the_alarm_and_is_not_fooled() {
    let spread = Propagation { victim: true, ..question() }.answer(&|| ());
    assert_eq!((spread.alarmed, spread.victim_fooled), (1.0, false));
}

#[test]
fn nodes_that_are_gone_or_silent_cost_a_hedge() {
    let calm = question().answer(&|| ());
    for worse in [Propagation { churn: 20.0, ..question() }, Propagation { silent: 30.0, ..question() }] {
        let spread = worse.answer(&|| ());
        assert!(slowest(&spread, 3) > slowest(&calm, 3) + 1_000.0, "{worse:?}");
    }
    let lossy = Propagation { loss: 20.0, ..question() }.answer(&|| ());
    assert!(slowest(&lossy, 3) > slowest(&calm, 3));
}
