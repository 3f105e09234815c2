//! sqlx's `PgListener`.

use notify_json_tests::Database;
use sqlx::postgres::{PgListener, PgNotification};

use super::super::CHANNEL;
use super::{Notifications, Payload};

pub(in crate::peers) async fn listen(database: &Database) -> PgListener {
    let mut listener = PgListener::connect(database.url()).await.expect("the server runs");
    listener.listen(CHANNEL).await.expect("the server runs");
    listener
}

impl Notifications for PgListener {
    type Notification = PgNotification;

    async fn next(&mut self) -> PgNotification {
        self.recv().await.expect("the server runs")
    }
}

impl Payload for PgNotification {
    fn payload(&self) -> &str {
        self.payload()
    }
}
