//! Light blocks from JSON, of which the strings are checked before tendermint-rs reads them: the base64 decoder under it
//! panics at padding in the wrong place.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use tendermint::{block::signed_header::SignedHeader, validator};

use crate::header::LightBlock;

#[derive(Deserialize)]
struct Fields {
    signed_header: SignedHeader,
    validators: validator::Set,
    next_validators: validator::Set,
}

impl<'de> Deserialize<'de> for LightBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        if is_misplaced(&json) {
            return Err(D::Error::custom("a text whose last four characters begin with '=' is not base64"));
        }
        let Fields { signed_header, validators, next_validators } =
            serde_json::from_value(json).map_err(D::Error::custom)?;
        Ok(Self { signed_header, validators, next_validators })
    }
}

/// Whether the last group of four characters of any text in it, be it whole or not, begins with padding.
fn is_misplaced(json: &Value) -> bool {
    match json {
        Value::String(text) => {
            text.as_bytes().chunks(4).next_back().is_some_and(|group| group.starts_with(b"="))
        }
        Value::Array(values) => values.iter().any(is_misplaced),
        Value::Object(fields) => fields.values().any(is_misplaced),
        _ => false,
    }
}
