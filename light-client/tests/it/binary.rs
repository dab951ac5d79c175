//! The command itself, in a process of its own.

use light_client::Status;
use tokio::process::Command;

use crate::chain_of_blocks::{Chain, square};
use crate::node::{Behaviour, Node, config_for, shared};
use crate::process::{LIGHT_CLIENT, Process, call};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_samples_full_blocks_in_little_memory_and_status_shows_it() {
    let mut blocks = Chain::new();
    let full = square(128, 1);
    for _ in 0..20 {
        blocks.push(full.clone());
    }
    let chain = shared(blocks);
    let node = Node::start(&chain, Behaviour::Honest).await;
    let dir = tempfile::tempdir().unwrap();
    let process = Process::run(&config_for(&chain, 1, &[&node]), dir.path(), &[]).await;
    let address_file = dir.path().join("light/status-addr");
    let address = std::fs::read_to_string(&address_file).unwrap();
    assert_eq!(process.url, format!("http://{}/status", address.trim()));

    let status = process.until(|status| status.blocks_sampled == 20).await;
    println!(
        "{} bytes resident, {} bytes on the wire a block",
        status.resident_bytes, status.wire_bytes.per_block
    );
    assert!(status.resident_bytes < 64 << 20, "{}", status.resident_bytes);
    assert!(status.wire_bytes.per_block < 48 * 1024, "{:?}", status.wire_bytes);
    assert!(status.confidence.unwrap() > 0.999);

    let shown = output(Command::new(LIGHT_CLIENT).args(["status", "--url", &process.url])).await;
    assert!(shown.contains("weft-test at height 20, 1 peers"), "{shown}");
    let json = output(Command::new(LIGHT_CLIENT).args(["status", "--json", "--url", &process.url])).await;
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap().blocks_sampled, 20);

    assert!(process.stop().await.success());
    assert!(!address_file.exists());
}

#[tokio::test]
async fn nothing_heavy_is_built_into_it() {
    let args =
        ["tree", "--offline", "--package", "light-client", "--edges", "normal,build", "--prefix", "none"];
    let tree = output(Command::new(env!("CARGO")).args(args).current_dir(env!("CARGO_MANIFEST_DIR"))).await;
    let names: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"redb") && names.contains(&"network"), "{tree}");
    // A database, a consensus engine, and what crates with C++ in them depend on.
    for heavy in ["rocksdb", "malachite", "ractor", "bindgen", "cxx", "link-cplusplus", "cmake"] {
        let found: Vec<_> = names.iter().filter(|name| name.contains(heavy)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

#[tokio::test]
async fn help_texts_are_what_users_have_seen() {
    let mut help = String::new();
    for args in [&["--help"][..], &["run", "--help"], &["resume", "--help"], &["status", "--help"]] {
        help += &output(Command::new(LIGHT_CLIENT).args(args).env_clear()).await;
        help += "\n";
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/help.txt"), &help).unwrap();
    } else {
        assert_eq!(help, include_str!("help.txt"), "if this is meant, run with BLESS=1");
    }
}

#[tokio::test]
async fn mistakes_are_explained() {
    let refused = async |args: &[&str]| {
        let output = Command::new(LIGHT_CLIENT).args(args).output().await.unwrap();
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let home = tempfile::tempdir().unwrap();
    let home = home.path().to_str().unwrap();
    let run = ["run", "--status-addr", "127.0.0.1:0", "--home", home, "--network", "/nowhere"];
    assert!(refused(&run).await.contains("--network /nowhere: cannot read it"));
    let certain = [&run[..], &["--confidence", "1"]].concat();
    assert!(refused(&certain).await.contains("write 0.999, 99.9% or 1-2^-20"));
    let encrypted = [&run[..], &["--alarm-webhook", "https://example.org/alarm"]].concat();
    assert!(refused(&encrypted).await.contains("write http://…; for https, --on-alarm"));
    let text = refused(&["status", "--url", "http://127.0.0.1:1"]).await;
    assert!(text.contains("no light client answers there"), "{text}");
}

async fn output(command: &mut Command) -> String {
    let output = call(command).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
