//! Changes of many rows: bounded, or refused with the way out.

use notify_json_tests::memory;

use super::Case;

const TABLE: &str = "CREATE TABLE t (id integer, a text);
    INSERT INTO t SELECT n, 'x' FROM generate_series(1, 20000) n;";

#[tokio::test]
async fn a_transaction_on_a_live_channel_is_limited() {
    let case = Case::with(&format!("{TABLE} SELECT notify_json.watch('t', 'live')")).await;
    case.run("SELECT 1 FROM notify_json('load', '1')").await;
    case.run("SET notify_json.max_transaction_bytes = '4MB'").await;
    let error = case.error("UPDATE t SET a = 'y'").await;
    assert_eq!(
        (error.code().code(), error.message()),
        ("54000", "changes of one transaction are too large for a live channel")
    );
    assert!(error.detail().unwrap().contains("4194304 bytes"), "{error:?}");
    assert!(error.hint().unwrap().contains("create_channel"), "{error:?}");
    // What was rolled back to a savepoint does not count.
    case.run(
        "BEGIN; SAVEPOINT s; UPDATE t SET a = 'y' WHERE id < 9000; ROLLBACK TO s;
         UPDATE t SET a = 'y' WHERE id < 9000; SAVEPOINT s2; UPDATE t SET a = 'y' WHERE id < 4000;
         RELEASE s2; COMMIT",
    )
    .await;
    case.run("SET notify_json.max_transaction_bytes = '16MB'; UPDATE t SET a = 'z'").await;
}

#[tokio::test]
async fn a_savepoint_from_before_the_first_event_of_a_session_is_one_too() {
    let case = Case::with(&format!("{TABLE} SELECT notify_json.watch('t', 'live')")).await;
    case.database
        .execute(
            "SET notify_json.max_transaction_bytes = '4MB';
             BEGIN; SAVEPOINT s; SAVEPOINT t; UPDATE t SET a = 'y' WHERE id < 9000; ROLLBACK TO t;
             UPDATE t SET a = 'y' WHERE id < 9000; ROLLBACK TO s;
             UPDATE t SET a = 'y' WHERE id < 9000; COMMIT",
        )
        .await;
}

#[tokio::test]
async fn a_statement_is_limited_as_a_message_is() {
    for channel in ["live", "d"] {
        let watch = format!("SELECT notify_json.watch('t', '{channel}', per => 'statement')");
        let case = Case::with(&format!("{TABLE} {watch}")).await;
        case.run("SELECT 1 FROM notify_json('load', '1')").await;
        case.run("SET notify_json.max_message_bytes = '100kB'").await;
        let error = case.error("UPDATE t SET a = 'y'").await;
        assert_eq!(
            (error.code().code(), error.message()),
            ("54000", "changes of one statement are too large for one event")
        );
        assert!(error.detail().unwrap().contains(" of 20000 rows "), "{error:?}");
        assert!(error.hint().unwrap().contains("per => 'row'"), "{error:?}");
        case.run("RESET notify_json.max_message_bytes; UPDATE t SET a = 'y'").await;
    }
}

#[tokio::test]
async fn many_rows_on_a_durable_channel_take_no_memory_each() {
    let case = Case::with(&format!(
        "{TABLE} ALTER TABLE t ADD wide text DEFAULT repeat('w', 5000);
         SELECT notify_json.watch('t', 'd')"
    ))
    .await;
    let pid: i32 = case.value("SELECT pg_backend_pid()").await;
    case.run("UPDATE t SET a = 'warm' WHERE id <= 1000").await;
    let (_, before) = memory(pid as u32);
    case.run("UPDATE t SET a = 'y'").await;
    let (_, after) = memory(pid as u32);
    assert!(after - before < 16_000_000, "{} bytes for 20,000 events", after - before);
}
