//! A subscriber that never reads disturbs nobody else, and costs a bounded amount.

use notify_json_client::{Bounds, Event, Gap};
use notify_json_tests::{Server, ServerOptions, memory, next_message};

pub(crate) async fn run(count: u64) {
    let server = Server::start(&ServerOptions::default());
    let database = server.database().await;
    let listener = database.listener().await;
    let mut sleeper = listener.subscribe::<u64>("numbers").await.expect("the server runs");
    let mut reader = listener.subscribe::<u64>("numbers").await.expect("the server runs");
    let client = database.connect().await;
    let sending = tokio::spawn(async move {
        for thousand in 0..count / 1_000 {
            let numbers = format!(
                "SELECT notify_json('numbers', to_json({thousand} * 1000 + n)) \
                 FROM generate_series(0, 999) n"
            );
            client.batch_execute(&numbers).await.expect("the server runs");
        }
        client
    });
    for number in 0..count {
        assert_eq!(next_message(&mut reader).await, number);
    }
    let client = sending.await.expect("the sender does not panic");
    let usage = "SELECT pg_notification_queue_usage()";
    while client.query_one(usage, &[]).await.expect("it runs").get::<_, f64>(0) > 0.0 {}

    let (_, peak) = memory(std::process::id());
    println!("{count} messages read; at most {} MB held", peak / 1_000_000);
    assert!(peak < 200_000_000, "a sleeper costs a bounded amount");
    let kept = Bounds::default().messages as u64;
    let first = sleeper.recv().await.expect("the listener runs").expect("no error");
    assert_eq!(first, Event::Gap(Gap::Lagged { missed: count - kept }));
    for number in count - kept..count {
        assert_eq!(next_message(&mut sleeper).await, number);
    }
    println!("the sleeper missed {} and has the newest {kept}", count - kept);
}
