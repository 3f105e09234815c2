//! Making a schema the contract of a channel, by compare-and-set.

use serde_json::Value;
use tokio_postgres::GenericClient;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use super::{Contract, check_compatible};
use crate::{Error, channel};

/// What registering a contract has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It created the channel.
    Created,
    /// It gave the channel its first contract.
    Added,
    /// It replaced the channel's contract.
    Replaced,
    /// It left the channel as it is: the contract is the same.
    Unchanged,
}

pub(super) async fn register(
    contract: &Contract,
    client: &impl GenericClient,
    channel: &str,
) -> Result<Registered, Error> {
    let channel = &*channel::check(channel)?;
    let schema = &*contract.schema.to_string();
    loop {
        let outcome = match current(client, channel).await? {
            None if create(contract, client, channel, schema).await? => Registered::Created,
            // Somebody else was faster, or owns a channel that this role must not see.
            None | Some(None) => Registered::Added,
            Some(Some(old)) => match compare(contract, &old)? {
                true => return Ok(Registered::Unchanged),
                false if replace(client, channel, Some(&old), schema).await? => {
                    Registered::Replaced
                }
                false => continue,
            },
        };
        if outcome != Registered::Added || replace(client, channel, None, schema).await? {
            return Ok(outcome);
        }
    }
}

/// Whether the contract is the same as the channel's; an error if it must not replace that.
fn compare(contract: &Contract, old: &str) -> Result<bool, Error> {
    // What cannot be read here can only be replaced by force.
    let old: Value = serde_json::from_str(old).unwrap_or(Value::Null);
    if old == contract.schema {
        return Ok(true);
    }
    match check_compatible(&old, &contract.schema) {
        Err(incompatible) if !contract.force => Err(Error::incompatible(incompatible)),
        _ => Ok(false),
    }
}

/// The channel's contract, if it has one; `None` if there is no such channel.
async fn current(
    client: &impl GenericClient,
    channel: &str,
) -> Result<Option<Option<String>>, Error> {
    let sql = "SELECT schema::text FROM notify_json.channels \
               LEFT JOIN notify_json.contracts ON contracts.channel = name WHERE name = $1";
    let rows = client.query_typed(sql, &[(&channel, Type::TEXT)]).await;
    rows.and_then(|rows| rows.first().map(|row| row.try_get(0)).transpose()).map_err(refused)
}

/// Creates the channel; `false` if somebody else has.
async fn create(
    contract: &Contract,
    client: &impl GenericClient,
    channel: &str,
    schema: &str,
) -> Result<bool, Error> {
    let is_durable = !contract.live;
    let seconds = contract.retention.map(|retention| retention.as_secs_f64());
    let mut sql = "SELECT notify_json.create_channel($1, $2, schema => $3::json".to_owned();
    let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> =
        vec![(&channel, Type::TEXT), (&is_durable, Type::BOOL), (&schema, Type::TEXT)];
    if let Some(seconds) = &seconds {
        sql += ", retention => make_interval(secs => $4)";
        parameters.push((seconds, Type::FLOAT8));
    }
    match client.query_typed(&(sql + ")"), &parameters).await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_OBJECT) => Ok(false),
        Err(error) => Err(refused(error)),
    }
}

/// Replaces the contract; `false` if it is not the old one any more.
async fn replace(
    client: &impl GenericClient,
    channel: &str,
    old: Option<&str>,
    schema: &str,
) -> Result<bool, Error> {
    let sql = "SELECT notify_json.replace_contract($1, $2::json, $3::json)";
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&channel, Type::TEXT), (&old, Type::TEXT), (&schema, Type::TEXT)];
    let row = client.query_typed_one(sql, &parameters).await;
    row.and_then(|row| row.try_get(0)).map_err(refused)
}

fn refused(error: tokio_postgres::Error) -> Error {
    let needs = "EXECUTE on notify_json.create_channel, or to own the channel";
    Error::call("cannot register the contract", needs, error)
}
