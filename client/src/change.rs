//! Row changes, as `notify_json.watch()` publishes them.

use std::sync::Arc;
use std::time::SystemTime;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A change of a watched table, whose rows, or what is watched of them, are `T`.
///
/// It is an ordinary type to subscribe to and to consume:
///
/// ```no_run
/// use notify_json_client::{Change, Event, Listener};
///
/// #[derive(Debug, serde::Deserialize)]
/// struct Order {
///     id: i64,
///     status: String,
/// }
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::connect("postgres://localhost/shop").await?;
/// // SELECT notify_json.watch('orders', 'order_changes', columns => '{id,status}');
/// let mut changes = listener.subscribe::<Change<Order>>("order_changes").await?;
/// while let Some(event) = changes.recv().await {
///     match event? {
///         Event::Message(change) => {
///             println!("{} at {:?}", change.origin().table(), change.origin().at());
///             match change {
///                 Change::Insert { new, .. } => println!("{new:?} is new"),
///                 Change::Update { new, changed, .. } => println!("{new:?}: new {changed:?}"),
///                 Change::Delete { old, .. } => println!("{old:?} has gone"),
///                 Change::Truncate { .. } => println!("all have gone"),
///             }
///         }
///         Event::Gap(gap) => println!("read the table again: {gap}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// An event of a table watched `per => 'statement'` is [`Changes`].
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Published<T>")]
pub enum Change<T> {
    /// A row was inserted, or has come from another partition.
    Insert {
        /// The row.
        new: T,
        /// Where and when.
        origin: Origin,
    },
    /// A row was updated.
    Update {
        /// The row as it was, if the table is watched with `include_old`, or the key has changed.
        old: Option<T>,
        /// The row as it is.
        new: T,
        /// Names of the columns that differ, among those that are watched.
        changed: Vec<String>,
        /// Where and when.
        origin: Origin,
    },
    /// A row was deleted, or has left for another partition.
    Delete {
        /// The row as it was.
        old: T,
        /// Where and when.
        origin: Origin,
    },
    /// All rows were removed by TRUNCATE.
    Truncate {
        /// Where and when.
        origin: Origin,
    },
}

/// All changes of one statement, in the order in which it made them; or a single change, if the
/// table is watched by row.
///
/// ```no_run
/// # use notify_json_client::{Changes, Event, Listener};
/// # async fn run(listener: Listener) -> Result<(), Box<dyn std::error::Error>> {
/// // SELECT notify_json.watch('prices', 'price_changes', per => 'statement');
/// let mut statements = listener.subscribe::<Changes<serde_json::Value>>("price_changes").await?;
/// while let Some(event) = statements.recv().await {
///     if let Event::Message(Changes(changes)) = event? {
///         println!("{} rows have changed", changes.len());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Published<T>")]
pub struct Changes<T>(pub Vec<Change<T>>);

/// Where and when a change was made. Cheap to clone but for the key.
#[derive(Clone, Debug)]
pub struct Origin {
    event: Arc<Head>,
    key: Option<Box<RawValue>>,
}

#[derive(Debug)]
struct Head {
    table: String,
    xid: u64,
    seq: u64,
    at: SystemTime,
}

impl<T> Change<T> {
    /// Where and when the change was made.
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Insert { origin, .. }
            | Self::Update { origin, .. }
            | Self::Delete { origin, .. }
            | Self::Truncate { origin } => origin,
        }
    }

    /// The row as it is after the change; `None` if it is no more.
    pub fn into_new(self) -> Option<T> {
        match self {
            Self::Insert { new, .. } | Self::Update { new, .. } => Some(new),
            Self::Delete { .. } | Self::Truncate { .. } => None,
        }
    }
}

impl Origin {
    /// The watched table with its schema, in quotes where SQL needs them: `public.orders`. Rows of
    /// partitions have the name of the partitioned table.
    pub fn table(&self) -> &str {
        &self.event.table
    }

    /// The columns of the primary key, or of the replica identity index, as a JSON object: of the
    /// new row if there is one. `None` without such a key, and if not all of it is watched.
    pub fn key_json(&self) -> Option<&str> {
        self.key.as_deref().map(RawValue::get)
    }

    /// The same as a type of your own.
    ///
    /// # Errors
    /// That of serde if the key is not a `K`.
    pub fn key<K: DeserializeOwned>(&self) -> Result<Option<K>, serde_json::Error> {
        self.key_json().map(serde_json::from_str).transpose()
    }

    /// The transaction: `pg_current_xact_id()`.
    pub fn xid(&self) -> u64 {
        self.event.xid
    }

    /// The number of the event in its transaction, growing from 1. With [`xid`](Self::xid) it names
    /// the event.
    pub fn seq(&self) -> u64 {
        self.event.seq
    }

    /// When the transaction began, by the server's clock.
    pub fn at(&self) -> SystemTime {
        self.event.at
    }
}

impl<T> IntoIterator for Changes<T> {
    type Item = Change<T>;
    type IntoIter = std::vec::IntoIter<Change<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// An event as it is published.
#[derive(Deserialize)]
struct Published<T> {
    op: Operation,
    table: String,
    /// Those of a statement; an event of one row has the fields of the row itself.
    rows: Option<Vec<Row<T>>>,
    key: Option<Box<RawValue>>,
    new: Option<T>,
    old: Option<T>,
    #[serde(default)]
    changed: Vec<String>,
    xid: u64,
    seq: u64,
    #[serde(deserialize_with = "time")]
    at: SystemTime,
}

#[derive(Deserialize)]
struct Row<T> {
    key: Option<Box<RawValue>>,
    new: Option<T>,
    old: Option<T>,
    #[serde(default)]
    changed: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Insert,
    Update,
    Delete,
    Truncate,
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

impl<T> Row<T> {
    fn into_change(self, op: Operation, event: Arc<Head>) -> Result<Change<T>, &'static str> {
        let origin = Origin { event, key: self.key };
        let new = self.new.ok_or("the change has no new row");
        Ok(match op {
            Operation::Insert => Change::Insert { new: new?, origin },
            Operation::Update => {
                Change::Update { old: self.old, new: new?, changed: self.changed, origin }
            }
            Operation::Delete => {
                Change::Delete { old: self.old.ok_or("the change has no old row")?, origin }
            }
            Operation::Truncate => Change::Truncate { origin },
        })
    }
}

impl<T> TryFrom<Published<T>> for Changes<T> {
    type Error = &'static str;

    fn try_from(published: Published<T>) -> Result<Self, &'static str> {
        let Published { op, table, rows, key, new, old, changed, xid, seq, at } = published;
        let event = Arc::new(Head { table, xid, seq, at });
        let rows = rows.unwrap_or_else(|| vec![Row { key, new, old, changed }]);
        let changes = rows.into_iter().map(|row| row.into_change(op, event.clone()));
        changes.collect::<Result<_, _>>().map(Self)
    }
}

impl<T> TryFrom<Published<T>> for Change<T> {
    type Error = &'static str;

    fn try_from(published: Published<T>) -> Result<Self, &'static str> {
        if published.rows.is_some() {
            return Err("the event is one of a statement, to be decoded as Changes");
        }
        let Changes(mut changes) = published.try_into()?;
        changes.pop().ok_or("the event has no change")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TAIL: &str = r#""xid":7,"seq":2,"at":"1970-01-01T00:00:01.5Z""#;

    fn decode<T: DeserializeOwned>(fields: &str) -> Result<T, String> {
        let text = format!("{{{fields},\"table\":\"public.t\",{TAIL}}}");
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_update_with_all_that_it_tells() {
        let change: Change<u64> =
            decode(r#""op":"update","key":{"id": 1e400},"changed":["a"],"new":2,"old":1"#).unwrap();
        let origin = change.origin();
        assert_eq!((origin.table(), origin.xid(), origin.seq()), ("public.t", 7, 2));
        assert_eq!(origin.key_json(), Some(r#"{"id": 1e400}"#));
        assert!(origin.key::<String>().is_err());
        assert_eq!(origin.at(), SystemTime::UNIX_EPOCH + Duration::from_millis(1500));
        let Change::Update { old: Some(1), new: 2, changed, .. } = change else {
            panic!("{change:?}")
        };
        assert_eq!(changed, ["a"]);
    }

    #[test]
    fn a_row_that_must_be_there() {
        let error = decode::<Change<u64>>(r#""op":"insert","old":1"#).unwrap_err();
        assert!(error.starts_with("the change has no new row"), "{error}");
        let error = decode::<Change<u64>>(r#""op":"delete","new":1"#).unwrap_err();
        assert!(error.starts_with("the change has no old row"), "{error}");
    }

    #[test]
    fn rows_of_a_statement() {
        let rows = r#""op":"delete","rows":[{"key":null,"old":1},{"key":{"id":2},"old":2}]"#;
        let changes = decode::<Changes<u64>>(rows).unwrap();
        let keys: Vec<_> = changes.0.iter().map(|change| change.origin().key_json()).collect();
        assert_eq!(keys, [None, Some(r#"{"id":2}"#)]);
        assert!(changes.into_iter().all(|change| change.into_new().is_none()));
        let error = decode::<Change<u64>>(rows).unwrap_err();
        assert!(error.contains("to be decoded as Changes"), "{error}");
    }

    #[test]
    fn a_single_change_is_changes_too() {
        let changes = decode::<Changes<u64>>(r#""op":"truncate""#).unwrap();
        assert!(matches!(changes.0[..], [Change::Truncate { .. }]));
    }
}
