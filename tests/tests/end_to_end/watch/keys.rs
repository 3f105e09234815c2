//! Which row an event is about.

use super::Case;

#[tokio::test]
async fn composite_and_mixed_case_in_the_order_of_the_key() {
    let mut case = Case::with(
        r#"CREATE TABLE t ("B ""q" integer, "Ä" text, a integer, PRIMARY KEY (a, "B ""q"));
           SELECT notify_json.watch('t', 'd', columns => '{a,"B \"q"}')"#,
    )
    .await;
    case.gives(
        "INSERT INTO t VALUES (1, 'x', 2)",
        &[r#"{"op":"insert","table":"public.t","key":{"a":2,"B \"q":1},"new":{"B \"q":1,"a":2}}"#],
    )
    .await;
}

#[tokio::test]
async fn a_new_key_comes_with_the_old_row() {
    let mut case = Case::with(
        "CREATE TABLE t (id integer PRIMARY KEY, a text); SELECT notify_json.watch('t', 'd');
         INSERT INTO t VALUES (1, 'x')",
    )
    .await;
    case.events().await;
    case.gives(
        "UPDATE t SET id = 2",
        &[
            r#"{"op":"update","table":"public.t","key":{"id":2},"changed":["id"],"new":{"id":2,"a":"x"},"old":{"id":1,"a":"x"}}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn a_key_is_the_primary_one_or_the_replica_identity_or_none() {
    let mut case = Case::with(
        "CREATE TABLE t (a integer NOT NULL, b integer NOT NULL UNIQUE);
         SELECT notify_json.watch('t', 'd')",
    )
    .await;
    let event = |key: &str, a: i32| {
        format!(r#"{{"op":"insert","table":"public.t","key":{key},"new":{{"a":{a},"b":{a}}}}}"#)
    };
    case.gives("INSERT INTO t VALUES (1, 1)", &[&event("null", 1)]).await;
    case.run("ALTER TABLE t REPLICA IDENTITY USING INDEX t_b_key").await;
    case.gives("INSERT INTO t VALUES (2, 2)", &[&event(r#"{"b":2}"#, 2)]).await;
    case.run("ALTER TABLE t ADD PRIMARY KEY (a) DEFERRABLE").await;
    case.gives("INSERT INTO t VALUES (3, 3)", &[&event(r#"{"a":3}"#, 3)]).await;
    case.run("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t REPLICA IDENTITY FULL").await;
    case.gives("INSERT INTO t VALUES (4, 4)", &[&event("null", 4)]).await;
}

#[tokio::test]
async fn equal_rows_without_a_key_are_all_sent() {
    let case = Case::with(
        "CREATE TABLE t (a integer); SELECT notify_json.watch('t', 'live', include_old => true)",
    )
    .await;
    let listener = case.database.listener().await;
    let mut changes = listener.subscribe::<serde_json::Value>("live").await.unwrap();
    case.run(
        "BEGIN; INSERT INTO t SELECT 1 FROM generate_series(1, 1000);
         UPDATE t SET a = 2; UPDATE t SET a = 1; UPDATE t SET a = 2; COMMIT",
    )
    .await;
    for number in 1..=4000 {
        let change = notify_json_tests::next_message(&mut changes).await;
        let (op, a) = match number {
            1..=1000 => ("insert", 1),
            2001..=3000 => ("update", 1),
            _ => ("update", 2),
        };
        assert_eq!((&change["op"], &change["seq"]), (&op.into(), &number.into()));
        assert_eq!(change["new"]["a"], a, "{number}");
    }
}
