//! The consumer that mirrors tables.

use std::time::Duration;

use futures_util::FutureExt;
use notify_json_client::{
    Change, Changes, Consumer, Delivery, ErrorKind, Event, ListenerConfig, Message,
};
use notify_json_tests::Database;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};

/// What is in the database beside the tables: where rows are put, removed and compared.
pub(super) const SCHEMA: &str = "
    SELECT notify_json.create_channel('mirror');
    CREATE FUNCTION source(number bigint) RETURNS regclass LANGUAGE sql STABLE AS $$
        SELECT oid::regclass FROM pg_class
        WHERE relname ~ ('^source_' || number || '(_|$)') AND relkind IN ('r', 'p')
            AND NOT relispartition
    $$;
    CREATE FUNCTION put(mirror regclass, new json) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        columns text := (
            SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
            WHERE attrelid = mirror AND attnum > 0 AND NOT attisdropped AND attgenerated = '');
    BEGIN
        EXECUTE format('INSERT INTO %s (%s) SELECT %2$s FROM json_populate_record(NULL::%1$s, $1)',
            mirror, columns) USING new;
    END $$;
    -- By the key that the row had, or where there is none, by all of it.
    CREATE FUNCTION remove(mirror regclass, key json, old json) RETURNS void
    LANGUAGE plpgsql AS $$
    DECLARE
        removed bigint;
    BEGIN
        IF key IS NULL THEN
            EXECUTE format('DELETE FROM %1$s WHERE ctid = (
                SELECT ctid FROM %1$s AS m WHERE row_to_json(m)::text = $1::text LIMIT 1)', mirror)
            USING old;
        ELSE
            IF old IS NOT NULL THEN
                SELECT json_object_agg(name, old->name) INTO key FROM json_object_keys(key) AS name;
            END IF;
            EXECUTE format('DELETE FROM %s AS m WHERE to_jsonb(m) @> $1::jsonb', mirror) USING key;
        END IF;
        GET DIAGNOSTICS removed = ROW_COUNT;
        IF removed <> 1 THEN
            RAISE '% rows of % are to be removed as one: key %, old %', removed, mirror, key, old;
        END IF;
    END $$;
    CREATE FUNCTION differing(number bigint) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE
        differing bigint;
    BEGIN
        EXECUTE format('WITH s AS (SELECT row_to_json(t)::text FROM %s AS t),
                m AS (SELECT row_to_json(t)::text FROM mirror_%s AS t)
            SELECT count(*) FROM (
                (TABLE s EXCEPT ALL TABLE m) UNION ALL (TABLE m EXCEPT ALL TABLE s)) AS one_sided',
            source(number), number) INTO differing;
        RETURN differing;
    END $$;";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is on the channel beside changes of rows.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Marker {
    /// To be run on the mirror too.
    Ddl(String),
    /// The end of a run.
    End(u64),
}

/// Applies events to the mirrors for ever, and tells which runs have ended.
pub(super) async fn mirror(database: Database, done: watch::Sender<u64>) {
    let database = Database::at(format!("{}?application_name=mirror", database.url()));
    let config: ListenerConfig = database.url().parse().expect("it is a URL");
    let listener = config
        .wait_for_server(true)
        .reconnect_delay(Duration::from_millis(10), Duration::from_millis(200))
        .connect()
        .await
        .expect("it waits for the server");
    loop {
        let Ok(mut consumer) = listener.consume("mirror", "mirror").await else {
            database.connect_when_up().await;
            continue;
        };
        let mut client = database.connect_when_up().await;
        let error = loop {
            if let Err(error) = batch(&mut consumer, &mut client, &done).await {
                break error;
            }
        };
        // Otherwise the event comes again.
        assert!(is_of_a_restart(&*error), "an event cannot be applied: {error:?}");
        consumer.close().await;
    }
}

/// Whether the connection was lost, or with the server's restart the place as a consumer.
fn is_of_a_restart(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let code = match error.downcast_ref::<tokio_postgres::Error>() {
        Some(error) => error.code().map(|code| code.code().to_owned()),
        None => match error.downcast_ref::<notify_json_client::Error>() {
            Some(error) if error.kind() == ErrorKind::Decode => return false,
            Some(error) => error.code().map(|code| code.code().to_owned()),
            None => return false,
        },
    };
    code.is_none_or(|code| code.starts_with("57P") || code == "55006")
}

/// Applies the events that are there, and acknowledges them, in one transaction.
async fn batch(
    consumer: &mut Consumer<Message>,
    client: &mut Client,
    done: &watch::Sender<u64>,
) -> Result<(), BoxError> {
    let mut batch = vec![next(consumer).await];
    while batch.len() < 1_000
        && let Some(delivery) = next(consumer).now_or_never()
    {
        batch.push(delivery);
    }
    let transaction = client.transaction().await?;
    let mut ended = None;
    for delivery in &batch {
        match delivery.payload.decode::<Marker>() {
            Ok(Marker::Ddl(sql)) => transaction.batch_execute(&sql).await?,
            Ok(Marker::End(number)) => ended = Some(number),
            Err(_) => {
                let Changes(changes) = delivery.payload.decode::<Changes<Box<RawValue>>>()?;
                for change in changes {
                    apply(change, &transaction).await?;
                }
            }
        }
    }
    batch.last().expect("it has one").ack_in(&transaction).await?;
    transaction.commit().await?;
    if let Some(number) = ended {
        done.send_replace(number);
    }
    Ok(())
}

async fn next(consumer: &mut Consumer<Message>) -> Delivery<Message> {
    loop {
        match consumer.recv().await.expect("the listener runs") {
            Ok(Event::Message(delivery)) => return delivery,
            Ok(Event::Gap(gap)) => panic!("{gap}"),
            // The server restarts.
            Err(_) => {}
        }
    }
}

async fn apply(
    change: Change<Box<RawValue>>,
    transaction: &Transaction<'_>,
) -> Result<(), tokio_postgres::Error> {
    // public.source_7, or public.source_7_42 by now.
    let number = change.origin().table().split('_').nth(1).expect("a number");
    let mirror = format!("mirror_{number}");
    let key = change.origin().key_json().map(str::to_owned);
    let remove = async |old: Option<&str>| {
        let sql = "SELECT remove($1::text::regclass, $2::text::json, $3::text::json)";
        let key = key.as_deref();
        let arguments: [(&(dyn ToSql + Sync), Type); 3] =
            [(&mirror, Type::TEXT), (&key, Type::TEXT), (&old, Type::TEXT)];
        transaction.query_typed(sql, &arguments).await.map(drop)
    };
    let put = async |new: &str| {
        let sql = "SELECT put($1::text::regclass, $2::text::json)";
        transaction.query_typed(sql, &[(&mirror, Type::TEXT), (&new, Type::TEXT)]).await.map(drop)
    };
    match &change {
        Change::Insert { new, .. } => put(new.get()).await,
        Change::Update { old, new, .. } => {
            remove(old.as_deref().map(RawValue::get)).await?;
            put(new.get()).await
        }
        Change::Delete { old, .. } => remove(Some(old.get())).await,
        Change::Truncate { .. } => transaction.batch_execute(&format!("TRUNCATE {mirror}")).await,
    }
}
