//! What holds for schemas and events at random.

use serde_json::json;

use super::*;

/// Schemas and events of a few forms that like to meet.
struct Random(fastrand::Rng);

impl Random {
    fn name(&mut self) -> &'static str {
        ["a", "b", "c"][self.0.usize(..3)]
    }

    fn schema(&mut self, depth: u32) -> Value {
        match self.0.u32(..if depth == 0 { 5 } else { 9 }) {
            0 => {
                let types = ["integer", "string", "null", "boolean"];
                json!({ "type": types[self.0.usize(..4)] })
            }
            1 => json!({ "type": "integer", "minimum": self.0.i32(-2..3) }),
            2 => json!({ "enum": [self.event(0), self.event(0)] }),
            3 => json!({ "type": "string", "maxLength": self.0.u32(..3) }),
            4 => json!({}),
            5 => json!({ "type": "array", "items": self.schema(depth - 1) }),
            6 => json!({ "anyOf": [self.schema(depth - 1), self.schema(depth - 1)] }),
            7 => json!({ "allOf": [self.schema(depth - 1), self.schema(depth - 1)] }),
            _ => {
                let mut schema = json!({ "type": "object", "properties": {}, "required": [] });
                for _ in 0..self.0.usize(..3) {
                    let name = self.name();
                    schema["properties"][name] = self.schema(depth - 1);
                    if self.0.bool() {
                        schema["required"] = json!([name]);
                    }
                }
                match self.0.u32(..6) {
                    0 => schema["required"] = json!([self.name()]),
                    1 => schema["minProperties"] = self.0.u32(..4).into(),
                    _ => {}
                }
                match self.0.u32(..4) {
                    0 => schema["additionalProperties"] = false.into(),
                    1 => schema["additionalProperties"] = self.schema(depth - 1),
                    _ => {}
                }
                schema
            }
        }
    }

    /// As the schema is, or a bit different.
    fn changed(&mut self, schema: &Value, depth: u32) -> Value {
        let mut schema = schema.clone();
        if self.0.u32(..4) == 0 {
            return self.schema(depth);
        }
        match &mut schema {
            Value::Object(object) => {
                for value in object.values_mut() {
                    if self.0.bool() && (value.is_object() || value.is_array()) {
                        *value = self.changed_within(value, depth.saturating_sub(1));
                    }
                }
            }
            _ => return self.schema(depth),
        }
        schema
    }

    fn changed_within(&mut self, value: &Value, depth: u32) -> Value {
        match value {
            Value::Object(object) if object.keys().all(|name| name.len() == 1) => {
                let mut properties = object.clone();
                let name = self.name();
                properties.insert(name.to_owned(), self.schema(depth));
                properties.into()
            }
            Value::Array(array) if array.iter().all(Value::is_object) => {
                array.iter().map(|part| self.changed(part, depth)).collect()
            }
            Value::Object(_) => self.changed(value, depth),
            value => value.clone(),
        }
    }

    fn event(&mut self, depth: u32) -> Value {
        match self.0.u32(..if depth == 0 { 4 } else { 7 }) {
            0 => Value::Null,
            1 => self.0.bool().into(),
            2 => self.0.i32(-2..4).into(),
            3 => ["", "a", "bb", "ccc"][self.0.usize(..4)].into(),
            4 => (0..self.0.u32(..3)).map(|_| self.event(depth - 1)).collect(),
            _ => {
                let count = self.0.u32(..3);
                let fields = (0..count).map(|_| (self.name().to_owned(), self.event(depth - 1)));
                Value::Object(fields.collect())
            }
        }
    }
}

/// Whether the event has what nobody who read the schema could know.
fn described(schema: &Value, event: &Value) -> bool {
    let closed = closed(&form(schema).unwrap().to_json_schema());
    validates(&closed, event)
}

fn validates(schema: &Value, event: &Value) -> bool {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap().is_valid(event)
}

/// Otherwise nothing would be described, and everything could follow.
#[test]
fn what_can_be_met_can_be_met_when_closed() {
    let mut random = Random(fastrand::Rng::with_seed(2));
    let mut met = 0;
    for _ in 0..4_000 {
        let schema = form(&random.schema(3)).unwrap();
        let closed = form(&closed(&schema.to_json_schema())).unwrap();
        let is_empty = |form: &CanonicalSchema| form.view() == canonical::CanonicalView::False;
        met += u32::from(!is_empty(&schema));
        assert_eq!(is_empty(&schema), is_empty(&closed), "{}", schema.to_json_schema());
    }
    assert!(met > 1_000, "{met}");
}

#[test]
fn what_may_follow_accepts_what_was_described() {
    let mut random = Random(fastrand::Rng::with_seed(1));
    let (mut compatible, mut events) = (0, 0);
    for _ in 0..2_000 {
        let old = random.schema(2);
        let new = random.changed(&old, 2);
        if old == new || check_compatible(&old, &new).is_err() {
            continue;
        }
        compatible += 1;
        for _ in 0..50 {
            let event = random.event(3);
            if validates(&old, &event) && described(&old, &event) {
                events += 1;
                assert!(validates(&new, &event), "{event}: {old} → {new}");
            }
        }
    }
    assert!(compatible > 100 && events > 500, "{compatible} {events}");
}
