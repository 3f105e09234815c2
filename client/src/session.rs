//! The task of a listener: connect, listen, receive, and again after a loss, until shut down.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use notify_json_wire::Joiner;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_postgres::{AsyncMessage, Client};

use crate::attempt::{Connected, Connection, connect};
use crate::counters::Counters;
use crate::error::is_refusal;
use crate::health::{self, Heard};
use crate::router::{Command, Router};
use crate::state::State;
use crate::{Error, ErrorKind, ListenerConfig, channel};

/// What the session's task and the listener's handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    router: Mutex<Router>,
    changed: Arc<Notify>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) state: watch::Sender<State>,
    /// `true` once the session shall end.
    closing: watch::Sender<bool>,
    /// The session's client while it is connected.
    client: Mutex<Option<Arc<Client>>>,
}

/// The end of a connection.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) error: Error,
    /// The moment up to which nothing is missing.
    pub(crate) since: Instant,
}

impl Shared {
    pub(crate) fn new(connected: &Connected) -> Arc<Self> {
        let (counters, changed) = (Arc::<Counters>::default(), Arc::<Notify>::default());
        Arc::new(Self {
            router: Mutex::new(Router::new(counters.clone(), changed.clone())),
            changed,
            counters,
            state: watch::Sender::new(State::Connecting),
            closing: watch::Sender::new(false),
            client: Mutex::new(Some(connected.client.clone())),
        })
    }

    pub(crate) fn router(&self) -> MutexGuard<'_, Router> {
        self.router.lock().expect("no panic while locked")
    }

    pub(crate) fn client(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().expect("no panic while locked")
    }

    /// Tells the session to end.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Ends when the session shall end.
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // The sender lives in `self`.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// The channels that the server says this session listens to.
    pub(crate) async fn listening_channels(&self) -> Result<BTreeSet<String>, Error> {
        let disconnected = || Error::new(ErrorKind::Connect, "not connected at the moment");
        let client = self.client().clone().ok_or_else(disconnected)?;
        Ok(health::ask(&client).await?.listening)
    }
}

/// Runs until the listener shuts down or gives up, and ends every subscription.
pub(crate) async fn run(config: Arc<ListenerConfig>, shared: Arc<Shared>, first: Connected) {
    // Also when the runtime drops this task, nobody may wait for it for ever.
    let _ended = Ended(&shared);
    let mut connected = first;
    let mut attempts = (1..).zip(config.backoff.delays());
    let ended = loop {
        let begun = Instant::now();
        let Some(lost) = live(connected, &config, &shared).await else { break None };
        tracing::warn!(error = &lost.error as &dyn StdError, "connection lost");
        shared.router().lost(lost.since);
        // One that is lost as soon as it is made is no success.
        if begun.elapsed() >= config.heartbeat.interval {
            attempts = (1..).zip(config.backoff.delays());
        }
        connected = tokio::select! {
            again = reconnect(&config, &shared, lost, &mut attempts) => match again {
                Ok(connected) => connected,
                Err(error) => break Some(error),
            },
            () = shared.closed() => break None,
        };
        shared.counters.reconnects.add(1);
    };
    match &ended {
        Some(error) => tracing::error!(error = error as &dyn StdError, "gave up"),
        None => tracing::info!("listener shut down"),
    }
    shared.router().close(ended);
}

struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let dropped = "the runtime that drove the listener has dropped it";
        self.0.router().close(Some(Error::new(ErrorKind::Closed, dropped)));
        self.0.client().take();
        self.0.state.send_replace(State::Closed);
    }
}

/// Connects again, after ever longer waits; fails when the attempts allowed are used up.
async fn reconnect(
    config: &ListenerConfig,
    shared: &Shared,
    lost: Lost,
    attempts: impl Iterator<Item = (u32, Duration)>,
) -> Result<Connected, Error> {
    let mut error = lost.error;
    for (attempt, retry_in) in attempts {
        tracing::info!(attempt, ?retry_in, "waiting to connect again");
        shared.state.send_replace(State::Waiting { error: error.clone(), retry_in, attempt });
        tokio::time::sleep(retry_in).await;
        tracing::debug!(attempt, "connecting");
        shared.state.send_replace(State::Connecting);
        match connect(config).await {
            Ok(connected) => {
                let (backend_pid, down_for) = (connected.backend_pid, lost.since.elapsed());
                tracing::info!(attempt, backend_pid, ?down_for, "connected again");
                return Ok(connected);
            }
            Err(refused) => {
                tracing::warn!(attempt, error = &refused as &dyn StdError, "refused");
                error = refused;
            }
        }
    }
    Err(error)
}

/// How long a shutdown waits for the connection to take its goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// The life of one connection. `None` when the listener shuts down.
async fn live(connected: Connected, config: &ListenerConfig, shared: &Shared) -> Option<Lost> {
    let Connected { client, connection, backend_pid, proven } = connected;
    *shared.client() = Some(client.clone());
    let heard = Heard::now();
    let joiner = Joiner::new(config.limits.clone());
    let mut receiving = std::pin::pin!(receive(connection, joiner, &heard, shared));
    let lost = tokio::select! {
        lost = &mut receiving => Some(lost),
        lost = health::watch(&client, backend_pid, proven, config, &heard, shared) => Some(lost),
        never = keep_listening(&client, shared) => match never {},
        () = shared.closed() => None,
    };
    *shared.client() = None;
    if lost.is_none() {
        // Without a client the connection says goodbye and ends.
        drop(client);
        let _ = timeout(GOODBYE, receiving).await;
    }
    lost
}

/// Routes every notification as it arrives: an unread socket would hold back the queue of the
/// whole cluster. Returns why the connection ended.
async fn receive(
    mut connection: Connection,
    mut joiner: Joiner,
    heard: &Heard,
    shared: &Shared,
) -> Lost {
    let error = loop {
        let message = poll_fn(|cx| connection.poll_message(cx)).await;
        if let Some(Ok(_)) = message {
            heard.something();
        }
        match message {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                let (pid, channel) = (notification.process_id(), notification.channel());
                let payload = notification.payload();
                tracing::trace!(channel, pid, bytes = payload.len(), "notification");
                let step = joiner.push(pid, channel, payload);
                shared.router().route(pid, channel, payload, step);
            }
            Some(Ok(AsyncMessage::Notice(notice))) => {
                tracing::info!(code = notice.code().code(), "notice from the server");
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                break Error::postgres(ErrorKind::Lost, "connection lost", error);
            }
            None => break Error::new(ErrorKind::Lost, "connection lost: closed by the server"),
        }
    };
    // Its frames are among what the gap of the loss stands for.
    shared.counters.incomplete.add(joiner.give_up().is_some().into());
    Lost { error, since: heard.last() }
}

/// Runs `LISTEN` and `UNLISTEN` as subscribers come and go.
async fn keep_listening(client: &Client, shared: &Shared) -> Infallible {
    loop {
        let plan = shared.router().plan();
        if !plan.is_empty() {
            execute(client, &plan, shared).await;
            continue;
        }
        let listening = |state: &mut State| {
            let news = !matches!(state, State::Listening);
            *state = State::Listening;
            news
        };
        if shared.state.send_if_modified(listening) {
            tracing::info!(channels = shared.router().committed().count(), "listening");
        }
        shared.changed.notified().await;
    }
}

type Plan = [(Arc<str>, Command)];

/// Runs all commands in one transaction, so that they take effect together; if the server refuses,
/// each in its own, so that one leaves the others alone.
async fn execute(client: &Client, plan: &Plan, shared: &Shared) {
    let all: Vec<String> = plan.iter().map(|(channel, command)| sql(channel, *command)).collect();
    let done = |channel: &str, command, result: Result<(), tokio_postgres::Error>| {
        let result = result.map_err(|error| {
            tracing::warn!(channel, ?command, %error, "refused");
            Error::query("the server refused to listen", error)
        });
        shared.router().done(channel, command, result);
    };
    match client.batch_execute(&all.join(";")).await {
        Ok(()) => {
            tracing::debug!(commands = all.len(), "committed");
            let cut = cut_names(client, plan).await;
            for (channel, command) in plan {
                if cut.contains(channel) {
                    shared.router().done(channel, *command, Err(channel::cut(channel)));
                } else {
                    done(channel, *command, Ok(()));
                }
            }
        }
        Err(error) if is_refusal(&error) && plan.len() > 1 => {
            join_all(plan.iter().zip(all).map(async |((channel, command), sql)| {
                let result = client.batch_execute(&sql).await;
                wait_if_lost(&result).await;
                done(channel, *command, result);
            }))
            .await;
        }
        result => {
            wait_if_lost(&result).await;
            let (channel, command) = &plan[0];
            done(channel, *command, result);
        }
    }
}

/// Waits for ever if the connection is lost, which its task is about to find out.
async fn wait_if_lost(result: &Result<(), tokio_postgres::Error>) {
    if result.as_ref().is_err_and(|error| !is_refusal(error)) {
        std::future::pending::<()>().await;
    }
}

/// The channels under whose names the server does not listen: in its encoding they are too long,
/// and `LISTEN` has cut them.
async fn cut_names(client: &Client, plan: &Plan) -> Vec<Arc<str>> {
    let listens = plan.iter().filter(|(_, command)| *command == Command::Listen);
    let mut suspects: Vec<_> =
        listens.map(|(name, _)| name.clone()).filter(|name| !name.is_ascii()).collect();
    if !suspects.is_empty()
        && let Ok(health) = health::ask(client).await
    {
        suspects.retain(|name| !health.listening.contains(&**name));
        return suspects;
    }
    Vec::new()
}

fn sql(channel: &str, command: Command) -> String {
    let channel = channel::quote(channel);
    match command {
        Command::Listen => format!("LISTEN {channel}"),
        Command::Unlisten => format!("UNLISTEN {channel}"),
    }
}
