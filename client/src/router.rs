//! Who subscribes to what, and what of it the server knows.
//!
//! The subscribers of a channel are the wish; its [`Registration`] is the state of the session.
//! [`Router::plan`] names the commands that lead from one to the other, whatever happened in
//! between: a subscription dropped while its `LISTEN` was under way is just a changed wish.

use std::collections::HashMap;
use std::sync::Arc;

use notify_json_wire::{Incomplete, Joined, Step};
use tokio::sync::watch;

use crate::buffer::{Buffer, Item};
use crate::{Error, Gap, Message};

#[derive(Debug, Default)]
pub(crate) struct Router {
    channels: HashMap<Arc<str>, Channel>,
    closed: Option<Error>,
}

#[derive(Debug)]
struct Channel {
    subscribers: Vec<Arc<Buffer>>,
    registration: watch::Sender<Registration>,
    /// Nothing has arrived since `LISTEN`, so a headless frame is the tail of an earlier message.
    fresh: bool,
}

/// What the session has done about a channel.
#[derive(Clone, Debug)]
pub(crate) enum Registration {
    None,
    Listening,
    Committed,
    Unlistening,
    Failed(Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Listen,
    Unlisten,
}

impl Router {
    /// Adds a subscriber to a channel and returns the state to wait on.
    pub(crate) fn subscribe(
        &mut self,
        channel: &Arc<str>,
        buffer: &Arc<Buffer>,
    ) -> Result<watch::Receiver<Registration>, Error> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        let entry = self.channels.entry(channel.clone()).or_insert_with(|| Channel {
            subscribers: Vec::new(),
            registration: watch::Sender::new(Registration::None),
            fresh: true,
        });
        entry.subscribers.push(buffer.clone());
        entry.registration.send_if_modified(|registration| {
            let failed = matches!(registration, Registration::Failed(_));
            if failed {
                *registration = Registration::None;
            }
            failed
        });
        Ok(entry.registration.subscribe())
    }

    pub(crate) fn unsubscribe(&mut self, channel: &str, buffer: &Arc<Buffer>) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.subscribers.retain(|subscriber| !Arc::ptr_eq(subscriber, buffer));
        }
    }

    /// The commands that the session has to run now, one a channel. Each must be answered with
    /// [`done`](Self::done).
    pub(crate) fn plan(&mut self) -> Vec<(Arc<str>, Command)> {
        self.channels.retain(|_, entry| {
            let idle = matches!(
                *entry.registration.borrow(),
                Registration::None | Registration::Failed(_)
            );
            !(idle && entry.subscribers.is_empty())
        });
        let mut plan = Vec::new();
        for (channel, entry) in &mut self.channels {
            let wanted = !entry.subscribers.is_empty();
            let (command, underway) = match (&*entry.registration.borrow(), wanted) {
                (Registration::None, true) => (Command::Listen, Registration::Listening),
                (Registration::Committed, false) => (Command::Unlisten, Registration::Unlistening),
                _ => continue,
            };
            entry.fresh = true;
            entry.registration.send_replace(underway);
            plan.push((channel.clone(), command));
        }
        plan
    }

    /// Notes what became of a command.
    pub(crate) fn done(&mut self, channel: &str, command: Command, result: Result<(), Error>) {
        let Some(entry) = self.channels.get_mut(channel) else {
            return;
        };
        entry.registration.send_replace(match (command, result) {
            (Command::Listen, Ok(())) => Registration::Committed,
            (Command::Listen, Err(error)) => Registration::Failed(error),
            (Command::Unlisten, _) => Registration::None,
        });
    }

    /// Hands out what a notification led to.
    pub(crate) fn route(&mut self, sender_pid: i32, channel: &str, payload: &str, step: Step) {
        if let Some(incomplete) = step.incomplete {
            self.push_gap(incomplete);
        }
        let Some((name, entry)) = self.listened(channel) else {
            return;
        };
        let fresh = std::mem::replace(&mut entry.fresh, false);
        let item = match step.joined {
            Ok(Joined::Bare) => Item::Message(Message::bare(name, sender_pid, payload)),
            Ok(Joined::Message(message)) => {
                Item::Message(Message::joined(name, sender_pid, message))
            }
            Ok(Joined::Headless(_)) if fresh => {
                tracing::debug!(channel, "dropped the tail of a message that began before LISTEN");
                return;
            }
            Ok(Joined::Headless(incomplete)) => return self.push_gap(incomplete),
            Ok(Joined::Unfinished | Joined::PassedOver | Joined::Doorbell) => return,
            Err(error) => {
                tracing::warn!(channel, sender_pid, %error, "frame of no use");
                Item::Error(Error::frame(name, payload, error))
            }
        };
        entry.push(item);
    }

    pub(crate) fn push_gap(&mut self, incomplete: Incomplete) {
        let Incomplete { channel, received, count } = incomplete;
        tracing::warn!(channel, received, count, "message arrived in part");
        if let Some((_, entry)) = self.listened(&channel) {
            entry.push(Item::Gap(Gap::Incomplete { channel, received, count }));
        }
    }

    fn listened(&mut self, channel: &str) -> Option<(Arc<str>, &mut Channel)> {
        let (name, _) = self.channels.get_key_value(channel)?;
        let name = name.clone();
        let entry = self.channels.get_mut(channel)?;
        let listened = matches!(
            *entry.registration.borrow(),
            Registration::Listening | Registration::Committed
        );
        listened.then_some((name, entry))
    }

    /// Ends every subscription, with the error as its last item if there is one.
    pub(crate) fn close(&mut self, error: Option<Error>) {
        for (_, entry) in self.channels.drain() {
            for subscriber in entry.subscribers {
                if let Some(error) = &error {
                    subscriber.push(Item::Error(error.clone()));
                }
                subscriber.close();
            }
        }
        self.closed = Some(error.unwrap_or_else(Error::closed));
    }

    pub(crate) fn closed(&self) -> Option<Error> {
        self.closed.clone()
    }
}

impl Channel {
    fn push(&self, item: Item) {
        let Some((last, others)) = self.subscribers.split_last() else {
            return;
        };
        for subscriber in others {
            subscriber.push(item.clone());
        }
        last.push(item);
    }
}
