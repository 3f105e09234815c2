//! How much work a schema can make.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Subschemas that one value may be checked by. Each `anyOf` of two alternatives that refer to the
/// next such one doubles them.
const MAX_SUBSCHEMAS: u64 = 10_000;

/// How deep within each other they may be. All of them take of the stack before the next look at it.
const MAX_DEPTH: u32 = 100;

/// What checking a value takes, apart from the values in it.
#[derive(Clone, Copy)]
struct Cost {
    subschemas: u64,
    depth: u32,
}

impl Cost {
    const LEAST: Self = Self { subschemas: 1, depth: 0 };
    const TOO_MUCH: Self = Self { subschemas: u64::MAX, depth: u32::MAX };

    fn add(&mut self, within: Self) {
        self.subschemas = self.subschemas.saturating_add(within.subschemas);
        self.depth = self.depth.max(within.depth.saturating_add(1));
    }
}

/// The subschemas that one value may be checked by, or what is wrong with a schema of too many.
pub(super) fn of(schema: &Value) -> Result<u64, String> {
    let mut counter = Counter { schema, targets: HashMap::new(), known: HashMap::new() };
    counter.collect_targets(schema);
    let Cost { subschemas, depth } = counter.most(schema);
    if subschemas <= MAX_SUBSCHEMAS && depth <= MAX_DEPTH {
        return Ok(subschemas);
    }
    Err(format!(
        "one value could be checked by more than {MAX_SUBSCHEMAS} subschemas, or by some more than \
         {MAX_DEPTH} deep within each other; or a reference leads back to where it is, or is neither \
         a JSON pointer nor an anchor"
    ))
}

struct Counter<'a> {
    schema: &'a Value,
    /// What references can name other than by JSON pointer.
    targets: HashMap<String, &'a Value>,
    /// Costs of references; too much while they are counted, and so for one in a circle.
    known: HashMap<&'a str, Cost>,
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

    /// Of all values. Whatever looks like a schema is counted like one.
    fn most(&mut self, part: &'a Value) -> Cost {
        let (own, parts): (_, Vec<_>) = match part {
            Value::Object(object) => (self.count(part, 0), object.values().collect()),
            Value::Array(array) => (Cost::LEAST, array.iter().collect()),
            _ => return Cost::LEAST,
        };
        parts.into_iter().fold(own, |most, part| {
            let Cost { subschemas, depth } = self.most(part);
            Cost { subschemas: most.subschemas.max(subschemas), depth: most.depth.max(depth) }
        })
    }

    fn count(&mut self, part: &'a Value, above: u32) -> Cost {
        if above > MAX_DEPTH {
            return Cost::TOO_MUCH;
        }
        let mut total = Cost::LEAST;
        let Value::Object(object) = part else { return total };
        for (keyword, value) in object {
            match (&**keyword, value) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                    total.add(self.count_target(reference, above + 1));
                }
                ("not" | "if" | "then" | "else", part) => total.add(self.count(part, above + 1)),
                ("allOf" | "anyOf" | "oneOf", Value::Array(parts)) => {
                    parts.iter().for_each(|part| total.add(self.count(part, above + 1)));
                }
                ("dependentSchemas" | "dependencies", Value::Object(parts)) => {
                    parts.values().for_each(|part| total.add(self.count(part, above + 1)));
                }
                _ => {}
            }
        }
        total
    }

    fn count_target(&mut self, reference: &'a str, above: u32) -> Cost {
        if let Some(cost) = self.known.get(reference) {
            return *cost;
        }
        let pointer = reference.strip_prefix('#').map(percent_decode_str);
        let pointer = pointer.map(|pointer| pointer.decode_utf8_lossy());
        let target = pointer.and_then(|pointer| self.schema.pointer(&pointer));
        let target = target.or_else(|| self.targets.get(reference).copied());
        self.known.insert(reference, Cost::TOO_MUCH);
        let cost = target.map_or(Cost::TOO_MUCH, |target| self.count(target, above));
        self.known.insert(reference, cost);
        cost
    }
}
