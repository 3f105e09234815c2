//! What is accepted and what is refused.

use notify_json_client::Message;
use notify_json_tests::{Server, next_message};

use super::{accepts, database, refused, run, value};

#[tokio::test]
async fn what_meets_the_contract_travels_byte_for_byte() {
    let (database, client) = database().await;
    let listener = database.listener().await;
    let mut live = listener.subscribe::<Message>("l").await.unwrap();
    let payload = r#" {"status":"paid" , "id": 1, "total": 1.10, "big": 12345678901234567890123 }"#;
    for kind in ["text", "json"] {
        run(&client, &format!("SELECT notify_json('l', '{payload}'::{kind})")).await;
        assert_eq!(next_message(&mut live).await.json().unwrap(), payload);
        run(&client, &format!("SELECT notify_json('d', '{payload}'::{kind})")).await;
    }
    run(&client, &format!("SELECT notify_json('d', '{payload}'::jsonb)")).await;
    let kept = "SELECT count(*) FROM notify_json.event WHERE payload::text = $$";
    assert_eq!(value::<i64>(&client, &format!("{kept}{payload}$$")).await, 2);
    assert_eq!(value::<i64>(&client, "SELECT count(*) FROM notify_json.event").await, 3);
}

/// A payload with a secret, and what is said of it.
const BREACHES: [(&str, &str); 9] = [
    (r#""SECRET""#, "The payload itself does not meet /type of the schema."),
    (
        r#"{"id": 1, "x": "SECRET"}"#,
        r#"The payload itself does not meet /required of the schema: "status" is missing."#,
    ),
    (
        r#"{"id": 1, "status": "SECRET"}"#,
        "What the payload has at /status does not meet /properties/status/enum of the schema.",
    ),
    (
        r#"{"id": -4711, "status": "open"}"#,
        "What the payload has at /id does not meet /properties/id/minimum of the schema.",
    ),
    (
        r#"{"id": "SECRET", "status": "open"}"#,
        "What the payload has at /id does not meet /properties/id/type of the schema.",
    ),
    (
        r#"{"id": 1, "status": "open", "lines": [{"sku": "a"}, {"sku": "4711 SECRET"}]}"#,
        "What the payload has at /lines/1/sku does not meet \
         /$defs/line/properties/sku/pattern of the schema.",
    ),
    (
        r#"{"id": 1, "status": "open", "placed_at": "SECRET"}"#,
        "What the payload has at /placed_at does not meet /properties/placed_at/format of the \
         schema.",
    ),
    (
        r#"{"id": 1, "status": "open", "prices": {"SECRET": "4711"}}"#,
        "What the payload has at /prices/* does not meet \
         /properties/prices/additionalProperties/type of the schema.",
    ),
    ("[4711]", "The payload itself does not meet /type of the schema."),
];

#[tokio::test]
async fn what_breaks_it_is_refused_and_never_shown() {
    let server = Server::start(&Default::default());
    let database = server.database().await;
    let client = database.connect().await;
    for (channel, durable) in [("d", true), ("l", false)] {
        let create = "SELECT notify_json.create_channel($1, $2, schema => $3::text::json)";
        client.query(create, &[&channel, &durable, &super::ORDER]).await.unwrap();
    }
    let listener = database.listener().await;
    let mut live = listener.subscribe::<Message>("l").await.unwrap();
    for (payload, expected) in BREACHES {
        for channel in ["d", "l"] {
            for kind in ["text", "json", "jsonb"] {
                let sql = format!("SELECT notify_json('{channel}', $1::text::{kind})");
                let error = client.query(&sql, &[&payload]).await.unwrap_err();
                let error = error.as_db_error().unwrap();
                assert_eq!(error.code().code(), "23514", "{payload}");
                assert_eq!(error.message(), "payload breaks the contract of its channel");
                assert_eq!(error.detail(), Some(expected), "{payload}");
                assert!(error.hint().unwrap().contains("notify_json.contract"));
            }
        }
    }
    let log = server.log();
    assert!(log.contains("payload breaks the contract"), "{log}");
    assert!(!log.contains("SECRET") && !log.contains("4711"), "{log}");
    assert_eq!(value::<i64>(&client, "SELECT count(*) FROM notify_json.event").await, 0);
    run(&client, r#"SELECT notify_json('l', '{"id": 1, "status": "open"}')"#).await;
    assert_eq!(next_message(&mut live).await.json().unwrap(), r#"{"id": 1, "status": "open"}"#);
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused() {
    let (_, client) = database().await;
    let deep =
        format!(r#"{{"id": 1, "status": "open", "x": {}}}"#, "[".repeat(127) + &"]".repeat(127));
    for (payload, reason) in [
        (r#"{"id": 1e400, "status": "open"}"#, "number out of range"),
        (r#"{"id": 1, "status": "SECRET", "status": "open"}"#, "an object has one property twice"),
        (r#"{"id": 1, "status": "open", "x": "\ud800"}"#, "unexpected end of hex escape"),
        (&deep, "recursion limit exceeded"),
    ] {
        for channel in ["d", "l"] {
            let sql = format!("SELECT notify_json('{channel}', $json${payload}$json$)");
            let error = refused(&client, &sql, "22023").await;
            let message = "payload cannot be checked against the contract of its channel";
            assert_eq!(error.message(), message);
            let detail = error.detail().unwrap();
            assert!(detail.contains(reason) && detail.starts_with("At line 1, byte "), "{detail}");
            assert!(!detail.contains("SECRET"));
        }
        run(&client, &format!("SELECT notify_json('other', $json${payload}$json$)")).await;
    }
    let error = refused(&client, r#"SELECT notify_json('d', '{"id": 1')"#, "22P02").await;
    assert_eq!(error.message(), "payload is not valid JSON");
}

#[tokio::test]
async fn a_payload_under_contract_has_a_limit_also_on_a_durable_channel() {
    let (_, client) = database().await;
    run(&client, "SET notify_json.max_message_bytes = 30").await;
    assert!(accepts(&client, "d", r#"{"id":1,"status":"open"}"#).await);
    let sql = r#"SELECT notify_json('d', '{"id":1,"status":"open","x":1}')"#;
    let detail = "The JSON text has 30 bytes; notify_json.max_message_bytes allows 29.";
    run(&client, "SET notify_json.max_message_bytes = 29").await;
    assert_eq!(refused(&client, sql, "54000").await.detail(), Some(detail));
}

#[tokio::test]
async fn row_changes_keep_the_contract() {
    let (_, client) = database().await;
    run(
        &client,
        r#"SELECT notify_json.alter_channel('d', schema => '{
               "required": ["op", "table", "seq", "xid", "at"],
               "properties": {"new": {"properties": {"total": {"maximum": 100}}}}}');
           CREATE TABLE orders (id bigint PRIMARY KEY, total numeric);
           SELECT notify_json.watch('orders', 'd'); INSERT INTO orders VALUES (1, 99.5)"#,
    )
    .await;
    let error = refused(&client, "UPDATE orders SET total = 100.5", "23514").await;
    let detail = "What the payload has at /new/total does not meet \
                  /properties/new/properties/total/maximum of the schema.";
    assert_eq!(error.detail(), Some(detail));
    assert_eq!(value::<i64>(&client, "SELECT count(*) FROM notify_json.event").await, 1);
    assert!(value::<bool>(&client, "SELECT total = 99.5 FROM orders").await);
}

#[tokio::test]
async fn databases_of_every_encoding_check_the_same_text() {
    for encoding in ["LATIN1", "SQL_ASCII", "UTF8"] {
        let database = Server::shared().database_with_encoding(encoding).await;
        let client = database.connect().await;
        let schema = r#"{"properties": {"größe": {"maxLength": 3}}}"#;
        run(&client, &format!("SELECT notify_json.create_channel('d', schema => '{schema}')"))
            .await;
        assert!(accepts(&client, "d", r#"{"größe": "äöü"}"#).await, "{encoding}");
        let error =
            refused(&client, r#"SELECT notify_json('d', '{"größe": "äöüß"}')"#, "23514").await;
        let name = if encoding == "UTF8" { "größe" } else { r"gr\u{f6}\u{df}e" };
        assert!(error.detail().unwrap().contains(&format!("at /{name} ")), "{error:?}");
    }
}
