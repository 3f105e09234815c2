//! Partitioned tables and inheritance.

use super::Case;

/// A partition that was there before, and one of another shape that came later.
const TABLES: &str = "
    CREATE TABLE p (id integer PRIMARY KEY, a text, secret text) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
    SELECT notify_json.watch('p', 'd', columns => '{id,a}', include_old => true);
    CREATE TABLE p2 (gone integer, secret text, a text, id integer PRIMARY KEY);
    ALTER TABLE p2 DROP gone;
    ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20);
    CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30) PARTITION BY LIST (id);
    CREATE TABLE p3_rest PARTITION OF p3 DEFAULT;";

#[tokio::test]
async fn rows_of_every_partition_are_the_tables() {
    let mut case = Case::with(TABLES).await;
    case.gives(
        "INSERT INTO p VALUES (1, 'x', 'hidden'), (11, 'x', 'hidden');
         INSERT INTO p3_rest VALUES (21, 'x', 'hidden')",
        &[
            r#"{"op":"insert","table":"public.p","key":{"id":1},"new":{"id":1,"a":"x"}}"#,
            r#"{"op":"insert","table":"public.p","key":{"id":11},"new":{"a":"x","id":11}}"#,
            r#"{"op":"insert","table":"public.p","key":{"id":21},"new":{"id":21,"a":"x"}}"#,
        ],
    )
    .await;
    case.gives(
        "UPDATE p2 SET a = 'y'",
        &[
            r#"{"op":"update","table":"public.p","key":{"id":11},"changed":["a"],"new":{"a":"y","id":11},"old":{"a":"x","id":11}}"#,
        ],
    )
    .await;
    case.gives("TRUNCATE p", &[r#"{"op":"truncate","table":"public.p"}"#]).await;
}

#[tokio::test]
async fn a_row_that_moves_is_deleted_and_inserted() {
    let mut case = Case::with(TABLES).await;
    case.run("INSERT INTO p VALUES (1, 'x', 'hidden')").await;
    case.events().await;
    case.gives(
        "UPDATE p SET id = 12",
        &[
            r#"{"op":"delete","table":"public.p","key":{"id":1},"old":{"id":1,"a":"x"}}"#,
            r#"{"op":"insert","table":"public.p","key":{"id":12},"new":{"a":"x","id":12}}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn partitions_follow_what_happens_to_the_table() {
    let mut case = Case::with(TABLES).await;
    case.run("INSERT INTO p VALUES (11, 'x', 'hidden'), (21, 'x', 'hidden')").await;
    case.events().await;
    case.gives(
        "ALTER TABLE p RENAME TO q; ALTER TABLE q RENAME a TO b; UPDATE q SET secret = 'hidden'",
        &[
            r#"{"op":"update","table":"public.q","key":{"id":11},"changed":[],"new":{"b":"x","id":11},"old":{"b":"x","id":11}}"#,
            r#"{"op":"update","table":"public.q","key":{"id":21},"changed":[],"new":{"id":21,"b":"x"},"old":{"id":21,"b":"x"}}"#,
        ],
    )
    .await;
    case.gives("ALTER TABLE q DETACH PARTITION p2; UPDATE p2 SET b = 'y'", &[]).await;
    case.run("SELECT notify_json.watch('p2', 'd', columns => '{id}')").await;
    case.gives(
        "UPDATE p2 SET b = 'z'",
        &[r#"{"op":"update","table":"public.p2","key":{"id":11},"changed":[],"new":{"id":11}}"#],
    )
    .await;
    case.gives("SELECT notify_json.unwatch('q'); UPDATE q SET b = 'y'", &[]).await;
}

#[tokio::test]
async fn a_partition_is_watched_and_unwatched_with_its_table() {
    let case = Case::with(TABLES).await;
    let message = "public.p2 is already watched on channel \"d\"";
    case.fails("SELECT notify_json.watch('p2', 'd')", "42710", message).await;
    case.fails("SELECT notify_json.unwatch('p2')", "42704", "public.p2 is not watched").await;
    let watched: String =
        case.value("SELECT string_agg(\"table\"::text, ' ') FROM notify_json.watched").await;
    assert_eq!(watched, "p");
}

#[tokio::test]
async fn a_partition_that_is_watched_by_itself_stands_in_the_way() {
    let case = Case::with(
        "CREATE TABLE p (id integer) PARTITION BY RANGE (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
         CREATE TABLE p1_1 PARTITION OF p1 FOR VALUES FROM (0) TO (5);
         SELECT notify_json.watch('p1_1', 'd')",
    )
    .await;
    let message = "public.p1_1 is already watched on channel \"d\"";
    case.fails("SELECT notify_json.watch('p', 'd')", "42710", message).await;
    case.run("SELECT notify_json.watch('p', 'e')").await;
    // What names the partition itself is seen by its own trigger alone.
    case.run("SELECT notify_json.watch('p', 'd', per => 'statement')").await;
}

#[tokio::test]
async fn a_replica_sends_changes_of_partitions_too() {
    let mut case = Case::with(TABLES).await;
    case.run(
        "SELECT notify_json.unwatch('p'); SELECT notify_json.watch('p', 'd', always => true);
         CREATE TABLE p4 PARTITION OF p FOR VALUES FROM (30) TO (40);
         SET session_replication_role = replica;
         INSERT INTO p VALUES (1), (11), (21), (31)",
    )
    .await;
    assert_eq!(case.events().await.len(), 4);
}

#[tokio::test]
async fn a_key_is_the_tables_and_not_a_partitions() {
    let mut case = Case::with(
        "CREATE TABLE p (a integer, id integer) PARTITION BY LIST (a);
         CREATE TABLE p1 PARTITION OF p (PRIMARY KEY (id)) FOR VALUES IN (1);
         CREATE TABLE p2 (id integer PRIMARY KEY, a integer NOT NULL);
         ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
         SELECT notify_json.watch('p', 'd')",
    )
    .await;
    case.gives(
        "INSERT INTO p VALUES (1, 1), (2, 1)",
        &[
            r#"{"op":"insert","table":"public.p","key":null,"new":{"a":1,"id":1}}"#,
            r#"{"op":"insert","table":"public.p","key":null,"new":{"id":1,"a":2}}"#,
        ],
    )
    .await;
    case.run(
        "ALTER TABLE p1 DROP CONSTRAINT p1_pkey; ALTER TABLE p2 DROP CONSTRAINT p2_pkey;
         ALTER TABLE p ADD PRIMARY KEY (a, id)",
    )
    .await;
    case.gives(
        "INSERT INTO p2 VALUES (2, 2)",
        &[r#"{"op":"insert","table":"public.p","key":{"a":2,"id":2},"new":{"id":2,"a":2}}"#],
    )
    .await;
}

#[tokio::test]
async fn a_statement_on_a_partitioned_table_is_one_event() {
    let mut case = Case::with(
        "CREATE TABLE p (id integer PRIMARY KEY, a text) PARTITION BY RANGE (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         SELECT notify_json.watch('p', 'd', per => 'statement');
         CREATE TABLE p2 (a text, id integer NOT NULL);
         ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)",
    )
    .await;
    case.gives(
        "INSERT INTO p VALUES (1, 'x'), (11, 'y')",
        &[
            r#"{"op":"insert","table":"public.p","rows":[{"key":{"id":1},"new":{"id":1,"a":"x"}},{"key":{"id":11},"new":{"id":11,"a":"y"}}]}"#,
        ],
    )
    .await;
    // The second row moves.
    case.gives(
        "UPDATE p SET id = id % 10 + 2 * (id / 10) + 2",
        &[
            r#"{"op":"update","table":"public.p","rows":[{"key":{"id":3},"changed":["id"],"new":{"id":3,"a":"x"},"old":{"id":1,"a":"x"}},{"key":{"id":5},"changed":["id"],"new":{"id":5,"a":"y"},"old":{"id":11,"a":"y"}}]}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn a_row_that_a_trigger_keeps_from_moving_has_gone() {
    let mut case = Case::with(
        "CREATE TABLE p (id integer PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         INSERT INTO p VALUES (1), (2);
         CREATE TRIGGER no BEFORE INSERT ON p2 FOR EACH ROW EXECUTE FUNCTION no();
         SELECT notify_json.watch('p', 'd', per => 'statement')",
    )
    .await;
    case.gives(
        "UPDATE p SET id = CASE id WHEN 1 THEN 11 ELSE 3 END",
        &[
            r#"{"op":"delete","table":"public.p","rows":[{"key":{"id":1},"old":{"id":1}},{"key":{"id":2},"old":{"id":2}}]}"#,
            r#"{"op":"insert","table":"public.p","rows":[{"key":{"id":3},"new":{"id":3}}]}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn a_child_is_a_table_of_its_own() {
    let mut case = Case::with(
        "CREATE TABLE parent (id integer);
         CREATE TABLE child (more integer) INHERITS (parent);
         SELECT notify_json.watch('parent', 'd')",
    )
    .await;
    case.gives("INSERT INTO child VALUES (1, 2); UPDATE parent SET id = 2", &[]).await;
    case.run("SELECT notify_json.watch('child', 'd'); INSERT INTO parent VALUES (7)").await;
    case.events().await;
    case.gives(
        "UPDATE parent SET id = id + 1",
        &[
            r#"{"op":"update","table":"public.parent","key":null,"changed":["id"],"new":{"id":8}}"#,
            r#"{"op":"update","table":"public.child","key":null,"changed":["id"],"new":{"id":3,"more":2}}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn a_statement_on_a_parent_has_the_rows_of_its_children() {
    let mut case = Case::with(
        "CREATE TABLE parent (id integer PRIMARY KEY);
         CREATE TABLE child (more integer) INHERITS (parent);
         SELECT notify_json.watch('parent', 'd', per => 'statement')",
    )
    .await;
    case.gives("INSERT INTO child VALUES (1, 2)", &[]).await;
    case.gives(
        "DELETE FROM parent",
        &[r#"{"op":"delete","table":"public.parent","rows":[{"key":{"id":1},"old":{"id":1}}]}"#],
    )
    .await;
}
