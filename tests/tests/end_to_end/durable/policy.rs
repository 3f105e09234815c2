//! Who knows when that a channel is durable: every session, from its next transaction on.

use tokio_postgres::Client;

use super::{database, run, value};
use notify_json_tests::Server;

/// Whether an event on channel `d` is kept, as this session has it.
async fn is_kept(client: &Client) -> bool {
    value(client, "SELECT notify_json('d', '1') IS NOT NULL").await
}

#[tokio::test]
async fn every_session_follows_at_once() {
    let database = Server::shared().database().await;
    let (owner, other) = (database.connect().await, database.connect().await);
    for (change, kept) in [
        ("SELECT 1", false),
        ("SELECT notify_json.create_channel('d')", true),
        ("SELECT notify_json.create_channel('e', durable => false)", true),
        ("SELECT notify_json.alter_channel('d', durable => false)", false),
        ("SELECT notify_json.alter_channel('d', retention => '1 day')", false),
        ("SELECT notify_json.alter_channel('d', durable => true)", true),
        ("SELECT notify_json.drop_channel('d')", false),
        ("INSERT INTO notify_json.channel VALUES ('d', true)", true),
        ("UPDATE notify_json.channel SET durable = false", false),
        ("UPDATE notify_json.channel SET durable = true WHERE name = 'd'", true),
        ("DELETE FROM notify_json.channel WHERE name = 'd'", false),
        ("INSERT INTO notify_json.channel VALUES ('d', true)", true),
        ("TRUNCATE notify_json.channel CASCADE", false),
    ] {
        run(&owner, change).await;
        assert_eq!(is_kept(&other).await, kept, "{change}");
        assert_eq!(is_kept(&owner).await, kept, "{change}");
    }
}

#[tokio::test]
async fn a_transaction_keeps_the_policy_of_its_first_call() {
    let database = Server::shared().database().await;
    let (owner, other) = (database.connect().await, database.connect().await);
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        for (change, before) in [
            ("SELECT notify_json.create_channel('d')", false),
            ("SELECT notify_json.alter_channel('d', durable => false)", true),
            ("SELECT notify_json.alter_channel('d', durable => true)", false),
            ("SELECT notify_json.drop_channel('d')", true),
        ] {
            run(&other, &format!("BEGIN ISOLATION LEVEL {level}")).await;
            assert_eq!(is_kept(&other).await, before, "{change}");
            run(&owner, change).await;
            assert_eq!(is_kept(&other).await, before, "{change}");
            run(&other, "SAVEPOINT s").await;
            assert_eq!(is_kept(&other).await, before, "{change}");
            run(&other, "COMMIT").await;
            assert_eq!(is_kept(&other).await, !before, "{change}");
        }
    }
}

#[tokio::test]
async fn an_old_snapshot_does_not_mean_an_old_policy() {
    let database = Server::shared().database().await;
    let (owner, other) = (database.connect().await, database.connect().await);
    assert!(!is_kept(&other).await);
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        run(&other, &format!("BEGIN ISOLATION LEVEL {level}")).await;
        let _: i64 = value(&other, "SELECT count(*) FROM notify_json.channel").await;
        run(&owner, "SELECT notify_json.create_channel('d')").await;
        assert!(is_kept(&other).await);
        run(&other, "ROLLBACK").await;
        run(&owner, "SELECT notify_json.drop_channel('d')").await;
    }
}

#[tokio::test]
async fn changes_of_the_own_transaction_hold_at_once_and_go_with_it() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    for end in ["ROLLBACK", "ROLLBACK; BEGIN; SELECT 1; COMMIT"] {
        run(&client, "BEGIN").await;
        assert!(!is_kept(&client).await);
        run(&client, "SAVEPOINT a; SELECT notify_json.create_channel('d')").await;
        assert!(is_kept(&client).await);
        run(&client, "SAVEPOINT b; SELECT notify_json.alter_channel('d', durable => false)").await;
        assert!(!is_kept(&client).await);
        run(&client, "ROLLBACK TO b").await;
        assert!(is_kept(&client).await);
        run(&client, "SAVEPOINT c; SELECT notify_json.drop_channel('d'); RELEASE c").await;
        assert!(!is_kept(&client).await);
        run(&client, "ROLLBACK TO b").await;
        assert!(is_kept(&client).await);
        run(&client, "ROLLBACK TO a").await;
        assert!(!is_kept(&client).await);
        run(&client, "SELECT notify_json.create_channel('d')").await;
        assert!(is_kept(&client).await);
        run(&client, end).await;
        assert!(!is_kept(&client).await);
    }
}

#[tokio::test]
async fn a_change_that_was_undone_leaves_no_trace() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    let create = "PERFORM notify_json.create_channel('d');";
    let publish = "kept := kept || (notify_json('d', '1') IS NOT NULL);";
    let undo = "RAISE data_exception; EXCEPTION WHEN data_exception THEN";
    for (body, expected) in [
        (format!("BEGIN {create} {undo} END; {publish}"), vec![false]),
        (
            format!("{publish} BEGIN {create} {publish} {undo} END; {publish}"),
            vec![false, true, false],
        ),
        (format!("BEGIN {create} {undo} {publish} END; {publish}"), vec![false, false]),
    ] {
        let function = format!(
            "CREATE OR REPLACE FUNCTION attempt() RETURNS boolean[] LANGUAGE plpgsql AS $$
             DECLARE kept boolean[] := '{{}}'; BEGIN {body} RETURN kept; END $$"
        );
        run(&client, &function).await;
        run(&client, "BEGIN").await;
        assert_eq!(value::<Vec<bool>>(&client, "SELECT attempt()").await, expected, "{body}");
        run(&client, "ROLLBACK").await;
        assert!(!is_kept(&client).await, "{body}");
    }
}

#[tokio::test]
async fn one_statement_may_create_and_publish() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    let sql = "WITH created AS (SELECT notify_json.create_channel('d') FROM generate_series(1, 1))
               SELECT notify_json('d', '1') IS NOT NULL FROM created";
    assert!(value::<bool>(&client, sql).await);
    let sql = "CREATE FUNCTION on_change() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN PERFORM notify_json('e', '1'); RETURN NULL; END $$;
               CREATE TRIGGER on_change AFTER INSERT ON notify_json.channel
               FOR EACH ROW EXECUTE FUNCTION on_change();
               INSERT INTO notify_json.channel VALUES ('e', true);
               DROP TRIGGER on_change ON notify_json.channel";
    run(&client, sql).await;
    assert!(value::<bool>(&client, "SELECT notify_json('e', '1') IS NOT NULL").await);
    run(&client, "BEGIN; DELETE FROM notify_json.channel; SELECT notify_json('e', '1'); ROLLBACK")
        .await;
    assert!(value::<bool>(&client, "SELECT notify_json('e', '1') IS NOT NULL").await);
}

#[tokio::test]
async fn the_extension_may_come_and_go() {
    let database = database().await;
    let (owner, other) = (database.connect().await, database.connect().await);
    assert!(is_kept(&other).await);
    let again = "DROP EXTENSION notify_json; CREATE EXTENSION notify_json;
                 SELECT notify_json.create_channel('e')";
    run(&owner, again).await;
    assert!(!is_kept(&other).await);
    run(&other, "BEGIN; SELECT notify_json('live', '1')").await;
    run(&owner, &again.replace("'e'", "'d'")).await;
    assert!(!is_kept(&other).await, "settled");
    run(&other, "COMMIT").await;
    assert!(is_kept(&other).await);
    // This transaction has settled for tables that are gone when it needs them.
    run(&other, "BEGIN; SELECT notify_json('live', '1')").await;
    run(&owner, &again.replace("'e'", "'d'")).await;
    assert!(is_kept(&other).await);
    run(&other, "COMMIT").await;

    run(&other, "BEGIN; DROP EXTENSION notify_json; ROLLBACK").await;
    assert!(is_kept(&other).await);
    let in_one =
        format!("BEGIN; {again}; SELECT notify_json('e', '1'), notify_json('d', '2'); COMMIT");
    run(&other, &in_one).await;
    assert!(!is_kept(&other).await);
    assert_eq!(value::<i64>(&owner, "SELECT count(*) FROM notify_json.event").await, 1);
}

#[tokio::test]
async fn without_tables_every_channel_is_live() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    let bare = "DROP EXTENSION notify_json;
                CREATE FUNCTION bare(channel text, payload text) RETURNS bigint
                LANGUAGE c AS '$libdir/notify_json', 'notify_json_text_wrapper'";
    run(&client, bare).await;
    let kept = "SELECT bare('d', '1') IS NOT NULL";
    assert!(!value::<bool>(&client, kept).await);
    run(&client, "CREATE EXTENSION notify_json; SELECT notify_json.create_channel('d')").await;
    assert!(value::<bool>(&client, kept).await);
}

#[tokio::test]
async fn a_live_channel_costs_no_query() {
    let database = database().await;
    let client = database.connect().await;
    run(&client, "SELECT notify_json('live', '1')").await;
    // Counted since the last report to the server, which may come in between and only lowers it.
    let scans = "SELECT coalesce(sum(seq_scan), 0)::bigint + coalesce(sum(idx_scan), 0)::bigint
                 FROM pg_stat_xact_all_tables WHERE schemaname IN ('notify_json', 'pg_catalog')";
    value::<i64>(&client, scans).await;
    let before: i64 = value(&client, scans).await;
    let cost = value::<i64>(&client, scans).await - before;
    for channel in ["live", "another", "live"] {
        let before: i64 = value(&client, scans).await;
        run(&client, &format!("SELECT notify_json('{channel}', '1')")).await;
        let after: i64 = value(&client, scans).await;
        assert!(after <= before + cost, "{before}, {after}, {cost}");
    }
}
