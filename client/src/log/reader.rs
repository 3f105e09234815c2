//! The task that reads a log: connect, hold the consumer, read page after page, and again after a
//! loss, until closed.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use notify_json_wire::Payload;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client};

use super::position::{Position, Since};
use super::queries::{self, Page};
use super::receipt::Hold;
use super::state::LogState;
use crate::attempt::{Connected, Connection, connect};
use crate::session::Shared;
use crate::{Error, ErrorKind, Gap, ListenerConfig};

/// What the task hands to the stream.
#[derive(Debug)]
pub(super) enum News {
    Page(Batch),
    Gap(Gap),
    Error(Error),
}

/// A page, and in whose name it was read.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) page: Page,
    /// Of the position before it.
    pub(super) mark: Arc<str>,
    /// `None` for a replay.
    pub(super) hold: Option<Arc<Hold>>,
    /// Events skipped, as told before this page.
    pub(super) told: i64,
}

/// The consumer is ours, until somebody may have taken it over.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) hold: Arc<Hold>,
    pub(super) until: Instant,
    /// Events that retention has ever removed before they were acknowledged.
    pub(super) skipped: i64,
}

/// What is read.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Consumer(Arc<str>),
    Replay(Since),
}

pub(super) struct Reader {
    pub(super) shared: Arc<Shared>,
    pub(super) config: Arc<ListenerConfig>,
    pub(super) channel: Arc<str>,
    pub(super) source: Source,
    pub(super) news: mpsc::Sender<News>,
    pub(super) lease: watch::Sender<Option<Lease>>,
    pub(super) state: watch::Sender<LogState>,
}

/// How far has been read, which is further than what is acknowledged.
pub(super) struct Place {
    pub(super) position: Position,
    /// Events skipped that the program was told of.
    pub(super) told: i64,
    hold: Option<Arc<Hold>>,
    /// Where to go on in the window if nothing of it is left, so that it is not searched again.
    pub(super) end: Option<i64>,
    /// The highest id read; `None` before the first event.
    pub(super) newest: Option<i64>,
    /// When a replay last asked what it has missed.
    pub(super) asked: Option<Instant>,
}

impl Place {
    pub(super) fn new(position: Position, told: i64, hold: Option<Arc<Hold>>) -> Self {
        Self { position, told, hold, end: None, newest: None, asked: None }
    }
}

/// How often one that waits for a consumer asks for it.
const ASK_EVERY: Duration = Duration::from_secs(1);
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// How long closing waits for the server to take note.
const GOODBYE: Duration = Duration::from_secs(1);

impl Reader {
    pub(super) async fn run(self) {
        let mut place = None;
        let mut delays = self.config.backoff.delays();
        loop {
            let connected = tokio::select! {
                connected = connect(&self.config) => connected,
                () = self.closed() => break,
            };
            let Err(error) = (match connected {
                Ok(connected) => self.live(connected, &mut place).await,
                Err(error) => Err(error),
            }) else {
                break;
            };
            tracing::warn!(
                channel = &*self.channel,
                error = &error as &dyn StdError,
                "not reading"
            );
            if self.state.borrow().is_reading() {
                delays = self.config.backoff.delays();
            }
            let retry_in = delays.next();
            let again = async {
                // What the server says is for the program to know; a lost connection loses nothing.
                if error.kind() == ErrorKind::Postgres || retry_in.is_none() {
                    let _ = self.news.send(News::Error(error.clone())).await;
                }
                let retry_in = retry_in?;
                self.state.send_replace(LogState::Waiting { error, retry_in });
                sleep(retry_in).await;
                self.state.send_replace(LogState::Connecting);
                Some(())
            };
            tokio::select! {
                again = again => if again.is_none() { break },
                () = self.closed() => break,
            }
        }
        self.state.send_replace(LogState::Closed);
    }

    async fn closed(&self) {
        tokio::select! {
            () = self.shared.closed() => {}
            () = self.news.closed() => {}
        }
    }

    /// The life of one connection; `Ok` when the reader is closed.
    async fn live(&self, connected: Connected, place: &mut Option<Place>) -> Result<(), Error> {
        let Connected { client, connection, .. } = connected;
        let bell = Notify::new();
        let work = async {
            tokio::select! {
                ended = self.work(&client, &bell, place) => ended.map(|never| match never {}),
                () = self.closed() => {
                    self.release(&client).await;
                    Ok(())
                }
            }
        };
        tokio::select! {
            error = drive(connection, &bell) => Err(error),
            ended = work => ended,
        }
    }

    /// Reads for as long as the connection and the server allow it.
    async fn work(
        &self,
        client: &Client,
        bell: &Notify,
        place: &mut Option<Place>,
    ) -> Result<Infallible, Error> {
        queries::attend(client, &self.channel).await?;
        loop {
            let place_held = self.take_place(client, place.take()).await?;
            let hold = place_held.hold.clone();
            let place_held = place.insert(place_held);
            self.state.send_replace(LogState::CatchingUp);
            tokio::select! {
                lost = self.keep(client, hold) => lost?,
                Err(error) = self.read_on(client, bell, place_held) => {
                    // After a failover the server may be older than what was read.
                    if error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) {
                        *place = None;
                        self.release(client).await;
                    }
                    return Err(error);
                }
                never = prune_now_and_then(&self.config) => match never {},
            }
            tracing::warn!(channel = &*self.channel, "another client has taken the consumer over");
            *place = None;
        }
    }

    /// The place to go on from: the one before a lost connection, if it is still ours.
    async fn take_place(&self, client: &Client, before: Option<Place>) -> Result<Place, Error> {
        let consumer = match (&self.source, before) {
            (Source::Replay(_), Some(before)) => return Ok(Place { asked: None, ..before }),
            (Source::Replay(Since::After(position)), None) => {
                let newest = Some(position.after);
                return Ok(Place { newest, ..Place::new(position.clone(), 0, None) });
            }
            (Source::Replay(since), None) => {
                let mut position = queries::start(client, &self.channel, since).await?;
                position.mark = queries::missed(client, &self.channel, &position).await?.mark;
                return Ok(Place::new(position, 0, None));
            }
            (Source::Consumer(consumer), before) => {
                if let Some(before) = before
                    && let Some(hold) = &before.hold
                    && self.renew(client, hold).await?
                {
                    return Ok(before);
                }
                consumer
            }
        };
        loop {
            let asked = Instant::now();
            let lease = self.config.log.lease;
            if let Some(claim) = queries::claim(client, &self.channel, consumer, lease).await? {
                let hold = Arc::new(Hold {
                    channel: self.channel.clone(),
                    consumer: consumer.clone(),
                    epoch: claim.epoch,
                });
                tracing::info!(
                    channel = &*self.channel,
                    consumer = &**consumer,
                    claim.epoch,
                    "held"
                );
                let (until, skipped) = (asked + lease, claim.skipped);
                self.lease.send_replace(Some(Lease { hold: hold.clone(), until, skipped }));
                let (position, told) = (claim.position, claim.told);
                return Ok(Place::new(position, told, Some(hold)));
            }
            self.state.send_replace(LogState::Standby);
            sleep(ASK_EVERY).await;
        }
    }

    /// Holds the consumer for longer; `false` if it is somebody else's by now.
    async fn renew(&self, client: &Client, hold: &Arc<Hold>) -> Result<bool, Error> {
        let asked = Instant::now();
        let lease = self.config.log.lease;
        let silent = |_| {
            let text = format!("connection lost: the server has not answered for {lease:.1?}");
            Err(Error::new(ErrorKind::Lost, text))
        };
        let answer = queries::renew(client, hold, lease);
        let skipped = timeout(lease, answer).await.unwrap_or_else(silent)?;
        if let Some(skipped) = skipped {
            let (hold, until) = (hold.clone(), asked + lease);
            self.lease.send_replace(Some(Lease { hold, until, skipped }));
        }
        Ok(skipped.is_some())
    }

    /// Ends when the consumer is lost.
    async fn keep(&self, client: &Client, hold: Option<Arc<Hold>>) -> Result<(), Error> {
        let Some(hold) = hold else { return pending().await };
        let mut beats = interval(self.config.log.lease / 3);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            if !self.renew(client, &hold).await? {
                return Ok(());
            }
        }
    }

    /// Reads page after page, and at the end of the log whenever the bell rings.
    async fn read_on(
        &self,
        client: &Client,
        bell: &Notify,
        place: &mut Place,
    ) -> Result<Infallible, Error> {
        loop {
            // Before the place is moved, so that nothing comes between that and the stream.
            let room = self.room().await;
            if let Some(gap) = self.missed(client, place).await? {
                tracing::warn!(channel = &*self.channel, %gap);
                self.shared.counters.gaps.add(1);
                room.send(News::Gap(gap));
                continue;
            }
            let (log, limit) = (&self.config.log, self.config.limits.max_message_bytes);
            let from = (&place.position.window, place.end.unwrap_or(place.position.after));
            let page = queries::read(client, &self.channel, from, log, limit).await?;
            let is_new = page.window != place.position.window;
            let last = page.events.back().map(|event| event.id);
            place.newest = place.newest.max(last);
            let before = if is_new { 0 } else { place.position.after };
            place.position.window = page.window.clone();
            place.position.after = last.unwrap_or(before);
            place.end = page.end;
            // All that was committed when the window was opened, which was just now.
            let is_all = page.events.is_empty() || (is_new && page.end.is_some());
            if !page.events.is_empty() {
                let counters = &self.shared.counters;
                counters.received.add(page.events.len() as u64);
                let bytes = page.events.iter().map(|event| event.bytes.unsigned_abs()).sum();
                counters.received_bytes.add(bytes);
                let mark = place.position.mark.clone();
                let (hold, told) = (place.hold.clone(), place.told);
                room.send(News::Page(Batch { page, mark, hold, told }));
            }
            if is_all {
                self.state.send_if_modified(|state| {
                    let news = !matches!(state, LogState::Live);
                    *state = LogState::Live;
                    news
                });
                // What is committed since then rings, and the bell keeps that it has.
                let _ = timeout(log.look_every, bell.notified()).await;
            }
        }
    }

    /// Room for what comes next; never, once nobody reads.
    async fn room(&self) -> mpsc::Permit<'_, News> {
        match self.news.reserve().await {
            Ok(room) => room,
            Err(_) => pending().await,
        }
    }

    /// Lets others have the consumer at once.
    async fn release(&self, client: &Client) {
        let Some(lease) = self.lease.send_replace(None) else { return };
        let released = timeout(GOODBYE, queries::release(client, &lease.hold)).await;
        match released {
            Ok(Ok(())) => tracing::info!(channel = &*self.channel, "released"),
            Ok(Err(error)) => tracing::warn!(error = &error as &dyn StdError, "not released"),
            Err(_) => tracing::warn!("not released: the server does not answer"),
        }
    }
}

/// Drives the connection and rings the bell for every doorbell; returns why it ended.
async fn drive(mut connection: Connection, bell: &Notify) -> Error {
    loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                if notify_json_wire::parse(notification.payload()) == Ok(Payload::Doorbell) {
                    bell.notify_one();
                }
            }
            Some(Ok(AsyncMessage::Notice(notice))) => {
                tracing::info!(code = notice.code().code(), "notice from the server");
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Error::postgres(ErrorKind::Lost, "connection lost", error),
            None => return Error::new(ErrorKind::Lost, "connection lost: closed by the server"),
        }
    }
}

/// Consumers keep the log short, so that nobody else has to.
async fn prune_now_and_then(config: &ListenerConfig) -> Infallible {
    let mut beats = interval(PRUNE_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        match prune(config).await {
            Ok(removed) => tracing::debug!(removed, "pruned"),
            Err(error) => tracing::warn!(error = &error as &dyn StdError, "not pruned"),
        }
    }
}

/// On a connection of its own, since it may take longer than the lease.
async fn prune(config: &ListenerConfig) -> Result<i64, Error> {
    let (client, connection) = config.connector.connect().await?;
    let bell = Notify::new();
    tokio::select! {
        removed = queries::prune(&client) => removed,
        error = drive(connection, &bell) => Err(error),
    }
}
