//! A day of publishing and pruning: what the log takes on disk, beside what is to be kept.

use std::time::Duration;

use notify_json_tests::{Server, ServerOptions};
use tokio::time::interval;

/// A simulated hour; events are kept for six.
const HOUR: Duration = Duration::from_millis(250);
const TICKS_AN_HOUR: u32 = 5;

pub(crate) async fn run(hours: u32) {
    let server = Server::start(&ServerOptions::default());
    let client = server.database().await.connect().await;
    let run = async |sql: &str| client.batch_execute(sql).await.expect("the server runs");
    run("SELECT notify_json.create_channel('c', retention => '1500 milliseconds')").await;
    let mut clock = interval(HOUR / TICKS_AN_HOUR);
    let mut worst: f64 = 0.0;
    for tick in 1..=hours * TICKS_AN_HOUR {
        clock.tick().await;
        run("SELECT count(notify_json('c', json_build_object('n', n, 'text', repeat('x', 200)))) \
             FROM generate_series(1, 1000) AS n")
        .await;
        run("SELECT notify_json.prune()").await;
        if tick % (6 * TICKS_AN_HOUR) == 0 {
            // Copied, the rows take as little as they can.
            run("CREATE TABLE live (LIKE notify_json.event INCLUDING ALL); \
                 INSERT INTO live SELECT * FROM notify_json.event \
                 WHERE published_at > clock_timestamp() - interval '1500 milliseconds'")
            .await;
            let sizes = "SELECT sum(pg_total_relation_size(relid))::float8 \
                             / pg_total_relation_size('live'), \
                         (SELECT count(*) FROM live) \
                         FROM pg_partition_tree('notify_json.event')";
            let row = client.query_one(sizes, &[]).await.expect("the server runs");
            let (ratio, live): (f64, i64) = (row.get(0), row.get(1));
            println!("hour {}: {live} rows to keep, {ratio:.2} x their size", tick / TICKS_AN_HOUR);
            worst = worst.max(ratio);
            run("DROP TABLE live").await;
        }
    }
    assert!(worst < 2.0, "the log grows beyond what it keeps");
    println!("{hours} hours: at most {worst:.2} x the size of the rows to keep");
}
