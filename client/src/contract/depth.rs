//! How deep a schema goes: whoever compares two follows their references, and has one stack.

use serde_json::Value;

/// Levels of a schema within each other, references followed.
const MAX_DEPTH: usize = 256;

/// Parts looked at to find out, each as often as it is referred to.
const MAX_PARTS: u32 = 1_000_000;

/// Of the thread that compares. A level takes some kilobytes.
pub(super) const STACK_BYTES: usize = 64 << 20;

/// Whether a schema is flat enough to be compared.
pub(super) fn is_comparable(schema: &Value) -> bool {
    Walk { schema, references: Vec::new(), parts_left: MAX_PARTS }.go_into(schema, 0)
}

struct Walk<'a> {
    schema: &'a Value,
    /// Those followed to where the walk is. One that comes again leads in a circle.
    references: Vec<&'a str>,
    parts_left: u32,
}

impl<'a> Walk<'a> {
    fn go_into(&mut self, part: &'a Value, depth: usize) -> bool {
        if depth > MAX_DEPTH || self.parts_left == 0 {
            return false;
        }
        self.parts_left -= 1;
        match part {
            Value::Object(object) => object.iter().all(|(keyword, value)| match value {
                Value::String(reference) if keyword == "$ref" => self.follow(reference, depth),
                value => self.go_into(value, depth + 1),
            }),
            Value::Array(array) => array.iter().all(|value| self.go_into(value, depth + 1)),
            _ => true,
        }
    }

    fn follow(&mut self, reference: &'a str, depth: usize) -> bool {
        let target = reference.strip_prefix('#').and_then(|pointer| self.schema.pointer(pointer));
        let Some(target) = target.filter(|_| !self.references.contains(&reference)) else {
            return true;
        };
        self.references.push(reference);
        let is_flat = self.go_into(target, depth + 1);
        self.references.pop();
        is_flat
    }
}
