//! The doorbell worker: it rings for all that commit, and where there is none, or no more, nothing
//! is lost and nobody is held up.

mod commits;
mod failing;
mod life;
mod settings;

use futures_util::StreamExt;
use futures_util::stream;
use notify_json_tests::{Database, Server, ServerOptions};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::{publish, run, until, value};

const PRELOAD: (&str, &str) = ("shared_preload_libraries", "notify_json");

/// A server with the library.
fn server(settings: &[(&str, &str)]) -> Server {
    let settings = [&[PRELOAD], settings].concat();
    Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() })
}

/// A new database whose channel `d` is durable, without a worker.
async fn database(server: &Server) -> Database {
    let database = server.database().await;
    database.execute("SELECT notify_json.create_channel('d')").await;
    database
}

/// The same with a worker; no other database has one.
async fn served(server: &Server) -> Database {
    let database = database(server).await;
    serve(server, &[&name(&database).await]).await;
    until_served(&database).await;
    database
}

async fn name(database: &Database) -> String {
    value(&database.connect().await, "SELECT current_database()::text").await
}

/// Sets which databases are to have a worker.
async fn serve(server: &Server, databases: &[&str]) {
    set(server, "notify_json.databases", &databases.join(", ")).await;
}

async fn set(server: &Server, name: &str, value: &str) {
    let admin = Database::at(server.url("postgres")).connect().await;
    run(&admin, &format!("ALTER SYSTEM SET {name} = '{value}'")).await;
    run(&admin, "SELECT pg_reload_conf()").await;
}

const OWN: &str = "SELECT pid FROM notify_json.worker
                   WHERE state = 'serving' AND database = current_database()";

/// Waits for the worker of a database, and returns its process.
async fn until_served(database: &Database) -> i32 {
    let client = database.connect().await;
    until(&client, &format!("SELECT EXISTS ({OWN})")).await;
    value(&client, OWN).await
}

/// Waits until no worker has to do with the database any more.
async fn until_not_served(database: &Database) {
    let gone = "SELECT count(*) = 0 FROM notify_json.worker WHERE database = current_database()";
    until(&database.connect().await, gone).await;
}

/// A session that attends channels, and what it hears: channel and sender.
struct Ear {
    client: Client,
    heard: UnboundedReceiver<(String, i32)>,
}

impl Ear {
    async fn on(database: &Database, channels: &[&str]) -> Self {
        let (client, mut connection) =
            tokio_postgres::connect(database.url(), NoTls).await.unwrap();
        let (sender, heard) = unbounded_channel();
        tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(notification) = message {
                    assert_eq!(notification.payload(), "~1 event");
                    let _ =
                        sender.send((notification.channel().to_owned(), notification.process_id()));
                }
            }
        });
        for channel in channels {
            run(&client, &format!("LISTEN {channel}")).await;
            run(&client, &format!("SELECT notify_json.attend('{channel}')")).await;
        }
        Self { client, heard }
    }

    /// Waits for the next doorbell.
    async fn hear(&mut self) -> (String, i32) {
        self.heard.recv().await.expect("the session lives")
    }

    /// Waits for the next doorbell, which must be that of channel `d`, and returns who rang.
    async fn hear_d(&mut self) -> i32 {
        let (channel, sender) = self.hear().await;
        assert_eq!(channel, "d");
        sender
    }
}

/// A session in the middle of a commit: behind the point where it may fail, and before the one
/// where others see it. For that it waits for a standby that never comes.
struct Committing {
    pid: i32,
    done: tokio::task::JoinHandle<()>,
}

impl Committing {
    /// Runs a statement as far as that, on a server with [`STANDBY`].
    async fn start(database: &Database, sql: &'static str) -> Self {
        let client = database.connect().await;
        let pid = super::pid(&client).await;
        let done = tokio::spawn(async move {
            run(&client, "SET synchronous_commit = on").await;
            run(&client, sql).await;
        });
        let waits =
            format!("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {pid}");
        until_some(&database.connect().await, &waits).await;
        Self { pid, done }
    }

    /// Holds the lock that every commit with notifications takes.
    async fn notify(database: &Database) -> Self {
        // A commit without anything in the WAL would not wait.
        Self::start(database, "SELECT pg_logical_emit_message(true, '', ''); NOTIFY other").await
    }

    async fn finish(self, client: &Client) {
        run(client, &format!("SELECT pg_cancel_backend({})", self.pid)).await;
        self.done.await.unwrap();
    }
}

/// Commits wait for it if they ask for more than their own server's disk.
const STANDBY: [(&str, &str); 2] =
    [("synchronous_standby_names", "nobody"), ("synchronous_commit", "local")];

/// Waits until a query says true; it may also say nothing.
async fn until_some(client: &Client, sql: &str) {
    until(client, &format!("SELECT coalesce(({sql}), false)")).await;
}
