//! Scenario files.

use std::path::Path;

use sim::{Fault, Scenario};

#[test]
fn the_committed_scenarios_are_read_and_written_back_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for name in ["calm", "storm", "attack"] {
        let scenario = Scenario::read(&folder.join(format!("{name}.toml"))).unwrap();
        assert_eq!(scenario.faults.is_empty(), name == "calm");
        assert!(scenario.faults.is_sorted_by_key(Fault::at_ms));
        assert_eq!(Scenario::parse(&toml::to_string(&scenario).unwrap()).unwrap(), scenario);
    }
}

#[test]
fn what_is_wrong_in_a_scenario_is_named() {
    let calm =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/calm.toml")).unwrap();
    let fault = |fault: &str| format!("{calm}\n[[fault]]\n{fault}");
    for (text, says) in [
        (calm.replace("width = 128", "width = 100"), "power of two from 2 to 512, got 100"),
        (calm.replace("peers = 8", "peers = 17"), "peers must be 1 to 16, got 17"),
        (calm.replace("validators = 100\n", "validators = 0\n"), "validators must be 1 to 1000, got 0"),
        (calm.replace("loss_permille = 5", "loss_permille = 501"), "got 501"),
        (calm.replace("up = 200", "up = 0"), "from 1 to 1000000"),
        (calm.replace("peers = 8", "friends = 8"), "friends"),
        (fault("what = \"cut\"\nat_ms = 1\nregion = \"Atlantis\""), "\"Atlantis\" is not one of Dallas"),
        (fault("what = \"refuse\"\nat_ms = 1\npercent = 101"), "at most 100, got 101"),
        (fault("what = \"explode\"\nat_ms = 1"), "explode"),
        (fault("what = \"eclipse\"\npercent = 5"), "percent"),
        (fault("what = \"withhold\"\nat_ms = 5"), "at_ms"),
        (fault("what = \"loss\"\nat_ms = 600001\npermille = 1"), "at_ms must be at most 600000, got 600001"),
        (
            fault("what = \"heal\"\nat_ms = 20000000000000\nregion = \"Sydney\""),
            "at most 600000, got 20000000000000",
        ),
        (
            fault(&"what = \"heal\"\nat_ms = 1\nregion = \"Sydney\"\n[[fault]]\n".repeat(100))
                + "what = \"withhold\"",
            "100 faults at most, got 101",
        ),
    ] {
        let error = format!("{:#}", Scenario::parse(&text).unwrap_err());
        assert!(error.contains(says), "{says}: {error}");
    }
    for allowed in [
        "what = \"loss\"\nat_ms = 600000\npermille = 1".to_owned(),
        "what = \"heal\"\nat_ms = 1\nregion = \"Sydney\"\n[[fault]]\n".repeat(99) + "what = \"withhold\"",
    ] {
        Scenario::parse(&fault(&allowed)).unwrap();
    }
    let error = Scenario::read(Path::new("/nowhere.toml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere.toml"), "{error}");
}
