//! Bytes between node and signer.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use cometbft_p2p::{AsyncReadMsg as _, AsyncSecretConnection, AsyncWriteMsg as _, IdentitySecret, PeerId};
use prost::Message as _;
use tendermint_proto::v0_38::privval::Message;
use tendermint_proto::v0_38::privval::message::Sum;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{SignerAddress, SignerError};

/// Largest message taken over a Unix socket, in bytes: a signed vote or proposal has some 300. (Over TCP the limit is
/// the library's, 1 MiB.)
pub(super) const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Where signers dial in.
pub(super) enum Socket {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener, Option<[u8; 20]>),
}

impl Socket {
    pub(super) async fn bind(address: &SignerAddress) -> io::Result<Self> {
        match address {
            SignerAddress::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
                Ok(Self::Unix(listener, path.clone()))
            }
            SignerAddress::Tcp { listen, signer } => Ok(Self::Tcp(TcpListener::bind(listen).await?, *signer)),
        }
    }

    /// `wanted` with the port that the system chose.
    pub(super) fn address(&self, wanted: &SignerAddress) -> SignerAddress {
        match (self, wanted) {
            (Self::Tcp(listener, _), SignerAddress::Tcp { listen, signer }) => {
                SignerAddress::Tcp { listen: listener.local_addr().unwrap_or(*listen), signer: *signer }
            }
            _ => wanted.clone(),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener, _) => Ok(Stream::Unix(listener.accept().await?.0)),
            Self::Tcp(listener, signer) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream, *signer))
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // The next one to listen removes what is left.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes a socket file that nobody listens at any more.
async fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() && UnixStream::connect(path).await.is_err() => {
            std::fs::remove_file(path)
        }
        // Whatever else is there makes `bind` fail.
        _ => Ok(()),
    }
}

/// Somebody who dialled in.
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream, Option<[u8; 20]>),
}

impl Stream {
    /// Encrypts it, if it is TCP, and checks who the peer is.
    pub(super) async fn secure(self, identity: &IdentitySecret) -> Result<Link, SignerError> {
        let (stream, signer) = match self {
            Self::Unix(stream) => return Ok(Link::Plain(stream)),
            Self::Tcp(stream, signer) => (stream, signer),
        };
        let secret = AsyncSecretConnection::new(stream, identity).await.map_err(SignerError::secret)?;
        let got = secret.peer_public_key().peer_id();
        match signer.map(PeerId::from) {
            Some(expected) if got.verify(expected).is_err() => {
                Err(SignerError::Peer { expected: expected.to_string(), got: got.to_string() })
            }
            _ => Ok(Link::Secret(Box::new(secret))),
        }
    }
}

/// A connection to a signer. After an error, or when a call was given up, its state is unknown: drop it.
pub(super) enum Link {
    Plain(UnixStream),
    Secret(Box<AsyncSecretConnection<TcpStream>>),
}

impl Link {
    /// Sends a request and waits for the answer. Not cancel-safe.
    pub(super) async fn ask(&mut self, sum: Sum) -> Result<Sum, SignerError> {
        let message = Message { sum: Some(sum) };
        let answer: Message = match self {
            Self::Plain(stream) => {
                stream.write_all(&message.encode_length_delimited_to_vec()).await?;
                read_delimited(stream).await?
            }
            Self::Secret(secret) => {
                secret.write_msg(message).await.map_err(SignerError::secret)?;
                secret.read_msg().await.map_err(SignerError::secret)?
            }
        };
        answer.sum.ok_or(SignerError::Unexpected { wanted: "message" })
    }
}

/// A message after its length, an unsigned varint of at most three bytes.
pub(crate) async fn read_delimited(stream: &mut (impl AsyncRead + Unpin)) -> Result<Message, SignerError> {
    let mut got = 0;
    for at in 0..3 {
        let byte = stream.read_u8().await?;
        got |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            break;
        }
        if at == 2 {
            // Longer than what three bytes can say.
            got = usize::MAX;
        }
    }
    if got > MAX_MESSAGE_BYTES {
        return Err(SignerError::TooLong { limit: MAX_MESSAGE_BYTES, got });
    }
    let mut bytes = vec![0; got];
    stream.read_exact(&mut bytes).await?;
    Ok(Message::decode(&bytes[..])?)
}
