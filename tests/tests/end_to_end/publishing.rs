//! Publishing from Rust is part of the caller's transaction.

use notify_json_client::{ErrorKind, Message, publish, publish_json};
use notify_json_tests::{Server, next_message, texts};
use serde_json::json;

#[tokio::test]
async fn publish_follows_the_callers_transaction() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<serde_json::Value>("orders").await.unwrap();
    let mut client = database.connect().await;

    let transaction = client.transaction().await.unwrap();
    publish(&transaction, "orders", &json!({"id": 1})).await.unwrap();
    transaction.rollback().await.unwrap();

    let mut transaction = client.transaction().await.unwrap();
    assert_eq!(publish(&transaction, "orders", &json!({"id": 2})).await.unwrap(), None);
    let savepoint = transaction.transaction().await.unwrap();
    publish(&savepoint, "orders", &json!({"id": 3})).await.unwrap();
    savepoint.rollback().await.unwrap();
    transaction.commit().await.unwrap();

    publish(&client, "orders", &json!({"id": 4})).await.unwrap();
    assert_eq!(next_message(&mut subscription).await, json!({"id": 2}));
    assert_eq!(next_message(&mut subscription).await, json!({"id": 4}));
}

#[tokio::test]
async fn json_is_published_byte_for_byte() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<Message>("orders").await.unwrap();
    let client = database.connect().await;
    for text in [" 1.10\n".to_owned(), texts::incompressible(2_000_000, 1)] {
        publish_json(&client, "orders", &text).await.unwrap();
        assert!(next_message(&mut subscription).await.json().unwrap() == text);
    }
}

#[tokio::test]
async fn errors_tell_what_to_do() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    let error = publish_json(&client, "orders", "{").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Postgres);
    assert_eq!(error.code().unwrap().code(), "22P02");
    let unserializable = std::collections::HashMap::from([(vec![1], 1)]);
    let error = publish(&client, "orders", &unserializable).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    publish(&client, "orders", &1).await.unwrap();
}
