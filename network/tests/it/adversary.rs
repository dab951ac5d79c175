//! A peer that puts any bytes on any stream, and never introduces itself.

use std::io;

use async_trait::async_trait;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, noise,
    request_response::{self, Message, OutboundRequestId, ProtocolSupport},
    swarm::SwarmEvent,
    tcp, yamux,
};
use network::{Kind, Multiaddr, PeerId};
use std::collections::HashMap;
use tokio::sync::{mpsc, oneshot};

use crate::support::{CHAIN, TCP, within};

/// What the adversary puts on a stream.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) bytes: Vec<u8>,
    /// Whether the stream stays open and silent afterwards.
    pub(crate) stalls: bool,
}

impl From<&[u8]> for Raw {
    fn from(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), stalls: false }
    }
}

pub(crate) struct Adversary {
    pub(crate) id: PeerId,
    pub(crate) address: Multiaddr,
    attacks: mpsc::Sender<Attack>,
}

struct Attack {
    target: (PeerId, Multiaddr),
    raw: Raw,
    /// The bytes that came back, or nothing when the target hung up.
    outcome: oneshot::Sender<Option<Vec<u8>>>,
}

impl Adversary {
    /// Speaks `kind`'s protocol and answers every request with `answer`.
    pub(crate) async fn start(kind: Kind, answer: Raw) -> Self {
        let mut swarm = swarm(&format!("/weft/{CHAIN}/{}/1", kind.name()));
        swarm.listen_on(TCP.parse().unwrap()).unwrap();
        let address = within(async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    break address;
                }
            }
        })
        .await;
        let id = *swarm.local_peer_id();
        let (attacks, queue) = mpsc::channel(8);
        tokio::spawn(run(swarm, answer, queue));
        Self { id, address, attacks }
    }

    /// Sends a request of these bytes to a node; what comes back, if anything.
    pub(crate) async fn attack(&self, target: (PeerId, Multiaddr), raw: impl Into<Raw>) -> Option<Vec<u8>> {
        let (outcome, came) = oneshot::channel();
        let attack = Attack { target, raw: raw.into(), outcome };
        assert!(self.attacks.send(attack).await.is_ok());
        within(came).await.unwrap()
    }
}

fn swarm(protocol: &str) -> Swarm<request_response::Behaviour<RawCodec>> {
    let protocol = StreamProtocol::try_from_owned(protocol.to_owned()).unwrap();
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| {
            request_response::Behaviour::with_codec(
                RawCodec,
                [(protocol, ProtocolSupport::Full)],
                request_response::Config::default(),
            )
        })
        .unwrap()
        .build()
}

async fn run(
    mut swarm: Swarm<request_response::Behaviour<RawCodec>>,
    answer: Raw,
    mut attacks: mpsc::Receiver<Attack>,
) {
    let mut outcomes: HashMap<OutboundRequestId, oneshot::Sender<_>> = HashMap::new();
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(request_response::Event::Message { message, .. }) => match message {
                    Message::Request { channel, .. } => {
                        let _ = swarm.behaviour_mut().send_response(channel, answer.clone());
                    }
                    Message::Response { request_id, response } => {
                        let _ = outcomes.remove(&request_id).unwrap().send(Some(response.bytes));
                    }
                },
                SwarmEvent::Behaviour(request_response::Event::OutboundFailure { request_id, .. }) => {
                    let _ = outcomes.remove(&request_id).unwrap().send(None);
                }
                _ => {}
            },
            attack = attacks.recv() => {
                let Some(Attack { target: (peer, address), raw, outcome }) = attack else { break };
                let id = swarm.behaviour_mut().send_request_with_addresses(&peer, raw, vec![address]);
                outcomes.insert(id, outcome);
            }
        }
    }
}

/// No format at all.
#[derive(Clone)]
struct RawCodec;

#[async_trait]
impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Raw;
    type Response = Raw;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Raw>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Raw>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, raw: Raw) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, raw).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, raw: Raw) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, raw).await
    }
}

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Raw> {
    let mut bytes = Vec::new();
    io.take(1 << 20).read_to_end(&mut bytes).await?;
    Ok(bytes.as_slice().into())
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, raw: Raw) -> io::Result<()> {
    io.write_all(&raw.bytes).await?;
    io.flush().await?;
    if raw.stalls {
        std::future::pending::<()>().await;
    }
    Ok(())
}
