//! A table like the log of notify_json, read by id in pages: what comes after the highest id seen.
//! It loses what commits late, so it is a limit, not a peer.

use futures_util::future::BoxFuture;
use notify_json_tests::Database;
use tokio_postgres::{Client, Statement};

use super::{CHANNEL, PAGE, Receiver, Seen};

pub(crate) const TABLE: &str = "
    CREATE SEQUENCE plain_id;
    CREATE TABLE plain (LIKE notify_json.event INCLUDING COMPRESSION INCLUDING STORAGE);
    ALTER TABLE plain ALTER slot SET DEFAULT 0, ALTER channel_id SET DEFAULT 1,
        ALTER id SET DEFAULT nextval('plain_id'),
        ALTER xid SET DEFAULT pg_current_xact_id(),
        ALTER published_at SET DEFAULT clock_timestamp(),
        ADD PRIMARY KEY (channel, id, slot);
    CREATE INDEX ON plain (xid, channel, id);";

pub(super) struct Select {
    client: Client,
    page: Statement,
}

impl Select {
    pub(super) async fn from_earliest(database: &Database) -> Self {
        let client = database.connect().await;
        let page = format!(
            "SELECT id, published_at, payload::text FROM plain \
             WHERE channel = '{CHANNEL}' AND id > $1 ORDER BY id LIMIT {PAGE}"
        );
        let page = client.prepare(&page).await.expect("the table is there");
        Self { client, page }
    }
}

impl Receiver for Select {
    fn receive<'a>(&'a mut self, seen: Seen<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut after = 0_i64;
            loop {
                let rows = self.client.query(&self.page, &[&after]).await.expect("it runs");
                if rows.iter().any(|row| seen(row.get(2)).is_break()) {
                    return;
                }
                after = rows.last().expect("the last message breaks").get(0);
            }
        })
    }
}
