//! Spreading a block.

use sim::{Fault, Group, Processing, Propagation, Scenario, Spread};

fn question() -> Propagation {
    let scenario = Scenario {
        width: 32,
        validators: 20,
        full_nodes: 100,
        light_clients: 2_000,
        loss_permille: 0,
        ..Scenario::calm().unwrap()
    };
    Propagation { scenario, processing: Processing::committed().unwrap(), real: 800, runs: 1, seed: 1 }
}

fn with(faults: Vec<Fault>) -> Spread {
    let question = question();
    let scenario = Scenario { faults, ..question.scenario };
    Propagation { scenario, ..question }.answer(&|| ()).unwrap()
}

fn at(spread: &Spread, stage: usize, percent: f64) -> f64 {
    let found = spread.stages[stage].quantiles.iter().find(|quantile| quantile.percent == percent);
    found.map_or(f64::INFINITY, |quantile| quantile.ms)
}

const BODIES: usize = 0;
const DECIDED: usize = 1;
const SERVING: usize = 2;
const HEADERS: usize = 3;
const SAMPLED: usize = 4;
const REAL: usize = 5;

#[test]
fn every_stage_ends_and_none_before_the_one_it_waits_for() {
    let calm = with(Vec::new());
    assert_eq!((calm.alarmed, calm.fooled, calm.eclipsed), (0.0, 0.0, None));
    for stage in &calm.stages {
        assert_eq!(stage.done, stage.nodes as f64, "{}", stage.name);
    }
    for (before, after) in [(BODIES, DECIDED), (DECIDED, HEADERS), (SERVING, HEADERS), (HEADERS, SAMPLED)] {
        assert!(at(&calm, before, 1.0) < at(&calm, after, 1.0), "{before} {after}");
    }
    // 24 samples, a probe, a header.
    assert!((30.0..45.0).contains(&calm.light_client_received_kb), "{}", calm.light_client_received_kb);
}

/// The same network, the same rules: the few bytes that stand for a light client take as long as its own code.
#[test]
fn the_model_of_a_light_client_behaves_as_its_sampler_does() {
    let refuse = Fault::Refuse { at_ms: 0, percent: 40 };
    let leave = Fault::Leave { at_ms: 0, of: Group::FullNodes, percent: 20 };
    for faults in
        [Vec::new(), vec![refuse.clone()], vec![leave.clone()], vec![Fault::Withhold {}, refuse, leave]]
    {
        let spread = with(faults.clone());
        assert_eq!([SAMPLED, REAL].map(|stage| spread.stages[stage].nodes), [1_200, 800]);
        let [modelled, real] = [SAMPLED, REAL].map(|stage| {
            let stage = &spread.stages[stage];
            stage.done / stage.nodes as f64
        });
        assert!((modelled - real).abs() < 0.02, "{faults:?}: {modelled} and {real} sampled");
        for percent in [10.0, 50.0, 90.0] {
            let [modelled, real] = [SAMPLED, REAL].map(|stage| at(&spread, stage, percent));
            let same = modelled == real || (modelled - real).abs() < 0.2 * real + 100.0;
            assert!(same, "{faults:?}, {percent}%: {modelled} and {real} ms");
        }
    }
}

#[test]
fn a_withheld_block_is_noticed_and_an_eclipsed_client_is_not_fooled() {
    let spread = with(vec![Fault::Withhold {}, Fault::Eclipse {}]);
    // 23 samples at k = 32 miss a withheld cell once in 1 300 times.
    assert!(spread.alarmed >= 1_990.0 && spread.fooled <= 10.0, "{} {}", spread.alarmed, spread.fooled);
    assert_eq!(spread.alarmed + spread.fooled, 2_000.0);
    assert_eq!(spread.eclipsed, Some("alarmed"));

    // With the model instead of the real sampler at the victim's place.
    let question = question();
    let scenario = Scenario { faults: vec![Fault::Eclipse {}], ..question.scenario };
    let spread = Propagation { scenario, real: 0, ..question }.answer(&|| ()).unwrap();
    assert_eq!((spread.alarmed, spread.eclipsed), (1.0, Some("alarmed")));
}

#[test]
fn nodes_that_are_gone_cost_a_hedge_and_a_region_that_is_cut_off_catches_up() {
    let calm = with(Vec::new());
    let gone = with(vec![Fault::Leave { at_ms: 0, of: Group::FullNodes, percent: 20 }]);
    assert!(at(&gone, SAMPLED, 75.0) > at(&calm, SAMPLED, 75.0) + 1_000.0);

    let region = || "Frankfurt".to_owned();
    let cut = Fault::Cut { at_ms: 0, region: region() };
    let healed = with(vec![cut.clone(), Fault::Heal { at_ms: 6_000, region: region() }]);
    assert!(at(&healed, SERVING, 100.0) > 6_000.0 && at(&healed, SERVING, 50.0) < 6_000.0);
    assert_eq!(healed.stages[SERVING].done, 100.0);
    let never = with(vec![cut]);
    assert!(never.stages[SERVING].done < 100.0 && never.stages[SERVING].done > 40.0);

    let lossy = with(vec![Fault::Loss { at_ms: 0, permille: 200 }]);
    assert!(at(&lossy, SAMPLED, 50.0) > at(&calm, SAMPLED, 50.0));
}
