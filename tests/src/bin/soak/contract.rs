//! What a contract costs: events of 1 kB, published by one session, with one and without.

use std::time::Instant;

use notify_json_tests::{Server, ServerOptions};
use tokio_postgres::Client;

const SCHEMA: &str = r##"{
    "type": "object",
    "required": ["id", "customer", "status", "placed_at", "lines"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "customer": {
            "type": "object", "required": ["name", "email"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 200},
                "email": {"type": "string", "format": "email"}
            }
        },
        "status": {"enum": ["open", "paid", "sent"]},
        "placed_at": {"type": "string", "format": "date-time"},
        "note": {"type": ["string", "null"]},
        "lines": {"type": "array", "maxItems": 100, "items": {"$ref": "#/$defs/line"}}
    },
    "$defs": {"line": {
        "type": "object", "required": ["sku", "count", "price"],
        "properties": {
            "sku": {"type": "string", "pattern": "^[a-z]{2}-[0-9]{4}$"},
            "count": {"type": "integer", "minimum": 1},
            "price": {"type": "number", "minimum": 0},
            "tags": {"type": "array", "items": {"type": "string"}}
        }
    }}
}"##;

/// An order of a kilobyte whose id is the number of the row.
const EVENTS: &str = "
    CREATE TABLE orders AS SELECT n, jsonb_build_object(
        'id', n, 'customer', jsonb_build_object('name', 'Ada Lovelace', 'email', 'ada@example.org'),
        'status', 'paid', 'placed_at', '2026-11-23T11:45:42.579431Z', 'note', NULL,
        'lines', (SELECT jsonb_agg(jsonb_build_object('sku', 'ab-' || 1000 + line, 'count', line,
            'price', line * 1.25, 'tags', jsonb_build_array('new', 'small'))) FROM generate_series(1, 11) line)
    )::text AS payload FROM generate_series(1, 100000) AS n";

/// Each kind of channel with and without a contract, in turn for so many seconds.
pub(crate) async fn run(seconds: u64) {
    let settings = [("max_wal_size", "8GB"), ("shared_buffers", "512MB")];
    let server = Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() });
    let client = server.database().await.connect().await;
    client.batch_execute(EVENTS).await.expect("the server runs");
    for (channel, durable, schema) in [
        ("live", false, None),
        ("live, contract", false, Some(SCHEMA)),
        ("durable", true, None),
        ("durable, contract", true, Some(SCHEMA)),
    ] {
        let create = "SELECT notify_json.create_channel($1, $2, schema => $3::text::json)";
        client.query(create, &[&channel, &durable, &schema]).await.expect("the server runs");
    }
    let size = "SELECT avg(octet_length(payload))::int4 FROM orders";
    let bytes: i32 = client.query_one(size, &[]).await.expect("the server runs").get(0);
    println!("events of {bytes} bytes, 10,000 a transaction, one session");
    for channel in ["live", "live, contract", "durable", "durable, contract"] {
        println!("{:8.0} a second  {channel}", speed(&client, channel, seconds).await);
    }
}

/// Events a second, by the clock of this process.
async fn speed(client: &Client, channel: &str, seconds: u64) -> f64 {
    let sql = "SELECT count(notify_json($1, payload)) FROM orders WHERE n BETWEEN $2 AND $2 + 9999";
    let statement = client.prepare(sql).await.expect("the server runs");
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed().as_secs() < seconds {
        let first = count % 100_000 + 1;
        client.query(&statement, &[&channel, &first]).await.expect("the server runs");
        count += 10_000;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}
