//! How fast one consumer reads what it has missed, and what that costs in memory.

use std::time::Instant;

use notify_json_client::Event;
use notify_json_tests::{Server, ServerOptions, memory};

pub(crate) async fn run(events: i64) {
    let settings = [("max_wal_size", "8GB"), ("shared_buffers", "256MB")];
    let server = Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() });
    let database = server.database().await;
    let client = database.connect().await;
    client.batch_execute("SELECT notify_json.create_channel('c')").await.expect("it runs");
    for first in (0..events).step_by(100_000) {
        let publish = format!(
            "SELECT count(notify_json('c', json_build_object('id', n, 'status', 'paid'))) \
             FROM generate_series({first}, {}) AS n",
            (first + 100_000).min(events) - 1
        );
        client.batch_execute(&publish).await.expect("it runs");
    }
    let listener = database.listener().await;
    let (before, _) = memory(std::process::id());
    let started = Instant::now();
    let mut consumer =
        listener.consume::<serde_json::Value>("c", "worker").await.expect("the server runs");
    for number in 0..events {
        match consumer.recv().await {
            Some(Ok(Event::Message(event))) => {
                assert_eq!(event.payload["id"], number);
                if number % 1_000 == 999 {
                    event.ack(&client).await.expect("the server runs");
                }
            }
            other => panic!("{other:?}"),
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let (_, peak) = memory(std::process::id());
    println!(
        "{events} events in {seconds:.1} s: {:.0} a second, acknowledged by the thousand; \
         at most {} MB above idle",
        events as f64 / seconds,
        (peak - before) / 1_000_000
    );
}
