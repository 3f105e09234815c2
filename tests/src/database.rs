//! Connections to a database of a test server.

use notify_json_client::{Event, FromMessage, Listener, Subscription};
use tokio_postgres::{Client, NoTls};

/// A database to connect to.
#[derive(Clone, Debug)]
pub struct Database {
    url: String,
}

impl Database {
    /// The database that a URL names.
    pub fn at(url: String) -> Self {
        Self { url }
    }

    /// Its connection string.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same database for another role.
    pub fn as_role(&self, role: &str) -> Self {
        Self { url: self.url.replace("postgres@", &format!("{role}@")) }
    }

    /// A session of its own.
    pub async fn connect(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&self.url, NoTls).await.expect("the server is running");
        tokio::spawn(connection);
        client
    }

    /// A session of its own, as soon as the server takes one.
    pub async fn connect_when_up(&self) -> Client {
        loop {
            if let Ok((client, connection)) = tokio_postgres::connect(&self.url, NoTls).await {
                tokio::spawn(connection);
                return client;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Runs a statement in a session of its own.
    pub async fn execute(&self, sql: &str) {
        self.connect().await.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// A listener with default settings.
    pub async fn listener(&self) -> Listener {
        Listener::connect(&self.url).await.expect("the server is running")
    }
}

/// The next message, which must be one.
pub async fn next_message<T: FromMessage>(subscription: &mut Subscription<T>) -> T {
    match subscription.recv().await {
        Some(Ok(Event::Message(message))) => message,
        Some(Ok(Event::Gap(gap))) => panic!("gap: {gap}"),
        Some(Err(error)) => panic!("{error:?}"),
        None => panic!("the stream ended"),
    }
}

/// The next `count` messages, each of which must be one.
pub async fn drain<T: FromMessage>(subscription: &mut Subscription<T>, count: usize) -> Vec<T> {
    let mut messages = Vec::with_capacity(count);
    while messages.len() < count {
        messages.push(next_message(subscription).await);
    }
    messages
}
