//! A checked function is called as any other, and stands in every place where that could.

use super::Case;

async fn payloads(case: &Case, sql: &str) -> Vec<String> {
    let rows = case.admin.query(&case.sql(sql), &[]).await;
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn in_every_place_of_a_query() {
    let case = Case::new().await;
    case.run("SET ROLE consumer").await;
    for sql in [
        "SELECT payload::text FROM notify_json.fetch('c', 'd')",
        "SELECT payload::text FROM notify_json.fetch('c', 'd', 100)",
        "SELECT payload::text FROM notify_json.fetch(channel => 'd', consumer => 'c')",
        "SELECT payload::text FROM notify_json.fetch('c', max_events => 2, channel => 'd')",
        "SELECT (notify_json.fetch('c', 'd')).payload::text",
        "SELECT payload::text FROM generate_series(1, 1) AS n, notify_json.fetch('c' || n, 'd')",
        "SELECT payload::text FROM ROWS FROM (notify_json.fetch('c', 'd')) WITH ORDINALITY",
        "SELECT payload::text FROM (SELECT (notify_json.fetch('c', 'd')).* OFFSET 0) AS f",
    ] {
        assert_eq!(payloads(&case, sql).await, ["1", "2"], "{sql}");
    }
    let limited = "SELECT payload::text FROM notify_json.fetch('c', 'd', max_events => 1)";
    assert_eq!(payloads(&case, limited).await, ["1"]);
    let twice = "SELECT a.payload::text || b.payload::text FROM notify_json.fetch('c', 'd') AS a,
                 notify_json.fetch('c', 'd') AS b ORDER BY a.id, b.id";
    assert_eq!(payloads(&case, twice).await, ["11", "12", "21", "22"]);
}

#[tokio::test]
async fn prepared_in_old_snapshots_and_in_functions() {
    let case = Case::new().await;
    case.run("SET ROLE consumer; PREPARE p(text) AS SELECT payload::text FROM notify_json.fetch($1, 'd')")
        .await;
    for _ in 0..7 {
        assert_eq!(payloads(&case, "EXECUTE p('c')").await, ["1", "2"]);
    }
    // The right is that of whoever executes.
    case.run("RESET ROLE; SET ROLE publisher").await;
    let error = case.admin.batch_execute("EXECUTE p('c')").await.expect_err("it may not consume");
    assert_eq!(error.code().unwrap().code(), "42501");
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        case.run(&format!("BEGIN ISOLATION LEVEL {level}; SET LOCAL ROLE consumer")).await;
        assert_eq!(payloads(&case, "EXECUTE p('c')").await, ["1", "2"]);
        let read = "SELECT payload FROM notify_json.read('d', '3:3:;0;3:3:;0;0', 0, 10, 99, 99)
                    WHERE published_at IS NOT NULL";
        assert_eq!(payloads(&case, read).await, ["1", "2"]);
        case.run("COMMIT").await;
    }
    // One within the rows of another, and an error in between.
    case.run(
        "RESET ROLE; GRANT CREATE ON SCHEMA public TO consumer; SET ROLE consumer;
         CREATE FUNCTION nested(depth integer) RETURNS text LANGUAGE plpgsql AS $$
         DECLARE found record; seen text := '';
         BEGIN
             FOR found IN SELECT payload FROM notify_json.fetch('c' || depth, 'd') LOOP
                 IF depth > 0 THEN
                     BEGIN
                         PERFORM notify_json.drop_channel('d');
                     EXCEPTION WHEN insufficient_privilege THEN
                         seen := seen || '-';
                     END;
                     seen := seen || nested(depth - 1);
                 END IF;
                 seen := seen || found.payload;
             END LOOP;
             RETURN seen;
         END $$",
    )
    .await;
    let seen = payloads(&case, "SELECT nested(2)").await;
    assert_eq!(seen, ["--121-1221--121-1222"]);
}

/// pgrx takes an error's context away, and what it has for the log alone, wherever it stands guard.
#[tokio::test]
async fn errors_keep_their_context() {
    let case = Case::new().await;
    let error = case.admin.batch_execute("SELECT notify_json.ack('nosuch', 'd', 1)").await;
    let error = error.unwrap_err().as_db_error().unwrap().clone();
    let context = error.where_().unwrap();
    for function in ["unknown_consumer(text,text)", "take(text,text)", "ack(text,text,bigint)"] {
        assert!(context.contains(function), "{context}");
    }
    // The caller of the next call is the caller of that one.
    let caught = "SET ROLE owner; DO $$ BEGIN
        BEGIN PERFORM notify_json.ack('nosuch', 'd', 1); EXCEPTION WHEN OTHERS THEN NULL; END;
        RESET ROLE; PERFORM notify_json.create_channel('e');
    END $$";
    case.run(caught).await;
    let own = "SELECT count(*) FROM notify_json.channel_rights
               WHERE channel = 'e' AND is_owner AND role = current_user";
    assert_eq!(case.value::<i64>(own).await, 1);
}

#[tokio::test]
async fn errors_are_those_of_the_function_itself() {
    let case = Case::new().await;
    for (sql, code) in [
        ("SELECT notify_json.fetch('c', 'd', 0)", "22023"),
        ("SELECT notify_json.fetch('c', NULL)", "22023"),
        ("SELECT notify_json.fetch('c', 'nothing')", "42704"),
        ("SELECT notify_json.fetch('c', '')", "42704"),
        ("SELECT notify_json.fetch('c', repeat('x', 64))", "42704"),
        ("SELECT notify_json.alter_channel('nothing')", "42704"),
        ("SELECT notify_json.grant_publish('nothing', 'public')", "42704"),
        ("SELECT notify_json.grant_publish('d', 'no such role')", "42704"),
        ("SELECT notify_json.grant_publish('d', NULL)", "42704"),
        ("SELECT notify_json.grant_publish(NULL, 'public')", "22023"),
    ] {
        let error = case.admin.batch_execute(sql).await.expect_err(sql);
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), code, "{sql}: {error:?}");
        assert!(error.detail().is_some() && error.hint().is_some(), "{sql}: {error:?}");
    }
    let read_only = "BEGIN READ ONLY; SELECT notify_json.grant_publish('d', 'public')";
    let error = case.admin.batch_execute(read_only).await.expect_err(read_only);
    assert_eq!(error.code().unwrap().code(), "25006");
}
