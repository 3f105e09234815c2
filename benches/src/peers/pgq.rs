//! PgQ, of Debian's package. A consumer reads batch after batch, from tick to tick; somebody has to
//! tick, and here a connection of the bench does.

use std::time::Duration;

use futures_util::future::BoxFuture;
use notify_json_tests::Database;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};
use tokio_postgres::{Client, Statement};

use super::{CHANNEL, Receiver, Seen, Start, script};

/// How often there may be a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticks {
    /// As by default: `pgqd` looks every second, and ticks after 500 events or 3 seconds.
    Default,
    /// Every 10 ms, if there was an event.
    Often,
}

/// Installs it and returns its version; says why if it cannot be had.
pub(crate) async fn install(database: &Database) -> Result<String, String> {
    script("private-pgq.sh").map_err(|why| format!("PgQ was not measured: {why}"))?;
    database.execute("CREATE EXTENSION pgq").await;
    database.execute(&format!("SELECT pgq.create_queue('{CHANNEL}')")).await;
    let version = database.connect().await.query_one("SELECT pgq.version()", &[]).await;
    Ok(version.expect("PgQ has it").get(0))
}

pub(crate) const TICK: &str = "SELECT pgq.force_tick('bench'); SELECT pgq.ticker('bench')";

pub(super) struct PgQ {
    client: Client,
    next: Statement,
    events: Statement,
    finish: Statement,
    /// After finding nothing.
    pause: Duration,
    ticker: JoinHandle<()>,
}

impl PgQ {
    pub(super) async fn consume(database: &Database, start: Start, ticks: Ticks) -> Self {
        let client = database.connect().await;
        let (every, max_lag, max_count) = match ticks {
            Ticks::Default => (Duration::from_secs(1), "3 s", 500),
            Ticks::Often => (Duration::from_millis(10), "0 s", 1),
        };
        let first = match start {
            // Those of the last tick, which is now.
            Start::Now => {
                client.batch_execute(TICK).await.expect("the server runs");
                "max"
            }
            Start::Earliest => "min",
        };
        let register = format!(
            "SELECT pgq.set_queue_config('{CHANNEL}', 'ticker_max_lag', '{max_lag}'); \
             SELECT pgq.set_queue_config('{CHANNEL}', 'ticker_max_count', '{max_count}'); \
             SELECT pgq.unregister_consumer('{CHANNEL}', 'bench') FROM pgq.get_consumer_info(); \
             SELECT pgq.register_consumer_at('{CHANNEL}', 'bench', {first}(tick_id)) \
             FROM pgq.tick",
        );
        client.batch_execute(&register).await.expect("the server runs");
        let prepare = async |sql: &str| client.prepare(sql).await.expect("PgQ has it");
        let next = prepare(&format!("SELECT pgq.next_batch('{CHANNEL}', 'bench')")).await;
        let events = prepare("SELECT ev_data FROM pgq.get_batch_events($1)").await;
        let finish = prepare("SELECT pgq.finish_batch($1)").await;
        let ticker = tokio::spawn(tick(database.connect().await, every));
        Self { client, next, events, finish, pause: every / 10, ticker }
    }
}

async fn tick(client: Client, every: Duration) {
    let mut beats = interval(every);
    loop {
        beats.tick().await;
        client.batch_execute("SELECT pgq.ticker()").await.expect("the server runs");
    }
}

impl Drop for PgQ {
    fn drop(&mut self) {
        self.ticker.abort();
    }
}

impl Receiver for PgQ {
    fn receive<'a>(&'a mut self, seen: Seen<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let next = self.client.query_one(&self.next, &[]).await.expect("the server runs");
                let Some(batch) = next.get::<_, Option<i64>>(0) else {
                    sleep(self.pause).await;
                    continue;
                };
                let rows = self.client.query(&self.events, &[&batch]).await;
                let rows = rows.expect("the server runs");
                let is_done = rows.iter().any(|row| seen(row.get(0)).is_break());
                self.client.execute(&self.finish, &[&batch]).await.expect("the server runs");
                if is_done {
                    return;
                }
            }
        })
    }
}
