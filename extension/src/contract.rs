//! The contract of a channel: a JSON Schema that its events must meet.

mod breach;
mod cost;
mod instance;
mod node;

use std::cell::OnceCell;

use jsonschema::{PatternOptions, ValidationError, Validator};
use pgrx::pg_extern;
use serde_json::Value;

use crate::argument::{Json, to_utf8};
use crate::error::Error;
use crate::settings;
pub(crate) use breach::Breach;
use instance::Instance;
pub(crate) use instance::Uncheckable;
use node::{Budget, Node, Payload, within};

/// A schema, compiled when the first event is checked by it.
pub(crate) struct Contract {
    /// In the database's encoding.
    text: Box<[u8]>,
    compiled: OnceCell<Compiled>,
}

struct Compiled {
    schema: Value,
    /// That one value may be checked by.
    subschemas: u64,
    validator: Validator<Payload>,
}

/// Bytes that a schema may have in UTF-8. Every session that publishes keeps all of them.
const MAX_SCHEMA_BYTES: usize = 1 << 20;

/// Bytes that one compiled `pattern` may take, and its cache of states.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// To know where a payload breaks its contract may take so many times the looks that it took to know
/// that it does, and always as many as go with so many looks at a subschema.
const LOOKS_TO_FIND: u64 = 20;
const LEAST_LOOKS: u64 = 1_000_000;

/// Errors of alternatives that may be looked through for it.
const MAX_ERRORS: u64 = 1_000;

impl Contract {
    pub(crate) fn new(text: &[u8]) -> Self {
        Self { text: text.into(), compiled: OnceCell::new() }
    }

    /// Whether its schema is this text.
    pub(crate) fn is(&self, text: &[u8]) -> bool {
        *self.text == *text
    }

    /// Refuses a payload that is not JSON, cannot be checked or breaks the contract.
    pub(crate) fn check(&self, payload: &str) -> Result<(), Error> {
        // What is checked is held in memory as a tree.
        let (length, limit) = (payload.len(), settings::max_message_bytes());
        if length > limit {
            return Err(Error::TooLarge { length, limit });
        }
        let instance = instance::parse(payload)?;
        let Compiled { schema, subschemas, validator } = self.compiled()?;
        let node = Node(&instance);
        let (is_valid, looks) =
            within(Budget::UNLIMITED, || validator.is_valid(node)).ok_or(Error::Deep)?;
        if is_valid {
            return Ok(());
        }
        let looks = looks.saturating_mul(LOOKS_TO_FIND) + LEAST_LOOKS / subschemas;
        let found = within(Budget { looks, errors: MAX_ERRORS }, || {
            validator.validate(node).err().map(|error| Breach::new(&error, &instance, schema))
        });
        Err(Error::Breach(found.and_then(|(breach, _)| breach)))
    }

    fn compiled(&self) -> Result<&Compiled, Error> {
        if let Some(compiled) = self.compiled.get() {
            return Ok(compiled);
        }
        let text = to_utf8(&self.text, "schema")?;
        let compiled = compile(&text).map_err(Error::UnusableContract)?;
        Ok(self.compiled.get_or_init(|| compiled))
    }
}

/// Why a text is no schema that events can be checked by. It may quote the schema.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct BadSchema {
    pub(crate) reason: String,
}

#[pg_extern(sql = false)]
fn check_schema(schema: Option<Json<'_>>) {
    let check = |schema: Json<'_>| {
        let text = to_utf8(schema.bytes(), "schema")?;
        compile(&text).map_err(Error::BadSchema)
    };
    if let Some(Err(error)) = schema.map(check) {
        error.raise();
    }
}

fn compile(text: &str) -> Result<Compiled, BadSchema> {
    if text.len() > MAX_SCHEMA_BYTES {
        let reason = format!("the schema has {} bytes, of at most {MAX_SCHEMA_BYTES}", text.len());
        return Err(BadSchema { reason });
    }
    let Instance(schema) = serde_json::from_str(text)
        .map_err(|error| BadSchema { reason: format!("the schema cannot be read: {error}") })?;
    let patterns =
        PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES);
    let options = jsonschema::options_for::<Payload>()
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(patterns);
    let built = options.build(&schema);
    let validator = built.map_err(|error| BadSchema { reason: explained(&error) })?;
    let subschemas = cost::of(&schema).map_err(|reason| BadSchema { reason })?;
    Ok(Compiled { schema, subschemas, validator })
}

/// What is wrong with a schema, and where in it.
fn explained(error: &ValidationError<'_>) -> String {
    const MAX_CHARACTERS: usize = 300;
    let text = error.to_string();
    let mut shown: String = text.chars().take(MAX_CHARACTERS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    match error.instance_path().as_str() {
        "" => shown,
        path => format!("at {path}: {shown}"),
    }
}
