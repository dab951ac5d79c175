//! The last checks: every promise, at every node.

use std::{sync::Arc, time::Duration};

use blob_api::Client;
use chain::StateKey;
use da_node::devnet::{PREFUNDED, dev_key, height_of};
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, sleep};

use super::{
    checks::{PATIENCE, paid},
    load::{Content, settle},
    machines::{ACCOUNTS, FULL, LIGHTS, Machines, name},
    shared::Shared,
};

/// Pause between two looks at what will change.
const LOOK: Duration = Duration::from_millis(500);

/// Blobs read from one node at a time.
const READS: usize = 4;

/// When all is mended and nothing comes in any more: every promise was kept, at every node.
pub(super) async fn finish(shared: &Arc<Shared>, machines: &Machines, nodes: &[Client]) {
    println!(
        "{:>6.1} s  the load has ended; reading everything back from everyone",
        shared.now().as_secs_f64()
    );
    settle(shared, &machines.client(&[1, 2, 3, 4, FULL]).await).await;
    let finals = shared.book().finals();
    let tip = height_of(&machines.url(1)).await.unwrap_or(0);
    for (at, client) in nodes.iter().enumerate() {
        let who = name(at + 1);
        let reads = stream::iter(finals.iter().map(|(content, _)| read_back(shared, &who, client, *content)));
        reads.buffer_unordered(READS).collect::<()>().await;
    }
    wait(shared, "the follower to reach the tip", async || {
        shared.book().followed.keys().next_back().is_some_and(|height| *height >= tip)
    })
    .await;
    let followed = shared.book().followed_all();
    shared.must(followed.map(|_| ()));
    for light in LIGHTS {
        wait(shared, &format!("{} to find block {tip} available", name(light)), async || {
            let Ok(answer) = reqwest::get(format!("{}/status", machines.url(light))).await else {
                return false;
            };
            let status = answer.json::<light_client::Status>().await;
            status.is_ok_and(|status| status.available_height.is_some_and(|height| height >= tip))
        })
        .await;
    }
    // An idle chain makes a block every ten seconds; the one after the last load proves what that left.
    for account in 0..ACCOUNTS {
        let address = dev_key(account).unwrap().address();
        let expected = shared.book().balance(address, PREFUNDED);
        let mut got = None;
        wait(shared, "a header after the last load", async || {
            let proven = nodes[0].proven(StateKey::Account(address)).await.ok();
            got = proven.filter(|state| state.header().height() > tip).map(|state| state.number().unwrap());
            got.is_some()
        })
        .await;
        shared.must(got.map_or(Ok(()), |got| paid(&format!("account {account}"), expected, got)));
    }
}

/// Reads one blob from one node, and compares.
async fn read_back(shared: &Shared, who: &str, client: &Client, content: Content) {
    let mut read = None;
    wait(shared, &format!("blob {} at {who}", hex::encode(content.commitment)), async || {
        read = client.get(content.commitment).await.ok();
        read.is_some()
    })
    .await;
    if let Some(read) = read {
        shared.must(content.check(who, read.bytes()));
        shared.book().read_back += 1;
    }
}

/// Looks until it is so; that it takes too long breaks a promise.
async fn wait(shared: &Shared, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        if Instant::now() > deadline {
            return shared.fail(format!("waited {PATIENCE:?} for {what}"));
        }
        sleep(LOOK).await;
    }
}
