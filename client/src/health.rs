//! Whether the server at the other end still listens for us.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_postgres::Client;

use crate::attempt::prove_session;
use crate::session::{Lost, Shared};
use crate::{Error, ErrorKind, ListenerConfig};

/// How often the server is asked, and how long it may stay silent then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// What the server says of the session.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) backend_pid: i32,
    pub(crate) standby: bool,
    pub(crate) listening: BTreeSet<String>,
}

const QUESTION: &str = "SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery(), \
                        ARRAY(SELECT pg_catalog.pg_listening_channels())";

/// Asks the server in one round trip.
pub(crate) async fn ask(client: &Client) -> Result<Health, Error> {
    let read = |row: tokio_postgres::Row| {
        Ok(Health {
            backend_pid: row.try_get(0)?,
            standby: row.try_get(1)?,
            listening: row.try_get::<_, Vec<String>>(2)?.into_iter().collect(),
        })
    };
    let answer = client.query_typed_one(QUESTION, &[]).await.and_then(read);
    answer.map_err(|error| Error::query("heartbeat failed", error))
}

/// When the server was last heard of.
pub(crate) struct Heard(Mutex<Instant>);

impl Heard {
    pub(crate) fn now() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    pub(crate) fn something(&self) {
        *self.0.lock().expect("no panic while locked") = Instant::now();
    }

    pub(crate) fn last(&self) -> Instant {
        *self.0.lock().expect("no panic while locked")
    }
}

/// Asks the server at every beat, and has repaired what it has forgotten. Ends when it does not
/// answer, or cannot serve a listener.
pub(crate) async fn watch(
    client: &Client,
    backend_pid: i32,
    mut proven: bool,
    config: &ListenerConfig,
    heard: &Heard,
    shared: &Shared,
) -> Lost {
    let heartbeat = config.heartbeat;
    let mut answered = Instant::now();
    let mut beats = interval_at(answered + heartbeat.interval, heartbeat.interval);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let expected = shared.router().committed();
        let health = tokio::select! {
            health = ask(client) => health,
            silence = silence(heard, heartbeat.timeout) => return silence,
        };
        let health = match health.and_then(|health| check(health, backend_pid)) {
            Ok(health) => health,
            Err(error) => return Lost { error, since: answered },
        };
        shared.router().reconcile(expected, &health.listening, answered);
        if !proven {
            proven = match prove_session(client, config).await {
                Ok(proven) => proven,
                Err(error) => return Lost { error, since: answered },
            };
        }
        answered = Instant::now();
        tracing::trace!(channels = health.listening.len(), "heartbeat");
    }
}

/// A server busy sending answers when it is done, but only a deaf one takes this many timeouts.
const MAX_TIMEOUTS: u32 = 10;

/// Ends when the question just asked should have been answered: nothing has been heard for so long,
/// or everything but the answer.
async fn silence(heard: &Heard, timeout: Duration) -> Lost {
    let asked = Instant::now();
    loop {
        let deadline = (heard.last().max(asked) + timeout).min(asked + timeout * MAX_TIMEOUTS);
        if deadline <= Instant::now() {
            let waited = asked.elapsed();
            let text = format!("connection lost: the server has not answered for {waited:.1?}");
            return Lost { error: Error::new(ErrorKind::Lost, text), since: heard.last() };
        }
        sleep_until(deadline).await;
    }
}

/// Refuses what cannot serve a listener.
pub(crate) fn check(health: Health, backend_pid: i32) -> Result<Health, Error> {
    if health.standby {
        let text = "the server is a standby, which cannot listen: connect to the primary, or name \
                    all hosts and target_session_attrs=read-write";
        return Err(Error::new(ErrorKind::Unsupported, text));
    }
    if health.backend_pid != backend_pid {
        return Err(pooler());
    }
    Ok(health)
}

/// What to say of a connection that is not one session.
pub(crate) fn pooler() -> Error {
    let text = "the connection changes its session between transactions, as through a pooler in \
                transaction mode, where LISTEN has no effect: connect to the server itself, or to \
                a pool in session mode";
    Error::new(ErrorKind::Unsupported, text)
}
