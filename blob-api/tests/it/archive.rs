//! Archives: what is written reads back from the checkpoint alone, and nothing else passes for it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use blob_api::{Archive, ArchiveError, ArchivedHeight, Client, Exported};
use chain::{Checkpoint, HeaderError, NetworkConfig, Upgrade};
use tendermint::Time;

use crate::{
    chain_in_memory::{Chain, namespace},
    following::grow,
    nodes::{Server, honest},
};

/// A chain of 14 blocks, and the archive of namespace 1 at heights 3 to 11.
async fn archived(checkpoint: u64) -> (Arc<Chain>, NetworkConfig, Vec<u8>) {
    let (chain, server, client) = honest().await;
    grow(&chain, &client, 14).await;
    let network = NetworkConfig { checkpoint: chain.checkpoint(checkpoint), ..chain.network() };
    let file = export(&server, &network).await;
    (chain, network, file)
}

async fn export(server: &Server, network: &NetworkConfig) -> Vec<u8> {
    let client = Client::new(std::slice::from_ref(&server.url), Some(network.clone())).unwrap();
    let (mut file, mut done) = (Vec::new(), Exported::default());
    let end = Box::pin(client.export(namespace(1), 3..=11, &mut file, |now| done = now)).await.unwrap();
    assert_eq!(end.height(), 11);
    assert_eq!((done.heights, done.blobs), (9, 8));
    file
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time::from_unix_timestamp(since.as_secs() as i64, 0).unwrap()
}

fn read(file: &[u8], network: &NetworkConfig) -> Result<Vec<ArchivedHeight>, ArchiveError> {
    Archive::open(file, network, now())?.collect()
}

#[tokio::test]
async fn a_history_reads_back_from_a_checkpoint_before_within_and_after_it() {
    for checkpoint in [1, 5, 11, 13] {
        let (_chain, network, file) = archived(checkpoint).await;
        let heights = read(&file, &network).unwrap();
        assert_eq!(
            heights.iter().map(|height| height.height).collect::<Vec<_>>(),
            (3..=11).collect::<Vec<_>>()
        );
        for height in &heights {
            let expected = if height.height.is_multiple_of(2) { 2 } else { 0 };
            assert_eq!((height.namespace.entries().len(), height.blobs.len()), (expected, expected));
            for (entry, blob) in height.namespace.entries().iter().zip(&height.blobs) {
                assert_eq!(erasure::blob_commitment(&namespace(1), blob), entry.commitment);
            }
        }
    }
}

#[tokio::test]
async fn an_old_archive_reads_from_the_hash_that_was_kept_but_not_by_old_signatures() {
    let (chain, network, file) = archived(1).await;
    let years_later = (now() + Duration::from_secs(100_000_000)).unwrap();
    let stale = Archive::open(&file[..], &network, years_later).map(|_| ());
    assert!(matches!(stale, Err(ArchiveError::Header(HeaderError::TooOld { .. }))));
    let kept = NetworkConfig { checkpoint: chain.checkpoint(11), ..network.clone() };
    assert_eq!(Archive::open(&file[..], &kept, years_later).unwrap().count(), 9);

    let elsewhere = NetworkConfig { checkpoint: chain.checkpoint(7), ..network.clone() };
    assert!(matches!(read(&file, &elsewhere), Err(ArchiveError::Checkpoint { got: 7, to: 11, .. })));
    let wrong = Checkpoint { height: 11, hash: [9; 32] };
    let wrong = NetworkConfig { checkpoint: wrong, ..network.clone() };
    assert!(matches!(read(&file, &wrong), Err(ArchiveError::Link { height: 11, .. })));
    let other = NetworkConfig { chain_id: "weft-other".into(), ..network };
    assert!(matches!(read(&file, &other), Err(ArchiveError::Chain { .. })));
}

/// Whatever becomes of a file's bytes, it ends in an error, or in the history that was exported: never in another
/// one, and never in a panic.
#[tokio::test]
async fn no_mutation_of_an_archive_passes_for_another_history() {
    for checkpoint in [1, 13] {
        let (_chain, network, file) = archived(checkpoint).await;
        let right = read(&file, &network).unwrap();
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let mut draw = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let (mut refused, mut same) = (0, 0);
        for _ in 0..1_500 {
            let mut mutated = file.clone();
            for _ in 0..=draw(3) {
                let at = draw(mutated.len());
                match draw(6) {
                    0 => mutated.truncate(at.max(1)),
                    1 => mutated[at] = 0xff,
                    2 => drop(mutated.splice(at..at, [0; 7])),
                    3 => drop(mutated.drain(at..(at + 1 + draw(40)).min(mutated.len()))),
                    4 => {
                        let from = draw(mutated.len());
                        let part = mutated[from..(from + 64).min(mutated.len())].to_vec();
                        let end = (at + part.len()).min(mutated.len());
                        mutated.splice(at..end, part);
                    }
                    _ => mutated[at] ^= 1 << draw(8),
                }
            }
            match read(&mutated, &network) {
                Ok(heights) => {
                    assert!(heights == right);
                    same += 1;
                }
                Err(_) => refused += 1,
            }
        }
        println!("checkpoint {checkpoint}: {refused} refused, {same} the same");
        assert!(refused > 1_000);
        let longer = [&file[..], &[0]].concat();
        assert!(matches!(read(&longer, &network), Err(ArchiveError::Format { what: "end", .. })));
    }
}

/// Whether signatures lead to them, or hashes do.
#[tokio::test]
async fn heights_of_rules_that_a_program_does_not_know_are_not_read() {
    let (chain, server, client) = honest().await;
    grow(&chain, &client, 9).await;
    {
        let parent = &mut chain.lock().parent;
        (parent.upgrade, parent.newest_rules) = (Upgrade { version: 2, height: 10 }, 2);
    }
    for _ in 10..=14 {
        chain.decide();
    }
    for checkpoint in [1, 13] {
        let network = NetworkConfig { checkpoint: chain.checkpoint(checkpoint), ..chain.network() };
        let knowing = Client::knowing(2, std::slice::from_ref(&server.url), Some(network.clone())).unwrap();
        let mut file = Vec::new();
        Box::pin(knowing.export(namespace(1), 3..=11, &mut file, |_| ())).await.unwrap();
        let refused = read(&file, &network).unwrap_err();
        assert!(
            matches!(
                refused,
                ArchiveError::UnknownRules(_) | ArchiveError::Header(HeaderError::UnknownRules(_))
            ),
            "{refused}"
        );
    }
}
