//! The command itself, in a process of its own.

use std::process::Stdio;

use light_client::Status;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::chain_of_blocks::{Chain, square};
use crate::node::{Behaviour, Node, config_for, shared, within};

const LIGHT_CLIENT: &str = env!("CARGO_BIN_EXE_light-client");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_samples_full_blocks_in_little_memory_and_status_shows_it() {
    let mut blocks = Chain::new();
    let full = square(128, 1);
    for _ in 0..20 {
        blocks.push(full.clone());
    }
    let chain = shared(blocks);
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let network = home.path().join("network.toml");
    let config = config_for(&chain, 1, &[&node]);
    std::fs::write(&network, toml::to_string(&config).unwrap()).unwrap();
    let light_home = home.path().join("light");
    let mut child = Command::new(LIGHT_CLIENT)
        .args(["run", "--status-addr", "127.0.0.1:0", "--network"])
        .arg(&network)
        .arg("--home")
        .arg(&light_home)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = within(lines.next_line()).await.unwrap().unwrap();
    let url = line.strip_prefix("status: ").unwrap().to_owned();
    let address = std::fs::read_to_string(light_home.join("status-addr")).unwrap();
    assert_eq!(url, format!("http://{}/status", address.trim()));

    let status: Status = within(async {
        loop {
            let status: Status = reqwest::get(&url).await.unwrap().json().await.unwrap();
            if status.blocks_sampled == 20 {
                return status;
            }
        }
    })
    .await;
    println!(
        "{} bytes resident, {} bytes on the wire a block",
        status.resident_bytes, status.wire_bytes.per_block
    );
    assert!(status.resident_bytes < 64 << 20, "{}", status.resident_bytes);
    assert!(status.wire_bytes.per_block < 48 * 1024, "{:?}", status.wire_bytes);
    assert!(status.confidence.unwrap() > 0.999);

    let shown = output(Command::new(LIGHT_CLIENT).args(["status", "--url", &url])).await;
    assert!(shown.contains("weft-test at height 20, 1 peers"), "{shown}");
    let json = output(Command::new(LIGHT_CLIENT).args(["status", "--json", "--url", &url])).await;
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap().blocks_sampled, 20);

    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").arg(id).status().await.unwrap().success());
    assert!(within(child.wait()).await.unwrap().success());
    assert!(!light_home.join("status-addr").exists());
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
    let text = refused(&["status", "--url", "http://127.0.0.1:1"]).await;
    assert!(text.contains("no light client answers there"), "{text}");
}

async fn output(command: &mut Command) -> String {
    let output = within(command.output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
