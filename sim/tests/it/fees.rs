//! The fee market, on the chain's own code.

use sim::FeeQuestion;

#[test]
fn a_griefer_pays_more_than_those_it_delays() {
    let answer = |griefer| FeeQuestion { blocks: 60, runs: 1, griefer, seed: 3 }.answer(&|| ()).unwrap();
    let (calm, grieved) = (answer(false), answer(true));
    let agent = |answer: &sim::FeeAnswer, name| {
        answer.agents.iter().find(|agent| agent.name == name).cloned().unwrap()
    };
    assert_eq!(calm.agents.len(), 4);
    let (before, after) = (agent(&calm, "steady"), agent(&grieved, "steady"));
    assert!(before.delay < 1.0 && after.delay > before.delay, "{before:?} {after:?}");
    assert!(agent(&grieved, "griefer").price > after.price);
    // Whoever bought its capacity ahead neither waits nor pays for what others do.
    let (calm_reserved, reserved) = (agent(&calm, "reserved"), agent(&grieved, "reserved"));
    assert_eq!((reserved.delay_p95, reserved.included), (0, 59.0));
    assert_eq!(reserved.price, calm_reserved.price);
    // A full block raises the price by at most one percent and a nano of rounding.
    for pair in grieved.path.windows(2) {
        assert!(pair[1].base_fee * 100.0 <= (pair[0].base_fee + 1.0) * 101.0, "{pair:?}");
        assert!(pair[1].used <= 1.0);
    }
}
