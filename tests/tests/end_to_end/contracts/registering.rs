//! Contracts from Rust types.

use std::time::Duration;

use notify_json_client::{
    Change, Changes, Contract, ErrorKind, Incompatible, Registered, register,
};
use notify_json_tests::Server;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{accepts, refused, run, value};

mod first {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[allow(dead_code, reason = "its schema is what matters")]
    pub(super) struct Order {
        id: u64,
        status: String,
    }
}

/// As [`first::Order`], with a field that need not be there.
#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "its schema is what matters")]
struct Order {
    id: u64,
    status: String,
    note: Option<String>,
}

mod narrower {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[allow(dead_code, reason = "its schema is what matters")]
    pub(super) struct Order {
        id: u64,
        status: u8,
    }
}

#[tokio::test]
async fn a_type_becomes_the_contract_and_changes_compatibly() {
    let client = Server::shared().database().await.connect().await;
    assert_eq!(register::<first::Order>(&client, "d").await.unwrap(), Registered::Created);
    assert!(accepts(&client, "d", r#"{"id": 1, "status": "open"}"#).await);
    assert!(!accepts(&client, "d", r#"{"id": -1, "status": "open"}"#).await);
    assert_eq!(register::<first::Order>(&client, "d").await.unwrap(), Registered::Unchanged);
    assert_eq!(register::<Order>(&client, "d").await.unwrap(), Registered::Replaced);
    assert!(!accepts(&client, "d", r#"{"id": 1, "status": "open", "note": 1}"#).await);

    let error = register::<narrower::Order>(&client, "d").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.downcast_ref::<Incompatible>().unwrap().path(), "/status");
    assert!(accepts(&client, "d", r#"{"id": 1, "status": "open"}"#).await);
    let forced = Contract::of::<narrower::Order>().force().register(&client, "d").await;
    assert_eq!(forced.unwrap(), Registered::Replaced);
    assert!(!accepts(&client, "d", r#"{"id": 1, "status": "open"}"#).await);
}

#[tokio::test]
async fn a_channel_is_created_as_told_or_kept() {
    let client = Server::shared().database().await.connect().await;
    let week = Contract::of::<Order>().retention(Duration::from_secs(3_600));
    assert_eq!(week.register(&client, "d").await.unwrap(), Registered::Created);
    let sql = "SELECT durable AND retention = '1 hour' FROM notify_json.channel WHERE name = 'd'";
    assert!(value::<bool>(&client, sql).await);
    let live = Contract::of::<Order>().live();
    assert_eq!(live.register(&client, "l").await.unwrap(), Registered::Created);
    let sql = "SELECT durable FROM notify_json.channel WHERE name = 'l'";
    assert!(!value::<bool>(&client, sql).await);
    run(&client, "SELECT notify_json.create_channel('e')").await;
    assert_eq!(live.register(&client, "e").await.unwrap(), Registered::Added);
    let bad = Contract::from_schema(serde_json::json!({ "$ref": "http://localhost/" }));
    let error = bad.register(&client, "f").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22023");
}

#[tokio::test]
async fn of_many_that_register_at_once_none_is_lost() {
    let database = Server::shared().database().await;
    let versions = (0..8).map(|n| {
        let values: Vec<i32> = (0..=n).collect();
        Contract::from_schema(serde_json::json!({ "enum": values }))
    });
    let registering = versions.map(|contract| {
        let database = database.clone();
        tokio::spawn(async move {
            let client = database.connect().await;
            contract.register(&client, "d").await
        })
    });
    for outcome in futures_util::future::join_all(registering.collect::<Vec<_>>()).await {
        if let Err(error) = outcome.unwrap() {
            assert_eq!(error.kind(), ErrorKind::Incompatible, "{error:?}");
        }
    }
    // Whatever came first, the widest is compatible with all.
    let client = database.connect().await;
    assert!(accepts(&client, "d", "7").await);
}

#[tokio::test]
async fn row_changes_meet_the_contract_of_their_type() {
    let client = Server::shared().database().await.connect().await;
    register::<Change<Order>>(&client, "rows").await.unwrap();
    register::<Changes<Order>>(&client, "statements").await.unwrap();
    run(
        &client,
        "CREATE TABLE orders (id bigint PRIMARY KEY, status text, note text);
         SELECT notify_json.watch('orders', 'rows', include_old => true);
         SELECT notify_json.watch('orders', 'statements', per => 'statement');
         INSERT INTO orders VALUES (1, 'open', NULL), (2, 'open', 'x');
         UPDATE orders SET status = 'paid';
         UPDATE orders SET id = 3 WHERE id = 2;
         DELETE FROM orders WHERE id = 3;
         TRUNCATE orders;",
    )
    .await;
    let count = "SELECT count(*) FROM notify_json.event WHERE channel = ";
    assert_eq!(value::<i64>(&client, &format!("{count}'rows'")).await, 7);
    assert_eq!(value::<i64>(&client, &format!("{count}'statements'")).await, 5);
    let error = refused(&client, "INSERT INTO orders VALUES (4, NULL, NULL)", "23514").await;
    assert!(error.detail().unwrap().contains("the payload"), "{error:?}");
    refused(&client, r#"SELECT notify_json('rows', '{"op": "insert"}')"#, "23514").await;
}
