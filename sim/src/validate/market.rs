//! The fee market's exponential, run with Ethereum's constants: the same code that prices Weft's shares.

use chain::fees::{FeeRules, MIN_BASE_FEE};

use super::Check;

/// Gas of one blob.
const BLOB: u64 = 1 << 17;

/// Name, target and limit in blobs, update fraction; factors of a full and of an empty block; full blocks from 1 wei
/// to 1 gwei, and for a factor of ten.
type Market = (&'static str, u64, u64, u64, f64, f64, u64, f64);
const MARKETS: [Market; 2] = [
    ("EIP-4844", 3, 6, 3_338_477, 1.125, 0.889, 176, 20.0),
    ("EIP-7691", 6, 9, 5_007_716, 1.0817, 0.8547, 264, 29.0),
];

pub(super) fn checks() -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (name, target, limit, update_fraction, full, empty, to_gwei, tenfold) in MARKETS {
        let rules = FeeRules {
            capacity: limit * BLOB,
            target: target * BLOB,
            update_fraction,
            excess_max: 30 * update_fraction,
        };
        let price = |excess| rules.base_fee(excess) as f64;
        // Dear enough that whole nanos do not show.
        let high = 20 * update_fraction;
        let after = |used| price(rules.next(high, used)) / price(high);
        let decimals = if target == 3 { 3 } else { 4 };
        let factors = [("a full", full, after(rules.capacity)), ("an empty", empty, after(0))];
        checks.extend(factors.map(|(of, target, ours)| {
            let check = Check::digits(format!("{name}: factor of {of} block"), target, ours, decimals);
            // + 12.5 % and − 11.1 %; for EIP-7691 fewer digits are published than are checked.
            if decimals == 3 { check.published() } else { check }
        }));

        let blocks_to = |factor: u64| {
            let mut excess = 0;
            (0..).find(|_| {
                let reached = rules.base_fee(excess) >= MIN_BASE_FEE.saturating_mul(factor);
                excess = rules.next(excess, rules.capacity);
                reached
            })
        };
        let ours = blocks_to(1_000_000_000).unwrap_or(u64::MAX);
        checks.push(Check::equal(format!("{name}: full blocks from 1 wei to 1 gwei"), &to_gwei, &ours));
        // Between the last whole block below ten and the first above it.
        let ours = blocks_to(10).unwrap_or(u64::MAX) as f64;
        checks.push(Check::near(
            format!("{name}: full blocks for ten times the price"),
            tenfold,
            ours,
            1.0,
            0,
        ));
    }
    Ok(checks)
}
