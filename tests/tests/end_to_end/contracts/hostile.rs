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
    // What these mean for a value is left open by JSON Schema.
    for schema in [
        serde_json::json!({ "$ref": "#" }),
        serde_json::json!({ "allOf": [{ "$ref": "#" }] }),
        serde_json::json!({
            "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } },
            "$ref": "#/$defs/a"
        }),
    ] {
        refused(&client, &alter(&schema), "22023").await;
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

#[tokio::test]
async fn many_patterns_of_a_long_string_can_be_interrupted() {
    let (_, client) = database().await;
    let pattern = |n| serde_json::json!({ "pattern": format!("^(?:y{{{n}}})?[^q]*$") });
    let patterns: Vec<_> = (1..1_500).map(pattern).collect();
    run(&client, &alter(&serde_json::json!({ "allOf": patterns }))).await;
    run(&client, "SET statement_timeout = '1s'").await;
    let publish = "SELECT notify_json('d', to_json(repeat('z', 16000000)))";
    let error = client.batch_execute(publish).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57014", "{error:?}");
}

/// Definitions of so many links from one to the next, each by an applicator, back to the first for the
/// elements of an array.
fn chain(links: usize, link: impl Fn(serde_json::Value) -> serde_json::Value) -> serde_json::Value {
    let to = |n: usize| serde_json::json!({ "$ref": format!("#/$defs/{n}") });
    let mut definitions: serde_json::Map<_, _> =
        (0..links).map(|n| (n.to_string(), link(to(n + 1)))).collect();
    definitions.insert(links.to_string(), serde_json::json!({ "type": "array", "items": to(0) }));
    serde_json::json!({ "$defs": definitions, "$ref": "#/$defs/0" })
}

fn arrays(depth: usize) -> String {
    "[".repeat(depth) + "1" + &"]".repeat(depth)
}

#[tokio::test]
async fn the_stack_ends_no_server() {
    use serde_json::json;
    let (_, client) = database().await;
    let links: [fn(serde_json::Value) -> serde_json::Value; 7] = [
        |next| json!({ "oneOf": [false, next] }),
        |next| json!({ "anyOf": [false, next] }),
        |next| json!({ "allOf": [next, true] }),
        |next| json!({ "not": { "not": next } }),
        |next| json!({ "if": next, "else": false }),
        |next| json!({ "unevaluatedItems": false, "anyOf": [next] }),
        |next| json!({ "dependentSchemas": { "a": false }, "oneOf": [next, false] }),
    ];
    for link in links {
        let error = refused(&client, &alter(&chain(80, link)), "22023").await;
        assert!(error.detail().unwrap().contains("100 deep"), "{error:?}");
        run(&client, &alter(&chain(30, link))).await;
        run(&client, "SET max_stack_depth = '100kB'").await;
        let publish = format!("SELECT notify_json('d', '{}')", arrays(126));
        let error = refused(&client, &publish, "54001").await;
        assert!(error.hint().unwrap().contains("max_stack_depth"), "{error:?}");
        run(&client, "RESET max_stack_depth").await;
    }
    // Those with fewer links come first in the order of names.
    let mut reversed = serde_json::Map::new();
    for n in 1..1_000 {
        let next = json!({ "$ref": format!("#/$defs/{:04}", n - 1) });
        reversed.insert(format!("{n:04}"), json!({ "oneOf": [false, next] }));
    }
    reversed.insert("0000".to_owned(), json!({ "type": "integer" }));
    refused(&client, &alter(&json!({ "$defs": reversed })), "22023").await;
}

#[tokio::test]
async fn to_find_a_breach_takes_neither_memory_nor_patience() {
    let (_, client) = database().await;
    let link = |next| {
        let mut alternatives = vec![serde_json::Value::Bool(false); 20];
        alternatives.push(next);
        serde_json::json!({ "anyOf": alternatives })
    };
    run(&client, &alter(&chain(40, link))).await;
    run(&client, "SET max_stack_depth = '6MB'").await;
    run(&client, "SET statement_timeout = '60s'").await;
    let publish = format!("SELECT notify_json('d', '{}')", arrays(126));
    let error = refused(&client, &publish, "23514").await;
    assert!(error.detail().unwrap().contains("takes too long"), "{error:?}");
    let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let status = std::fs::read_to_string(format!("/proc/{backend}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 300_000, "{peak} kB");
}

#[tokio::test]
async fn one_keyword_twice_is_no_schema() {
    let (_, client) = database().await;
    let twice =
        r#"SELECT notify_json.alter_channel('d', schema => '{"type":"string","type":"object"}')"#;
    let error = refused(&client, twice, "22023").await;
    assert!(error.detail().unwrap().contains("twice"), "{error:?}");
}

#[tokio::test]
async fn a_name_with_nul_is_shown() {
    let (_, client) = database().await;
    run(&client, &alter(&serde_json::json!({ "required": ["a\0b"] }))).await;
    let error = refused(&client, "SELECT notify_json('d', '{}')", "23514").await;
    assert!(error.detail().unwrap().contains(r#""a\u{0}b" is missing"#), "{error:?}");
}
