//! A table for the messages, whose ids travel by NOTIFY.
//!
//! The receiver takes all ids that have come and fetches their messages by one query. Nobody
//! deletes them, which would cost it more.

use futures_util::future::BoxFuture;
use notify_json_tests::Database;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls, Statement};

use super::{CHANNEL, Receiver, Seen};

pub(crate) const TABLE: &str =
    "CREATE TABLE claim (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, message text)";

pub(super) struct ClaimCheck {
    ids: mpsc::UnboundedReceiver<i64>,
    client: Client,
    fetch: Statement,
}

impl ClaimCheck {
    pub(super) async fn listen(database: &Database) -> Self {
        let (client, mut connection) =
            tokio_postgres::connect(database.url(), NoTls).await.expect("the server runs");
        let (sender, ids) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) =
                std::future::poll_fn(|cx| connection.poll_message(cx)).await
            {
                if let AsyncMessage::Notification(notification) = message {
                    let id = notification.payload().parse().expect("it is an id");
                    // Nobody receives any more.
                    let _ = sender.send(id);
                }
            }
        });
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await.expect("the server runs");
        let sql = "SELECT message FROM claim WHERE id = ANY ($1) ORDER BY id";
        let fetch = client.prepare(sql).await.expect("the table exists");
        Self { ids, client, fetch }
    }
}

impl Receiver for ClaimCheck {
    fn receive<'a>(&'a mut self, seen: Seen<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut ids = Vec::new();
            loop {
                ids.clear();
                self.ids.recv_many(&mut ids, 1_000).await;
                let rows = self.client.query(&self.fetch, &[&ids]).await.expect("the server runs");
                if rows.iter().any(|row| seen(row.get(0)).is_break()) {
                    return;
                }
            }
        })
    }
}
