//! TCP with noise and yamux, QUIC, names through DNS; and the bytes of both counted.
//!
//! TCP is counted at the socket: everything but TCP's and IP's own headers. QUIC does not let its
//! packets be seen, so its streams are counted: packet headers, acknowledgements and handshakes
//! come on top.

use std::{
    io,
    net::{IpAddr, TcpListener},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, future::Either};
use libp2p::{
    Multiaddr, PeerId, Transport as _,
    core::{
        muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent},
        transport::Boxed,
        upgrade::Version,
    },
    dns,
    identity::Keypair,
    multiaddr::Protocol,
    noise, quic, tcp, yamux,
};
use prometheus_client::metrics::counter::Counter;

use crate::metrics::Metrics;

/// How long a connection may take to be opened.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// QUIC gives up a connection that was silent for this long; pings are sent more often.
const QUIC_IDLE_MS: u32 = 40_000;
/// QUIC's own pings, less often than libp2p's so that they are not sent at all.
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Streams that a peer may have open over QUIC.
const QUIC_STREAMS: u32 = 256;
/// Unread bytes that a peer may send on a QUIC stream.
const QUIC_STREAM_BYTES: u32 = 2 << 20;
/// Unread bytes that a peer may send on a QUIC connection.
const QUIC_CONNECTION_BYTES: u32 = 8 << 20;

/// The transport of a swarm.
pub(crate) type Transport = Boxed<(PeerId, StreamMuxerBox)>;

/// The transport with names, or, where the system has no DNS configuration, without.
pub(crate) fn build(keypair: &Keypair, metrics: &Metrics) -> Result<Transport, noise::Error> {
    match dns::tokio::Transport::system(without_names(keypair, metrics)?) {
        Ok(transport) => Ok(transport.boxed()),
        Err(error) => {
            tracing::warn!(%error, "no DNS configuration: only IP addresses can be dialled");
            without_names(keypair, metrics)
        }
    }
}

fn without_names(keypair: &Keypair, metrics: &Metrics) -> Result<Transport, noise::Error> {
    let bytes = WireBytes::of(metrics);
    let tcp_bytes = bytes.clone();
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .map(move |inner, _| Counted { inner, bytes: tcp_bytes })
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(yamux::Config::default())
        .timeout(HANDSHAKE_TIMEOUT);

    let mut config = quic::Config::new(keypair);
    config.max_idle_timeout = QUIC_IDLE_MS;
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config.max_concurrent_stream_limit = QUIC_STREAMS;
    config.max_stream_data = QUIC_STREAM_BYTES;
    config.max_connection_data = QUIC_CONNECTION_BYTES;
    let quic = quic::tokio::Transport::new(config).map(move |(peer, inner), _| {
        let muxer = Counted { inner, bytes };
        (peer, StreamMuxerBox::new(muxer))
    });

    Ok(quic
        .or_transport(tcp)
        .map(|either, _| match either {
            Either::Left(connection) => connection,
            Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        })
        .boxed())
}

/// Fails when an address's TCP port is in use.
///
/// libp2p listens with `SO_REUSEPORT`, so that two nodes of one user would silently share a port,
/// and each get half of the connections.
pub(crate) fn check_free(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) => TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// The counters of bytes on the wire.
#[derive(Clone, Debug)]
struct WireBytes {
    read: Counter,
    written: Counter,
}

impl WireBytes {
    fn of(metrics: &Metrics) -> Self {
        Self { read: metrics.wire_read_bytes.clone(), written: metrics.wire_written_bytes.clone() }
    }
}

/// A stream, or a connection of streams, whose bytes are counted.
struct Counted<T> {
    inner: T,
    bytes: WireBytes,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.bytes.read.inc_by(count as u64);
        Poll::Ready(Ok(count))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, buffer))?;
        self.bytes.written.inc_by(count as u64);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl<T: StreamMuxer<Substream: Unpin> + Unpin> StreamMuxer for Counted<T> {
    type Substream = Counted<T::Substream>;
    type Error = T::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let inner = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        let bytes = self.bytes.clone();
        Poll::Ready(Ok(Counted { inner, bytes }))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let inner = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        let bytes = self.bytes.clone();
        Poll::Ready(Ok(Counted { inner, bytes }))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
