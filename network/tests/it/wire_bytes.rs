//! What samples cost on the wire, seen by a relay between client and server.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::future::join_all;
use network::{Config, Kind, Network, PeerId, Request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket, tcp},
};

use crate::support::{Always, QUIC, TCP, client, serving, start, within};

const SAMPLES: u16 = 24;
const SAMPLE_BYTES: usize = 1_100;
/// A light client's whole block has to stay below 48 KB.
const MAX_WIRE_BYTES: u64 = 40_000;

/// Bytes that went through a relay, both directions together.
type Relayed = Arc<AtomicU64>;

async fn relay_tcp(port: u16) -> (u16, Relayed) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, relayed) = (listener.local_addr().unwrap().port(), Relayed::default());
    let counter = Arc::clone(&relayed);
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(pump(from_client, to_server, &counter), pump(from_server, to_client, &counter));
    });
    (at, relayed)
}

async fn pump(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, relayed: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        relayed.fetch_add(count as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}

async fn relay_udp(port: u16) -> (u16, Relayed) {
    let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    back.connect(("127.0.0.1", port)).await.unwrap();
    let (at, relayed) = (front.local_addr().unwrap().port(), Relayed::default());
    let counter = Arc::clone(&relayed);
    tokio::spawn(async move {
        let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut client = None;
        loop {
            tokio::select! {
                Ok((count, from)) = front.recv_from(&mut up) => {
                    client = Some(from);
                    counter.fetch_add(count as u64, Ordering::SeqCst);
                    let _ = back.send(&up[..count]).await;
                }
                Ok(count) = back.recv(&mut down) => if let Some(client) = client {
                    counter.fetch_add(count as u64, Ordering::SeqCst);
                    let _ = front.send_to(&down[..count], client).await;
                },
            }
        }
    });
    (at, relayed)
}

fn counted(network: &Network) -> u64 {
    let (read, written) = network.wire_bytes();
    read + written
}

#[tokio::test]
async fn a_light_clients_samples_of_one_block_stay_within_their_share_of_the_wire() {
    for listen in [TCP, QUIC] {
        let config = Config { listen: vec![listen.parse().unwrap()], ..serving() };
        let server = start(config, Always(Ok(vec![7; SAMPLE_BYTES].into()))).await;
        let address = server.address().to_string();
        let port: u16 = address.split('/').nth(4).unwrap().parse().unwrap();
        let (relay, relayed) = if listen == TCP { relay_tcp(port).await } else { relay_udp(port).await };
        let address = address.replace(&port.to_string(), &relay.to_string());
        let client = client().await;
        within(client.network.dial(address.parse().unwrap())).await.unwrap();
        client.identified(server.id()).await;
        server.identified(client.id()).await;

        let connecting = relayed.load(Ordering::SeqCst);
        // The first block's samples overlap QUIC's search for the path's packet size.
        sample_a_block(&client.network, server.id()).await;

        let before = (relayed.load(Ordering::SeqCst), counted(&client.network));
        let messages_before = client.network.traffic(Kind::Sample);
        sample_a_block(&client.network, server.id()).await;
        let wire = relayed.load(Ordering::SeqCst) - before.0;
        let counted = counted(&client.network) - before.1;
        let messages = client.network.traffic(Kind::Sample);
        println!(
            "{SAMPLES} samples of {SAMPLE_BYTES} bytes over {listen}: {wire} bytes on the wire, \
             {counted} counted, {} + {} in messages; connecting: {connecting} bytes",
            messages.read_bytes - messages_before.read_bytes,
            messages.written_bytes - messages_before.written_bytes,
        );
        assert!(wire < MAX_WIRE_BYTES, "{wire} bytes over {listen}");
        // The relay may still hold a ping; QUIC's packets are not counted.
        let slack = if listen == TCP { 200 } else { wire / 3 };
        assert!(wire.abs_diff(counted) < slack, "{wire} relayed, {counted} counted over {listen}");
    }
}

async fn sample_a_block(client: &Network, server: PeerId) {
    let asks = (0..SAMPLES).map(|n| {
        let request = Request::Sample { height: 1_000_000, row: n, column: 255 - n, axis: 1 };
        client.request(server, request)
    });
    for answer in within(join_all(asks)).await {
        assert_eq!(answer.unwrap().len(), SAMPLE_BYTES);
    }
}
