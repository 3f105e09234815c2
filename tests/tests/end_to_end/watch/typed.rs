//! Row changes in Rust.

use std::time::{Duration, SystemTime};

use notify_json_client::{Change, Changes, ErrorKind, Event};
use notify_json_tests::next_message;
use serde::Deserialize;

use super::Case;

#[derive(Debug, Deserialize, PartialEq)]
struct Order {
    id: i64,
    status: String,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Key {
    id: i64,
}

fn order(id: i64, status: &str) -> Order {
    Order { id, status: status.to_owned() }
}

const TABLE: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, status text, secret text);";

const WORK: &str = "
    INSERT INTO orders VALUES (1, 'open', 'hidden');
    UPDATE orders SET status = 'paid';
    UPDATE orders SET id = 2;
    DELETE FROM orders;
    TRUNCATE orders";

#[tokio::test]
async fn a_live_subscription() {
    let case = Case::with(TABLE).await;
    case.run("SELECT notify_json.watch('orders', 'live', columns => '{id,status}')").await;
    let listener = case.database.listener().await;
    let mut changes = listener.subscribe::<Change<Order>>("live").await.unwrap();
    case.run(WORK).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let change = next_message(&mut changes).await;
        assert_eq!(change.origin().table(), "public.orders");
        let age = SystemTime::now().duration_since(change.origin().at()).unwrap_or_default();
        assert!(age < Duration::from_secs(600), "{age:?}");
        let key: Option<Key> = change.origin().key().unwrap();
        seen.push((key.map(|key| key.id), change));
    }
    let keys: Vec<_> = seen.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [Some(1), Some(1), Some(2), Some(2), None]);
    let seqs: Vec<_> = seen.iter().map(|(_, change)| change.origin().seq()).collect();
    // The statements of one query are one transaction.
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
    let mut seen = seen.into_iter().map(|(_, change)| change);
    let mut next = || seen.next().unwrap();
    assert!(matches!(next(), Change::Insert { new, .. } if new == order(1, "open")));
    assert!(matches!(next(), Change::Update { old: None, new, changed, .. }
        if new == order(1, "paid") && changed == ["status"]));
    assert!(matches!(next(), Change::Update { old: Some(old), new, changed, .. }
        if old == order(1, "paid") && new == order(2, "paid") && changed == ["id"]));
    assert!(matches!(next(), Change::Delete { old, .. } if old == order(2, "paid")));
    assert!(matches!(next(), Change::Truncate { .. }));
}

#[tokio::test]
async fn a_durable_consumer() {
    let case = Case::with(TABLE).await;
    case.run("SELECT notify_json.watch('orders', 'd', columns => '{id,status}')").await;
    case.run(WORK).await;
    let listener = case.database.listener().await;
    let mut changes = listener.consume::<Change<Order>>("d", "billing").await.unwrap();
    for operation in ["insert", "update", "update", "delete", "truncate"] {
        let Some(Ok(Event::Message(delivery))) = changes.recv().await else { panic!() };
        let is = match &delivery.payload {
            Change::Insert { .. } => "insert",
            Change::Update { .. } => "update",
            Change::Delete { .. } => "delete",
            Change::Truncate { .. } => "truncate",
        };
        assert_eq!(is, operation);
        delivery.ack(&case.client).await.unwrap();
    }
}

#[tokio::test]
async fn the_rows_of_a_statement_are_a_batch() {
    let case = Case::with(TABLE).await;
    case.run("SELECT notify_json.watch('orders', 'live', per => 'statement')").await;
    let listener = case.database.listener().await;
    let mut statements = listener.subscribe::<Changes<Order>>("live").await.unwrap();
    let mut rows = listener.subscribe::<Change<Order>>("live").await.unwrap();
    case.run("INSERT INTO orders SELECT n, 'open' FROM generate_series(1, 1000) n").await;
    let Changes(changes) = next_message(&mut statements).await;
    let orders: Vec<Order> = changes.into_iter().filter_map(Change::into_new).collect();
    assert_eq!(orders, (1..=1000).map(|id| order(id, "open")).collect::<Vec<_>>());
    let error = rows.recv().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
}
