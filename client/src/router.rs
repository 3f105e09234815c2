//! Who subscribes to what, and what of it the server knows.
//!
//! The subscribers of a channel are the wish; its [`Registration`] is the state of the session.
//! [`Router::plan`] names the commands that lead from one to the other, whatever happened in
//! between: a subscription dropped while its `LISTEN` was under way, or a connection lost, is just
//! a change of one side.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify_json_wire::{Incomplete, Joined, Step};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::buffer::{Buffer, Item};
use crate::counters::Counters;
use crate::{Error, Gap, Message};

#[derive(Debug)]
pub(crate) struct Router {
    channels: HashMap<Arc<str>, Channel>,
    closed: Option<Error>,
    counters: Arc<Counters>,
    /// The wish has changed, so there may be a new plan.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Channel {
    name: Arc<str>,
    subscribers: Vec<Arc<Subscriber>>,
    registration: watch::Sender<Registration>,
    /// Grows with every change of the registration.
    epoch: u64,
    /// Nothing has arrived since `LISTEN`, so a headless frame is the tail of an earlier message.
    fresh: bool,
}

/// One subscription, as the session sees it.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) channels: BTreeSet<Arc<str>>,
    pub(crate) buffer: Buffer,
    /// `subscribe` has returned, so from now on every loss is told.
    established: AtomicBool,
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

/// The channels that were listened to at some moment, to be compared with what the server says.
pub(crate) struct Committed(Vec<(Arc<str>, u64)>);

impl Committed {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Subscriber {
    pub(crate) fn new(channels: BTreeSet<Arc<str>>, buffer: Buffer) -> Arc<Self> {
        Arc::new(Self { channels, buffer, established: false.into() })
    }

    fn is_established(&self) -> bool {
        self.established.load(Ordering::Relaxed)
    }
}

impl Router {
    pub(crate) fn new(counters: Arc<Counters>, changed: Arc<Notify>) -> Self {
        Self { channels: HashMap::new(), closed: None, counters, changed }
    }

    /// Adds a subscriber to its channels and returns their states, to wait on.
    pub(crate) fn subscribe(
        &mut self,
        subscriber: &Arc<Subscriber>,
    ) -> Result<Vec<watch::Receiver<Registration>>, Error> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        let states = subscriber.channels.iter().map(|name| {
            let channel = self.channels.entry(name.clone()).or_insert_with(|| Channel::new(name));
            channel.subscribers.push(subscriber.clone());
            channel.retry_if_failed();
            channel.registration.subscribe()
        });
        let states = states.collect();
        self.changed.notify_one();
        Ok(states)
    }

    /// Makes a subscriber one that is told of losses, if all of its channels are listened to at
    /// this moment.
    pub(crate) fn establish(&self, subscriber: &Subscriber) -> bool {
        let committed = self.all_committed(subscriber);
        if committed {
            subscriber.established.store(true, Ordering::Relaxed);
        }
        committed
    }

    fn all_committed(&self, subscriber: &Subscriber) -> bool {
        subscriber.channels.iter().all(|name| {
            let state = self.channels.get(name).map(|channel| channel.registration.borrow());
            state.is_some_and(|state| matches!(*state, Registration::Committed))
        })
    }

    pub(crate) fn unsubscribe(&mut self, subscriber: &Arc<Subscriber>) {
        for name in &subscriber.channels {
            if let Some(channel) = self.channels.get_mut(name) {
                channel.subscribers.retain(|other| !Arc::ptr_eq(other, subscriber));
            }
        }
        self.changed.notify_one();
    }

    /// The commands that the session has to run now, one a channel. Each must be answered with
    /// [`done`](Self::done), unless the connection is lost.
    pub(crate) fn plan(&mut self) -> Vec<(Arc<str>, Command)> {
        let mut plan = Vec::new();
        self.channels.retain(|name, channel| {
            channel.subscribers.retain(|subscriber| !subscriber.buffer.has_overflowed());
            let wanted = !channel.subscribers.is_empty();
            let state = channel.registration.borrow().clone();
            match (state, wanted) {
                (Registration::None, true) => {
                    channel.set(Registration::Listening);
                    plan.push((name.clone(), Command::Listen));
                }
                (Registration::Committed, false) => {
                    channel.set(Registration::Unlistening);
                    plan.push((name.clone(), Command::Unlisten));
                }
                (Registration::None | Registration::Failed(_), false) => return false,
                _ => {}
            }
            true
        });
        plan
    }

    /// Notes what became of a command.
    pub(crate) fn done(&mut self, name: &str, command: Command, result: Result<(), Error>) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        match (command, result) {
            (Command::Unlisten, _) => channel.set(Registration::None),
            (Command::Listen, Ok(())) => {
                channel.set(Registration::Committed);
                let subscribers = channel.subscribers.clone();
                for subscriber in subscribers.iter().filter(|s| self.all_committed(s)) {
                    subscriber.buffer.resume();
                }
            }
            (Command::Listen, Err(error)) => {
                for subscriber in channel.subscribers.iter().filter(|s| s.is_established()) {
                    subscriber.buffer.push_ahead(error.clone());
                }
                channel.set(Registration::Failed(error));
            }
        }
    }

    /// Forgets what the server knew: the connection is lost.
    pub(crate) fn lost(&mut self, since: Instant) {
        for channel in self.channels.values_mut() {
            channel.forget(since);
        }
    }

    /// The channels that the server must list now.
    pub(crate) fn committed(&self) -> Committed {
        let committed = self.channels.iter().filter_map(|(name, channel)| {
            let committed = matches!(*channel.registration.borrow(), Registration::Committed);
            committed.then(|| (name.clone(), channel.epoch))
        });
        Committed(committed.collect())
    }

    /// Compares what had to be listed with what the server lists. What it has forgotten since
    /// `since`, what failed before, and what it lists for nobody gets into the next plan.
    pub(crate) fn reconcile(
        &mut self,
        expected: Committed,
        listed: &BTreeSet<String>,
        since: Instant,
    ) {
        for (name, epoch) in expected.0 {
            if let Some(channel) = self.channels.get_mut(&name)
                && channel.epoch == epoch
                && !listed.contains(&*name)
            {
                tracing::warn!(channel = &*name, "the server has forgotten a channel");
                channel.forget(since);
            }
        }
        for channel in self.channels.values_mut() {
            channel.retry_if_failed();
        }
        for name in listed {
            if !self.channels.contains_key(name.as_str()) {
                tracing::warn!(channel = name, "the server listens for nobody");
                let name: Arc<str> = name.as_str().into();
                let registration = watch::Sender::new(Registration::Committed);
                let stray = Channel { registration, ..Channel::new(&name) };
                self.channels.insert(name, stray);
            }
        }
        self.changed.notify_one();
    }

    /// Hands out what a notification led to.
    pub(crate) fn route(&mut self, sender_pid: i32, name: &str, payload: &str, step: Step) {
        self.counters.received_bytes.add(payload.len() as u64);
        if let Some(incomplete) = step.incomplete {
            self.push_incomplete(incomplete);
        }
        let Some(channel) = listened(&mut self.channels, name) else { return };
        let fresh = std::mem::replace(&mut channel.fresh, false);
        let name = channel.name.clone();
        let item = match step.joined {
            Ok(Joined::Bare) => Item::Message(Message::bare(name, sender_pid, payload)),
            Ok(Joined::Message(message)) => {
                Item::Message(Message::joined(name, sender_pid, message))
            }
            Ok(Joined::Headless(_)) if fresh => {
                tracing::debug!(channel = &*name, "dropped the tail of a message begun earlier");
                return;
            }
            Ok(Joined::Headless(incomplete)) => return self.push_incomplete(incomplete),
            Ok(Joined::Unfinished | Joined::PassedOver | Joined::Doorbell) => return,
            Err(error) => {
                tracing::warn!(channel = &*name, sender_pid, %error, "frame of no use");
                Item::Error(Error::frame(name, payload, error))
            }
        };
        channel.push(item, &self.counters, &self.changed);
    }

    pub(crate) fn push_incomplete(&mut self, incomplete: Incomplete) {
        let Incomplete { channel: name, received, count } = incomplete;
        tracing::warn!(channel = name, received, count, "message arrived in part");
        self.counters.incomplete.add(1);
        let Some(channel) = listened(&mut self.channels, &name) else { return };
        let gap = Gap::Incomplete { channel: name, received, count };
        channel.push(Item::Gap(gap), &self.counters, &self.changed);
    }

    /// Ends every subscription, with the error as its last item if there is one.
    pub(crate) fn close(&mut self, error: Option<Error>) {
        for (_, channel) in self.channels.drain() {
            for subscriber in channel.subscribers {
                if let Some(error) = &error {
                    subscriber.buffer.resume();
                    subscriber.buffer.push_ahead(error.clone());
                }
                subscriber.buffer.close();
            }
        }
        self.closed.get_or_insert_with(|| error.unwrap_or_else(Error::closed));
    }

    pub(crate) fn closed(&self) -> Option<Error> {
        self.closed.clone()
    }
}

fn listened<'a>(
    channels: &'a mut HashMap<Arc<str>, Channel>,
    name: &str,
) -> Option<&'a mut Channel> {
    let channel = channels.get_mut(name)?;
    let listened =
        matches!(*channel.registration.borrow(), Registration::Listening | Registration::Committed);
    listened.then_some(channel)
}

impl Channel {
    fn new(name: &Arc<str>) -> Self {
        let registration = watch::Sender::new(Registration::None);
        let name = name.clone();
        Self { name, subscribers: Vec::new(), registration, epoch: 0, fresh: true }
    }

    /// Gives every subscriber the item.
    fn push(&self, item: Item, counters: &Counters, changed: &Notify) {
        match &item {
            Item::Message(_) => counters.received.add(1),
            Item::Error(_) => counters.frame_errors.add(1),
            Item::Gap(_) => {}
        }
        let Some((last, others)) = self.subscribers.split_last() else { return };
        for subscriber in others {
            subscriber.buffer.push(item.clone());
        }
        last.buffer.push(item);
        if self.subscribers.iter().any(|subscriber| subscriber.buffer.has_overflowed()) {
            changed.notify_one();
        }
    }

    fn set(&mut self, registration: Registration) {
        self.epoch += 1;
        self.fresh |= matches!(registration, Registration::Listening);
        self.registration.send_replace(registration);
    }

    /// The server does not listen any more: whoever relied on it gets a gap.
    fn forget(&mut self, since: Instant) {
        for subscriber in &self.subscribers {
            if subscriber.is_established() {
                subscriber.buffer.interrupt(since);
            } else {
                subscriber.buffer.clear();
            }
        }
        self.set(Registration::None);
    }

    fn retry_if_failed(&mut self) {
        let failed = matches!(*self.registration.borrow(), Registration::Failed(_));
        if failed {
            self.set(Registration::None);
        }
    }
}
