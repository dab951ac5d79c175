//! What nodes serve as headers, judged by the stock Tendermint light-client verifier alone.

use std::time::Duration;

use chain::LightBlock;
use tendermint::{Hash, block::CommitSig};
use tendermint_light_client_verifier::{
    ProdVerifier, Verdict, Verifier as _,
    options::Options,
    types::{TrustThreshold, TrustedBlockState, UntrustedBlockState},
};

use crate::support::light_block;

const STOCK: Options = Options {
    trust_threshold: TrustThreshold::ONE_THIRD,
    trusting_period: Duration::from_secs(7 * 24 * 3_600),
    clock_drift: Duration::from_secs(10),
};

fn verdict(trusted: &LightBlock, block: &LightBlock) -> Verdict {
    let header = &trusted.signed_header.header;
    let trusted = TrustedBlockState {
        chain_id: &header.chain_id,
        header_time: header.time,
        height: header.height,
        next_validators: &trusted.next_validators,
        next_validators_hash: header.next_validators_hash,
    };
    let untrusted = UntrustedBlockState {
        signed_header: &block.signed_header,
        validators: &block.validators,
        next_validators: Some(&block.next_validators),
    };
    let now = (block.signed_header.header.time + Duration::from_secs(1)).unwrap();
    ProdVerifier::default().verify_update_header(untrusted, trusted, &STOCK, now)
}

/// Every header up to `tip` is the same at every node, and follows from every earlier one; tampered ones do not.
pub(crate) async fn check(apis: &[String], tip: u64) {
    let mut runs = Vec::new();
    for api in apis {
        let mut blocks = Vec::new();
        for height in 1..=tip {
            blocks.push(light_block(api, height).await);
        }
        runs.push(blocks);
    }
    let hashes = |run: &[LightBlock]| run.iter().map(|b| b.signed_header.header.hash()).collect::<Vec<_>>();
    for run in &runs {
        assert_eq!(hashes(run), hashes(&runs[0]), "the chain forked");
        for (at, block) in run.iter().enumerate() {
            for trusted in &run[..at] {
                let heights = (trusted.height(), block.height());
                assert_eq!(verdict(trusted, block), Verdict::Success, "{heights:?}");
            }
        }
    }
    assert!(tip >= 3, "{tip} headers are too few to skip one");
    for (at, block) in runs[0].iter().enumerate().skip(1) {
        for trusted in [&runs[0][at - 1], &runs[0][0]] {
            for (how, tampered) in tampered(block, trusted) {
                let verdict = verdict(trusted, &tampered);
                assert!(matches!(verdict, Verdict::Invalid(_)), "{how} at {}: {verdict:?}", block.height());
            }
        }
    }
}

/// Ways to lie about a block whose signatures were made for the truth.
fn tampered(block: &LightBlock, other: &LightBlock) -> Vec<(&'static str, LightBlock)> {
    let changed = |change: &dyn Fn(&mut LightBlock)| {
        let mut block = block.clone();
        change(&mut block);
        block
    };
    let later = |block: &mut LightBlock| {
        let header = &mut block.signed_header.header;
        header.time = (header.time + Duration::from_nanos(1)).unwrap();
    };
    vec![
        ("later by a nanosecond", changed(&later)),
        (
            "later by a nanosecond, and its commit renamed to it",
            changed(&|block| {
                later(block);
                block.signed_header.commit.block_id.hash = block.signed_header.header.hash();
            }),
        ),
        (
            "another data root",
            changed(&|block| block.signed_header.header.data_hash = Some(Hash::Sha256([7; 32]))),
        ),
        (
            "half of the signatures",
            changed(&|block| {
                let signatures = block.signed_header.commit.signatures.iter_mut();
                let signed = signatures.filter(|signature| signature.is_commit());
                signed.skip(2).for_each(|signature| *signature = CommitSig::BlockIdFlagAbsent);
            }),
        ),
        (
            "another block's commit",
            changed(&|block| block.signed_header.commit = other.signed_header.commit.clone()),
        ),
    ]
}
