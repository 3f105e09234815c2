//! How much work a schema can make.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Subschemas that one value may be checked by. Each `anyOf` of two alternatives that refer to
/// the next such one doubles them; nothing interrupts a check that never ends.
const MAX_SUBSCHEMAS: u64 = 10_000;

/// References that may lead from one to the next.
const MAX_DEPTH: u32 = 200;

/// Says what is wrong with a schema that one value could take too long to be checked by.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let mut counter = Counter { schema, targets: HashMap::new(), known: HashMap::new() };
    counter.collect_targets(schema);
    match counter.is_bearable(schema) {
        true => Ok(()),
        false => Err(format!(
            "one value could be checked by more than the {MAX_SUBSCHEMAS} subschemas allowed, \
             references lead through more than {MAX_DEPTH} others, or one is neither a JSON pointer \
             nor an anchor"
        )),
    }
}

struct Counter<'a> {
    schema: &'a Value,
    /// What references can name other than by JSON pointer.
    targets: HashMap<String, &'a Value>,
    /// Counts of references; 0 while being counted.
    known: HashMap<&'a str, u64>,
}

impl<'a> Counter<'a> {
    fn collect_targets(&mut self, part: &'a Value) {
        match part {
            Value::Object(object) => {
                for (keyword, value) in object {
                    match (&**keyword, value) {
                        ("$anchor" | "$dynamicAnchor", Value::String(name)) => {
                            self.targets.insert(format!("#{name}"), part);
                        }
                        ("$id" | "id", Value::String(name)) => {
                            self.targets.insert(name.clone(), part);
                        }
                        _ => self.collect_targets(value),
                    }
                }
            }
            Value::Array(array) => array.iter().for_each(|value| self.collect_targets(value)),
            _ => {}
        }
    }

    /// Whatever looks like a schema in it is counted like one.
    fn is_bearable(&mut self, part: &'a Value) -> bool {
        match part {
            Value::Object(object) => {
                self.count(part, 0) <= MAX_SUBSCHEMAS
                    && object.values().all(|value| self.is_bearable(value))
            }
            Value::Array(array) => array.iter().all(|value| self.is_bearable(value)),
            _ => true,
        }
    }

    fn count(&mut self, part: &'a Value, depth: u32) -> u64 {
        if depth > MAX_DEPTH {
            return u64::MAX;
        }
        let Value::Object(object) = part else { return 1 };
        let mut total = 1_u64;
        for (keyword, value) in object {
            let count = match (&**keyword, value) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                    self.count_target(reference, depth)
                }
                ("not" | "if" | "then" | "else", part) => self.count(part, depth + 1),
                ("allOf" | "anyOf" | "oneOf", Value::Array(parts)) => {
                    self.count_all(parts.iter(), depth)
                }
                ("dependentSchemas" | "dependencies", Value::Object(parts)) => {
                    self.count_all(parts.values(), depth)
                }
                _ => 0,
            };
            total = total.saturating_add(count);
        }
        total
    }

    fn count_all(&mut self, parts: impl Iterator<Item = &'a Value>, depth: u32) -> u64 {
        parts.fold(0, |total: u64, part| total.saturating_add(self.count(part, depth + 1)))
    }

    /// A circle counts once: the validator follows it no further either.
    fn count_target(&mut self, reference: &'a str, depth: u32) -> u64 {
        if let Some(count) = self.known.get(reference) {
            return *count;
        }
        let pointer = reference.strip_prefix('#').map(percent_decode_str);
        let pointer = pointer.map(|pointer| pointer.decode_utf8_lossy());
        let target = pointer.and_then(|pointer| self.schema.pointer(&pointer));
        let target = target.or_else(|| self.targets.get(reference).copied());
        self.known.insert(reference, 0);
        let count = target.map_or(u64::MAX, |target| self.count(target, depth + 1));
        self.known.insert(reference, count);
        count
    }
}
