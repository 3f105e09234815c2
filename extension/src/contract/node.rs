//! A payload as the validator looks at it.
//!
//! Whoever checks a payload can be interrupted at each look, and ends before the stack does. To say
//! which alternatives of a schema that refers to itself are not met takes time exponential in the
//! depth, and memory for every one of them, so that is given up after many looks or errors.

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

/// What a check may take.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    /// At values.
    pub(super) looks: u64,
    /// Each holds its whole way through the schema.
    pub(super) errors: u64,
}

impl Budget {
    pub(super) const UNLIMITED: Self = Self { looks: u64::MAX, errors: u64::MAX };
}

thread_local! {
    /// What is left of it.
    static BUDGET: Cell<Budget> = const { Cell::new(Budget::UNLIMITED) };
}

/// What unwinds when nothing is left.
struct GivenUp;

/// Runs a check, and counts its looks; `None` if it takes more than that, or more of the stack than
/// there is.
pub(super) fn within<T>(budget: Budget, check: impl FnOnce() -> T) -> Option<(T, u64)> {
    BUDGET.set(budget);
    match catch_unwind(AssertUnwindSafe(check)) {
        Ok(outcome) => Some((outcome, budget.looks - BUDGET.get().looks)),
        Err(cause) if cause.is::<GivenUp>() => None,
        Err(cause) => resume_unwind(cause),
    }
}

unsafe extern "C-unwind" {
    /// `src/backend/tcop/postgres.c`. It raises no error, so that it needs none of pgrx's guards.
    fn stack_is_too_deep() -> bool;
}

fn look() {
    check_for_interrupts!();
    // SAFETY: reads variables of this backend.
    let is_deep = unsafe { stack_is_too_deep() };
    let Budget { looks, errors } = BUDGET.get();
    match looks.checked_sub(1) {
        Some(looks) if !is_deep => BUDGET.set(Budget { looks, errors }),
        _ => resume_unwind(Box::new(GivenUp)),
    }
}

/// An error is made.
fn count_error() {
    let Budget { looks, errors } = BUDGET.get();
    match errors.checked_sub(1) {
        Some(errors) => BUDGET.set(Budget { looks, errors }),
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
        look();
        self.0.as_str().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<&'a Number> {
        look();
        self.0.as_number()
    }

    fn as_boolean(&self) -> Option<bool> {
        self.0.as_bool()
    }

    fn is_null(&self) -> bool {
        self.0.is_null()
    }

    fn json_type(&self) -> JsonType {
        look();
        self.0.json_type()
    }

    fn string_length(&self) -> Option<u64> {
        look();
        self.0.string_length()
    }

    fn string_length_within(&self, min: u64, max: u64) -> Option<bool> {
        look();
        self.0.string_length_within(min, max)
    }

    fn equals_value(&self, expected: &Value) -> bool {
        look();
        self.0.equals_value(expected)
    }

    /// Asked for by every error that is made.
    fn to_value(&self) -> Cow<'a, Value> {
        look();
        count_error();
        Cow::Borrowed(self.0)
    }

    /// Asked for where a reference may lead back.
    fn identity(&self) -> Option<NodeIdentity> {
        look();
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
        look();
        self.0.is_unique()
    }
}

type PropertiesIter<'a> =
    std::iter::Map<serde_json::map::Iter<'a>, fn((&'a String, &'a Value)) -> (&'a str, Node<'a>)>;
type ElementsIter<'a> = std::iter::Map<std::slice::Iter<'a, Value>, fn(&'a Value) -> Node<'a>>;
