//! tokio-postgres, its connection polled by the receiver itself.

use std::future::poll_fn;

use notify_json_tests::Database;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Notification, Socket};

use super::super::CHANNEL;
use super::{Notifications, Payload};

pub(in crate::peers) struct Raw {
    connection: Connection<Socket, NoTlsStream>,
    /// Without it the connection ends.
    _client: Client,
}

pub(in crate::peers) async fn listen(database: &Database) -> Raw {
    let (client, mut connection) =
        tokio_postgres::connect(database.url(), NoTls).await.expect("the server runs");
    let listen = format!("LISTEN {CHANNEL}");
    tokio::select! {
        listening = client.batch_execute(&listen) => listening.expect("the server runs"),
        () = async { while poll_fn(|cx| connection.poll_message(cx)).await.is_some() {} } => {
            panic!("the connection ended")
        }
    }
    Raw { connection, _client: client }
}

impl Notifications for Raw {
    type Notification = Notification;

    async fn next(&mut self) -> Notification {
        loop {
            match poll_fn(|cx| self.connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(notification))) => return notification,
                Some(Ok(_)) => {}
                other => panic!("the connection ended: {:?}", other.map(|result| result.err())),
            }
        }
    }
}

impl Payload for Notification {
    fn payload(&self) -> &str {
        self.payload()
    }
}
