//! `read()`: pages, limits, and that it looks at nothing but what it returns.

use tokio_postgres::{Client, Row};

use super::{Reader, database, publish, refused, run, value};

/// Rows of `read()` from a position of channel `d`.
async fn read(client: &Client, reader: &Reader, limits: (i32, i64, i64)) -> Vec<Row> {
    let sql = "SELECT * FROM notify_json.read('d', $1, $2, $3, $4, $5)";
    let Reader { window, after } = reader;
    client.query(sql, &[window, after, &limits.0, &limits.1, &limits.2]).await.unwrap()
}

#[tokio::test]
async fn the_first_row_names_the_window() {
    let client = database().await.connect().await;
    let start = Reader::start(&client, "earliest").await;
    let rows = read(&client, &start, (10, 100, 100)).await;
    assert_eq!(rows.len(), 1, "nothing there");
    publish(&client, "[1]").await;
    let rows = read(&client, &start, (10, 100, 100)).await;
    assert_eq!(rows.len(), 2);
    let window: String = rows[0].get("window");
    assert!(window.starts_with("3:3:;0;"), "{window}");
    assert_eq!(rows[0].get::<_, Option<i64>>("id"), Some(1), "nothing of it is left after this");
    assert_eq!(rows[1].get::<_, Option<String>>("window"), None);
    assert_eq!(rows[1].get::<_, i64>("id"), 1);
    assert_eq!(rows[1].get::<_, i64>("bytes"), 3);
    assert_eq!(rows[1].get::<_, Option<String>>("payload").as_deref(), Some("[1]"));
    publish(&client, "[2]").await;
    let same = Reader { window: window.clone(), after: 0 };
    let rows = read(&client, &same, (10, 100, 100)).await;
    assert_eq!(rows[0].get::<_, String>("window"), window);
    assert_eq!(rows.len(), 2, "the second event is not of this window");
}

#[tokio::test]
async fn the_first_row_says_whether_something_of_the_window_is_left() {
    let client = database().await.connect().await;
    run(&client, "SELECT nextval('notify_json.event_id')").await;
    for _ in 0..3 {
        publish(&client, "[]").await;
    }
    run(&client, "BEGIN").await;
    publish(&client, "[]").await;
    run(&client, "ROLLBACK").await;
    let start = Reader::start(&client, "earliest").await;
    let end = |rows: &[Row]| rows[0].get::<_, Option<i64>>("id");
    assert_eq!(end(&read(&client, &start, (4, 100, 100)).await), Some(5), "the last id drawn");
    assert_eq!(end(&read(&client, &start, (4, 100, 1)).await), Some(5), "too large");
    assert_eq!(end(&read(&client, &start, (3, 100, 100)).await), None, "perhaps there is more");
    assert_eq!(end(&read(&client, &start, (4, 5, 100)).await), None, "two of three");
    let window = read(&client, &start, (4, 100, 100)).await[0].get("window");
    publish(&client, "[6]").await;
    let rows = read(&client, &Reader { window, after: 5 }, (4, 100, 100)).await;
    assert_eq!(rows[1].get::<_, i64>("id"), 6, "of the next window");
    assert_eq!(end(&rows), Some(6));
}

#[tokio::test]
async fn a_page_keeps_its_limits() {
    let client = database().await.connect().await;
    for bytes in [10, 20, 30, 5, 5] {
        publish(&client, &format!("\"{}\"", "x".repeat(bytes - 2))).await;
    }
    let start = Reader::start(&client, "earliest").await;
    for (limits, expected) in [
        ((10, 100, 100), vec![10, 20, 30, 5, 5]),
        ((2, 100, 100), vec![10, 20]),
        ((10, 60, 100), vec![10, 20, 30]),
        ((10, 59, 100), vec![10, 20]),
        ((10, 0, 100), vec![10]),
        ((10, -1, 100), vec![10]),
        ((10, 20, 19), vec![10, -20, -30, 5, 5]),
        ((10, 15, 19), vec![10, -20, -30, 5]),
        ((10, 0, 0), vec![-10, -20, -30, -5, -5]),
    ] {
        let rows = read(&client, &start, limits).await;
        let sizes = rows[1..].iter().map(|row| {
            let bytes: i64 = row.get("bytes");
            let payload: Option<String> = row.get("payload");
            assert!(payload.as_ref().is_none_or(|payload| payload.len() as i64 == bytes));
            if payload.is_some() { bytes } else { -bytes }
        });
        assert_eq!(sizes.collect::<Vec<_>>(), expected, "{limits:?}");
    }
}

#[tokio::test]
async fn a_window_of_the_future_is_refused() {
    let database = database().await;
    let (client, other) = (database.connect().await, database.connect().await);
    let mut reader = Reader::start(&client, "latest").await;
    run(&client, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM notify_json.event").await;
    publish(&other, "1").await;
    reader.page(&other, 1).await;
    let read = |window: &str| format!("SELECT notify_json.read('d', '{window}', 0, 1, 1, 1)");
    let error = refused(&client, &read(&reader.window), "55000").await;
    assert_eq!(error.message(), "window lies in the future");
    run(&client, "ROLLBACK").await;
    run(&client, &read(&reader.window)).await;
    let elsewhere = "1000:1000:;0;9000000000:9000000000:;7;7";
    refused(&client, &read(elsewhere), "55000").await;
}

/// Blocks that a read of channel `d` looks at, with all that it calls.
async fn blocks(client: &Client, reader: &Reader) -> i64 {
    let Reader { window, after } = reader;
    let read = format!("SELECT * FROM notify_json.read('d', '{window}', {after}, 100, 10000, 100)");
    // The first time plans are made, which reads catalogs.
    run(client, &read).await;
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {read}");
    let plan: serde_json::Value =
        serde_json::from_str(&value::<Json>(client, &explain).await.0).unwrap();
    let plan = &plan[0]["Plan"];
    plan["Shared Hit Blocks"].as_i64().unwrap() + plan["Shared Read Blocks"].as_i64().unwrap()
}

/// The text of a `json`.
struct Json(String);

impl tokio_postgres::types::FromSql<'_> for Json {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &[u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(String::from_utf8(raw.to_vec())?))
    }

    fn accepts(kind: &tokio_postgres::types::Type) -> bool {
        *kind == tokio_postgres::types::Type::JSON
    }
}

async fn publish_many(client: &Client, channel: &str, count: usize) {
    let sql =
        format!("SELECT notify_json('{channel}', to_json(n)) FROM generate_series(1, {count}) n");
    run(client, &sql).await;
}

#[tokio::test]
async fn a_long_history_costs_nothing() {
    let database = database().await;
    let client = database.connect().await;
    run(&client, "SELECT notify_json.create_channel('other')").await;
    let mut costs = Vec::new();
    for count in [100, 20_000] {
        publish_many(&client, "d", count).await;
        publish_many(&client, "other", count).await;
        let mut reader = Reader::start(&client, "latest").await;
        publish_many(&client, "d", 3).await;
        costs.push(blocks(&client, &reader).await);
        assert_eq!(reader.page(&client, 100).await.len(), 3);
        costs.push(blocks(&client, &reader).await);
        let earliest = Reader::start(&client, "earliest").await;
        costs.push(blocks(&client, &earliest).await);
    }
    // An index of more entries is higher by a level or two, in each of ten leaves.
    assert!(costs.iter().all(|blocks| *blocks < 400), "{costs:?}");
    run(&client, "VACUUM ANALYZE").await;
    let reader = Reader::start(&client, "latest").await;
    publish_many(&client, "d", 3).await;
    costs.push(blocks(&client, &reader).await);
    assert!(costs.iter().all(|blocks| *blocks < 400), "with statistics: {costs:?}");
}

#[tokio::test]
async fn a_long_transaction_costs_nothing() {
    let database = database().await;
    let (client, long) = (database.connect().await, database.connect().await);
    let mut reader = Reader::start(&client, "earliest").await;
    run(&long, "BEGIN; SELECT pg_current_xact_id()").await;
    let mut costs = Vec::new();
    for _ in 0..4 {
        publish_many(&long, "d", 10_000).await;
        publish(&client, "1").await;
        assert_eq!(reader.drain(&client, 100).await, ["1"]);
        costs.push(blocks(&client, &reader).await);
        publish(&client, "2").await;
        costs.push(blocks(&client, &reader).await);
        assert_eq!(reader.drain(&client, 100).await, ["2"]);
    }
    assert!(costs.iter().all(|blocks| *blocks < 400), "{costs:?}");
    run(&long, "COMMIT").await;
    assert_eq!(reader.drain(&client, 10_000).await.len(), 40_000);
    assert!(blocks(&client, &reader).await < 400);
}
