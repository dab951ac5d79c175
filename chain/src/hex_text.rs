//! Fixed-size byte strings as lower-case hexadecimal text, for newtypes that users see.

/// Why a text is no fixed-size hexadecimal string. The writer of the text is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HexError {
    /// Wrong number of digits.
    #[error("expected {expected} hexadecimal digits, got {got}")]
    Length {
        /// Digits wanted.
        expected: usize,
        /// Digits found.
        got: usize,
    },
    /// A character that is no hexadecimal digit.
    #[error("'{0}' is not a hexadecimal digit")]
    Digit(char),
}

/// Parses exactly `2 N` digits, with or without `0x`.
pub(crate) fn parse<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if let Some(bad) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(HexError::Digit(bad));
    }
    let mut out = [0; N];
    hex::decode_to_slice(digits, &mut out)
        .map_err(|_| HexError::Length { expected: 2 * N, got: digits.len() })?;
    Ok(out)
}

/// Gives a newtype over `[u8; N]` its `Display`, `Debug`, `FromStr` and serde text form.
macro_rules! hex_text {
    ($name:ident, $bytes:expr, $prefix:literal) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), hex::encode(self.0))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{self}")
            }
        }
        impl std::str::FromStr for $name {
            type Err = crate::hex_text::HexError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                crate::hex_text::parse::<{ $bytes }>(text).map(Self)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use hex_text;
