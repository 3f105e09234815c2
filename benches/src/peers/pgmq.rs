//! pgmq, of the SQL that its Python client brings along. A consumer reads a thousand messages, which
//! hides them for a while, and deletes them.

use futures_util::future::BoxFuture;
use notify_json_tests::Database;
use tokio_postgres::{Client, Statement};

use super::{CHANNEL, PAGE, Receiver, Seen, Start, script};

/// Installs it and returns its version; says why if it cannot be had.
pub(crate) async fn install(database: &Database) -> Result<String, String> {
    let path = script("pgmq-sql.sh").map_err(|why| format!("pgmq was not measured: {why}"))?;
    database.execute(&std::fs::read_to_string(&path).expect("it was just written")).await;
    database.execute(&format!("SELECT pgmq.create('{CHANNEL}')")).await;
    let version = path.split("pgmq-").nth(1).and_then(|rest| rest.split('/').next());
    Ok(format!("of its Python client {}", version.unwrap_or_default()))
}

pub(super) struct Pgmq {
    client: Client,
    read: Statement,
    delete: Statement,
}

impl Pgmq {
    pub(super) async fn consume(database: &Database, start: Start) -> Self {
        let client = database.connect().await;
        if start == Start::Now {
            let purge = format!("SELECT pgmq.purge_queue('{CHANNEL}')");
            client.batch_execute(&purge).await.expect("the server runs");
        }
        // Polled by the server every 10 ms, where the default is 100.
        let read = format!(
            "SELECT msg_id, message::text \
             FROM pgmq.read_with_poll('{CHANNEL}', 30, {PAGE}, 5, 10) ORDER BY msg_id"
        );
        let read = client.prepare(&read).await.expect("pgmq has it");
        let delete = format!("SELECT count(*) FROM pgmq.delete('{CHANNEL}', $1::bigint[])");
        let delete = client.prepare(&delete).await.expect("pgmq has it");
        Self { client, read, delete }
    }
}

impl Receiver for Pgmq {
    fn receive<'a>(&'a mut self, seen: Seen<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let rows = self.client.query(&self.read, &[]).await.expect("the server runs");
                let is_done = rows.iter().any(|row| seen(row.get(1)).is_break());
                let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
                self.client.execute(&self.delete, &[&ids]).await.expect("the server runs");
                if is_done {
                    return;
                }
            }
        })
    }
}
