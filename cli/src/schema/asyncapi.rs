//! Channels as an AsyncAPI 3.0 document.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tokio_postgres::Row;

/// Name, whether it is durable, for how many seconds it keeps events, and the schema.
pub(super) const CHANNELS: &str = "
    SELECT name, durable, extract(epoch FROM retention)::bigint, schema::text
    FROM notify_json.channels LEFT JOIN notify_json.contracts ON contracts.channel = name
    ORDER BY name";

pub(super) fn document(title: &str, version: &str, rows: &[Row]) -> Result<Value> {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    let mut keys = Keys::default();
    for row in rows {
        let name: &str = row.try_get(0).context("a name is text")?;
        let schema: Option<&str> = row.try_get(3).context("a schema is text")?;
        let schema =
            schema.map(serde_json::from_str::<Value>).transpose().context(name.to_owned())?;
        let key = keys.of(name);
        let durable: bool = row.try_get(1).context("durable is a boolean")?;
        let mut channel = json!({
            "address": name,
            "messages": { "event": { "$ref": format!("#/components/messages/{key}") } },
            "x-notify-json-durable": durable,
        });
        if durable {
            let seconds: i64 = row.try_get(2).context("a time is a number")?;
            channel["x-notify-json-retention-seconds"] = seconds.into();
        }
        let reference = json!({ "$ref": format!("#/channels/{key}") });
        for action in ["send", "receive"] {
            let operation = json!({ "action": action, "channel": reference });
            operations.insert(format!("{action}-{key}"), operation);
        }
        messages.insert(key.clone(), message(name, &key, schema));
        channels.insert(key, channel);
    }
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": { "title": title, "version": version },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages },
    }))
}

fn message(name: &str, key: &str, schema: Option<Value>) -> Value {
    let mut message = json!({ "name": name, "contentType": "application/json" });
    if let Some(mut schema) = schema {
        move_references(&mut schema, &format!("#/components/messages/{key}/payload/schema"));
        message["payload"] = json!({ "schemaFormat": format(&schema), "schema": schema });
    }
    message
}

/// The media type of a schema, of draft 2020-12 unless it says otherwise.
fn format(schema: &Value) -> String {
    let dialect = schema.get("$schema").and_then(Value::as_str).unwrap_or_default();
    let drafts = [
        ("draft-04", "draft-04"),
        ("draft-06", "draft-06"),
        ("draft-07", "draft-07"),
        ("2019-09", "draft-2019-09"),
    ];
    let draft = drafts.into_iter().find(|(part, _)| dialect.contains(part));
    let version = draft.map_or("draft-2020-12", |(_, version)| version);
    format!("application/schema+json;version={version}")
}

/// What a schema calls its root is not the root of the document.
fn move_references(schema: &mut Value, root: &str) {
    match schema {
        Value::Object(object) => {
            for (keyword, value) in object {
                match value {
                    Value::String(reference) if keyword == "$ref" => {
                        if let Some(rest) = reference.strip_prefix('#') {
                            *reference = format!("{root}{rest}");
                        }
                    }
                    value => move_references(value, root),
                }
            }
        }
        Value::Array(array) => array.iter_mut().for_each(|value| move_references(value, root)),
        _ => {}
    }
}

/// Names of channels as keys, which AsyncAPI wants to be of letters, digits, `.`, `-` and `_`.
#[derive(Default)]
struct Keys(std::collections::HashSet<String>);

impl Keys {
    fn of(&mut self, name: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let mut key = name.replace(|c: char| !plain(c), "_");
        while !self.0.insert(key.clone()) {
            key.push('_');
        }
        key
    }
}
