//! Making a connection that can listen.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use tokio::time::timeout;
use tokio_postgres::Client;

pub(crate) use crate::connect::Connection;
use crate::health::Health;
use crate::{Error, ErrorKind, ListenerConfig, health};

/// A connection to a server that can serve a listener.
pub(crate) struct Connected {
    pub(crate) client: Arc<Client>,
    pub(crate) connection: Connection,
    pub(crate) backend_pid: i32,
}

/// Connects, and asks whether the server can serve a listener.
pub(crate) async fn connect(config: &ListenerConfig) -> Result<Connected, Error> {
    let (client, mut connection) = config.connector.connect().await?;
    let health = ask(&client, &mut connection, config).await?;
    let backend_pid = health.backend_pid;
    health::check(health, backend_pid)?;
    Ok(Connected { client: Arc::new(client), connection, backend_pid })
}

/// Refuses a pooler in transaction mode: there, a second connection gets the session that the
/// first has just listened with. A busy pooler may hide that; the heartbeat finds it.
pub(crate) async fn refuse_pooler(
    connected: &mut Connected,
    config: &ListenerConfig,
) -> Result<(), Error> {
    let Connected { client, connection, .. } = connected;
    let probe = format!("notify_json probe {:016x}", fastrand::u64(..));
    let lost = |error| Error::postgres(ErrorKind::Connect, "cannot connect", error);
    alongside(connection, client.batch_execute(&format!("LISTEN \"{probe}\"")))
        .await?
        .map_err(lost)?;
    // Without a second connection to be had, nothing speaks against the first.
    let second = timeout(config.heartbeat.timeout, async {
        let (client, mut connection) = config.connector.connect().await?;
        ask(&client, &mut connection, config).await
    });
    if let Ok(Ok(health)) = second.await
        && health.listening.contains(&probe)
    {
        return Err(health::pooler());
    }
    alongside(connection, client.batch_execute(&format!("UNLISTEN \"{probe}\"")))
        .await?
        .map_err(lost)
}

/// Asks a server that has just let us in; it may fall silent all the same.
async fn ask(
    client: &Client,
    connection: &mut Connection,
    config: &ListenerConfig,
) -> Result<Health, Error> {
    let limit = config.heartbeat.timeout;
    timeout(limit, alongside(connection, health::ask(client))).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Connect, format!("cannot connect: no answer in {limit:?}")))
    })?
}

/// Runs queries of a connection that no task drives yet.
async fn alongside<F: Future>(connection: &mut Connection, work: F) -> Result<F::Output, Error> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            output = &mut work => return Ok(output),
            message = poll_fn(|cx| connection.poll_message(cx)) => match message {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    return Err(Error::postgres(ErrorKind::Connect, "cannot connect", error));
                }
                None => return Err(Error::new(ErrorKind::Connect, "closed by the server")),
            },
        }
    }
}
