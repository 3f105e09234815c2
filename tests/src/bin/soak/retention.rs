//! A day of publishing and pruning: what the log takes on disk, beside what is to be kept.

use std::time::Duration;

use notify_json_tests::{Server, ServerOptions};
use tokio::time::interval;
use tokio_postgres::Client;

/// In a simulated hour, of which the last six are kept.
const TICKS_AN_HOUR: u32 = 5;
const EVENTS_A_TICK: i64 = 500;

/// What there is to keep, but for an hour. Where the machine stalled there is less.
const STEADY: i64 = 5 * TICKS_AN_HOUR as i64 * EVENTS_A_TICK;

pub(crate) async fn run(hours: u32) {
    let server = Server::start(&ServerOptions::default());
    let client = server.database().await.connect().await;
    run_sql(&client, "SELECT notify_json.create_channel('c')").await;
    let mut hour = Duration::from_millis(250);
    let worst = loop {
        match simulate(&client, hours, hour).await {
            Some(worst) => break worst,
            // The machine cannot keep up with that.
            None => hour *= 2,
        }
    };
    assert!(worst < 2.0, "the log grows beyond what it keeps");
    println!("{hours} hours: at most {worst:.2} x the size of the rows to keep");
}

/// The log's size at its worst, beside that of the rows to keep; `None` if publishing was not steady.
async fn simulate(client: &Client, hours: u32, hour: Duration) -> Option<f64> {
    let retention = format!("{} milliseconds", (6 * hour).as_millis());
    run_sql(client, &format!("SELECT notify_json.alter_channel('c', retention => '{retention}')"))
        .await;
    let publish = format!(
        "SELECT count(notify_json('c', json_build_object('n', n, 'text', repeat('x', 200)))) \
         FROM generate_series(1, {EVENTS_A_TICK}) AS n"
    );
    let mut clock = interval(hour / TICKS_AN_HOUR);
    let mut worst: f64 = 0.0;
    for tick in 1..=hours * TICKS_AN_HOUR {
        clock.tick().await;
        run_sql(client, &publish).await;
        if tick % (6 * TICKS_AN_HOUR) > 0 {
            run_sql(client, "SELECT notify_json.prune()").await;
            continue;
        }
        let (live, ratio) = measure(client, &retention).await?;
        println!("hour {}: {live} rows to keep, {ratio:.2} x their size", tick / TICKS_AN_HOUR);
        worst = worst.max(ratio);
    }
    Some(worst)
}

/// Prunes. Returns how many rows were to be kept, and the log's size beside theirs; `None` unless
/// publishing was steady.
async fn measure(client: &Client, retention: &str) -> Option<(i64, f64)> {
    // As of before prune(), which keeps no more. Copied, the rows take as little as they can.
    let copy = format!(
        "CREATE TABLE live (LIKE notify_json.event INCLUDING ALL); \
         INSERT INTO live SELECT * FROM notify_json.event \
         WHERE published_at > clock_timestamp() - interval '{retention}'; \
         SELECT notify_json.prune()"
    );
    run_sql(client, &copy).await;
    let sizes = "SELECT (SELECT count(*) FROM live), \
                     sum(pg_total_relation_size(relid))::float8 / pg_total_relation_size('live') \
                 FROM pg_partition_tree('notify_json.event')";
    let row = client.query_one(sizes, &[]).await.expect("the server runs");
    run_sql(client, "DROP TABLE live").await;
    let live = row.get(0);
    (live >= STEADY).then(|| (live, row.get(1)))
}

async fn run_sql(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect("the server runs");
}
