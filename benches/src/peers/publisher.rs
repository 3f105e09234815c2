//! Sending: one statement and transaction for any number of messages.

use notify_json_tests::Database;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Statement};

use super::by_hand::frames;
use super::{CHANNEL, Peer, pgq};

pub(crate) struct Publisher {
    peer: Peer,
    client: Client,
    one: Statement,
    many: Statement,
    /// Of the next message sent in frames by hand.
    next_id: u64,
}

impl Publisher {
    pub(crate) async fn connect(peer: Peer, database: &Database) -> Self {
        let client = database.connect().await;
        if peer == Peer::ClaimCheck {
            client.batch_execute("TRUNCATE claim").await.expect("the server runs");
        }
        let (one, many) = statements(peer);
        let one = client.prepare(&one).await.expect("the server runs");
        let many = client.prepare(&many).await.expect("the server runs");
        Self { peer, client, one, many, next_id: 0 }
    }

    /// Sends messages in one transaction.
    pub(crate) async fn publish(&mut self, messages: &[String]) {
        let by_hand = matches!(self.peer, Peer::Raw | Peer::Sqlx | Peer::PgPubSub);
        match messages {
            [message] if !by_hand => self.execute(&self.one, message).await,
            messages if !by_hand => self.execute(&self.many, &messages).await,
            messages => {
                let mut payloads = Vec::with_capacity(messages.len());
                for message in messages {
                    payloads.append(&mut frames(self.next_id, message));
                    self.next_id += 1;
                }
                match &payloads[..] {
                    [payload] => self.execute(&self.one, payload).await,
                    payloads => self.execute(&self.many, &payloads).await,
                }
            }
        }
    }

    /// Where only a tick shows consumers what was sent, has one come now.
    pub(crate) async fn tick(&self) {
        if matches!(self.peer, Peer::PgQ(_)) {
            self.client.batch_execute(pgq::TICK).await.expect("the server runs");
        }
    }

    async fn execute(&self, statement: &Statement, parameter: &(dyn ToSql + Sync)) {
        self.client.execute(statement, &[parameter]).await.expect("the server runs");
    }

    /// Another query on this connection.
    pub(crate) async fn ask<T: for<'a> FromSql<'a>>(&self, sql: &str) -> T {
        self.client.query_one(sql, &[]).await.expect("the server runs").get(0)
    }
}

/// For one message, and for an array of them.
fn statements(peer: Peer) -> (String, String) {
    match peer {
        Peer::NotifyJson | Peer::Durable => (
            format!("SELECT notify_json('{CHANNEL}', $1::text)"),
            format!("SELECT count(notify_json('{CHANNEL}', m)) FROM unnest($1::text[]) AS m"),
        ),
        Peer::Raw | Peer::Sqlx | Peer::PgPubSub => (
            format!("SELECT pg_notify('{CHANNEL}', $1::text)"),
            format!("SELECT count(pg_notify('{CHANNEL}', m)::text) FROM unnest($1::text[]) AS m"),
        ),
        Peer::ClaimCheck => {
            let insert = |messages| {
                format!(
                    "WITH new AS (INSERT INTO claim (message) {messages} RETURNING id) \
                     SELECT count(pg_notify('{CHANNEL}', id::text)::text) FROM new"
                )
            };
            (insert("VALUES ($1::text)"), insert("SELECT unnest($1::text[])"))
        }
        Peer::PgQ(_) => (
            format!("SELECT pgq.insert_event('{CHANNEL}', '', $1::text)"),
            format!(
                "SELECT count(pgq.insert_event('{CHANNEL}', '', m)) FROM unnest($1::text[]) AS m"
            ),
        ),
        Peer::Pgmq => (
            format!("SELECT pgmq.send('{CHANNEL}', $1::text::jsonb)"),
            format!("SELECT count(*) FROM pgmq.send_batch('{CHANNEL}', $1::text[]::jsonb[])"),
        ),
        Peer::Insert => (
            format!("INSERT INTO plain (channel, payload) VALUES ('{CHANNEL}', $1::text::json)"),
            format!(
                "INSERT INTO plain (channel, payload) \
                 SELECT '{CHANNEL}', m::json FROM unnest($1::text[]) AS m"
            ),
        ),
    }
}
