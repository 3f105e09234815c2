//! One event a statement.

use super::Case;

async fn case(options: &str) -> Case {
    Case::with(&format!(
        "CREATE TABLE t (id integer PRIMARY KEY, a text);
         SELECT notify_json.watch('t', 'd', per => 'statement'{options})"
    ))
    .await
}

#[tokio::test]
async fn every_statement_with_all_its_rows() {
    let mut case = case("").await;
    case.gives(
        "INSERT INTO t VALUES (1, 'x'), (2, NULL)",
        &[
            r#"{"op":"insert","table":"public.t","rows":[{"key":{"id":1},"new":{"id":1,"a":"x"}},{"key":{"id":2},"new":{"id":2,"a":null}}]}"#,
        ],
    )
    .await;
    case.gives(
        "UPDATE t SET a = 'y'",
        &[
            r#"{"op":"update","table":"public.t","rows":[{"key":{"id":1},"changed":["a"],"new":{"id":1,"a":"y"}},{"key":{"id":2},"changed":["a"],"new":{"id":2,"a":"y"}}]}"#,
        ],
    )
    .await;
    case.gives(
        "DELETE FROM t WHERE id = 1",
        &[r#"{"op":"delete","table":"public.t","rows":[{"key":{"id":1},"old":{"id":1,"a":"y"}}]}"#],
    )
    .await;
    case.gives("TRUNCATE t", &[r#"{"op":"truncate","table":"public.t"}"#]).await;
}

#[tokio::test]
async fn a_statement_without_rows_sends_nothing() {
    let mut case = case(", only_if_changed => true").await;
    case.gives("INSERT INTO t SELECT 1, 'x' WHERE false; UPDATE t SET a = 'y'; DELETE FROM t", &[])
        .await;
    case.run("INSERT INTO t VALUES (1, 'x'), (2, 'y')").await;
    case.events().await;
    case.gives("UPDATE t SET a = a", &[]).await;
    case.gives(
        "UPDATE t SET a = 'y'",
        &[
            r#"{"op":"update","table":"public.t","rows":[{"key":{"id":1},"changed":["a"],"new":{"id":1,"a":"y"}}]}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn upsert_and_merge_send_an_event_for_each_thing_they_did() {
    let mut case = case(", include_old => true").await;
    case.run("INSERT INTO t VALUES (1, 'x')").await;
    case.events().await;
    let inserted =
        r#"{"op":"insert","table":"public.t","rows":[{"key":{"id":2},"new":{"id":2,"a":"y"}}]}"#;
    let updated = r#"{"op":"update","table":"public.t","rows":[{"key":{"id":1},"changed":["a"],"new":{"id":1,"a":"y"},"old":{"id":1,"a":"x"}}]}"#;
    case.run("INSERT INTO t VALUES (1, 'y'), (2, 'y') ON CONFLICT (id) DO UPDATE SET a = 'y'")
        .await;
    let mut events = case.events().await;
    events.sort();
    assert_eq!(events, [inserted, updated]);
    case.run(
        "MERGE INTO t USING (VALUES (1), (2), (3)) AS s (id) ON t.id = s.id
         WHEN MATCHED AND s.id = 1 THEN DELETE
         WHEN MATCHED THEN UPDATE SET a = 'm'
         WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'n')",
    )
    .await;
    let mut events = case.events().await;
    events.sort();
    assert_eq!(
        events,
        [
            r#"{"op":"delete","table":"public.t","rows":[{"key":{"id":1},"old":{"id":1,"a":"y"}}]}"#,
            r#"{"op":"insert","table":"public.t","rows":[{"key":{"id":3},"new":{"id":3,"a":"n"}}]}"#,
            r#"{"op":"update","table":"public.t","rows":[{"key":{"id":2},"changed":["a"],"new":{"id":2,"a":"m"},"old":{"id":2,"a":"y"}}]}"#,
        ]
    );
}

#[tokio::test]
async fn rows_that_do_not_fit_in_memory_come_in_pairs_all_the_same() {
    let case = Case::with(
        "CREATE TABLE t (id integer PRIMARY KEY, a text);
         SET work_mem = '64kB';
         SELECT notify_json.watch('t', 'd', per => 'statement', include_old => true);
         SELECT notify_json.watch('t', 'e', per => 'statement', operations => '{update}')",
    )
    .await;
    case.run("INSERT INTO t SELECT n, repeat('x', n % 500) FROM generate_series(1, 10000) n").await;
    case.run("UPDATE t SET a = a || id").await;
    let right: i64 = case
        .value(
            "SELECT count(*) FROM notify_json.event, json_array_elements(payload->'rows') AS row
             WHERE payload->>'op' = 'update' AND row->'new'->>'a'
                = (row->'old'->>'a') || (row->'old'->>'id') AND row->>'changed' = '[\"a\"]'",
        )
        .await;
    assert_eq!(right, 10_000);
}

/// A type with a function that writes its values, changes another table, and likes some of them not.
const TYPE: &str = "
    CREATE TABLE seen (mood text);
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE FUNCTION written(mood) RETURNS json LANGUAGE plpgsql AS $$
    BEGIN
        IF $1 = 'bad' THEN
            RAISE 'this mood is not for the public';
        END IF;
        INSERT INTO seen VALUES ($1);
        RETURN '1';
    END $$;
    CREATE CAST (mood AS json) WITH FUNCTION written(mood);
    CREATE TABLE t (id integer, mood mood);
    SELECT notify_json.watch('seen', 'd', per => 'statement')";

#[tokio::test]
async fn what_writes_a_value_may_change_watched_tables_and_fail() {
    let mut case = Case::with(TYPE).await;
    let seen =
        r#"{"op":"insert","table":"public.seen","rows":[{"key":null,"new":{"mood":"good"}}]}"#;
    for (per, event) in [
        ("row", r#"{"op":"insert","table":"public.t","key":null,"new":{"id":1,"mood":1}}"#),
        (
            "statement",
            r#"{"op":"insert","table":"public.t","rows":[{"key":null,"new":{"id":1,"mood":1}}]}"#,
        ),
    ] {
        case.run(&format!("SELECT notify_json.watch('t', 'd', per => '{per}')")).await;
        // The error is to come from memory that is still there.
        for _ in 0..200 {
            let sql = "INSERT INTO t VALUES (1, 'good'), (2, 'good'), (3, 'bad')";
            let error = case.client.batch_execute(sql).await.unwrap_err();
            let error = error.as_db_error().unwrap();
            assert_eq!(error.message(), "this mood is not for the public");
        }
        case.gives("INSERT INTO t VALUES (1, 'good')", &[seen, event]).await;
        case.run("SELECT notify_json.unwatch('t')").await;
    }
}
