//! The life of one connection: everything it brings is routed, and the server is kept listening to
//! exactly the channels that have subscribers.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::join_all;
use notify_json_wire::{Joiner, Limits};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio_postgres::{AsyncMessage, Client, Connection};

use crate::router::{Command, Router};
use crate::{Error, ErrorKind, channel};

/// What the session's task and the listener's handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    router: Mutex<Router>,
    /// The wish of the router may have changed.
    pub(crate) changed: Notify,
    /// `true` once the session shall end.
    pub(crate) closing: watch::Sender<bool>,
    /// The session's client while it is connected.
    client: Mutex<Option<Arc<Client>>>,
}

impl Shared {
    pub(crate) fn new(client: Arc<Client>) -> Arc<Self> {
        Arc::new(Self {
            router: Mutex::default(),
            changed: Notify::new(),
            closing: watch::Sender::new(false),
            client: Mutex::new(Some(client)),
        })
    }

    /// The channels that the server says this session listens to.
    pub(crate) async fn listening_channels(&self) -> Result<BTreeSet<String>, Error> {
        let client = self.client().clone().ok_or_else(Error::closed)?;
        let rows = client
            .query_typed("SELECT pg_catalog.pg_listening_channels()", &[])
            .await
            .map_err(|error| Error::postgres(ErrorKind::Postgres, "connection lost", error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn client(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().expect("no panic while locked")
    }

    pub(crate) fn router(&self) -> MutexGuard<'_, Router> {
        self.router.lock().expect("no panic while locked")
    }
}

/// Runs until the connection is lost or the listener shuts down, and ends every subscription.
pub(crate) async fn run<S, T>(
    client: Arc<Client>,
    connection: Connection<S, T>,
    limits: Limits,
    shared: Arc<Shared>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut receiving = std::pin::pin!(receive(connection, Joiner::new(limits), &shared));
    let lost = tokio::select! {
        lost = &mut receiving => lost,
        () = keep_listening(&client, &shared) => None,
    };
    *shared.client() = None;
    if lost.is_none() {
        // Without a client the connection says goodbye and ends.
        drop(client);
        let _ = receiving.await;
    }
    match &lost {
        Some(error) => tracing::error!(error = error as &dyn std::error::Error, "connection lost"),
        None => tracing::info!("listener shut down"),
    }
    shared.router().close(lost);
}

/// Routes every notification as it arrives: an unread socket would hold back the queue of the
/// whole cluster. Returns why the connection ended.
async fn receive<S, T>(
    mut connection: Connection<S, T>,
    mut joiner: Joiner,
    shared: &Shared,
) -> Option<Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let lost = loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
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
                break Error::postgres(ErrorKind::Postgres, "connection lost", error);
            }
            None if *shared.closing.borrow() => return None,
            None => {
                let text = "connection lost: closed by the server";
                break Error::new(ErrorKind::Postgres, text);
            }
        }
    };
    if let Some(incomplete) = joiner.give_up() {
        shared.router().push_gap(incomplete);
    }
    Some(lost)
}

/// Runs `LISTEN` and `UNLISTEN` as subscribers come and go, until the listener shuts down.
async fn keep_listening(client: &Client, shared: &Shared) {
    let mut closing = shared.closing.subscribe();
    loop {
        let plan = shared.router().plan();
        if plan.is_empty() {
            tokio::select! {
                () = shared.changed.notified() => continue,
                _ = closing.wait_for(|closing| *closing) => return,
            }
        }
        // Each its own transaction, sent without waiting for one another.
        join_all(plan.iter().map(|(channel, command)| execute(client, channel, *command, shared)))
            .await;
    }
}

async fn execute(client: &Client, channel: &str, command: Command, shared: &Shared) {
    let quoted = channel::quote(channel);
    let sql = match command {
        Command::Listen => format!("LISTEN {quoted}"),
        Command::Unlisten => format!("UNLISTEN {quoted}"),
    };
    let result = client.batch_execute(&sql).await;
    match &result {
        Ok(()) => tracing::debug!(channel, ?command, "committed"),
        Err(error) => tracing::warn!(channel, ?command, %error, "failed"),
    }
    let result = result
        .map_err(|error| Error::postgres(ErrorKind::Postgres, &format!("{sql} failed"), error));
    shared.router().done(channel, command, result);
}
