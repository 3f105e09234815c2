//! Schemas in forms that can be compared.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

/// Rewrites a schema that refers to its own root by name of a definition, so that it can be
/// compared with another one that does.
pub(super) fn without_root_references(schema: &Value) -> Value {
    let mut root = schema.clone();
    if !replace_references(&mut root, None) {
        return root;
    }
    let Some(object) = root.as_object_mut() else { return root };
    let mut definitions = match object.remove("$defs") {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    let dialect = object.remove("$schema");
    let mut name = "root".to_owned();
    while definitions.contains_key(&name) {
        name.push('_');
    }
    let reference = format!("#/$defs/{name}");
    definitions.insert(name, root);
    let mut definitions = Value::Object(definitions);
    replace_references(&mut definitions, Some(&reference));
    let mut whole = json!({ "$defs": definitions, "$ref": reference });
    if let Some(dialect) = dialect {
        whole["$schema"] = dialect;
    }
    whole
}

/// Replaces references to the root, or only looks for them; whether there are any.
fn replace_references(schema: &mut Value, by: Option<&str>) -> bool {
    match schema {
        Value::Object(object) => {
            let mut found = false;
            for (keyword, value) in object {
                if keyword == "$ref" && value == "#" {
                    if let Some(by) = by {
                        *value = by.into();
                    }
                    found = true;
                } else {
                    found |= replace_references(value, by);
                }
            }
            found
        }
        Value::Array(array) => {
            array.iter_mut().fold(false, |found, value| replace_references(value, by) | found)
        }
        _ => false,
    }
}

/// A part of a schema as one of its own, with the definitions of the whole.
pub(super) fn part(whole: &Value, part: &Value) -> Value {
    let mut part = resolved(whole, part).clone();
    if let Some(object) = part.as_object_mut() {
        for keyword in ["$defs", "$schema"] {
            if let Some(value) = whole.get(keyword) {
                object.entry(keyword).or_insert_with(|| value.clone());
            }
        }
    }
    part
}

/// What a part refers to, if it is nothing but a reference within the schema.
fn resolved<'a>(whole: &'a Value, mut part: &'a Value) -> &'a Value {
    // A circle of references ends somewhere in it.
    for _ in 0..32 {
        let reference = part.get("$ref").and_then(Value::as_str);
        let target = reference.and_then(|name| whole.pointer(name.strip_prefix('#')?));
        match target {
            Some(target) => part = target,
            None => break,
        }
    }
    part
}

/// Closes the objects of a schema in canonical form: they get no other properties than they name, be
/// it that they must have them.
///
/// Where a part holds together with another one, as in `allOf`, it stays as it is: closing both
/// would leave nothing. Nothing becomes larger, and nothing that can be met becomes what cannot.
pub(super) fn closed(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let definitions = schema.as_object_mut().and_then(|object| object.remove("$defs"));
    let mut is_shared = false;
    close(&mut schema, &mut is_shared);
    if let Some(original) = definitions {
        let mut definitions = original.clone();
        for (name, definition) in definitions.as_object_mut().into_iter().flatten() {
            // Of two recursive ones no more can be proven than that they are the same.
            if !reaches(&original, &original[name], name, &mut HashSet::new()) {
                close(definition, &mut is_shared);
            }
        }
        // A definition that holds together with something else stays open for all who refer to it.
        schema["$defs"] = if is_shared { original } else { definitions };
    }
    schema
}

/// What stands beside other keywords without narrowing anything.
const ANNOTATIONS: [&str; 6] =
    ["$schema", "title", "description", "default", "examples", "$comment"];

fn close(schema: &mut Value, is_shared: &mut bool) {
    let Some(object) = schema.as_object_mut() else { return };
    let is_alone = |object: &Map<String, Value>, keyword: &str| {
        object.keys().all(|other| other == keyword || ANNOTATIONS.contains(&&**other))
    };
    for keyword in ["anyOf", "oneOf"] {
        if is_alone(object, keyword) {
            let branches = object.get_mut(keyword).and_then(Value::as_array_mut);
            branches.into_iter().flatten().for_each(|branch| close(branch, is_shared));
            return;
        }
    }
    if is_alone(object, "$ref") {
        return;
    }
    const COMBINED: [&str; 16] = [
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "$ref",
        "$dynamicRef",
        "dependentSchemas",
        "dependentRequired",
        "dependencies",
        "patternProperties",
        "contains",
        "unevaluatedProperties",
        "unevaluatedItems",
    ];
    let needs_many = object.contains_key("uniqueItems") && least(object, "minItems") > 1;
    if needs_many || COMBINED.iter().any(|keyword| object.contains_key(*keyword)) {
        *is_shared |= has_references(schema);
        return;
    }
    for keyword in ["properties", "items", "prefixItems", "additionalProperties"] {
        match (keyword, object.get_mut(keyword)) {
            ("properties", Some(Value::Object(properties))) => {
                properties.values_mut().for_each(|property| close(property, is_shared));
            }
            ("prefixItems", Some(Value::Array(items))) => {
                items.iter_mut().for_each(|item| close(item, is_shared));
            }
            ("items" | "additionalProperties", Some(value)) => close(value, is_shared),
            _ => {}
        }
    }
    let says = ["additionalProperties", "propertyNames"];
    if !says.iter().any(|name| object.contains_key(*name)) {
        close_object(object);
    }
}

fn close_object(object: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = object.get("properties") else { return };
    let mut properties = properties.clone();
    for name in object.get("required").and_then(Value::as_array).into_iter().flatten() {
        name.as_str().map(|name| properties.entry(name).or_insert(true.into()));
    }
    let possible = properties.values().filter(|property| **property != false).count() as u64;
    if least(object, "minProperties") <= possible {
        object.insert("properties".to_owned(), properties.into());
        object.insert("additionalProperties".to_owned(), false.into());
    }
}

fn least(object: &Map<String, Value>, keyword: &str) -> u64 {
    object.get(keyword).map_or(0, |number| number.as_u64().unwrap_or(u64::MAX))
}

/// Whether references lead from a schema to a definition.
fn reaches<'a>(
    definitions: &'a Value,
    schema: &'a Value,
    goal: &str,
    seen: &mut HashSet<&'a str>,
) -> bool {
    match schema {
        Value::Object(object) => object.iter().any(|(keyword, value)| {
            let name = match (&**keyword, value) {
                ("$ref", Value::String(reference)) => reference.strip_prefix("#/$defs/"),
                _ => return reaches(definitions, value, goal, seen),
            };
            name.is_some_and(|name| {
                name == goal
                    || seen.insert(name) && reaches(definitions, &definitions[name], goal, seen)
            })
        }),
        Value::Array(array) => array.iter().any(|value| reaches(definitions, value, goal, seen)),
        _ => false,
    }
}

fn has_references(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => object.contains_key("$ref") || object.values().any(has_references),
        Value::Array(array) => array.iter().any(has_references),
        _ => false,
    }
}
