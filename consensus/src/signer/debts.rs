//! What a signer in another process did not sign when it was asked, to be asked for again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::message::Message;

/// What the signer owes of the latest round that it owes anything of, in the order of the round's steps.
#[derive(Debug, Default)]
pub(super) struct Debts {
    owed: Mutex<Vec<Message>>,
    pub(super) more: Notify,
}

impl Debts {
    pub(super) fn all(&self) -> MutexGuard<'_, Vec<Message>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a debt; those of earlier rounds are of no use to anybody.
    pub(super) fn add(&self, message: Message) {
        let mut owed = self.all();
        owed.retain(|other| other.place() >= message.place());
        owed.push(message);
        self.more.notify_one();
    }

    pub(super) fn first(&self) -> Option<Message> {
        self.all().first().cloned()
    }

    pub(super) fn remove(&self, message: &Message) {
        self.all().retain(|other| (other.place(), other.step()) != (message.place(), message.step()));
    }
}
