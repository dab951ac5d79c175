//! Requests, in both directions.

use std::time::Instant;

use bytes::Bytes;
use libp2p::{
    PeerId,
    core::upgrade::NegotiationError,
    request_response::{Event, InboundFailure, InboundRequestId, Message, OutboundFailure, ResponseChannel},
};
use tokio::task::JoinError;

use super::{Reply, Worker};
use crate::{
    behaviour::ExchangeEvent,
    codec::{Frame, FrameError},
    handle::RequestError,
    metrics::count,
    peers::{Offence, REQUEST_COST_BYTES},
    request::{Answer, Kind, Refusal, Request},
    wire,
};

/// A peer's request that its provider has answered.
pub(super) struct Served {
    peer: PeerId,
    kind: Kind,
    channel: ResponseChannel<Frame>,
    answer: Answer,
}

impl Worker {
    pub(super) fn send_request(
        &mut self,
        peer: PeerId,
        request: &Request,
        reply: Reply<Bytes, RequestError>,
    ) {
        let kind = request.kind();
        if let Err(error) = self.may_send(peer, kind) {
            let _ = reply.send(Err(error));
            return;
        }
        let frame = Ok(wire::encode_request(request));
        let exchange = self.args.swarm.behaviour_mut().exchange(kind);
        let id = exchange.send_request(&peer, frame);
        self.requests.insert((kind, id), reply);
        count(&self.args.metrics.requests_sent, kind);
    }

    fn may_send(&self, peer: PeerId, kind: Kind) -> Result<(), RequestError> {
        let limit = self.args.config.limits.outbound_requests;
        if self.requests.len() >= limit {
            return Err(RequestError::Overloaded { limit });
        }
        let info = &self.peers.get(&peer).ok_or(RequestError::Disconnected)?.info;
        if info.identified && !info.serves.contains(&kind) {
            return Err(RequestError::Unsupported { kind });
        }
        Ok(())
    }

    pub(super) fn on_exchange(&mut self, kind: Kind, event: ExchangeEvent) {
        match event {
            Event::Message { peer, connection_id, message } => {
                self.connections.heard(connection_id, Instant::now());
                match message {
                    Message::Request { request_id, request, channel } => {
                        self.on_request(peer, kind, request_id, request, channel);
                    }
                    Message::Response { request_id, response } => {
                        let result = self.read_answer(peer, response);
                        let metrics = &self.args.metrics;
                        let counter = match &result {
                            Ok(_) => &metrics.requests_answered,
                            Err(RequestError::Refused(_)) => &metrics.requests_refused,
                            Err(_) => &metrics.requests_failed,
                        };
                        count(counter, kind);
                        if let Some(reply) = self.requests.remove(&(kind, request_id)) {
                            let _ = reply.send(result);
                        }
                    }
                }
            }
            Event::OutboundFailure { peer, connection_id, request_id, error } => {
                count(&self.args.metrics.requests_failed, kind);
                let deadline = self.args.config.limits.deadline(kind);
                if matches!(error, OutboundFailure::Timeout)
                    && self.connections.is_silent(connection_id, deadline, Instant::now())
                {
                    tracing::debug!(%peer, kind = kind.name(), "nothing comes from the peer any more");
                    self.args.swarm.close_connection(connection_id);
                }
                if let Some(reply) = self.requests.remove(&(kind, request_id)) {
                    let _ = reply.send(Err(match error {
                        OutboundFailure::Timeout => RequestError::Timeout { deadline },
                        error => request_error(kind, error),
                    }));
                }
            }
            Event::ResponseSent { peer, request_id, .. } => self.end_serving(kind, request_id, peer),
            Event::InboundFailure { peer, request_id, error, .. } => {
                if !matches!(error, InboundFailure::ResponseOmission) {
                    tracing::debug!(%peer, kind = kind.name(), %error, "request not answered");
                }
                count(&self.args.metrics.serves_failed, kind);
                self.end_serving(kind, request_id, peer);
            }
        }
    }

    /// What the peer's frame answers. A peer whose frame is no answer is banned, except where a
    /// broken connection looks the same.
    fn read_answer(&mut self, peer: PeerId, frame: Frame) -> Result<Bytes, RequestError> {
        let answer = frame.and_then(|bytes| Ok(wire::decode_answer(bytes)?));
        match answer {
            Ok(answer) => Ok(answer?),
            Err(FrameError::Truncated { expected, got }) => Err(RequestError::Truncated { expected, got }),
            Err(error) => {
                self.punish(peer, Offence::Malformed);
                Err(match error {
                    FrameError::Oversize { limit, got } => RequestError::Oversize { limit, got },
                    error => RequestError::Malformed(error),
                })
            }
        }
    }

    fn on_request(
        &mut self,
        peer: PeerId,
        kind: Kind,
        id: InboundRequestId,
        frame: Frame,
        channel: ResponseChannel<Frame>,
    ) {
        count(&self.args.metrics.serves_started, kind);
        let request = match frame.and_then(|bytes| Ok(wire::decode_request(kind, bytes)?)) {
            Ok(request) => request,
            // The channel is dropped, which closes the stream.
            Err(FrameError::Truncated { .. }) => return,
            Err(error) => {
                tracing::debug!(%peer, kind = kind.name(), %error, "malformed request");
                return self.punish(peer, Offence::Malformed);
            }
        };
        if request.check().is_err() {
            return self.answer(peer, kind, channel, Err(Refusal::Malformed));
        }
        if !self.begin_serving(peer, kind, id) {
            count(&self.args.metrics.serves_busy, kind);
            return self.answer(peer, kind, channel, Err(Refusal::Busy));
        }
        let provider = self.args.provider.clone();
        let deadline = self.args.config.limits.deadline(kind);
        self.tasks.spawn(async move {
            let answer = tokio::time::timeout(deadline, provider.serve(peer, request))
                .await
                .unwrap_or(Err(Refusal::Busy));
            Served { peer, kind, channel, answer }
        });
    }

    /// Takes a slot for a peer's request, if the node and the peer's budget have one.
    fn begin_serving(&mut self, id: PeerId, kind: Kind, request: InboundRequestId) -> bool {
        let limits = &self.args.config.limits;
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let has_slot = self.serving.len() < limits.inbound_requests
            && peer.serving < limits.inbound_requests_per_peer
            && peer.budget.spend(Instant::now(), REQUEST_COST_BYTES);
        if has_slot {
            peer.serving += 1;
            self.serving.insert((kind, request), id);
        }
        has_slot
    }

    /// Gives back the slot once the answer has left, or never will.
    fn end_serving(&mut self, kind: Kind, request: InboundRequestId, id: PeerId) {
        if self.serving.remove(&(kind, request)).is_some()
            && let Some(peer) = self.peers.get_mut(&id)
        {
            peer.serving = peer.serving.saturating_sub(1);
        }
    }

    pub(super) fn on_served(&mut self, served: Result<Served, JoinError>) {
        match served {
            Ok(served) => self.answer(served.peer, served.kind, served.channel, served.answer),
            Err(error) => tracing::error!(%error, "a provider's task failed"),
        }
    }

    fn answer(&mut self, id: PeerId, kind: Kind, channel: ResponseChannel<Frame>, answer: Answer) {
        let limit = kind.max_answer_bytes();
        let answer = match answer {
            Ok(payload) if payload.len() > limit => {
                let got = payload.len();
                tracing::error!(kind = kind.name(), got, limit, "an answer is too long to send");
                Err(Refusal::Malformed)
            }
            answer => answer,
        };
        match &answer {
            Ok(payload) => {
                count(&self.args.metrics.serves_answered, kind);
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.budget.charge(payload.len() as u64);
                }
            }
            Err(Refusal::Busy) => {}
            Err(_) => count(&self.args.metrics.serves_refused, kind),
        }
        let frame = Ok(wire::encode_answer(answer));
        // An error means that the stream is gone; its own event says why.
        let exchange = self.args.swarm.behaviour_mut().exchange(kind);
        let _ = exchange.send_response(channel, frame);
    }
}

fn request_error(kind: Kind, failure: OutboundFailure) -> RequestError {
    match failure {
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => RequestError::Disconnected,
        OutboundFailure::UnsupportedProtocols => RequestError::Unsupported { kind },
        OutboundFailure::Io(error) => {
            let negotiation = error.get_ref().and_then(|error| error.downcast_ref::<NegotiationError>());
            match negotiation {
                Some(NegotiationError::Failed) => RequestError::Unsupported { kind },
                _ => RequestError::Broken { reason: error.to_string() },
            }
        }
        failure => RequestError::Broken { reason: failure.to_string() },
    }
}
