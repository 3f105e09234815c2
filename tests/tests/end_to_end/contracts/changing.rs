//! When a contract holds, and that it is kept.

use notify_json_tests::{Server, pg_dump};

use super::{accepts, database, refused, run, value};

const NUMBER: &str = r#"{"type": "number"}"#;

fn alter(schema: &str) -> String {
    format!("SELECT notify_json.alter_channel('d', schema => '{schema}')")
}

#[tokio::test]
async fn every_session_follows_at_once_and_a_transaction_keeps_what_it_found() {
    let (database, owner) = database().await;
    let other = database.connect().await;
    for channel in ["d", "l"] {
        let alter = |schema: &str| alter(schema).replace("'d'", &format!("'{channel}'"));
        assert!(!accepts(&other, channel, "1").await);
        run(&owner, &alter(NUMBER)).await;
        assert!(accepts(&other, channel, "1").await);
        run(&other, "BEGIN").await;
        assert!(accepts(&other, channel, "1").await);
        run(&owner, &alter(r#"{"type": "string"}"#)).await;
        assert!(accepts(&other, channel, "1").await);
        run(&other, "COMMIT").await;
        assert!(!accepts(&other, channel, "1").await);
        run(&owner, &alter("null")).await;
        assert!(accepts(&other, channel, "1").await);
        let left = format!("SELECT count(*) FROM notify_json.contract WHERE channel = '{channel}'");
        assert_eq!(value::<i64>(&owner, &left).await, 0);
    }
}

#[tokio::test]
async fn changes_of_the_own_transaction_hold_at_once_and_go_with_it() {
    let (_, client) = database().await;
    run(&client, "BEGIN").await;
    run(&client, "SAVEPOINT a").await;
    assert!(!accepts(&client, "d", "1").await);
    run(&client, "ROLLBACK TO a").await;
    run(&client, &alter(NUMBER)).await;
    assert!(accepts(&client, "d", "1").await);
    run(&client, "SAVEPOINT b").await;
    run(&client, &alter("null")).await;
    assert!(accepts(&client, "d", r#""x""#).await);
    run(&client, "ROLLBACK TO b").await;
    assert!(!accepts(&client, "d", r#""x""#).await);
    run(&client, "ROLLBACK").await;
    assert!(!accepts(&client, "d", "1").await);
}

#[tokio::test]
async fn dropping_a_channel_drops_its_contract() {
    let (_, client) = database().await;
    run(&client, "SELECT notify_json.drop_channel('d'), notify_json.create_channel('d')").await;
    assert!(accepts(&client, "d", "1").await);
    let sql = "SELECT notify_json.alter_channel('x', schema => '{}')";
    refused(&client, sql, "42704").await;
}

#[tokio::test]
async fn a_bad_schema_changes_nothing() {
    let (_, client) = database().await;
    let sql = r#"SELECT notify_json.create_channel('new', schema => '{"type": "nonsense"}')"#;
    let error = refused(&client, sql, "22023").await;
    assert_eq!(error.message(), "schema is none that events can be checked by");
    assert!(error.detail().unwrap().contains("at /type: "), "{error:?}");
    let count = "SELECT count(*) FROM notify_json.channel WHERE name = 'new'";
    assert_eq!(value::<i64>(&client, count).await, 0);
    refused(&client, &alter("17"), "22023").await;
    assert!(!accepts(&client, "d", "1").await);
}

#[tokio::test]
async fn a_dump_keeps_contracts() {
    let (database, client) = database().await;
    run(&client, &alter(NUMBER)).await;
    let dump = pg_dump(database.url());
    let restored = Server::shared().database().await.connect().await;
    run(&restored, "DROP EXTENSION notify_json").await;
    run(&restored, &dump).await;
    run(&restored, "SET search_path = public").await;
    assert!(accepts(&restored, "d", "1").await);
    assert!(!accepts(&restored, "d", "[]").await);
    assert!(!accepts(&restored, "l", "1").await);
}

#[tokio::test]
async fn the_contract_that_is_expected_is_replaced() {
    let (_, client) = database().await;
    let replace = "SELECT notify_json.replace_contract('d', $1::text::json, $2::text::json)";
    for (expected, schema, replaced) in [
        (None, NUMBER, false),
        (Some("{}"), NUMBER, false),
        (Some(super::ORDER), NUMBER, true),
        (Some(NUMBER), "null", true),
        (Some(NUMBER), "{}", false),
        (None, "{}", true),
    ] {
        let row = client.query_one(replace, &[&expected, &schema]).await.unwrap();
        assert_eq!(row.get::<_, bool>(0), replaced, "{expected:?} {schema}");
    }
    let sql = "SELECT notify_json.replace_contract('x', NULL, '{}')";
    refused(&client, sql, "42704").await;
}
