//! Where a signer dials in, as operators write it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use cometbft_p2p::PeerId;

/// `unix:///run/weft/signer.sock`, `tcp://127.0.0.1:26659`, or `tcp://<peer id>@127.0.0.1:26659` for one signer and no
/// other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignerAddress {
    /// A socket file for this user only; the connection is plain.
    Unix(PathBuf),
    /// A port; the connection is encrypted.
    Tcp {
        /// Where to listen. Port 0 takes a free one.
        listen: SocketAddr,
        /// First 20 bytes of the SHA-256 of the key by which the signer must prove itself; anybody without.
        signer: Option<[u8; 20]>,
    },
}

/// An address that is none. The operator is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}: a signer's address is unix:///PATH, tcp://IP:PORT or tcp://PEER_ID@IP:PORT, the peer id in 40 hexadecimal digits"
)]
pub struct AddressError(String);

impl FromStr for SignerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.into());
        if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        let rest = text.strip_prefix("tcp://").ok_or_else(wrong)?;
        let (signer, listen) = match rest.split_once('@') {
            Some((id, listen)) => (Some(id.parse::<PeerId>().map_err(|_| wrong())?.to_bytes()), listen),
            None => (None, rest),
        };
        Ok(Self::Tcp { listen: listen.parse().map_err(|_| wrong())?, signer })
    }
}

impl fmt::Display for SignerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { listen, signer: None } => write!(f, "tcp://{listen}"),
            Self::Tcp { listen, signer: Some(id) } => write!(f, "tcp://{}@{listen}", PeerId::from(*id)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn an_address_is_a_socket_file_or_a_port_for_anybody_or_for_one() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        for text in ["unix:///run/weft/a b.sock", "tcp://[::1]:26659", &format!("tcp://{id}@127.0.0.1:0")] {
            assert_eq!(text.parse::<SignerAddress>().unwrap().to_string(), text);
        }
        for text in ["", "/run/a", "unix://a", "tcp://localhost:1", "tcp://1.2.3.4", "tcp://ab@1.2.3.4:5"] {
            assert!(text.parse::<SignerAddress>().unwrap_err().to_string().starts_with(text), "{text}");
        }
    }
}
