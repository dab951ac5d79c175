//! Loopback ports that stay a node's while it is down.

use std::net::SocketAddr;

use anyhow::Result;
use network::Multiaddr;
use tokio::net::TcpSocket;

use crate::home::NodeConfig;

/// The TCP ports of a node, bound here without listening: the system gives them to no connection and to nobody who asks
/// for any port, and who names one may listen there.
#[derive(Debug)]
pub(crate) struct Ports {
    api: TcpSocket,
    data: TcpSocket,
    engine: TcpSocket,
}

impl Ports {
    pub(crate) fn reserve() -> Result<Self> {
        Ok(Self { api: reserve()?, data: reserve()?, engine: reserve()? })
    }

    /// Settings of a node that listens on them.
    pub(crate) fn config(&self, name: &str) -> Result<NodeConfig> {
        let mut config = NodeConfig { api_listen: self.api.local_addr()?, ..NodeConfig::loopback(name) };
        config.data_listen[0] = multiaddr(&self.data)?;
        config.engine_listen = multiaddr(&self.engine)?;
        Ok(config)
    }
}

fn reserve() -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Without it nobody else could bind the port.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    Ok(socket)
}

fn multiaddr(socket: &TcpSocket) -> Result<Multiaddr> {
    let address = socket.local_addr()?;
    Ok(format!("/ip4/{}/tcp/{}", address.ip(), address.port()).parse()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_is_free_to_who_names_it_again_and_again() {
        let ports = Ports::reserve().unwrap();
        let address = ports.config("node").unwrap().api_listen;
        for _ in 0..2 {
            let listener = TcpListener::bind(address).unwrap();
            assert!(TcpListener::bind(address).is_err(), "two may not");
            let _there = TcpStream::connect(address).unwrap();
            listener.accept().unwrap();
        }
    }
}
