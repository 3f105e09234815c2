//! What the objects of the extension allow whom. Rights on channels have tests of their own.

use notify_json_tests::{Database, Server};
use tokio_postgres::Client;

use super::{Reader, column, database, publish, run, value};

/// A role with nothing but CONNECT and USAGE on schema public, and a session of it.
async fn least(database: &Database) -> (String, Client) {
    let owner = database.connect().await;
    let name: String = value(&owner, "SELECT current_database()::text").await;
    let role = format!("least_{name}");
    let sql = format!(
        "CREATE ROLE {role} LOGIN;
         REVOKE ALL ON DATABASE {name} FROM PUBLIC;
         REVOKE ALL ON SCHEMA public FROM PUBLIC;
         GRANT CONNECT ON DATABASE {name} TO {role};
         GRANT USAGE ON SCHEMA public TO {role};"
    );
    run(&owner, &sql).await;
    let client = database.as_role(&role).connect().await;
    (role, client)
}

async fn denied(client: &Client, sql: &str) {
    let error = client.batch_execute(sql).await.expect_err(sql);
    assert_eq!(error.code().unwrap().code(), "42501", "{sql}: {error:?}");
}

/// What everybody may call: it checks rights on channels, or works with the caller's alone.
const FOR_EVERYBODY: &str = "ack ack_position alter_channel attend check_name check_publisher \
    check_watch claim create_trigger drop_channel drop_consumer fetch grant_consume grant_publish \
    is_one_statement leave may_consume may_publish missed prune read release renew replace_contract revoke_consume \
    revoke_publish row_changed running_since seek seek sees set_owner start start_after \
    trigger_condition unwatch watch";

#[tokio::test]
async fn the_least_of_roles_reaches_no_table() {
    let database = database().await;
    let (role, client) = least(&database).await;
    run(&client, "SELECT notify_json('live', '1')").await;
    for sql in [
        "SELECT notify_json('d', '1')",
        "SELECT notify_json.create_channel('mine')",
        "SELECT notify_json.attend('d')",
        "SELECT * FROM notify_json.fetch('c', 'd')",
        "SELECT * FROM notify_json_unchecked.fetch('c', 'd')",
        "SELECT * FROM notify_json.event",
        "INSERT INTO notify_json.event (slot, channel, payload) VALUES (0, 'd', '1')",
        "TABLE notify_json.unacked",
        "SELECT nextval('notify_json.event_id')",
    ] {
        denied(&client, sql).await;
    }
    for view in ["channels", "consumers", "channel_rights"] {
        let count = format!("SELECT count(*) FROM notify_json.{view}");
        assert_eq!(value::<i64>(&client, &count).await, 0, "{view}");
    }
    let owner = database.connect().await;
    let relations = format!(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'notify_json'::regnamespace
         AND relkind NOT IN ('i', 'I') AND (
             relkind <> 'S' AND has_table_privilege('{role}', oid,
                 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
             OR relkind = 'S' AND has_sequence_privilege('{role}', oid, 'SELECT, UPDATE, USAGE'))
         ORDER BY relname"
    );
    let views =
        ["channel_rights", "channels", "consumers", "contracts", "watch_trigger", "watched"];
    assert_eq!(column::<String>(&owner, &relations).await, views);
    let functions = format!(
        "SELECT proname::text FROM pg_proc WHERE has_function_privilege('{role}', oid, 'EXECUTE')
             AND pronamespace IN ('notify_json'::regnamespace, 'notify_json_unchecked'::regnamespace)
         ORDER BY proname COLLATE \"C\""
    );
    let expected: Vec<&str> = FOR_EVERYBODY.split_whitespace().collect();
    assert_eq!(column::<String>(&owner, &functions).await, expected);
}

#[tokio::test]
async fn what_a_function_names_was_found_when_it_was_created_or_on_its_own_path() {
    let client = database().await.connect().await;
    let loose = "SELECT format('%s', proc.oid::regprocedure) FROM pg_depend
                 JOIN pg_proc AS proc ON proc.oid = objid JOIN pg_language ON pg_language.oid = prolang
                 WHERE deptype = 'e' AND classid = 'pg_proc'::regclass
                     AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'notify_json')
                     AND (prosecdef OR lanname NOT IN ('c', 'internal')) AND prosqlbody IS NULL
                     AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)";
    assert_eq!(column::<String>(&client, loose).await, [] as [&str; 0]);
    let reachable = "SELECT format('%s', oid::regprocedure) FROM pg_proc
                     WHERE pronamespace = 'notify_json'::regnamespace AND prosecdef
                         AND proname NOT IN ('deny', 'running_since')";
    assert_eq!(column::<String>(&client, reachable).await, [] as [&str; 0]);
}

#[tokio::test]
async fn the_owner_of_a_database_needs_no_superuser() {
    let server = Server::shared();
    let database = server.database().await;
    let superuser = database.connect().await;
    let name: String = value(&superuser, "SELECT current_database()::text").await;
    let sql = format!(
        "DROP EXTENSION notify_json;
         CREATE ROLE owner_{name} LOGIN; ALTER DATABASE {name} OWNER TO owner_{name};
         GRANT ALL ON SCHEMA public TO owner_{name};
         CREATE ROLE reader_{name} LOGIN"
    );
    run(&superuser, &sql).await;
    let owner = database.as_role(&format!("owner_{name}")).connect().await;
    let sql = format!(
        "CREATE EXTENSION notify_json;
         SELECT notify_json.create_channel('d'), notify_json('d', '1');
         SELECT notify_json.alter_channel('d', retention => '1 day');
         SELECT notify_json.attend('d'); SELECT notify_json.leave('d');
         SELECT notify_json.fetch('c', 'd'); SELECT notify_json.ack('c', 'd', 1);
         SELECT notify_json.seek('c', 'd', 'latest'), notify_json.seek('c', 'd', now());
         SELECT notify_json.claim('c', 'd', '1 minute');
         SELECT notify_json.renew('c', 'd', 3, '1 minute'), notify_json.release('c', 'd', 3);
         SELECT notify_json.prune(); SELECT notify_json.drop_consumer('c', 'd');
         TABLE notify_json.channel; TABLE notify_json.event; TABLE notify_json.consumer;
         TABLE notify_json.holder; TABLE notify_json.consumers; TABLE notify_json.channels;
         TABLE notify_json.worker;
         INSERT INTO notify_json.channel (name, durable) VALUES ('e', true);
         DELETE FROM notify_json.channel WHERE name = 'e';
         SELECT notify_json.grant_consume('d', 'reader_{name}');"
    );
    // One transaction each: what is not committed cannot be fetched.
    for sql in sql.split_inclusive(';') {
        run(&owner, sql).await;
    }
    for sql in [
        "INSERT INTO notify_json.event (slot, channel, payload) VALUES (0, 'd', '1')",
        "DELETE FROM notify_json.consumer",
        "SELECT setval('notify_json.event_id', 1)",
    ] {
        denied(&owner, sql).await;
    }
    let reader = database.as_role(&format!("reader_{name}")).connect().await;
    let mut position = Reader::start(&reader, "earliest").await;
    assert_eq!(position.drain(&reader, 10).await, ["1"]);
    run(&reader, "TABLE notify_json.consumers").await;
    denied(&reader, "SELECT notify_json.alter_channel('d', retention => '1 hour')").await;
    denied(&reader, "TABLE notify_json.event").await;
}

#[tokio::test]
async fn creating_the_extension_runs_nothing_of_its_creator() {
    let database = Server::shared().database().await;
    let admin = database.connect().await;
    let name: String = value(&admin, "SELECT current_database()::text").await;
    let role = format!("creator_{name}");
    run(&admin, &format!("DROP EXTENSION notify_json; CREATE ROLE {role} LOGIN")).await;
    run(&admin, &format!("ALTER DATABASE {name} OWNER TO {role}")).await;
    let creator = database.as_role(&role).connect().await;
    let trap = "LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped in %', current_user; END $$";
    run(
        &creator,
        &format!(
            "CREATE SCHEMA s;
             CREATE FUNCTION s.pg_extension_config_dump(text, text) RETURNS void {trap};
             CREATE FUNCTION s.pg_extension_config_dump(regclass, text) RETURNS void {trap};
             CREATE FUNCTION s.nextval(text) RETURNS bigint {trap};
             CREATE FUNCTION s.format(text, integer) RETURNS text {trap};
             CREATE FUNCTION s.octet_length(text) RETURNS bigint {trap};
             CREATE FUNCTION s.greater(bigint, integer) RETURNS boolean {trap};
             CREATE OPERATOR s.> (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = s.greater);
             CREATE EXTENSION notify_json SCHEMA s;
             SELECT notify_json.create_channel('d');
             SELECT s.notify_json('d', '1')"
        ),
    )
    .await;
    let traps = "SELECT count(*) FROM pg_depend JOIN pg_proc ON pg_proc.oid = refobjid \
                 WHERE refclassid = 'pg_proc'::regclass AND proname IN ('nextval', 'greater') \
                 AND pronamespace = 's'::regnamespace AND classid <> 'pg_operator'::regclass";
    assert_eq!(value::<i64>(&admin, traps).await, 0);
    let ids: Vec<i64> = column(&creator, "SELECT id FROM notify_json.fetch('c', 'd')").await;
    assert_eq!(ids, [1]);
}

#[tokio::test]
async fn a_time_is_the_same_in_every_date_style() {
    let database = database().await;
    let client = database.connect().await;
    publish(&client, "1").await;
    let before: String =
        value(&client, "SELECT (published_at - interval '1 minute')::text FROM notify_json.event")
            .await;
    run(&client, "SET timezone = 'Asia/Kolkata'; SET datestyle = 'SQL, DMY'").await;
    run(&client, &format!("SELECT notify_json.seek('c', 'd', '{before}'::timestamptz)")).await;
    let ids: Vec<i64> = column(&client, "SELECT id FROM notify_json.fetch('c', 'd')").await;
    assert_eq!(ids, [1]);
}
