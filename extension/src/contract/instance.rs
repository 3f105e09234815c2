//! A payload as the values that a schema is about.

use std::fmt;

use pgrx::check_for_interrupts;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::json;

/// Why a JSON text cannot be checked, and where. Holds none of the text.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Uncheckable {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) reason: String,
}

/// Reads a text. What a listener could read otherwise than it is read here is refused.
pub(super) fn parse(text: &str) -> Result<Value, Error> {
    match serde_json::from_str::<Instance>(text) {
        Ok(Instance(value)) => Ok(value),
        Err(error) => {
            json::check(text)?;
            let (line, column) = (error.line(), error.column());
            Err(Error::Uncheckable(Uncheckable { line, column, reason: json::reason(&error) }))
        }
    }
}

/// A value whose objects have every property once.
pub(super) struct Instance(pub(super) Value);

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Instance(element)) = elements.next_element()? {
            check_for_interrupts!();
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut properties: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = properties.next_key::<String>()? {
            check_for_interrupts!();
            let Instance(value) = properties.next_value()?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("an object has one property twice"));
            }
        }
        Ok(Value::Object(object))
    }
}
