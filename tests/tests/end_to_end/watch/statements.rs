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
