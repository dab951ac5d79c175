//! The two ends at which the engine's actors meet the [`Worker`](crate::worker::Worker): both only
//! hand on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_malachitebft_app::types::PeerId;
use arc_malachitebft_core_types::{Height as _, SignedVote, Vote as _};
use arc_malachitebft_engine::host::HostMsg;
use arc_malachitebft_engine::network::NetworkEvent;
use async_trait::async_trait;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;

use crate::context::{Height, WeftContext};
use crate::worker::Event;

/// The engine's host: its questions go to the worker, which answers them from tasks. A host that
/// answered by itself would hold up every other question, some of which the consensus actor waits
/// for.
pub(crate) struct Host(pub(crate) mpsc::Sender<Event>);

#[async_trait]
impl Actor for Host {
    type Msg = HostMsg<WeftContext>;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _myself: ActorRef<Self::Msg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        // Waiting for room lets the actor's own queue grow instead of losing a question.
        Ok(self.0.send(Event::Host(Box::new(message))).await?)
    }

    /// The engine stops its actors and stays behind when going on would not be safe.
    async fn post_stop(&self, _myself: ActorRef<Self::Msg>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        let _ = self.0.try_send(Event::Ended);
        Ok(())
    }
}

/// What the network lets on about how far others are.
#[derive(Debug)]
pub(crate) enum Hint {
    /// A peer has committed up to this height, it says.
    Tip(PeerId, Height),
    /// A peer is gone.
    Gone(PeerId),
    /// A vote for the awaited height or a later one.
    Vote(SignedVote<WeftContext>),
    /// The address that others can dial.
    Listening(String),
}

/// Hears the network's events for the worker. Votes count only while the worker waits for somebody
/// to start a height; a full queue loses hints, which costs time and nothing else.
pub(crate) struct Ear {
    pub(crate) worker: mpsc::Sender<Event>,
    /// The height waited for; zero when there is none.
    pub(crate) awaited: Arc<AtomicU64>,
}

/// A network event, as a message of our own.
pub(crate) struct Heard(NetworkEvent<WeftContext>);

impl From<NetworkEvent<WeftContext>> for Heard {
    fn from(event: NetworkEvent<WeftContext>) -> Self {
        Self(event)
    }
}

#[async_trait]
impl Actor for Ear {
    type Msg = Heard;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _myself: ActorRef<Self::Msg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        Heard(event): Heard,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let hint = match event {
            NetworkEvent::Status(peer, status) => Hint::Tip(peer, status.tip_height),
            NetworkEvent::PeerDisconnected(peer) => Hint::Gone(peer),
            NetworkEvent::Listening(address) => Hint::Listening(address.to_string()),
            NetworkEvent::Vote(_, vote) => {
                let awaited = self.awaited.load(Ordering::Relaxed);
                if awaited == 0 || vote.height().as_u64() < awaited {
                    return Ok(());
                }
                Hint::Vote(vote)
            }
            _ => return Ok(()),
        };
        let _ = self.worker.try_send(Event::Hint(hint));
        Ok(())
    }
}
