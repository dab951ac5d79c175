//! `blob price`

use anyhow::Result;
use blob_api::{BlockPriceBody, PriceBody, PriceHistoryBody, Rate};
use chain::Amount;
use serde_json::json;

use super::{End, Global, output};

/// Heights of a bar, lowest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Columns of a chart at most.
const COLUMNS: usize = 60;

/// The price now, and how full the last blocks were
///
/// The base fee rises by at most 1 % a block while blocks are more than half full, and falls while they are less.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Blocks to look back on
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1000))]
    blocks: u32,
    /// What one WEFT is worth to you, as '0.35 usd': prices are shown in that, too
    #[arg(long, value_name = "RATE", env = "WEFT_RATE")]
    rate: Option<Rate>,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    let client = global.client()?;
    let price = match &args.rate {
        Some(rate) => client.price_at(rate).await?,
        None => client.price().await?,
    };
    let history = client.price_history(args.blocks).await?;
    if global.json {
        output::print_json(&json!({ "price": price, "history": history }))?;
    } else {
        print(&price, &history, args.rate.as_ref())?;
    }
    Ok(End::Done)
}

fn print(price: &PriceBody, history: &PriceHistoryBody, rate: Option<&Rate>) -> Result<()> {
    let amount = |nano: Amount| match rate {
        Some(rate) => format!("{}, {} {}", output::weft(nano), rate.convert(nano), rate.unit()),
        None => output::weft(nano),
    };
    let blocks = &history.blocks;
    let mean = blocks.iter().map(|block| block.fullness).sum::<f64>() / (blocks.len() as f64).max(1.0);
    let (low, high) = blocks.iter().fold((price.base_fee, price.base_fee), |(low, high), block| {
        (low.min(block.base_fee), high.max(block.base_fee))
    });
    output::print_fields(&[
        ("height", price.height.to_string()),
        ("base fee", format!("{} nano per share (floor {})", price.base_fee, price.floor)),
        ("a MiB costs", amount(price.per_mib)),
        ("capacity", format!("{} shares a block, price stands still at {}", price.capacity, price.target)),
    ])?;
    if blocks.is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::print_fields(&[
        (
            "fullness",
            format!("{} {:.0} % on average", chart(blocks, |block| block.fullness, (0.0, 1.0)), 100.0 * mean),
        ),
        (
            "price",
            format!(
                "{} {low} to {high} nano per share",
                chart(blocks, |block| block.base_fee as f64, (low as f64, high as f64))
            ),
        ),
        ("", format!("{} blocks, {} to {}", blocks.len(), blocks[0].height, price.height)),
    ])
}

/// A bar for each column's mean, between the bounds.
fn chart(
    blocks: &[BlockPriceBody],
    value: impl Fn(&BlockPriceBody) -> f64,
    (low, high): (f64, f64),
) -> String {
    let each = blocks.len().div_ceil(COLUMNS);
    let bar = |part: &[BlockPriceBody]| {
        let mean = part.iter().map(&value).sum::<f64>() / part.len() as f64;
        let level = if high > low { (mean - low) / (high - low) } else { 0.0 };
        BARS[((level * BARS.len() as f64) as usize).min(BARS.len() - 1)]
    };
    blocks.chunks(each).map(bar).collect()
}
