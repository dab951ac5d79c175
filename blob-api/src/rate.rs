//! Prices in a unit of the asker's own: so many of it for one WEFT, as exact decimals.

use std::{fmt, str::FromStr};

use chain::{Amount, NANO_PER_WEFT};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Parts of a unit that a rate counts: nine decimals.
const SCALE: u128 = 1_000_000_000;

/// Longest name of a unit.
const UNIT_CHARS: usize = 16;

/// What one WEFT is worth in some unit, written `0.35 usd`. Whoever uses it says it: nothing is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    unit: String,
    /// Of a unit, in 10^-9.
    per_weft: u64,
}

/// Why a text is no rate. Its writer is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RateError {
    /// Not a number, a space, and a unit.
    #[error("a rate is what one WEFT is worth, as '0.35 usd'; got '{0}'")]
    Form(String),
    /// No such number.
    #[error("a rate is a decimal number above 0, with up to 9 decimals and below 10^9; got '{0}'")]
    Number(String),
    /// No such unit.
    #[error("a unit has 1 to {UNIT_CHARS} letters or digits; got '{0}'")]
    Unit(String),
}

impl Rate {
    /// The unit's name.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// What one WEFT is worth, as a decimal number.
    pub fn per_weft(&self) -> String {
        decimal(u128::from(self.per_weft), 9)
    }

    /// An amount in this unit, as an exact decimal number.
    pub fn convert(&self, amount: Amount) -> String {
        decimal(u128::from(amount) * u128::from(self.per_weft), 18)
    }
}

/// `value · 10^-decimals`, without zeros at the end.
fn decimal(value: u128, decimals: usize) -> String {
    let scale = 10u128.pow(decimals as u32);
    let text = format!("{}.{:0decimals$}", value / scale, value % scale);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (number, unit) = text.trim().split_once(' ').ok_or_else(|| RateError::Form(text.to_owned()))?;
        if unit.is_empty() || unit.len() > UNIT_CHARS || !unit.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(RateError::Unit(unit.to_owned()));
        }
        let bad = || RateError::Number(number.to_owned());
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 9) || !digits(fraction, 9) {
            return Err(bad());
        }
        let whole: u128 = whole.parse().map_err(|_| bad())?;
        let fraction: u128 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
        match u64::try_from(whole * SCALE + fraction) {
            Ok(per_weft) if per_weft > 0 => Ok(Self { unit: unit.to_owned(), per_weft }),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.per_weft(), self.unit)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Amounts are shares times nano per share; a MiB has this many shares.
pub const SHARES_PER_MIB: u64 = (1 << 20) / erasure::SHARE_BYTES as u64;

/// What a MiB of blob bytes costs at this price per share, without the transaction's own bytes.
pub const fn per_mib(per_share: u64) -> Amount {
    per_share.saturating_mul(SHARES_PER_MIB)
}

const _: () = assert!(NANO_PER_WEFT as u128 == SCALE);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;

    #[test]
    fn conversions_are_exact() {
        let rate: Rate = "0.35 usd".parse().unwrap();
        assert_eq!((rate.to_string(), rate.unit()), ("0.35 usd".into(), "usd"));
        assert_eq!(rate.convert(0), "0");
        assert_eq!(rate.convert(1), "0.00000000035");
        assert_eq!(rate.convert(2 * NANO_PER_WEFT), "0.7");
        let dear: Rate = "999999999.999999999 X".parse().unwrap();
        assert_eq!(dear.convert(u64::MAX), "18446744073709551596.553255926290448385");
        assert_eq!(serde_json::to_string(&rate).unwrap(), "\"0.35 usd\"");
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in
            ["", "1", "usd", "1 ", "1 u$d", "-1 usd", "1e3 usd", "0 usd", "0.0 usd", "1. usd", ".5 usd"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert!("1234567890 usd".parse::<Rate>().is_err());
        assert!("0.1234567891 usd".parse::<Rate>().is_err());
        assert!("1 0123456789abcdefg".parse::<Rate>().is_err());
    }
}
