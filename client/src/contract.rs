//! Contracts: JSON Schemas that the events of a channel must meet.

mod change;
mod compatible;
mod depth;
mod registration;
mod standalone;

use std::time::Duration;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use tokio_postgres::GenericClient;

pub use compatible::{Incompatible, check_compatible};
pub use registration::Registered;

use crate::Error;

/// What the events of a channel must meet, to be registered in the database.
///
/// ```no_run
/// use notify_json_client::Contract;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Order {
///     id: u64,
///     status: String,
/// }
///
/// # async fn run(client: tokio_postgres::Client) -> Result<(), notify_json_client::Error> {
/// Contract::of::<Order>().live().register(&client, "orders").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Contract {
    schema: Value,
    live: bool,
    retention: Option<Duration>,
    force: bool,
}

impl Contract {
    /// The contract that events can be decoded into a type.
    ///
    /// Its schema is that of deserialization, since whoever reads an event needs it to decode: with
    /// `#[serde(default)]` for example a field may be missing. It is of draft 2020-12.
    pub fn of<T: JsonSchema>() -> Self {
        let generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
        Self::from_schema(generator.into_root_schema_for::<T>().to_value())
    }

    /// The contract that a JSON Schema is. The server checks it when it is registered.
    pub fn from_schema(schema: Value) -> Self {
        Self { schema, live: false, retention: None, force: false }
    }

    /// The schema.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// A channel that does not exist yet is made live, not durable.
    pub fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// A channel that does not exist yet keeps its events for so long, by default for 7 days.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Also replaces a contract that it is not compatible with.
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Makes this the contract of a channel, which is created if it does not exist.
    ///
    /// A channel without a contract takes any. Otherwise what the old one describes must be
    /// accepted by the new one: see [`check_compatible`]. Of two that register at once, the second
    /// is compared with what the first has left. The role needs `USAGE` on the schema `notify_json`,
    /// `SELECT` on its tables `channel` and `contract`, and `EXECUTE` on its functions
    /// `create_channel` and `replace_contract`.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`](crate::ErrorKind::Incompatible), whose source is an
    /// [`Incompatible`]; [`ErrorKind::Channel`](crate::ErrorKind::Channel);
    /// [`ErrorKind::Postgres`](crate::ErrorKind::Postgres) if the server refuses, with 22023 for a
    /// schema that it cannot check events by; [`ErrorKind::Lost`](crate::ErrorKind::Lost).
    ///
    /// # Cancel safety
    /// Dropping the future may or may not register, but never does so in part.
    pub async fn register<C>(&self, client: &C, channel: &str) -> Result<Registered, Error>
    where
        C: GenericClient,
    {
        registration::register(self, client, channel).await
    }
}

/// Makes a type the contract of a channel: [`Contract::of`] and [`Contract::register`]. A channel
/// that does not exist yet becomes durable.
///
/// # Errors
/// As [`Contract::register`].
///
/// # Cancel safety
/// Dropping the future may or may not register, but never does so in part.
///
/// ```no_run
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Invoice {
///     id: i64,
/// }
///
/// # async fn run(client: tokio_postgres::Client) -> Result<(), notify_json_client::Error> {
/// notify_json_client::register::<Invoice>(&client, "invoices").await?;
/// # Ok(())
/// # }
/// ```
pub async fn register<T: JsonSchema>(
    client: &impl GenericClient,
    channel: &str,
) -> Result<Registered, Error> {
    Contract::of::<T>().register(client, channel).await
}
