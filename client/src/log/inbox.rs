//! The stream's end of a reader.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::position::Position;
use super::queries::Entry;
use super::reader::{Batch, Lease, News, Reader, Source};
use super::receipt::Hold;
use super::state::LogState;
use crate::listener::Handle;
use crate::{Error, FromMessage, Gap, ListenerConfig, Message};

/// The next thing in a log.
pub(super) enum Item {
    Event(Event),
    Gap(Gap),
    /// What the server says; reading goes on.
    Error(Error),
}

/// An event, and what its batch says of it.
pub(super) struct Event {
    pub(super) entry: Entry,
    pub(super) window: Arc<str>,
    pub(super) mark: Arc<str>,
    pub(super) hold: Option<Arc<Hold>>,
    pub(super) told: i64,
}

impl Event {
    pub(super) fn position(&self) -> Position {
        let (window, mark) = (self.window.clone(), self.mark.clone());
        Position { window, after: self.entry.id, mark }
    }
}

/// Takes from a reader. Dropping it closes the reader.
pub(super) struct Inbox {
    handle: Arc<Handle>,
    channel: Arc<str>,
    max_event_bytes: usize,
    news: mpsc::Receiver<News>,
    lease: watch::Receiver<Option<Lease>>,
    state: watch::Receiver<LogState>,
    batch: Option<Batch>,
}

impl Inbox {
    /// Starts a reader, and waits until the server has let it begin.
    pub(super) async fn open(
        handle: Arc<Handle>,
        config: Arc<ListenerConfig>,
        channel: Arc<str>,
        source: Source,
    ) -> Result<Self, Error> {
        if let Some(error) = handle.shared.router().closed() {
            return Err(error);
        }
        // One page is read while another one is being handled.
        let (news_sender, news) = mpsc::channel(1);
        let (lease_sender, lease) = watch::channel(None);
        let (state_sender, mut state) = watch::channel(LogState::Connecting);
        let max_event_bytes = config.limits.max_message_bytes;
        let wait_for_server = config.wait_for_server;
        let reader = Reader {
            shared: handle.shared.clone(),
            config,
            channel: channel.clone(),
            source,
            news: news_sender,
            lease: lease_sender,
            state: state_sender,
        };
        tokio::spawn(reader.run());
        let begun = |state: &LogState| match state {
            LogState::Connecting => false,
            LogState::Waiting { error, .. } => !(wait_for_server && error.code().is_none()),
            _ => true,
        };
        match &*state.wait_for(begun).await.map_err(|_| Error::closed())? {
            LogState::Waiting { error, .. } => return Err(error.clone()),
            LogState::Closed => return Err(Error::closed()),
            _ => {}
        }
        Ok(Self { handle, channel, max_event_bytes, news, lease, state, batch: None })
    }

    pub(super) fn state(&self) -> watch::Receiver<LogState> {
        self.state.clone()
    }

    /// The next item; `None` once the reader is closed.
    pub(super) async fn next(&mut self) -> Option<Item> {
        // A full page must not keep the task from everything else it waits for.
        consume_budget().await;
        loop {
            let Some(batch) = &mut self.batch else {
                match self.news.recv().await? {
                    News::Page(batch) => self.batch = Some(batch),
                    News::Gap(gap) => return Some(Item::Gap(gap)),
                    News::Error(error) => return Some(Item::Error(error)),
                }
                continue;
            };
            if let Some(hold) = &batch.hold
                && !is_held(&mut self.lease, hold).await
            {
                self.batch = None;
                continue;
            }
            let Some(entry) = batch.page.events.pop_front() else {
                self.batch = None;
                continue;
            };
            self.handle.shared.counters.delivered.add(1);
            let (window, mark) = (batch.page.window.clone(), batch.mark.clone());
            let (hold, told) = (batch.hold.clone(), batch.told);
            return Some(Item::Event(Event { entry, window, mark, hold, told }));
        }
    }

    /// Decodes the text of an event.
    pub(super) fn decode<T: FromMessage>(&self, entry: &mut Entry) -> Result<T, Error> {
        let Some(text) = entry.text.take() else {
            let (id, bytes, limit) = (entry.id, entry.bytes, self.max_event_bytes);
            return Err(Error::too_large(self.channel.clone(), id, bytes, limit));
        };
        let counters = &self.handle.shared.counters;
        T::from_message(Message::stored(self.channel.clone(), text))
            .inspect_err(|_| counters.decode_errors.add(1))
    }
}

/// Whether the consumer is still in these hands. Waits where that is not certain.
async fn is_held(lease: &mut watch::Receiver<Option<Lease>>, hold: &Hold) -> bool {
    loop {
        match &*lease.borrow_and_update() {
            Some(lease) if lease.hold.epoch != hold.epoch => return false,
            Some(lease) if Instant::now() < lease.until => return true,
            _ => {}
        }
        if lease.changed().await.is_err() {
            return false;
        }
    }
}
