//! What light clients ask for, are answered, and make of it.

use super::{CONTROL, Event, HEADER, HEADER_BYTES, Nanos, REQUEST_DEADLINE, Run, TICK};
use crate::propagation::clients::{Next, PROBE, Phase, Wish, nanos, secret};
use crate::propagation::{HEADERS, REALLY_SAMPLED, SAMPLED};

impl Run<'_> {
    pub(super) fn hint(&mut self, now: Nanos, node: usize) {
        for at in 0..self.clients_of[node].len() {
            let (client, slot) = self.clients_of[node][at];
            if self.crowd.phase[client as usize] == Phase::Idle {
                let latency = self.network.latency(node, self.servers + client as usize);
                self.push(latency.map(|latency| now + latency), Event::Hint { client, slot });
            }
        }
    }

    fn peer(&self, client: u32, slot: u8) -> usize {
        self.peers[client as usize * usize::from(self.slots) + usize::from(slot)].into()
    }

    fn is_real(&self, client: u32) -> bool {
        (client as usize) < self.real.len()
    }

    pub(super) fn ask(&mut self, now: Nanos, client: u32, slot: u8, what: u8) {
        let server = self.peer(client, slot);
        match self.network.latency(self.servers + client as usize, server) {
            Some(latency) => self.queue.push(now + latency, Event::Ask { client, slot, what }),
            None => self.unanswered(now, client, slot, what),
        }
    }

    /// No answer will come: another peer is asked in time, and the request fails at its deadline.
    fn unanswered(&mut self, now: Nanos, client: u32, slot: u8, what: u8) {
        if !self.is_real(client) || what == HEADER {
            self.queue.push(now + nanos(self.timing.hedge_after), Event::Again { client, what });
        }
        self.queue.push(now + REQUEST_DEADLINE, Event::Silence { client, slot, what });
    }

    /// A request has reached its server.
    pub(super) fn asked(&mut self, now: Nanos, client: u32, slot: u8, what: u8) {
        let (server, node) = (self.peer(client, slot), self.servers + client as usize);
        // Nobody begins to send what nobody waits for any more when its turn comes.
        if self.gone[server] || self.network.backlog(now, server) > REQUEST_DEADLINE {
            return self.unanswered(now, client, slot, what);
        }
        // Whoever keeps cells to itself serves headers and controls, so that it is asked.
        let keeps = self.refuses[server] || (self.eclipse && client == 0);
        let (served, bytes) = match what {
            HEADER => (self.header[server], HEADER_BYTES),
            CONTROL => (true, self.sample_bytes),
            _ => {
                let has = self.serving[server] && !keeps && !self.is_withheld(client, what);
                (has, if has { self.sample_bytes } else { 50 })
            }
        };
        let Some(at) = self.network.transfer(now, server, node, bytes) else {
            return self.unanswered(now, client, slot, what);
        };
        if at > now + REQUEST_DEADLINE {
            return self.unanswered(now, client, slot, what);
        }
        self.queue.push(at, Event::Reply { client, slot, what, served });
        let hedge = now + nanos(self.timing.hedge_after);
        if at > hedge && (what == HEADER || !self.is_real(client)) {
            self.queue.push(hedge, Event::Again { client, what });
        }
    }

    fn is_withheld(&self, client: u32, what: u8) -> bool {
        let Some(pattern) = &self.pattern else { return false };
        if let Some(real) = self.real.get(client as usize) {
            return real.is_withheld(what, Some(pattern));
        }
        self.crowd.is_hidden(client, what)
    }

    pub(super) fn replied(&mut self, now: Nanos, client: u32, slot: u8, what: u8, served: bool) {
        let at = client as usize;
        if what == HEADER {
            if self.crowd.phase[at] != Phase::Header {
                return;
            }
            if !served {
                self.queue.push(now + nanos(self.timing.retry_after), Event::Again { client, what });
                return;
            }
            self.times[HEADERS].push(now);
            self.crowd.phase[at] = Phase::Probe;
            if self.is_real(client) {
                return self.tick(now, client);
            }
            if let Some(pattern) = &self.pattern {
                self.crowd.hide(client, &secret(self.question.seed, self.run, client), pattern);
            }
            self.queue.push(now + nanos(self.timing.deadline), Event::Deadline { client });
            return self.again(now, client, PROBE);
        }
        if self.is_real(client) {
            return self.real_answer(now, client, slot, what, served, false);
        }
        if served && self.crowd.wants(client, what) {
            if what == PROBE {
                self.crowd.begin(client);
                (0..self.crowd.samples() as u8).for_each(|sample| self.again(now, client, sample));
            } else if self.crowd.verified(client, what) {
                self.times[SAMPLED].push(now);
            }
        } else if self.crowd.ended(client, what) && !served {
            self.again(now, client, what);
        }
    }

    pub(super) fn silent(&mut self, now: Nanos, client: u32, slot: u8, what: u8) {
        if self.is_real(client) && what != HEADER {
            self.real_answer(now, client, slot, what, false, true);
        } else if what < HEADER {
            // Whoever else is asked has been for long enough.
            self.crowd.ended(client, what);
            self.again(now, client, what);
        }
    }

    /// Asks one more peer, if this is still wanted. A real sampler decides for itself.
    pub(super) fn again(&mut self, now: Nanos, client: u32, what: u8) {
        if what == HEADER {
            if self.crowd.phase[client as usize] == Phase::Header {
                let slot = self.rng.below(self.slots.into()) as u8;
                self.ask(now, client, slot, what);
            }
        } else if !self.is_real(client) && self.crowd.wants(client, what) {
            match self.crowd.next(client, what) {
                Next::Ask(slot) => {
                    let spread = self.rng.below(nanos(self.timing.spread) + 1);
                    self.ask(now + spread, client, slot, what);
                }
                Next::Pause(pause) => self.queue.push(now + pause, Event::Again { client, what }),
                Next::Wait => {}
            }
        }
    }

    /// The client raises the alarm if somebody can be reached, and nobody of those serves a missing cell; otherwise it
    /// asks everybody anew.
    pub(super) fn deadline(&mut self, now: Nanos, client: u32) {
        if self.is_real(client) || self.crowd.phase[client as usize] == Phase::Done {
            return;
        }
        let eclipsed = self.eclipse && client == 0;
        let slots: Vec<usize> = (0..self.slots).map(|slot| self.peer(client, slot)).collect();
        let mut reachable = slots.into_iter().filter(|server| !self.gone[*server]).peekable();
        let somebody = reachable.peek().is_some();
        let kept = eclipsed || reachable.all(|server| self.refuses[server] || !self.serving[server]);
        if somebody && (kept || self.crowd.lacks_hidden(client)) {
            self.crowd.phase[client as usize] = Phase::Alarmed;
            return;
        }
        for what in self.crowd.forget_rounds(client) {
            self.again(now, client, what);
        }
    }

    fn real_answer(&mut self, now: Nanos, client: u32, slot: u8, what: u8, served: bool, silent: bool) {
        let wish = if what == CONTROL { Wish::Control } else { Wish::Cell(what) };
        let square = self.served.as_ref().filter(|_| served);
        self.real[client as usize].answered(now, slot, wish, square, silent);
        self.real_poll(now, client);
    }

    /// Polls a real sampler from time to time, as its shell does.
    pub(super) fn tick(&mut self, now: Nanos, client: u32) {
        self.real_poll(now, client);
        if !self.real_ended[client as usize] {
            self.queue.push(now + TICK, Event::Tick { client });
        }
    }

    /// Carries out what a real sampler wants.
    fn real_poll(&mut self, now: Nanos, client: u32) {
        let at = client as usize;
        if self.real_ended[at] {
            return;
        }
        let wishes = self.real[at].poll(now);
        if let Some(sampled) = self.real[at].end() {
            self.real_ended[at] = true;
            self.crowd.phase[at] = if sampled { Phase::Done } else { Phase::Alarmed };
            if sampled {
                self.times[REALLY_SAMPLED].push(now);
            }
            return;
        }
        for (slot, wish, pause) in wishes {
            let what = match wish {
                Wish::Cell(cell) => cell,
                Wish::Control => CONTROL,
            };
            self.ask(now + pause, client, slot, what);
        }
    }
}
