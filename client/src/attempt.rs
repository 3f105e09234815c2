//! Making a connection that can listen.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

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
    /// Whether it is known not to come from a pooler in transaction mode.
    pub(crate) proven: bool,
}

/// Connects, and finds out whether the server can serve a listener.
pub(crate) async fn connect(config: &ListenerConfig) -> Result<Connected, Error> {
    let (client, mut connection) = config.connector.connect().await?;
    let health = ask(&client, &mut connection, config).await?;
    let backend_pid = health.backend_pid;
    health::check(health, backend_pid)?;
    let proven = alongside(&mut connection, prove_session(&client, config)).await??;
    Ok(Connected { client: Arc::new(client), connection, backend_pid, proven })
}

/// Refuses a pooler in transaction mode: there, a second connection gets the session that the
/// first has just listened with. `false` if there was no second connection to be had, so that
/// nothing is known.
pub(crate) async fn prove_session(client: &Client, config: &ListenerConfig) -> Result<bool, Error> {
    let probe = format!("notify_json probe {:016x}", fastrand::u64(..));
    let run = async |sql: String| {
        let lost = |error| Error::postgres(ErrorKind::Connect, "cannot connect", error);
        in_time(config.heartbeat.timeout, client.batch_execute(&sql)).await?.map_err(lost)
    };
    run(format!("LISTEN \"{probe}\"")).await?;
    let second = timeout(config.heartbeat.timeout, async {
        let (client, mut connection) = config.connector.connect().await?;
        ask(&client, &mut connection, config).await
    });
    let proven = match second.await {
        Ok(Ok(health)) if health.listening.contains(&probe) => return Err(health::pooler()),
        Ok(Ok(_)) => true,
        _ => {
            tracing::warn!("no second connection, so a pooler in transaction mode may be between");
            false
        }
    };
    run(format!("UNLISTEN \"{probe}\"")).await?;
    Ok(proven)
}

/// Asks a server that has just let us in; it may fall silent all the same.
async fn ask(
    client: &Client,
    connection: &mut Connection,
    config: &ListenerConfig,
) -> Result<Health, Error> {
    let answer = alongside(connection, health::ask(client));
    in_time(config.heartbeat.timeout, answer).await??.map_err(|error| match error.kind() {
        ErrorKind::Postgres => {
            Error::new(ErrorKind::Connect, "cannot connect: the server refuses its first query")
                .caused_by(error)
        }
        _ => error,
    })
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Error> {
    let silent =
        |_| Error::new(ErrorKind::Connect, format!("cannot connect: no answer in {limit:?}"));
    timeout(limit, work).await.map_err(silent)
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
