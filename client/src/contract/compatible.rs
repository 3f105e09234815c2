//! Whether a schema may follow another one.

use std::panic::resume_unwind;
use std::thread;

use jsonschema::PatternOptions;
use jsonschema::canonical::{self, CanonicalSchema, Containment};
use serde_json::Value;

use super::depth::{STACK_BYTES, is_comparable};
use super::standalone::{closed, part, without_root_references};

/// Why a schema may not follow another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", place(.path))]
pub struct Incompatible {
    path: String,
    reason: String,
}

fn place(path: &str) -> &str {
    if path.is_empty() { "the event itself" } else { path }
}

impl Incompatible {
    /// Where in an event the two differ: a JSON pointer, in which `*` is every element of an array,
    /// or every property that has no name in the schema.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the difference is.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Checks that every event that an old schema describes is accepted by a new one.
///
/// Described is what the schema accepts, but for properties that it does not name, unless it has
/// `additionalProperties` or `unevaluatedProperties`: readers ignore them. So a field may come that
/// need not be there, and may go; one that must be there may not come, and none may become narrower.
///
/// What is not proven is refused, be it compatible in fact: for example any change of a type that
/// contains itself.
///
/// # Errors
/// Where the two differ and how, or why nothing can be said.
pub fn check_compatible(old: &Value, new: &Value) -> Result<(), Incompatible> {
    if old == new {
        return Ok(());
    }
    let refused =
        |reason: &str| Err(Incompatible { path: String::new(), reason: unproven(reason) });
    let (old, new) = (without_root_references(old), without_root_references(new));
    if !is_comparable(&old) || !is_comparable(&new) {
        return refused("the schemas go too deep");
    }
    let compare = || match difference(&old, &new) {
        None => Ok(()),
        Some(reason) => Err(located(&old, &new, String::new(), reason, 0)),
    };
    thread::scope(|scope| {
        let comparing = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, compare);
        match comparing.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(error) => refused(&format!("no thread for it could be started: {error}")),
        }
    })
}

/// The innermost place where a difference shows.
fn located(old: &Value, new: &Value, path: String, reason: String, depth: u32) -> Incompatible {
    const MAX_DEPTH: u32 = 8;
    let children = match depth < MAX_DEPTH {
        true => children(old, new),
        false => Vec::new(),
    };
    for (name, old_part, new_part) in children {
        let (old_part, new_part) = (part(old, old_part), part(new, new_part));
        if let Some(reason) = difference(&old_part, &new_part) {
            return located(&old_part, &new_part, format!("{path}/{name}"), reason, depth + 1);
        }
    }
    Incompatible { path, reason }
}

/// What both describe inside of a value.
fn children<'a>(old: &'a Value, new: &'a Value) -> Vec<(String, &'a Value, &'a Value)> {
    let mut children = Vec::new();
    if let (Some(Value::Object(old)), Some(Value::Object(new))) =
        (old.get("properties"), new.get("properties"))
    {
        for (name, old) in old {
            if let Some(new) = new.get(name) {
                let name = name.replace('~', "~0").replace('/', "~1");
                children.push((name, old, new));
            }
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let (Some(old), Some(new)) = (old.get(keyword), new.get(keyword)) {
            children.push(("*".to_owned(), old, new));
        }
    }
    children
}

fn unproven(reason: &str) -> String {
    format!("cannot be shown to be compatible: {reason}")
}

/// Why the new schema may not follow; `None` if it may.
fn difference(old: &Value, new: &Value) -> Option<String> {
    compare(old, new).unwrap_or_else(|reason| Some(unproven(&reason)))
}

/// What is lost, or why nothing can be said.
fn compare(old: &Value, new: &Value) -> Result<Option<String>, String> {
    if old == new {
        return Ok(None);
    }
    let of = |schema: &str, reason| format!("of the {schema} schema, {reason}");
    let old = form(old).map_err(|reason| of("old", reason))?;
    let new = form(new).map_err(|reason| of("new", reason))?;
    let old = form(&closed(&old.to_json_schema())).map_err(|reason| of("old", reason))?;
    match new.covers(&old) {
        Ok(Containment::Yes) => Ok(None),
        Ok(Containment::No) => Ok(Some(lost(&old, &new))),
        Ok(Containment::Unknown) => Err("the schemas differ too much".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn form(schema: &Value) -> Result<CanonicalSchema, String> {
    let form = canonical::options()
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex())
        .canonicalize(schema)
        .map_err(|error| error.to_string())?;
    match form.view() {
        canonical::CanonicalView::Raw(_) => {
            Err("keywords are beyond what can be compared".to_owned())
        }
        _ => Ok(form),
    }
}

/// Says what is accepted no more.
fn lost(old: &CanonicalSchema, new: &CanonicalSchema) -> String {
    const MAX_CHARACTERS: usize = 300;
    let what = "what the old schema describes would be refused";
    let Ok(rest) = old.subtract(new) else { return what.to_owned() };
    let mut rest = rest.to_json_schema();
    if let Some(object) = rest.as_object_mut() {
        object.remove("$schema");
    }
    let rest = rest.to_string();
    if rest.chars().count() > MAX_CHARACTERS {
        return what.to_owned();
    }
    format!("{what}, namely {rest}")
}

#[cfg(test)]
mod random;

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::Contract;

    /// Where the schema may not follow the other one.
    fn refused(old: &Value, new: &Value) -> Option<String> {
        check_compatible(old, new).err().map(|error| error.path)
    }

    fn of<T: JsonSchema>() -> Value {
        Contract::of::<T>().schema().clone()
    }

    /// Two versions of types: the second may follow the first, and not the other way round.
    macro_rules! versions {
        ($name:ident, $path:literal, { $($old:item)* } { $($new:item)* }) => {
            #[test]
            fn $name() {
                mod old {
                    use super::*;
                    $(#[derive(Deserialize, JsonSchema)] #[allow(dead_code, reason = "a schema")] $old)*
                }
                mod new {
                    use super::*;
                    $(#[derive(Deserialize, JsonSchema)] #[allow(dead_code, reason = "a schema")] $new)*
                }
                let (old, new) = (of::<old::T>(), of::<new::T>());
                assert_eq!(check_compatible(&old, &old), Ok(()));
                assert_eq!(check_compatible(&old, &new), Ok(()));
                assert_eq!(refused(&new, &old).as_deref(), Some($path));
            }
        };
    }

    versions!(a_field_becomes_wider, "/a/b",
        { pub(super) struct T { a: A } struct A { b: u8 } }
        { pub(super) struct T { a: A } struct A { b: u16 } });
    versions!(a_field_becomes_optional, "/b",
        { pub(super) struct T { a: u8, b: String } }
        { pub(super) struct T { a: u8, b: Option<String> } });
    versions!(an_enum_gets_a_variant, "/a",
        { pub(super) struct T { a: A } enum A { X, Y } }
        { pub(super) struct T { a: A } enum A { X, Y, Z } });
    versions!(a_tagged_enum_gets_a_variant, "",
        { #[serde(tag = "kind")] pub(super) enum T { X { a: i32 }, Y { b: String } } }
        { #[serde(tag = "kind")] pub(super) enum T { X { a: i64 }, Y { b: String, c: Option<u8> }, Z } });
    versions!(an_enum_with_content_gets_a_variant, "",
        { pub(super) enum T { X(i32), Y { b: String } } }
        { pub(super) enum T { X(i32), Y { b: String, c: Option<u8> }, Z(u8) } });
    versions!(elements_become_wider, "/a/*",
        { pub(super) struct T { a: Vec<u8> } }
        { pub(super) struct T { a: Vec<u16> } });
    versions!(values_of_a_map_become_wider, "/a/*",
        { pub(super) struct T { a: std::collections::BTreeMap<String, u8> } }
        { pub(super) struct T { a: std::collections::BTreeMap<String, u16> } });

    #[test]
    fn fields_that_need_not_be_there_come_and_go() {
        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code, reason = "its schema is what matters")]
        struct Few {
            a: u8,
        }
        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code, reason = "its schema is what matters")]
        struct More {
            a: u8,
            b: Option<String>,
            #[serde(default)]
            c: Vec<Few>,
        }
        assert_eq!(refused(&of::<Few>(), &of::<More>()), None);
        assert_eq!(refused(&of::<More>(), &of::<Few>()), None);
    }

    #[test]
    fn schemas_by_hand() {
        for (old, new, path) in [
            (json!(true), json!({}), None),
            (json!({}), json!({ "type": "object" }), Some("")),
            (json!({ "type": "integer" }), json!({ "type": ["number", "null"] }), None),
            (json!({ "const": 1 }), json!({ "enum": [1, 2] }), None),
            (json!({ "enum": [1, 2] }), json!({ "minimum": 1 }), None),
            (json!({ "enum": [1, 2] }), json!({ "minimum": 2 }), Some("")),
            (json!({ "maxLength": 3 }), json!({ "maxLength": 4 }), None),
            (json!({ "maxLength": 4 }), json!({ "maxLength": 3 }), Some("")),
            (json!({ "type": "string", "pattern": "^a" }), json!({ "type": "string" }), None),
            (json!({ "type": "string" }), json!({ "type": "string", "pattern": "^a" }), Some("")),
            (json!({ "format": "uuid" }), json!({ "format": "date" }), Some("")),
            // Named by nobody, but not forbidden to be there by anybody either.
            (
                json!({ "properties": { "a": { "type": "null" } } }),
                json!({ "properties": { "a": { "type": "null" }, "b": { "type": "null" } } }),
                None,
            ),
            // What narrows nothing is not told from what accepts everything.
            (
                json!({ "properties": { "a": {} } }),
                json!({ "properties": { "a": {}, "b": { "type": "null" } } }),
                Some(""),
            ),
            (
                json!({ "properties": { "a": {} }, "additionalProperties": true }),
                json!({ "properties": { "a": {}, "b": { "type": "null" } } }),
                Some(""),
            ),
            (
                json!({ "allOf": [{ "properties": { "a": {} } }, { "properties": { "b": {} } }] }),
                json!({ "properties": { "b": { "type": "null" } } }),
                Some(""),
            ),
            (
                json!({ "$ref": "#/$defs/a", "$defs": { "a": { "type": "integer" } } }),
                json!({ "$ref": "#/$defs/b", "$defs": { "b": { "type": "number" } } }),
                None,
            ),
            (json!({ "$ref": "http://localhost/" }), json!({}), Some("")),
            (
                json!({ "properties": { "a": { "type": "null" } }, "required": ["b"] }),
                json!({ "properties": { "a": {}, "c": { "type": "null" } }, "required": ["b"] }),
                None,
            ),
            (
                json!({ "type": "array", "uniqueItems": true, "items": { "properties": { "a": { "type": "null" } } } }),
                json!({ "type": "array", "items": { "properties": { "b": { "type": "null" } } } }),
                None,
            ),
        ] {
            assert_eq!(refused(&old, &new).as_deref(), path, "{old} → {new}");
        }
    }

    /// That it demands what it does not name must not leave an object that nothing meets.
    #[test]
    fn what_is_demanded_of_an_object_is_described() {
        let integer = || json!({ "a": { "type": "integer" } });
        for old in [
            json!({ "type": "object", "properties": integer(), "required": ["b"] }),
            json!({ "type": "object", "properties": integer(), "minProperties": 2 }),
            json!({ "type": "object", "properties": integer(), "dependentRequired": { "a": ["b"] } }),
            json!({ "type": "object", "properties": integer(), "required": ["a"],
                    "dependentSchemas": { "a": { "required": ["b"] } } }),
            json!({ "type": "object", "properties": integer(),
                    "anyOf": [{ "required": ["b"] }, { "required": ["c"] }] }),
            json!({ "type": "object", "properties": { "a": { "const": 1 } },
                    "if": { "properties": { "a": { "const": 1 } } }, "then": { "required": ["b"] } }),
            json!({ "$ref": "#/$defs/a", "required": ["b"],
                    "$defs": { "a": { "type": "object", "properties": integer() } } }),
        ] {
            let within = |schema: &Value| {
                let mut schema = schema.clone();
                let definitions = schema.as_object_mut().and_then(|object| object.remove("$defs"));
                json!({ "type": "object", "properties": { "n": schema }, "$defs": definitions.unwrap_or(json!({})) })
            };
            for new in [
                json!(false),
                json!({ "type": "string" }),
                json!({ "type": "object", "properties": { "a": { "type": "string" } } }),
            ] {
                assert!(check_compatible(&old, &new).is_err(), "{old} → {new}");
                let (old, new) = (within(&old), within(&new));
                assert!(check_compatible(&old, &new).is_err(), "{old} → {new}");
            }
        }
        let distinct = json!({ "type": "array", "minItems": 3, "uniqueItems": true,
                               "items": { "type": "object", "properties": { "a": { "const": 1 } } } });
        assert_eq!(refused(&distinct, &json!({ "type": "string" })).as_deref(), Some(""));
    }

    #[test]
    fn a_chain_that_is_too_long_is_not_followed() {
        let chain = |links: usize, last: &str| {
            let mut definitions = serde_json::Map::new();
            for n in 0..links {
                let next = json!({ "$ref": format!("#/$defs/{}", n + 1) });
                definitions.insert(n.to_string(), json!({ "properties": { "x": next } }));
            }
            definitions.insert(links.to_string(), json!({ "type": last }));
            json!({ "$defs": definitions, "$ref": "#/$defs/0" })
        };
        for links in [20, 60, 1_000, 18_000] {
            let (integer, number) = (chain(links, "integer"), chain(links, "number"));
            assert_eq!(check_compatible(&integer, &integer), Ok(()));
            let outcome = check_compatible(&integer, &number);
            assert_eq!(outcome.is_ok(), links < 100, "{links}: {outcome:?}");
        }
    }
}
