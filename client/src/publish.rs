//! Sending from Rust, in the caller's own transaction.

use serde::Serialize;
use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use crate::{Error, channel};

/// Sends a value to the listeners of a channel when the transaction commits. `client` is a
/// `Client`, for a transaction of its own, or a `Transaction`.
///
/// Returns the id of the event on a durable channel, `None` on a live one.
///
/// # Errors
/// [`ErrorKind::Channel`](crate::ErrorKind::Channel) and [`ErrorKind::Encode`](crate::ErrorKind::Encode) before anything is sent;
/// [`ErrorKind::Postgres`](crate::ErrorKind::Postgres) with the SQLSTATE in [`Error::code`] if the server refuses;
/// [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the connection is lost before it answers.
///
/// # Cancel safety
/// Dropping the future may or may not send, as with any query; but what it sends is the whole
/// message, with the transaction.
///
/// ```no_run
/// # async fn run(client: &mut tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let transaction = client.transaction().await?;
/// transaction.execute("UPDATE orders SET status = 'paid' WHERE id = 42", &[]).await?;
/// notify_json_client::publish(&transaction, "orders", &serde_json::json!({"id": 42})).await?;
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
pub async fn publish<C, T>(client: &C, channel: &str, value: &T) -> Result<Option<i64>, Error>
where
    C: GenericClient,
    T: Serialize + ?Sized,
{
    let json = serde_json::to_string(value).map_err(Error::encode)?;
    publish_json(client, channel, &json).await
}

/// Sends a JSON text, byte for byte. Otherwise as [`publish`].
///
/// # Errors
/// As [`publish`]; a text that is not JSON is refused by the server with SQLSTATE `22P02`.
///
/// # Cancel safety
/// Dropping the future may or may not send, as with any query; but what it sends is the whole
/// message, with the transaction.
pub async fn publish_json<C>(client: &C, channel: &str, json: &str) -> Result<Option<i64>, Error>
where
    C: GenericClient,
{
    let channel = channel::check(channel)?;
    client
        .query_typed_one(
            "SELECT notify_json($1, $2)",
            &[(&&*channel, Type::TEXT), (&json, Type::TEXT)],
        )
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| {
            let needs = "the right to publish on the channel, by \
                         notify_json.grant_publish(channel, role)";
            Error::call("notify_json() failed", needs, error)
        })
}
