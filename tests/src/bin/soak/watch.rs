//! What `watch()` costs an UPDATE of many rows, beside contrib's `tcn` and triggers by hand.

use std::time::Instant;

use notify_json_tests::{Server, ServerOptions, memory};
use tokio_postgres::Client;

const SCHEMA: &str = "
    CREATE EXTENSION tcn;
    SELECT notify_json.create_channel('durable');
    CREATE TABLE orders (
        id bigint PRIMARY KEY, customer bigint, status text, total numeric(12,2),
        placed_at timestamptz DEFAULT now()
    ) WITH (fillfactor = 45);
    CREATE FUNCTION the_row() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('live', row_to_json(NEW)::text);
        RETURN NULL;
    END $$;
    CREATE FUNCTION the_event() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('live', json_build_object(
            'op', lower(TG_OP), 'table', format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME),
            'key', json_build_object('id', NEW.id),
            'changed', (
                SELECT json_agg(key) FROM json_each_text(row_to_json(NEW)) AS after
                JOIN json_each_text(row_to_json(OLD)) AS before USING (key)
                WHERE after.value IS DISTINCT FROM before.value),
            'new', NEW, 'xid', pg_current_xact_id(), 'at', now())::text);
        RETURN NULL;
    END $$;
    CREATE FUNCTION the_rows() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('live', row_to_json(new_rows)::text) FROM new_rows;
        RETURN NULL;
    END $$;";

const NOTHING: &str = "no trigger";
const BY_HAND: &str = "PL/pgSQL, pg_notify of the row";
const SAME_BY_HAND: &str = "PL/pgSQL, pg_notify of the same event";
const TCN: &str = "tcn, of the key alone";
const LIVE: &str = "watch, live";

/// What is compared, with what sets it up and takes it away.
const TRIGGERS: [(&str, &str, &str); 9] = [
    (NOTHING, "", ""),
    (
        BY_HAND,
        "CREATE TRIGGER t AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION the_row()",
        "DROP TRIGGER t ON orders",
    ),
    (
        SAME_BY_HAND,
        "CREATE TRIGGER t AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION the_event()",
        "DROP TRIGGER t ON orders",
    ),
    (
        "PL/pgSQL per statement, pg_notify of each row",
        "CREATE TRIGGER t AFTER UPDATE ON orders REFERENCING NEW TABLE AS new_rows \
         FOR EACH STATEMENT EXECUTE FUNCTION the_rows()",
        "DROP TRIGGER t ON orders",
    ),
    (
        TCN,
        "CREATE TRIGGER t AFTER UPDATE ON orders FOR EACH ROW \
         EXECUTE FUNCTION triggered_change_notification('live')",
        "DROP TRIGGER t ON orders",
    ),
    (LIVE, "SELECT notify_json.watch('orders', 'live')", "SELECT notify_json.unwatch('orders')"),
    (
        "watch, durable",
        "SELECT notify_json.watch('orders', 'durable')",
        "SELECT notify_json.unwatch('orders'); TRUNCATE notify_json.event",
    ),
    (
        "watch, live, per statement",
        "SELECT notify_json.watch('orders', 'live', per => 'statement')",
        "SELECT notify_json.unwatch('orders')",
    ),
    (
        "watch, durable, per statement",
        "SELECT notify_json.watch('orders', 'durable', per => 'statement')",
        "SELECT notify_json.unwatch('orders'); TRUNCATE notify_json.event",
    ),
];

/// Each of them in turn, so that all share what else the machine does.
pub(crate) async fn run(rows: u64, rounds: u64) {
    let settings = [("max_wal_size", "8GB"), ("shared_buffers", "512MB"), ("autovacuum", "off")];
    let server = Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() });
    let client = server.database().await.connect().await;
    client.batch_execute(SCHEMA).await.expect("the server runs");
    let fill = format!(
        "INSERT INTO orders SELECT n, n % 1000, 'open', n * 1.01 FROM generate_series(1, {rows}) n"
    );
    client.batch_execute(&fill).await.expect("the server runs");
    // Known from the first call of the library on.
    client.batch_execute("SELECT notify_json('live', '1')").await.expect("the server runs");
    let limits = "SET notify_json.max_message_bytes = '1000MB'; \
                  SET notify_json.max_transaction_bytes = '2000MB'";
    client.batch_execute(limits).await.expect("the server runs");
    let mut seconds = TRIGGERS.map(|_| Vec::new());
    for round in 0..rounds {
        for ((_, set_up, take_away), seconds) in TRIGGERS.iter().zip(&mut seconds) {
            seconds.push(update(&client, set_up, take_away, round).await);
        }
    }
    let medians = seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    let of = |name| {
        let place = TRIGGERS.iter().position(|(trigger, ..)| *trigger == name);
        medians[place.expect("it is one of them")]
    };
    println!("UPDATE of {rows} rows, median of {rounds} rounds; the trigger's share behind it");
    for ((name, ..), median) in TRIGGERS.iter().zip(medians) {
        println!("{:8.0} ms {:8.0} ms  {name}", median * 1e3, (median - of(NOTHING)) * 1e3);
    }
    for other in [BY_HAND, SAME_BY_HAND, TCN] {
        let share = (of(other) - of(NOTHING)) / (of(LIVE) - of(NOTHING));
        println!(
            "{LIVE}: {:.2} times as fast as {other}; the trigger {share:.2} times",
            of(other) / of(LIVE)
        );
    }
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("it runs").get(0);
    println!("at most {} MB in the server's process", memory(pid as u32).1 / 1_000_000);
}

/// Seconds of the statement and its commit.
async fn update(client: &Client, set_up: &str, take_away: &str, round: u64) -> f64 {
    client.batch_execute(set_up).await.expect("the server runs");
    for sql in ["VACUUM orders", "CHECKPOINT"] {
        client.batch_execute(sql).await.expect("the server runs");
    }
    let started = Instant::now();
    let sql = format!("UPDATE orders SET status = 'paid {round}'");
    client.batch_execute(&sql).await.expect("the server runs");
    let seconds = started.elapsed().as_secs_f64();
    client.batch_execute(take_away).await.expect("the server runs");
    seconds
}
