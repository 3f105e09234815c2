//! What each kind of statement sends.

use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

use super::Case;

const TABLE: &str = "CREATE TABLE t (id integer PRIMARY KEY, a text);";

async fn case(options: &str) -> Case {
    Case::with(&format!("{TABLE} SELECT notify_json.watch('t', 'd'{options})")).await
}

#[tokio::test]
async fn every_statement_by_row() {
    let mut case = case("").await;
    case.gives(
        "INSERT INTO t VALUES (1, 'x'), (2, NULL)",
        &[
            r#"{"op":"insert","table":"public.t","key":{"id":1},"new":{"id":1,"a":"x"}}"#,
            r#"{"op":"insert","table":"public.t","key":{"id":2},"new":{"id":2,"a":null}}"#,
        ],
    )
    .await;
    case.gives(
        "UPDATE t SET a = 'y' WHERE id = 1",
        &[
            r#"{"op":"update","table":"public.t","key":{"id":1},"changed":["a"],"new":{"id":1,"a":"y"}}"#,
        ],
    )
    .await;
    case.gives(
        "UPDATE t SET a = a WHERE id = 1",
        &[
            r#"{"op":"update","table":"public.t","key":{"id":1},"changed":[],"new":{"id":1,"a":"y"}}"#,
        ],
    )
    .await;
    case.gives(
        "DELETE FROM t WHERE id = 1",
        &[r#"{"op":"delete","table":"public.t","key":{"id":1},"old":{"id":1,"a":"y"}}"#],
    )
    .await;
    case.gives("TRUNCATE t", &[r#"{"op":"truncate","table":"public.t"}"#]).await;
    case.gives("UPDATE t SET a = 'z' WHERE id = 9; DELETE FROM t WHERE id = 9", &[]).await;
}

#[tokio::test]
async fn upsert_and_merge_send_what_they_did() {
    let mut case = case("").await;
    case.run("INSERT INTO t VALUES (1, 'x')").await;
    case.events().await;
    let updated = r#"{"op":"update","table":"public.t","key":{"id":1},"changed":["a"],"new":{"id":1,"a":"y"}}"#;
    let inserted = r#"{"op":"insert","table":"public.t","key":{"id":2},"new":{"id":2,"a":"y"}}"#;
    case.gives(
        "INSERT INTO t VALUES (1, 'y'), (2, 'y') ON CONFLICT (id) DO UPDATE SET a = excluded.a",
        &[updated, inserted],
    )
    .await;
    case.gives("INSERT INTO t VALUES (1, 'z') ON CONFLICT DO NOTHING", &[]).await;
    case.gives(
        "MERGE INTO t USING (VALUES (1), (2), (3)) AS s (id) ON t.id = s.id
         WHEN MATCHED AND s.id = 1 THEN DELETE
         WHEN MATCHED THEN UPDATE SET a = 'm'
         WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'n')",
        &[
            r#"{"op":"delete","table":"public.t","key":{"id":1},"old":{"id":1,"a":"y"}}"#,
            r#"{"op":"update","table":"public.t","key":{"id":2},"changed":["a"],"new":{"id":2,"a":"m"}}"#,
            r#"{"op":"insert","table":"public.t","key":{"id":3},"new":{"id":3,"a":"n"}}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn copy_sends_inserts() {
    let mut case = case("").await;
    let sink = case.client.copy_in("COPY t FROM STDIN (FORMAT binary)").await.unwrap();
    let mut writer = Box::pin(BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT]));
    writer.as_mut().write(&[&1, &"x"]).await.unwrap();
    writer.as_mut().write(&[&2, &"y"]).await.unwrap();
    assert_eq!(writer.as_mut().finish().await.unwrap(), 2);
    assert_eq!(
        case.events().await,
        [
            r#"{"op":"insert","table":"public.t","key":{"id":1},"new":{"id":1,"a":"x"}}"#,
            r#"{"op":"insert","table":"public.t","key":{"id":2},"new":{"id":2,"a":"y"}}"#,
        ]
    );
}

#[tokio::test]
async fn only_the_operations_asked_for() {
    let mut case = case(", operations => '{delete,truncate}'").await;
    case.gives("INSERT INTO t VALUES (1, 'x'); UPDATE t SET a = 'y'", &[]).await;
    case.gives(
        "DELETE FROM t; TRUNCATE t",
        &[
            r#"{"op":"delete","table":"public.t","key":{"id":1},"old":{"id":1,"a":"y"}}"#,
            r#"{"op":"truncate","table":"public.t"}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn only_what_has_changed_and_the_old_row() {
    let mut case = case(", only_if_changed => true, include_old => true").await;
    case.run("INSERT INTO t VALUES (1, 'x')").await;
    case.events().await;
    case.gives("UPDATE t SET a = a", &[]).await;
    case.gives(
        "UPDATE t SET a = NULL",
        &[
            r#"{"op":"update","table":"public.t","key":{"id":1},"changed":["a"],"new":{"id":1,"a":null},"old":{"id":1,"a":"x"}}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn a_condition_is_the_triggers() {
    let mut case =
        case(", operations => '{insert,update}', condition => 'NEW.a LIKE ''p%'' -- paid'").await;
    case.gives(
        "INSERT INTO t VALUES (1, 'open'), (2, 'paid')",
        &[r#"{"op":"insert","table":"public.t","key":{"id":2},"new":{"id":2,"a":"paid"}}"#],
    )
    .await;
    let condition: String = case.value("SELECT condition FROM notify_json.watched").await;
    assert_eq!(condition, "(new.a ~~ 'p%'::text)");
}

#[tokio::test]
async fn a_rolled_back_change_sends_nothing() {
    let mut case = case("").await;
    case.gives(
        "BEGIN; INSERT INTO t VALUES (1, 'x'); SAVEPOINT s; INSERT INTO t VALUES (2, 'x');
         ROLLBACK TO s; COMMIT",
        &[r#"{"op":"insert","table":"public.t","key":{"id":1},"new":{"id":1,"a":"x"}}"#],
    )
    .await;
    case.gives("BEGIN; DELETE FROM t; ROLLBACK", &[]).await;
}

#[tokio::test]
async fn each_event_tells_its_transaction_its_number_and_the_time() {
    let case = case("").await;
    case.run("SET timezone = 'Asia/Kolkata'").await;
    case.run(
        "BEGIN; CREATE TABLE facts AS SELECT pg_current_xact_id()::text AS xid, now() AS at;
         INSERT INTO t VALUES (1, 'x'); SAVEPOINT s; UPDATE t SET a = 'y'; DELETE FROM t; COMMIT",
    )
    .await;
    let wrong: i64 = case
        .value(
            "SELECT count(*) FROM notify_json.event, facts
             WHERE payload->>'xid' <> facts.xid OR (payload->>'at')::timestamptz <> facts.at
                OR payload->>'at' !~ '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z$'",
        )
        .await;
    assert_eq!(wrong, 0);
    let numbers: String = case
        .value("SELECT string_agg(payload->>'seq', ' ' ORDER BY id) FROM notify_json.event")
        .await;
    assert_eq!(numbers, "1 2 3");
}

#[tokio::test]
async fn triggers_and_cascades_are_seen_as_they_end_up() {
    let mut case = case(", columns => '{a}'").await;
    case.run(
        "CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN NEW.a := upper(NEW.a); RETURN NEW; END $$;
         CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION loud();
         CREATE TABLE line (id integer REFERENCES t ON DELETE CASCADE);
         SELECT notify_json.watch('line', 'd')",
    )
    .await;
    case.gives(
        "INSERT INTO t VALUES (1, 'x')",
        &[r#"{"op":"insert","table":"public.t","key":null,"new":{"a":"X"}}"#],
    )
    .await;
    // The column is not in the SET list.
    case.run("ALTER TABLE t DISABLE TRIGGER loud; UPDATE t SET a = 'x'").await;
    case.run("ALTER TABLE t ENABLE TRIGGER loud; INSERT INTO line VALUES (1)").await;
    case.events().await;
    case.gives(
        "UPDATE t SET id = id",
        &[r#"{"op":"update","table":"public.t","key":null,"changed":["a"],"new":{"a":"X"}}"#],
    )
    .await;
    case.run("DELETE FROM t").await;
    let mut events = case.events().await;
    events.sort();
    assert_eq!(
        events,
        [
            r#"{"op":"delete","table":"public.line","key":null,"old":{"id":1}}"#,
            r#"{"op":"delete","table":"public.t","key":null,"old":{"a":"X"}}"#,
        ]
    );
}

#[tokio::test]
async fn what_another_trigger_does_to_a_row_comes_after_what_it_does_it_for() {
    for per in ["row", "statement"] {
        let case = Case::with(&format!(
            r#"CREATE TABLE t (id integer PRIMARY KEY, next integer REFERENCES t ON UPDATE CASCADE);
               CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN UPDATE t SET id = id + 1 WHERE id = 1; RETURN NULL; END $$;
               CREATE TRIGGER "000" AFTER INSERT ON t
                    FOR EACH {per} EXECUTE FUNCTION again();
               SELECT notify_json.watch('t', 'd', per => '{per}');
               INSERT INTO t VALUES (1, 1)"#
        ))
        .await;
        let rows: String = case
            .value(
                "SELECT string_agg((row->'new')::text, ' ' ORDER BY id, number)
                 FROM notify_json.event CROSS JOIN LATERAL json_array_elements(coalesce(
                    payload->'rows', json_build_array(payload))) WITH ORDINALITY AS e(row, number)",
            )
            .await;
        let expected = r#"{"id":1,"next":1} {"id":2,"next":1} {"id":2,"next":2}"#;
        assert_eq!(rows, expected, "{per}");
    }
}

#[tokio::test]
async fn a_replica_sends_only_if_it_is_to() {
    let mut case = case("").await;
    case.gives("SET session_replication_role = replica; INSERT INTO t VALUES (1, 'x')", &[]).await;
    case.run("SELECT notify_json.unwatch('t')").await;
    for per in ["row", "statement"] {
        case.run(&format!("SELECT notify_json.watch('t', 'd', always => true, per => '{per}')"))
            .await;
        case.run("INSERT INTO t VALUES (2, 'x'); TRUNCATE t").await;
        assert_eq!(case.events().await.len(), 2, "{per}");
        assert!(case.value::<bool>("SELECT always FROM notify_json.watched").await);
        case.run("SELECT notify_json.unwatch('t')").await;
    }
}

#[tokio::test]
async fn a_table_whose_triggers_are_disabled_sends_nothing_and_is_shown_so() {
    let mut case = case(", columns => '{id}'").await;
    let enabled = "SELECT enabled FROM notify_json.watched";
    assert!(case.value::<bool>(enabled).await);
    case.gives("ALTER TABLE t DISABLE TRIGGER USER; INSERT INTO t VALUES (1, 'x')", &[]).await;
    assert!(!case.value::<bool>(enabled).await);
    case.run("ALTER TABLE t ENABLE TRIGGER USER; DELETE FROM t").await;
    assert_eq!(case.events().await.len(), 1);
    assert!(case.value::<bool>(enabled).await);
}

#[tokio::test]
async fn a_prepared_transaction_sends_when_it_commits() {
    let mut case = case("").await;
    case.gives("BEGIN; INSERT INTO t VALUES (1, 'x'); PREPARE TRANSACTION 'watch_prepared'", &[])
        .await;
    case.gives(
        "COMMIT PREPARED 'watch_prepared'",
        &[r#"{"op":"insert","table":"public.t","key":{"id":1},"new":{"id":1,"a":"x"}}"#],
    )
    .await;
}
