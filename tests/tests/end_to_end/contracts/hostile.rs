//! Schemas that are up to something.

use std::net::TcpListener;

use super::{accepts, database, refused, run};

fn alter(schema: &serde_json::Value) -> String {
    format!("SELECT notify_json.alter_channel('d', schema => $schema${schema}$schema$)")
}

#[tokio::test]
async fn nothing_is_fetched() {
    let (_, client) = database().await;
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let http = format!("http://{}/schema.json", trap.local_addr().unwrap());
    for reference in [&*http, "file:///etc/hostname", "other.json", "#/$defs/missing"] {
        for schema in [
            serde_json::json!({ "$ref": reference }),
            serde_json::json!({ "properties": { "a": { "$ref": reference } } }),
        ] {
            refused(&client, &alter(&schema), "22023").await;
        }
    }
    refused(&client, &alter(&serde_json::json!({ "$schema": http })), "22023").await;
    let nobody = trap.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn patterns_take_linear_time_or_are_refused() {
    let (_, client) = database().await;
    for pattern in ["(?=a)b", r"(a)\1", "[", "(a{1000}){1000}"] {
        refused(&client, &alter(&serde_json::json!({ "pattern": pattern })), "22023").await;
    }
    run(&client, &alter(&serde_json::json!({ "pattern": "^(a+)+$" }))).await;
    run(&client, "SET statement_timeout = '60s'").await;
    let payload = format!("\"{}b\"", "a".repeat(100_000));
    assert!(!accepts(&client, "d", &payload).await);
}

#[tokio::test]
async fn schemas_that_refer_to_themselves() {
    let (_, client) = database().await;
    for schema in [
        serde_json::json!({ "$ref": "#" }),
        serde_json::json!({ "allOf": [{ "$ref": "#" }] }),
        serde_json::json!({
            "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } },
            "$ref": "#/$defs/a"
        }),
    ] {
        run(&client, &alter(&schema)).await;
        assert!(accepts(&client, "d", "1").await);
    }
    let tree = serde_json::json!({
        "type": "object", "required": ["leaf"],
        "properties": { "leaf": { "type": "integer" }, "child": { "$ref": "#" } }
    });
    run(&client, &alter(&tree)).await;
    let nested = |leaf: &str| {
        let (head, tail) = (r#"{"leaf":1,"child":"#.repeat(100), "}".repeat(100));
        format!("{head}{{\"leaf\":{leaf}}}{tail}")
    };
    assert!(accepts(&client, "d", &nested("1")).await);
    assert!(!accepts(&client, "d", &nested("true")).await);
}

#[tokio::test]
async fn a_schema_that_nothing_meets() {
    let (_, client) = database().await;
    run(&client, &alter(&false.into())).await;
    let error = refused(&client, "SELECT notify_json('d', '1')", "23514").await;
    assert_eq!(error.detail(), Some("The payload itself does not meet the schema."));
    let hint = error.hint().unwrap();
    assert!(hint.contains("FROM notify_json.contracts "), "what publishers may read: {hint}");
}

#[tokio::test]
async fn alternatives_that_lead_to_the_same_schema_again() {
    let (_, client) = database().await;
    let operation = |name| {
        serde_json::json!({
            "properties": { "left": { "$ref": "#/$defs/term" }, "operation": { "const": name } },
            "required": ["operation"]
        })
    };
    let alternatives = serde_json::json!([operation("add"), operation("multiply")]);
    let terms = serde_json::json!({
        "$defs": { "term": { "oneOf": alternatives } }, "$ref": "#/$defs/term"
    });
    run(&client, &alter(&terms)).await;
    let term = |depth: usize, last: &str| {
        let (head, tail) = (r#"{"left":"#.repeat(depth), r#","operation":"add"}"#.repeat(depth));
        format!(r#"{head}{{"operation":"{last}"}}{tail}"#)
    };
    run(&client, "SET statement_timeout = '60s'").await;
    assert!(accepts(&client, "d", &term(100, "multiply")).await);
    for (depth, detail) in [(3, "/left/left/left does not meet"), (100, "takes too long")] {
        let sql = format!("SELECT notify_json('d', '{}')", term(depth, "secret"));
        let error = refused(&client, &sql, "23514").await;
        assert!(error.detail().unwrap().contains(detail), "{error:?}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    assert!(accepts(&client, "d", &term(3, "add")).await, "and it goes on to check");
}

#[tokio::test]
async fn schemas_that_would_never_end() {
    let (_, client) = database().await;
    let doubling = |count: usize| {
        let mut definitions = serde_json::Map::new();
        for n in 0..count {
            let next = serde_json::json!({ "$ref": format!("#/$defs/{}", n + 1) });
            definitions.insert(n.to_string(), serde_json::json!({ "anyOf": [next, next] }));
        }
        definitions.insert(count.to_string(), serde_json::json!({ "type": "integer" }));
        serde_json::json!({ "$defs": definitions, "properties": { "a": { "$ref": "#/$defs/0" } } })
    };
    run(&client, &alter(&doubling(8))).await;
    assert!(!accepts(&client, "d", r#"{"a": "x"}"#).await);
    let error = refused(&client, &alter(&doubling(40)), "22023").await;
    assert!(error.detail().unwrap().contains("10000 subschemas"), "{error:?}");
    let chain: serde_json::Map<_, _> = (0..10_000)
        .map(|n| (n.to_string(), serde_json::json!({ "$ref": format!("#/$defs/{}", n + 1) })))
        .chain([("10000".to_owned(), serde_json::json!({ "type": "integer" }))])
        .collect();
    let chain = serde_json::json!({ "$defs": chain, "$ref": "#/$defs/0" });
    refused(&client, &alter(&chain), "22023").await;
}

#[tokio::test]
async fn huge_schemas() {
    let (_, client) = database().await;
    let properties = |count: usize| -> serde_json::Value {
        let property = |n| (format!("property_{n}"), serde_json::json!({ "type": "integer" }));
        let properties: serde_json::Map<_, _> = (0..count).map(property).collect();
        serde_json::json!({ "properties": properties })
    };
    run(&client, &alter(&properties(10_000))).await;
    assert!(accepts(&client, "d", r#"{"property_9999": 1}"#).await);
    assert!(!accepts(&client, "d", r#"{"property_9999": "1"}"#).await);
    let error = refused(&client, &alter(&properties(40_000)), "22023").await;
    assert!(error.detail().unwrap().contains("of at most 1048576"), "{error:?}");
    let deep = "[".repeat(1_000) + &"]".repeat(1_000);
    let sql = format!("SELECT notify_json.alter_channel('d', schema => '{{\"default\": {deep}}}')");
    refused(&client, &sql, "22023").await;
}
