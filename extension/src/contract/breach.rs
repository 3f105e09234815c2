//! What a payload has against its contract.

use std::collections::HashSet;
use std::fmt::Write;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

/// Where a payload breaks a contract, and what of it.
///
/// Holds no value of the payload, and of its names those alone that the schema has too.
#[derive(Debug)]
pub(crate) struct Breach {
    /// A JSON pointer into the payload; a name that the schema does not have is a `*`.
    pub(crate) place: String,
    /// What is missing, if that is all.
    pub(crate) missing: Option<String>,
    /// A JSON pointer into the schema.
    pub(crate) keyword: String,
}

impl Breach {
    pub(super) fn new(error: &ValidationError<'_>, instance: &Value, schema: &Value) -> Self {
        if let Some(error) = meant(error.kind()) {
            return Self::new(error, instance, schema);
        }
        let missing = match error.kind() {
            ValidationErrorKind::Required { property } => property.as_str().map(str::to_owned),
            _ => None,
        };
        let place = place(error.instance_path().as_str(), instance, schema);
        Self { place, missing, keyword: error.schema_path().to_string() }
    }
}

/// The first error of the one alternative that was meant: whose tag, a `const` or `enum`, fits.
fn meant(kind: &ValidationErrorKind) -> Option<&ValidationError<'static>> {
    use ValidationErrorKind::{AnyOf, Constant, Enum, OneOfNotValid};
    let (AnyOf { context } | OneOfNotValid { context }) = kind else { return None };
    let is_tag =
        |error: &ValidationError<'_>| matches!(error.kind(), Constant { .. } | Enum { .. });
    let mut meant = context.iter().filter(|errors| !errors.iter().any(is_tag));
    match (meant.next(), meant.next()) {
        (Some(errors), None) => errors.first(),
        _ => None,
    }
}

fn place(path: &str, instance: &Value, schema: &Value) -> String {
    let mut known = HashSet::new();
    collect_names(schema, &mut known);
    let mut place = String::new();
    let mut value = Some(instance);
    for segment in path.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        let is_index = value.is_some_and(Value::is_array);
        let shown = if is_index || known.contains(&*name) { segment } else { "*" };
        write!(place, "/{shown}").expect("writing to memory");
        value = value.and_then(|value| match value {
            Value::Array(array) => array.get(name.parse::<usize>().ok()?),
            value => value.get(&name),
        });
    }
    place
}

/// All names in a schema, be they of properties or keywords.
fn collect_names<'a>(schema: &'a Value, names: &mut HashSet<&'a str>) {
    match schema {
        Value::Object(object) => {
            for (name, value) in object {
                names.insert(name);
                collect_names(value, names);
            }
        }
        Value::Array(array) => array.iter().for_each(|value| collect_names(value, names)),
        _ => {}
    }
}
