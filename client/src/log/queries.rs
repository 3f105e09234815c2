//! The calls of the extension's functions that a reader of a log makes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::position::{Position, Since};
use super::receipt::Hold;
use super::settings::Settings;
use crate::{Error, channel};

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// An error of a call of one of the functions.
pub(super) fn refused(text: &str, error: tokio_postgres::Error) -> Error {
    let needs = "the right to consume the channel, by notify_json.grant_consume(channel, role)";
    Error::call(text, needs, error)
}

/// A consumer in the hands of this client.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// Grows whenever the consumer changes hands.
    pub(super) epoch: i64,
    pub(super) position: Position,
    /// Events that retention has ever removed before the consumer acknowledged them.
    pub(super) skipped: i64,
    /// Of these, those that it has been told of.
    pub(super) told: i64,
}

/// Consecutive events of one window.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) window: Arc<str>,
    /// Where to go on if nothing of the window is left.
    pub(super) end: Option<i64>,
    pub(super) events: VecDeque<Entry>,
}

/// An event as the server stores it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: i64,
    pub(super) published_at: SystemTime,
    /// Of the JSON text.
    pub(super) bytes: i64,
    /// `None` if it is longer than the limit.
    pub(super) text: Option<String>,
}

/// What a reader asks is whole by itself. At the level that the database or the role may have as its
/// default, claims would fail for no reason, and nothing could be pruned.
const READ_COMMITTED: &str =
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// Listens for doorbells, and has them rung.
pub(super) async fn attend(client: &Client, channel: &str) -> Result<(), Error> {
    let failed = |error| refused("cannot listen for news of the channel", error);
    let listen = format!("{READ_COMMITTED}; LISTEN {}", channel::quote(channel));
    client.batch_execute(&listen).await.map_err(failed)?;
    let attend = "SELECT notify_json.attend($1)";
    client.query_typed(attend, &[(&channel, Type::TEXT)]).await.map_err(failed)?;
    Ok(())
}

/// Takes the consumer, unless somebody else holds it.
pub(super) async fn claim(
    client: &Client,
    channel: &str,
    consumer: &str,
    lease: Duration,
) -> Result<Option<Claim>, Error> {
    let sql = "SELECT epoch, \"window\", after, skipped, told \
               FROM notify_json.claim($1, $2, make_interval(secs => $3))";
    let parameters: [Parameter<'_>; 3] =
        [(&consumer, Type::TEXT), (&channel, Type::TEXT), (&lease.as_secs_f64(), Type::FLOAT8)];
    let rows = client.query_typed(sql, &parameters).await;
    let claim = |row: &Row| {
        Ok(Claim {
            epoch: row.try_get(0)?,
            position: position(row, 1)?,
            skipped: row.try_get(3)?,
            told: row.try_get(4)?,
        })
    };
    rows.and_then(|rows| rows.first().map(claim).transpose())
        .map_err(|error| refused("cannot claim the consumer", error))
}

/// Holds the consumer for longer; returns the events ever skipped, or `None` if it is lost.
pub(super) async fn renew(
    client: &Client,
    hold: &Hold,
    lease: Duration,
) -> Result<Option<i64>, Error> {
    let sql = "SELECT held, skipped \
               FROM notify_json.renew($1, $2, $3, make_interval(secs => $4))";
    let parameters: [Parameter<'_>; 4] = [
        (&&*hold.consumer, Type::TEXT),
        (&&*hold.channel, Type::TEXT),
        (&hold.epoch, Type::INT8),
        (&lease.as_secs_f64(), Type::FLOAT8),
    ];
    let answer = client.query_typed_one(sql, &parameters).await;
    answer
        .and_then(|row| Ok((row.try_get::<_, bool>(0)?, row.try_get(1)?)))
        .map(|(held, skipped)| held.then_some(skipped))
        .map_err(|error| refused("cannot hold the consumer", error))
}

/// Lets others have the consumer at once.
pub(super) async fn release(client: &Client, hold: &Hold) -> Result<(), Error> {
    let sql = "SELECT notify_json.release($1, $2, $3)";
    let parameters: [Parameter<'_>; 3] =
        [(&&*hold.consumer, Type::TEXT), (&&*hold.channel, Type::TEXT), (&hold.epoch, Type::INT8)];
    let released = client.query_typed(sql, &parameters).await;
    released.map(drop).map_err(|error| refused("cannot release the consumer", error))
}

/// The position that a replay starts from.
pub(super) async fn start(
    client: &Client,
    channel: &str,
    since: &Since,
) -> Result<Position, Error> {
    let row = match since {
        Since::After(position) => return Ok(position.clone()),
        Since::Time(time) => {
            // As text that does not depend on DateStyle.
            let sql = "SELECT \"window\", after FROM notify_json.start($1, to_char( \
                       $2 AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))";
            client.query_typed_one(sql, &[(&channel, Type::TEXT), (time, Type::TIMESTAMPTZ)]).await
        }
        Since::Earliest | Since::Latest => {
            let since = if *since == Since::Latest { "latest" } else { "earliest" };
            let sql = "SELECT \"window\", after FROM notify_json.start($1, $2)";
            client.query_typed_one(sql, &[(&channel, Type::TEXT), (&since, Type::TEXT)]).await
        }
    };
    row.and_then(|row| position(&row, 0))
        .map_err(|error| refused("cannot start to read the channel", error))
}

/// The position after all events up to an id.
pub(super) async fn start_after(
    client: &Client,
    channel: &str,
    id: i64,
) -> Result<Position, Error> {
    let sql = "SELECT \"window\", after FROM notify_json.start_after($1, $2)";
    let row = client.query_typed_one(sql, &[(&channel, Type::TEXT), (&id, Type::INT8)]).await;
    row.and_then(|row| position(&row, 0))
        .map_err(|error| refused("cannot go on to read the channel", error))
}

/// What a replay has missed since its position was marked.
pub(super) struct Missed {
    pub(super) mark: Arc<str>,
    /// At most how many events retention has removed.
    pub(super) skipped: i64,
    /// Whether the position is of another life of the server, or of another server.
    pub(super) restarted: bool,
}

/// Marks the position, and says what a replay has missed since it was marked before.
pub(super) async fn missed(
    client: &Client,
    channel: &str,
    from: &Position,
) -> Result<Missed, Error> {
    let sql = "SELECT next_mark, skipped, restarted \
               FROM notify_json.missed($1, $2, $3, nullif($4, ''))";
    let parameters: [Parameter<'_>; 4] = [
        (&channel, Type::TEXT),
        (&&*from.window, Type::TEXT),
        (&from.after, Type::INT8),
        (&&*from.mark, Type::TEXT),
    ];
    let missed = |row: Row| {
        let mark = row.try_get::<_, &str>(0)?.into();
        Ok(Missed { mark, skipped: row.try_get(1)?, restarted: row.try_get(2)? })
    };
    let row = client.query_typed_one(sql, &parameters).await;
    row.and_then(missed).map_err(|error| refused("cannot tell what was missed", error))
}

/// The events of a window after an id, or of the next one; none if there is nothing new.
pub(super) async fn read(
    client: &Client,
    channel: &str,
    (window, after): (&Arc<str>, i64),
    settings: &Settings,
    max_event_bytes: usize,
) -> Result<Page, Error> {
    let failed = |error| refused("cannot read the channel", error);
    let sql = "SELECT * FROM notify_json.read($1, $2, $3, $4, $5, $6)";
    let count = i32::try_from(settings.page_events).unwrap_or(i32::MAX);
    let bytes = i64::try_from(settings.page_bytes).unwrap_or(i64::MAX);
    let max_event_bytes = i64::try_from(max_event_bytes).unwrap_or(i64::MAX);
    let parameters: [Parameter<'_>; 6] = [
        (&channel, Type::TEXT),
        (&&**window, Type::TEXT),
        (&after, Type::INT8),
        (&count, Type::INT4),
        (&bytes, Type::INT8),
        (&max_event_bytes, Type::INT8),
    ];
    let rows = client.query_typed(sql, &parameters).await.map_err(failed)?;
    let mut rows = rows.into_iter();
    let header = |row: Row| Ok((row.try_get::<_, &str>(0)?.into(), row.try_get(1)?));
    let header = rows.next().map(header).transpose().map_err(failed)?;
    let (window, end) = header.unwrap_or_else(|| (window.clone(), None));
    let events = rows.map(|row| entry(&row)).collect::<Result<_, _>>().map_err(failed)?;
    Ok(Page { window, end, events })
}

/// Each empties a leaf of the ring, or removes some of the events of a channel.
const MAX_PRUNES: u32 = 20;

/// Removes what is older than the retention of its channel; returns how many events.
pub(super) async fn prune(client: &Client) -> Result<i64, Error> {
    let failed = |error| refused("cannot remove old events", error);
    client.batch_execute(READ_COMMITTED).await.map_err(failed)?;
    let mut total = 0;
    for _ in 0..MAX_PRUNES {
        let row = client.query_typed_one("SELECT notify_json.prune()", &[]).await;
        match row.and_then(|row| row.try_get::<_, i64>(0)).map_err(failed)? {
            0 => break,
            removed => total += removed,
        }
    }
    Ok(total)
}

fn position(row: &Row, column: usize) -> Result<Position, tokio_postgres::Error> {
    let window = row.try_get::<_, &str>(column)?.into();
    Ok(Position { window, after: row.try_get(column + 1)?, mark: "".into() })
}

fn entry(row: &Row) -> Result<Entry, tokio_postgres::Error> {
    Ok(Entry {
        id: row.try_get(1)?,
        published_at: row.try_get(2)?,
        bytes: row.try_get(3)?,
        text: row.try_get(4)?,
    })
}
