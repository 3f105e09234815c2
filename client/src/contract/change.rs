//! Schemas of row changes, as `notify_json.watch()` publishes them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::{Change, Changes};

impl<T: JsonSchema> JsonSchema for Change<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Change_of_{}", T::schema_name()).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("{}::Change<{}>", module_path!(), T::schema_id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        any_of(of_rows(&row::<T>(generator)))
    }
}

impl<T: JsonSchema> JsonSchema for Changes<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Changes_of_{}", T::schema_name()).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("{}::Changes<{}>", module_path!(), T::schema_id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let row = row::<T>(generator);
        any_of([of_rows(&row), of_statements(&row)].concat())
    }
}

fn row<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn any_of(events: Vec<Value>) -> Schema {
    let mut schema = Schema::default();
    schema.insert("anyOf".to_owned(), events.into());
    schema
}

/// Events with one row, or, of TRUNCATE, none.
fn of_rows(row: &Value) -> Vec<Value> {
    let mut events: Vec<_> =
        changes(row).into_iter().map(|(operation, fields)| event(operation, fields)).collect();
    events.push(event("truncate", json!({})));
    events
}

/// Events with all rows of a statement.
fn of_statements(row: &Value) -> Vec<Value> {
    let event_of = |(operation, fields)| {
        event(operation, json!({ "rows": { "type": "array", "items": object(fields) } }))
    };
    changes(row).into_iter().map(event_of).collect()
}

/// What each operation tells of a row.
fn changes(row: &Value) -> [(&'static str, Value); 3] {
    let key = json!({ "type": ["object", "null"] });
    let names = json!({ "type": "array", "items": { "type": "string" } });
    [
        ("insert", json!({ "key": key, "new": row })),
        ("update", json!({ "key": key, "changed": names, "new": row, "old": row })),
        ("delete", json!({ "key": key, "old": row })),
    ]
}

fn event(operation: &str, fields: Value) -> Value {
    let mut schema = object(fields);
    let common = json!({
        "op": { "const": operation },
        "table": { "type": "string" },
        "seq": { "type": "integer", "minimum": 1 },
        "xid": { "type": "integer", "minimum": 0 },
        "at": { "type": "string", "format": "date-time" },
    });
    for (name, field) in into_fields(common) {
        schema["required"].as_array_mut().expect("it is one").push(name.clone().into());
        schema["properties"][&name] = field;
    }
    schema
}

/// An object that must have all fields, save for `old` beside `new`.
fn object(fields: Value) -> Value {
    let is_update = fields.get("changed").is_some();
    let required: Vec<_> = into_fields(fields.clone()).into_iter().map(|(name, _)| name).collect();
    let required: Vec<_> = required.iter().filter(|name| !is_update || *name != "old").collect();
    json!({ "type": "object", "required": required, "properties": fields })
}

fn into_fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
