//! The workspace's dependencies point one way: design §3, held over `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Which crates of the workspace each crate may depend on. Dev-dependencies are free.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("erasure", &[]),
    ("chain", &["erasure"]),
    ("network", &["erasure", "chain"]),
    ("consensus", &["chain"]),
    ("light-client", &["erasure", "chain", "network"]),
    ("blob-api", &["erasure", "chain"]),
    ("da-node", &["erasure", "chain", "network", "consensus", "light-client", "blob-api"]),
    ("sim", &["erasure", "chain", "light-client"]),
    ("netlab", &[]),
    ("fuzzing", &[]),
    ("bench-erasure", &["erasure"]),
    ("gateway-tests", &[]),
];

/// Crates without clock, randomness, I/O or async.
const PURE: [&str; 2] = ["erasure", "chain"];

/// What a pure crate has no use for.
const IMPURE: [&str; 9] =
    ["tokio", "futures", "async-trait", "libp2p", "axum", "reqwest", "rocksdb", "redb", "getrandom"];

struct Package {
    description: String,
    dependencies: BTreeSet<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn packages() -> BTreeMap<String, Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let kept = dependencies.filter(|dependency| dependency["kind"] != "dev").map(|d| text(&d["name"]));
        (
            text(&package["name"]),
            Package { description: text(&package["description"]), dependencies: kept.collect() },
        )
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

#[test]
fn dependencies_point_down_only() {
    let packages = packages();
    let known: BTreeMap<_, BTreeSet<&str>> =
        ALLOWED.iter().map(|(name, allowed)| (*name, allowed.iter().copied().collect())).collect();
    for (name, package) in &packages {
        let Some(allowed) = known.get(name.as_str()) else {
            panic!("{name} is a new crate: say here what it may depend on");
        };
        let inner = package.dependencies.iter().filter(|dependency| packages.contains_key(*dependency));
        for dependency in inner {
            assert!(allowed.contains(dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
    assert_eq!(packages.len(), ALLOWED.len(), "a crate of the list is gone");
}

#[test]
fn pure_crates_have_no_shell_among_their_dependencies() {
    let packages = packages();
    for name in PURE {
        let found: Vec<_> =
            packages[name].dependencies.iter().filter(|d| IMPURE.contains(&d.as_str())).collect();
        assert!(found.is_empty(), "{name} depends on {found:?}");
    }
}

#[test]
fn every_crate_says_in_one_sentence_what_it_is() {
    for (name, Package { description, .. }) in packages() {
        assert!(description.ends_with('.') && !description.contains(". "), "{name}: '{description}'");
    }
}
