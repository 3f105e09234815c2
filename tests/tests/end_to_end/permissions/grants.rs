//! Granting, revoking and handing over, and what becomes of roles.

use notify_json_tests::{Server, pg_dump};
use tokio_postgres::SimpleQueryMessage;

use super::Case;

const PUBLISH: &str = "SELECT notify_json('d', '3')";
const FETCH: &str = "SELECT notify_json.fetch('c', 'd')";
const REVOKE_CREATE: &str = "SET ROLE extension_owner;
    REVOKE EXECUTE ON FUNCTION notify_json.create_channel FROM owner; RESET ROLE";

#[tokio::test]
async fn the_hint_is_what_to_run_whatever_the_names() {
    let case = Case::new().await;
    for name in [r#"a'b"c\"#, "$$; DROP TABLE t --", "Ärger %s"] {
        let row = case.admin.query_one("SELECT quote_ident($1), quote_literal($1)", &[&name]).await;
        let row = row.unwrap();
        let (quoted, literal): (String, String) = (row.get(0), row.get(1));
        case.run(&format!("CREATE ROLE {quoted}; SELECT notify_json.create_channel({literal})"))
            .await;
        for (right, action) in [
            ("publish", format!("SELECT notify_json({literal}, '1')")),
            ("consume", format!("SELECT notify_json.fetch({literal}, {literal})")),
        ] {
            let error = case.denied(&quoted, &action).await;
            let message = format!("permission denied to {right} on channel \"{name}\"");
            assert_eq!(error.message(), message);
            assert!(error.detail().unwrap().contains(name), "{error:?}");
            let (grant, _) = error.hint().unwrap().split_once(", by the channel's owner").unwrap();
            case.run(grant).await;
            case.allowed(&quoted, &action).await;
            case.run(&grant.replace("grant_", "revoke_")).await;
            case.denied(&quoted, &action).await;
        }
        case.run(&format!("DROP ROLE {quoted}")).await;
    }
}

#[tokio::test]
async fn public_is_everybody() {
    let case = Case::new().await;
    case.run("SELECT notify_json.grant_publish('d', 'public')").await;
    case.allowed("nobody", PUBLISH).await;
    case.denied("nobody", FETCH).await;
    case.run("SELECT notify_json.grant_consume('d', 'public')").await;
    case.allowed("nobody", FETCH).await;
    case.run("SELECT notify_json.revoke_publish('d', 'public')").await;
    case.denied("nobody", PUBLISH).await;
    case.allowed("publisher", PUBLISH).await;
    case.allowed("nobody", FETCH).await;
}

#[tokio::test]
async fn a_renamed_role_keeps_its_rights_and_a_dropped_one_leaves_none() {
    let case = Case::new().await;
    let rights = "SELECT string_agg(concat_ws(' ', role, publish, consume), ',' ORDER BY role)
                  FROM notify_json.channel_rights WHERE NOT is_owner";
    case.run("ALTER ROLE publisher RENAME TO another_publisher").await;
    case.denied("consumer", PUBLISH).await;
    let expected = case.sql("another_publisher t f,consumer f t");
    assert_eq!(case.value::<String>(rights).await, expected);
    case.run("SET ROLE another_publisher; SELECT notify_json('d', '3'); RESET ROLE").await;
    case.run("DROP FUNCTION as_publisher; DROP ROLE another_publisher").await;
    assert_eq!(case.value::<String>(rights).await, case.sql("consumer f t"));
    let stored = "SELECT count(*) FROM notify_json.channel_right";
    assert_eq!(case.value::<i64>(stored).await, 2);
    case.run("SELECT notify_json.prune()").await;
    assert_eq!(case.value::<i64>(stored).await, 1);
    // Without an owner a channel is the superusers'.
    case.run(REVOKE_CREATE).await;
    case.run("DROP ROLE owner").await;
    case.denied("consumer", "SELECT notify_json.drop_channel('d')").await;
    case.run("SELECT notify_json.set_owner('d', 'nobody')").await;
    case.allowed("nobody", "SELECT notify_json.drop_channel('d')").await;
}

#[tokio::test]
async fn a_channel_is_handed_over_as_other_objects_are() {
    let case = Case::new().await;
    let give = |role: &str| format!("SELECT notify_json.set_owner('d', '{role}')");
    case.denied("publisher", &give("publisher")).await;
    let error = case.denied("owner", &give("publisher")).await;
    assert!(error.message().starts_with("must be member of role"), "{error:?}");
    let error = case.admin.batch_execute(&give("nobody at all")).await.expect_err("no such role");
    assert_eq!(error.code().unwrap().code(), "42704");
    case.run("GRANT publisher TO owner").await;
    case.allowed("owner", &give("publisher")).await;
    case.allowed("publisher", "SELECT notify_json.alter_channel('d', retention => '1 day')").await;
    case.run("REVOKE publisher FROM owner").await;
    case.denied("owner", PUBLISH).await;
    case.denied("owner", "SELECT notify_json.revoke_publish('d', 'publisher')").await;
    let owner = "SELECT role FROM notify_json.channel_rights WHERE is_owner";
    assert_eq!(case.value::<String>(owner).await, case.sql("publisher"));
}

#[tokio::test]
async fn views_show_what_concerns_the_reader() {
    let case = Case::new().await;
    case.run("SELECT notify_json.fetch('c', 'd'); SELECT notify_json.create_channel('secret')")
        .await;
    for (role, channels, consumers) in
        [("owner", 1, 1), ("publisher", 1, 0), ("consumer", 1, 1), ("nobody", 0, 0)]
    {
        let count = |view: &str| format!("(SELECT count(*) FROM notify_json.{view})");
        let rights = "(SELECT count(DISTINCT channel) FROM notify_json.channel_rights)";
        case.run(&format!("SET ROLE {role}")).await;
        let sql = format!("SELECT ARRAY[{}, {}, {rights}]", count("channels"), count("consumers"));
        let seen: Vec<i64> = case.value(&sql).await;
        assert_eq!(seen, [channels, consumers, channels], "{role}");
        case.run("RESET ROLE").await;
    }
    let leak = "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001
                AS $$ BEGIN IF $1 = 'secret' THEN RAISE 'seen'; END IF; RETURN true; END $$";
    case.allowed(
        "publisher",
        &format!("{leak}; SELECT * FROM notify_json.channels WHERE pg_temp.leak(name)"),
    )
    .await;
}

#[tokio::test]
async fn sessions_learn_of_rights_as_of_channels() {
    let case = Case::new().await;
    let session = case.database.connect().await;
    let run = async |sql: &str| session.batch_execute(&case.sql(sql)).await;
    run("SET ROLE publisher").await.unwrap();
    run(PUBLISH).await.unwrap();
    run("BEGIN").await.unwrap();
    run(PUBLISH).await.unwrap();
    case.run("SELECT notify_json.revoke_publish('d', 'publisher')").await;
    // A transaction keeps the policy that it began to publish with, but no right.
    assert_eq!(run(PUBLISH).await.unwrap_err().code().unwrap().code(), "42501");
    run("ROLLBACK").await.unwrap();
    assert_eq!(run(PUBLISH).await.unwrap_err().code().unwrap().code(), "42501");
    // Or whoever keeps a transaction open could read what comes much later.
    run("SET ROLE consumer; BEGIN").await.unwrap();
    run(FETCH).await.unwrap();
    run("SAVEPOINT s").await.unwrap();
    assert_eq!(
        run("SELECT notify_json.fetch('c', 'e')").await.unwrap_err().code().unwrap().code(),
        "42704"
    );
    run("ROLLBACK TO s; SELECT notify_json('e', '1')").await.unwrap();
    case.run("SELECT notify_json.create_channel('e'), notify_json('e', '1')").await;
    assert_eq!(
        run("SELECT notify_json.fetch('c', 'e')").await.unwrap_err().code().unwrap().code(),
        "42501"
    );
    run("ROLLBACK TO s").await.unwrap();
    case.run("SELECT notify_json.revoke_consume('d', 'consumer')").await;
    assert_eq!(run(FETCH).await.unwrap_err().code().unwrap().code(), "42501");
    run("ROLLBACK").await.unwrap();
    // What was undone was never granted.
    case.run("BEGIN; SELECT notify_json.grant_consume('d', 'consumer')").await;
    case.run("SET LOCAL ROLE consumer; SELECT notify_json.fetch('c', 'd'); ROLLBACK").await;
    assert_eq!(run(FETCH).await.unwrap_err().code().unwrap().code(), "42501");
    case.denied("consumer", FETCH).await;
}

#[tokio::test]
async fn dumps_keep_owners_and_rights() {
    let case = Case::new().await;
    case.run("SELECT notify_json.grant_consume('d', 'public')").await;
    case.run(REVOKE_CREATE).await;
    let dump = pg_dump(case.database.url());
    let restored = Server::shared().database().await;
    restored.execute("DROP EXTENSION notify_json").await;
    restored.execute(&dump).await;
    let rights = "SELECT string_agg(concat_ws(' ', channel, role, is_owner, publish, consume), ',' ORDER BY role)
                  FROM notify_json.channel_rights";
    let expected = case.value::<String>(rights).await;
    let row = restored.connect().await.query_one(rights, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), expected);
    assert_eq!(expected.split(',').count(), 4, "{expected}");
}

#[tokio::test]
async fn rights_on_a_dropped_channel_are_none_on_one_of_its_name() {
    let case = Case::new().await;
    let session = case.database.connect().await;
    let run = async |sql: &str| session.batch_execute(&case.sql(sql)).await;
    let code = |result: Result<(), tokio_postgres::Error>| {
        result.unwrap_err().code().unwrap().code().to_owned()
    };
    // Whoever owned the channel publishes in a transaction that has begun to.
    case.run("SELECT notify_json.create_channel('e'), notify_json.set_owner('e', 'owner')").await;
    run("SET ROLE owner; BEGIN; SELECT notify_json('e', '1')").await.unwrap();
    let again = r#"SELECT notify_json.drop_channel('d'), notify_json.create_channel('d',
                   schema => '{"type": "object"}')"#;
    case.run(again).await;
    assert_eq!(code(run(PUBLISH).await), "42501");
    run("ROLLBACK").await.unwrap();
    // The contract is that of the new channel, too.
    run("RESET ROLE; BEGIN; SELECT notify_json('e', '1')").await.unwrap();
    case.run(again).await;
    assert_eq!(code(run("SELECT notify_json('d', '1')").await), "23514");
    run("ROLLBACK").await.unwrap();
    // And whoever owns the new one sees nothing of the old one in an old snapshot.
    case.run("SELECT notify_json('d', '{\"secret\": 1}')").await;
    for reading in [
        "SELECT * FROM notify_json.read('d', '3:3:;0;3:3:;0;0', 0, 100, 1000000, 1000000)",
        "SELECT * FROM notify_json.fetch('c', 'd')",
        "SELECT notify_json.seek('c', 'd', 'earliest')",
    ] {
        for level in ["REPEATABLE READ", "SERIALIZABLE"] {
            run(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1")).await.unwrap();
            case.run(again).await;
            case.run("SELECT notify_json.set_owner('d', 'nobody')").await;
            run("SET LOCAL ROLE nobody").await.unwrap();
            assert_eq!(code(run(reading).await), "40001", "{reading}");
            run("ROLLBACK").await.unwrap();
        }
    }
}

#[tokio::test]
async fn whoever_takes_the_name_of_a_dropped_channel_reads_nothing_of_it() {
    let case = Case::new().await;
    let publishers = [case.database.connect().await, case.database.connect().await];
    for publisher in &publishers {
        let secret = r#"SET ROLE publisher; BEGIN; SELECT notify_json('d', '{"secret": 1}')"#;
        publisher.batch_execute(&case.sql(secret)).await.unwrap();
    }
    let prepare = format!("PREPARE TRANSACTION 'secret_{}'", case.suffix);
    publishers[1].batch_execute(&prepare).await.unwrap();
    case.run("SELECT notify_json.drop_channel('d'), notify_json.create_channel('d')").await;
    case.run("SELECT notify_json.set_owner('d', 'nobody'); SET ROLE nobody").await;
    case.run("SELECT notify_json.fetch('before', 'd'); SELECT notify_json('d', '\"own\"')").await;
    publishers[0].batch_execute("COMMIT").await.unwrap();
    let commit = prepare.replace("PREPARE TRANSACTION", "COMMIT PREPARED");
    publishers[1].batch_execute(&commit).await.unwrap();
    for read in [
        "fetch('before', 'd')",
        "fetch('after', 'd')",
        "read('d', '3:3:;0;3:3:;0;0', 0, 9, 9999, 9999)",
        "start('d', '-infinity') AS place, notify_json.read('d', place.window, place.after, 9, 9999, 9999)",
    ] {
        let sql = format!("SELECT string_agg(payload::text, ' ') FROM notify_json.{read}");
        assert_eq!(case.value::<String>(&sql).await, "\"own\"", "{read}");
    }
    let lag = "SELECT string_agg(lag_events::text, ' ') FROM notify_json.consumers";
    assert_eq!(case.value::<String>(lag).await, "1 1");
}

#[tokio::test]
async fn whoever_takes_the_name_of_a_dropped_channel_sees_nothing_of_it_in_an_old_snapshot() {
    let case = Case::new().await;
    let views = ["channels", "channel_rights", "contracts", "consumers"];
    for begin in ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"] {
        case.run("SELECT notify_json.alter_channel('d', schema => 'true')").await;
        case.run("SELECT notify_json.fetch('c', 'd')").await;
        let session = case.database.connect().await;
        let run = async |sql: &str| session.batch_execute(&case.sql(sql)).await.unwrap();
        run(&format!("{begin}; SET LOCAL ROLE nobody")).await;
        for view in views {
            run(&format!("DECLARE {view} CURSOR FOR TABLE notify_json.{view}")).await;
        }
        case.run("SELECT notify_json.drop_channel('d'), notify_json.create_channel('d')").await;
        case.run("SELECT notify_json.set_owner('d', 'nobody')").await;
        for view in views {
            let rows = session.simple_query(&format!("FETCH ALL {view}")).await.unwrap();
            let is_row = |row: &SimpleQueryMessage| matches!(row, SimpleQueryMessage::Row(_));
            assert!(!rows.iter().any(is_row), "{begin}: {view}: {rows:?}");
        }
        run("COMMIT").await;
    }
}

#[tokio::test]
async fn a_transaction_keeps_policies_but_no_rights() {
    let case = Case::new().await;
    let session = case.database.connect().await;
    session.batch_execute(&case.sql("SET ROLE nobody")).await.unwrap();
    // Registered since.
    session.batch_execute("BEGIN; SELECT notify_json('other', '1')").await.unwrap();
    case.run("SELECT notify_json.create_channel('e')").await;
    let error = session.batch_execute("SELECT notify_json('e', '1')").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
    session.batch_execute("ROLLBACK").await.unwrap();
    // Dropped since.
    session.batch_execute("BEGIN; SELECT notify_json('other', '1')").await.unwrap();
    case.run("SELECT notify_json.drop_channel('e')").await;
    let error = session.batch_execute("SELECT notify_json('e', '1')").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "42501");
    assert_eq!(error.detail(), Some("It was dropped since this transaction began."));
    session.batch_execute("ROLLBACK; SELECT notify_json('e', '1')").await.unwrap();
}

#[tokio::test]
async fn the_owner_of_a_database_restores_channels_whose_ids_no_other_gets() {
    let case = Case::new().await;
    case.run("SELECT notify_json.create_channel('e'); DROP FUNCTION as_publisher").await;
    let channels = "SELECT string_agg(name || id, ' ' ORDER BY name) FROM notify_json.channel";
    let expected: String = case.value(channels).await;
    let restored = Server::shared().database().await;
    let client = restored.connect().await;
    let name = client.query_one("SELECT current_database()::text", &[]).await.unwrap();
    let hand_over = format!(
        "DROP EXTENSION notify_json; ALTER ROLE extension_owner LOGIN;
         ALTER DATABASE {} OWNER TO extension_owner",
        name.get::<_, &str>(0)
    );
    restored.execute(&case.sql(&hand_over)).await;
    let owner = case.sql("extension_owner");
    let dump = pg_dump(case.database.as_role(&owner).url());
    restored.as_role(&owner).execute(&dump).await;
    let row = client.query_one(channels, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), expected);
    client.batch_execute("SELECT notify_json.create_channel('f')").await.unwrap();
    let is_new = "SELECT 2 < id FROM notify_json.channel WHERE name = 'f'";
    assert!(client.query_one(is_new, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn what_a_dropped_role_had_is_nobodys_where_it_is_restored() {
    let case = Case::new().await;
    case.run(REVOKE_CREATE).await;
    case.run("DROP ROLE owner; DROP ROLE consumer").await;
    let dump = pg_dump(case.database.url());
    let restored = Server::shared().database().await;
    restored.execute("DROP EXTENSION notify_json").await;
    restored.execute(&dump).await;
    let client = restored.connect().await;
    let row = "SELECT (SELECT string_agg(concat_ws(' ', name, durable, owner), ',')
                       FROM notify_json.channel),
                      (SELECT string_agg(concat_ws(' ', channel, role), ',')
                       FROM notify_json.channel_right)";
    let row = client.query_one(row, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "d t -");
    assert_eq!(row.get::<_, String>(1), case.sql("d publisher"));
}
