//! `notify-json schema`.

use notify_json_tests::{Database, Running, Server, notify_json, project};
use serde_json::{Value, json};

fn run(database: &Database, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = notify_json();
    let mut running =
        Running::start(command.arg("schema").args(arguments).args(["--url", database.url()]));
    running.write(input);
    running.finish()
}

const ORDER: &str = r##"{"$defs":{"id":{"type":"integer"}},"required":["id"],"properties":{"id":{"$ref":"#/$defs/id"}}}"##;

#[tokio::test]
async fn schemas_are_set_checked_and_shown() {
    let database = Server::shared().database().await;
    let set = run(&database, &["set", "orders", "-"], ORDER);
    assert_eq!(set, (Some(0), String::new(), String::new()));
    let (code, shown, _) = run(&database, &["show", "orders"], "");
    assert_eq!(
        (code, serde_json::from_str::<Value>(&shown).unwrap()),
        (Some(0), serde_json::from_str::<Value>(ORDER).unwrap())
    );
    assert_eq!(run(&database, &["check", "orders", "-"], ORDER).0, Some(0));
    assert_eq!(run(&database, &["check", "unknown", "-"], ORDER).0, Some(0));
    let narrower = ORDER.replace("integer", "string");
    for command in ["check", "set"] {
        let (code, output, errors) = run(&database, &[command, "orders", "-"], &narrower);
        assert_eq!((code, output.as_str()), (Some(1), ""));
        assert!(errors.contains("/id: what the old schema describes would be refused"), "{errors}");
    }
    assert_eq!(run(&database, &["set", "orders", "-", "--force"], &narrower).0, Some(0));
    let (code, _, errors) = run(&database, &["show", "unknown"], "");
    assert_eq!(code, Some(1));
    assert!(errors.contains("no contract"), "{errors}");
    let (code, _, errors) = run(&database, &["set", "bad", "-"], r#"{"type": 1}"#);
    assert_eq!(code, Some(1));
    assert!(errors.contains("schema is none that events can be checked by"), "{errors}");
}

#[tokio::test]
async fn all_channels_are_exported() {
    let database = Server::shared().database().await;
    database
        .execute(&format!(
            "SELECT notify_json.create_channel('orders', retention => '1 day', schema => '{ORDER}'),
                notify_json.create_channel('Ünlisted/orders', durable => false),
                notify_json.create_channel('old', schema =>
                    '{{\"$schema\": \"http://json-schema.org/draft-07/schema#\"}}')"
        ))
        .await;
    let (code, output, errors) = run(&database, &["export", "--title", "Shop"], "");
    assert_eq!(code, Some(0), "{errors}");
    let document: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_eq!(document["info"], json!({ "title": "Shop", "version": "1.0.0" }));
    let orders = &document["channels"]["orders"];
    assert_eq!(orders["address"], "orders");
    assert_eq!(orders["x-notify-json-durable"], true);
    assert_eq!(orders["x-notify-json-retention-seconds"], 86_400);
    let live = &document["channels"]["_nlisted_orders"];
    assert_eq!(live["address"], "Ünlisted/orders");
    assert_eq!(live["x-notify-json-durable"], false);
    let payload = |name: &str| &document["components"]["messages"][name]["payload"];
    assert_eq!(payload("orders")["schemaFormat"], "application/schema+json;version=draft-2020-12");
    assert_eq!(payload("old")["schemaFormat"], "application/schema+json;version=draft-07");
    assert_eq!(*payload("_nlisted_orders"), Value::Null);
    for (key, operation) in document["operations"].as_object().unwrap() {
        let (action, channel) = key.split_once('-').unwrap();
        assert_eq!(operation["action"], action);
        assert_eq!(operation["channel"]["$ref"], format!("#/channels/{channel}"));
    }
    assert_eq!(document["operations"].as_object().unwrap().len(), 6);
    assert_references_resolve(&document, &document);
    let path = project().join("tests/asyncapi/3.0.0.json");
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let errors: Vec<_> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&document)
        .map(|error| format!("{} {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

fn assert_references_resolve(document: &Value, part: &Value) {
    match part {
        Value::Object(object) => {
            for (name, value) in object {
                if let (true, Some(reference)) = (name == "$ref", value.as_str()) {
                    let target = document.pointer(reference.strip_prefix('#').unwrap());
                    assert!(target.is_some(), "{reference}");
                }
                assert_references_resolve(document, value);
            }
        }
        Value::Array(array) => {
            array.iter().for_each(|value| assert_references_resolve(document, value));
        }
        _ => {}
    }
}
