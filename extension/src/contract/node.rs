//! A payload as the validator looks at it.
//!
//! Whoever checks a payload can be interrupted at each look, and given up after many: to say which
//! alternatives of a schema that refers to itself are not met takes time exponential in the depth.

use std::borrow::Cow;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use jsonschema::json::{Array, Json, NodeIdentity, Object, SerdeJson};
use jsonschema::types::JsonType;
use pgrx::check_for_interrupts;
use serde_json::{Map, Number, Value};

/// A value of the payload.
#[derive(Clone, Copy)]
pub(super) struct Node<'a>(pub(super) &'a Value);

pub(super) struct Properties<'a>(&'a Map<String, Value>);

pub(super) struct Elements<'a>(&'a [Value]);

thread_local! {
    /// Looks until the check is given up.
    static LOOKS_LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// What unwinds when no look is left.
struct GivenUp;

/// Runs a check, and counts its looks at objects and arrays.
pub(super) fn counted<T>(check: impl FnOnce() -> T) -> (T, u64) {
    LOOKS_LEFT.set(u64::MAX);
    let outcome = check();
    (outcome, u64::MAX - LOOKS_LEFT.get())
}

/// Runs a check; `None` if it takes more looks than that.
pub(super) fn within<T>(looks: u64, check: impl FnOnce() -> T) -> Option<T> {
    LOOKS_LEFT.set(looks);
    match catch_unwind(AssertUnwindSafe(check)) {
        Ok(outcome) => Some(outcome),
        Err(cause) if cause.is::<GivenUp>() => None,
        Err(cause) => resume_unwind(cause),
    }
}

fn look() {
    check_for_interrupts!();
    match LOOKS_LEFT.get().checked_sub(1) {
        Some(left) => LOOKS_LEFT.set(left),
        None => resume_unwind(Box::new(GivenUp)),
    }
}

/// The representation of payloads.
pub(super) struct Payload;

impl Json for Payload {
    type Node<'a> = Node<'a>;
    type PreparedKey = String;
    type StringBuffer = ();

    const KEYS_PER_LOOKUP: usize = SerdeJson::KEYS_PER_LOOKUP;
    const ACYCLIC: bool = SerdeJson::ACYCLIC;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut (), string: &str, check: impl FnOnce(Node<'_>) -> T) -> T {
        SerdeJson::with_string_node(buffer, string, |value| check(Node(value)))
    }
}

impl<'a> jsonschema::json::Node<'a, Payload> for Node<'a> {
    type Object = Properties<'a>;
    type Array = Elements<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Properties<'a>> {
        look();
        self.0.as_object().map(Properties)
    }

    fn as_array(&self) -> Option<Elements<'a>> {
        look();
        self.0.as_array().map(|elements| Elements(elements))
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.0.as_str().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<&'a Number> {
        self.0.as_number()
    }

    fn as_boolean(&self) -> Option<bool> {
        self.0.as_bool()
    }

    fn is_null(&self) -> bool {
        self.0.is_null()
    }

    fn json_type(&self) -> JsonType {
        self.0.json_type()
    }

    fn string_length(&self) -> Option<u64> {
        self.0.string_length()
    }

    fn string_length_within(&self, min: u64, max: u64) -> Option<bool> {
        self.0.string_length_within(min, max)
    }

    fn equals_value(&self, expected: &Value) -> bool {
        self.0.equals_value(expected)
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Borrowed(self.0)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        self.0.identity()
    }
}

impl<'a> Object<'a, Payload> for Properties<'a> {
    type Node = Node<'a>;
    type MemberName = &'a str;
    type MembersIter = PropertiesIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, name: &String) -> Option<Node<'a>> {
        self.0.get(name).map(Node)
    }

    fn members(&self) -> PropertiesIter<'a> {
        self.0.iter().map(|(name, value)| (name, Node(value)))
    }
}

impl<'a> Array<'a, Payload> for Elements<'a> {
    type Node = Node<'a>;
    type ElementsIter = ElementsIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> ElementsIter<'a> {
        self.0.iter().map(Node)
    }

    fn is_unique(&self) -> bool {
        self.0.is_unique()
    }
}

type PropertiesIter<'a> =
    std::iter::Map<serde_json::map::Iter<'a>, fn((&'a String, &'a Value)) -> (&'a str, Node<'a>)>;
type ElementsIter<'a> = std::iter::Map<std::slice::Iter<'a, Value>, fn(&'a Value) -> Node<'a>>;
