//! Who may watch, and with whose rights.

use super::Case;

#[tokio::test]
async fn the_owner_watches_and_whoever_writes_needs_no_right() {
    let mut case = Case::new().await;
    let name: String = case.value("SELECT current_database()::text").await;
    let (owner, writer) = (format!("owner_{name}"), format!("writer_{name}"));
    case.run(&format!(
        "CREATE ROLE {owner} LOGIN; CREATE ROLE {writer} LOGIN;
         GRANT CREATE ON SCHEMA public TO {owner};
         SELECT notify_json.grant_publish('d', '{owner}')"
    ))
    .await;
    let owners = case.database.as_role(&owner);
    owners
        .execute(&format!(
            "CREATE TABLE t (id integer PRIMARY KEY, secret text);
             ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
             CREATE POLICY p ON t FOR INSERT WITH CHECK (true);
             GRANT INSERT ON t TO {writer};
             SELECT notify_json.watch('t', 'd', columns => '{{id}}')"
        ))
        .await;
    case.database.as_role(&writer).execute("INSERT INTO t VALUES (1, 'hidden')").await;
    let events = case.events().await;
    assert_eq!(events, [r#"{"op":"insert","table":"public.t","key":{"id":1},"new":{"id":1}}"#]);
    case.run(&format!("SET ROLE {owner}")).await;
    case.run("SELECT notify_json.watch('t', 'e'); SELECT notify_json.unwatch('t')").await;
}

#[tokio::test]
async fn whoever_does_not_own_the_table_is_told_so() {
    let case = Case::with("CREATE TABLE t (id integer)").await;
    let name: String = case.value("SELECT current_database()::text").await;
    let role = format!("other_{name}");
    case.run(&format!(
        "CREATE ROLE {role}; GRANT ALL ON t TO {role};
         SELECT notify_json.grant_publish('d', '{role}'); SET ROLE {role}"
    ))
    .await;
    let message = "must be owner of table public.t";
    case.fails("SELECT notify_json.watch('t', 'd')", "42501", message).await;
}

/// A table of a role that may publish on `d`, and a role that may only change it and make triggers.
async fn with_trigger_maker() -> (Case, String, String) {
    let case = Case::new().await;
    let name: String = case.value("SELECT current_database()::text").await;
    let (owner, maker) = (format!("own_{name}"), format!("maker_{name}"));
    case.run(&format!(
        "CREATE ROLE {owner}; CREATE ROLE {maker};
         CREATE TABLE t (id integer PRIMARY KEY, secret text); ALTER TABLE t OWNER TO {owner};
         GRANT INSERT, TRIGGER ON t TO {maker}; SELECT notify_json.grant_publish('d', '{owner}')"
    ))
    .await;
    (case, owner, maker)
}

const DENIED: &str = "permission denied to publish on channel \"d\"";

#[tokio::test]
async fn the_privilege_trigger_alone_publishes_nothing_in_the_owners_name() {
    let (mut case, owner, maker) = with_trigger_maker().await;
    let forge = "CREATE TRIGGER f AFTER INSERT ON t FOR EACH ROW
                 EXECUTE FUNCTION notify_json.row_changed('d', '')";
    case.run(&format!("SET ROLE {maker}; {forge}")).await;
    case.fails("INSERT INTO t VALUES (1)", "42501", DENIED).await;
    let comment = case.client.batch_execute("COMMENT ON TRIGGER f ON t IS 'mine'").await;
    assert_eq!(comment.expect_err("it is the owner's").code().unwrap().code(), "42501");
    case.run(&format!("SET ROLE {owner}; DROP TRIGGER f ON t")).await;
    // Nor does one that the owner has made, once it was replaced by one for another channel.
    case.run("SELECT notify_json.watch('t', 'live')").await;
    let replace = "DO $$ BEGIN EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER INSERT ON t
                   FOR EACH ROW EXECUTE FUNCTION notify_json.row_changed(%L, %L)',
                   (SELECT name FROM notify_json.watch_trigger WHERE name LIKE '%row'), 'd', '');
                   END $$";
    case.run(&format!("SET ROLE {maker}; {replace}")).await;
    case.fails("INSERT INTO t VALUES (1)", "42501", DENIED).await;
    case.run("RESET ROLE").await;
    assert_eq!(case.events().await, [] as [&str; 0]);
}

#[tokio::test]
async fn the_privilege_trigger_alone_adds_no_column_to_the_owners_events() {
    let (mut case, owner, maker) = with_trigger_maker().await;
    case.run(&format!(
        "SET ROLE {owner}; SELECT notify_json.watch('t', 'd', columns => '{{id}}');
         SET ROLE {maker};
         CREATE TRIGGER add AFTER UPDATE OF secret ON t FOR EACH STATEMENT WHEN (false)
             EXECUTE FUNCTION notify_json.row_changed('d', 'columns');
         INSERT INTO t VALUES (1, 'hidden'); RESET ROLE"
    ))
    .await;
    let events = case.events().await;
    assert_eq!(events, [r#"{"op":"insert","table":"public.t","key":{"id":1},"new":{"id":1}}"#]);
    let columns = "SELECT columns FROM notify_json.watched";
    assert_eq!(case.value::<Vec<String>>(columns).await, ["id"]);
}

#[tokio::test]
async fn without_the_owners_right_the_change_fails() {
    let (mut case, owner, maker) = with_trigger_maker().await;
    case.run(&format!("SET ROLE {owner}; SELECT notify_json.watch('t', 'd')")).await;
    let event = r#"{"op":"insert","table":"public.t","key":{"id":1},"new":{"id":1,"secret":null}}"#;
    case.run(&format!("SET ROLE {maker}; INSERT INTO t VALUES (1); RESET ROLE")).await;
    assert_eq!(case.events().await, [event]);
    case.run(&format!("SELECT notify_json.revoke_publish('d', '{owner}'); SET ROLE {maker}")).await;
    let error = case.error("INSERT INTO t VALUES (2)").await;
    assert_eq!(error.code().code(), "42501");
    let hint = format!("SELECT notify_json.grant_publish('d', '{owner}')");
    assert!(error.hint().unwrap().contains(&hint), "{error:?}");
    case.run(&format!("SET ROLE {owner}; SELECT notify_json.unwatch('t')")).await;
    case.fails("SELECT notify_json.watch('t', 'd')", "42501", DENIED).await;
    // Who may publish himself cannot let the table of somebody who may not.
    case.run("RESET ROLE").await;
    case.fails("SELECT notify_json.watch('t', 'd')", "42501", DENIED).await;
    case.run(&format!(
        "ALTER TABLE t OWNER TO postgres; SELECT notify_json.watch('t', 'd');
                       SET ROLE {maker}; INSERT INTO t VALUES (3); RESET ROLE"
    ))
    .await;
    assert_eq!(case.events().await.len(), 1, "in the name of the new owner");
}

#[tokio::test]
async fn a_partition_publishes_in_the_name_of_the_tables_owner() {
    let (mut case, owner, maker) = with_trigger_maker().await;
    case.run(&format!(
        "CREATE TABLE p (id integer) PARTITION BY LIST (id); ALTER TABLE p OWNER TO {owner};
         SELECT notify_json.watch('p', 'd');
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); GRANT INSERT ON p, p1 TO {maker};
         SET ROLE {maker}; INSERT INTO p VALUES (1); INSERT INTO p1 VALUES (1); RESET ROLE"
    ))
    .await;
    assert_eq!(case.events().await.len(), 2);
}

#[tokio::test]
async fn a_hostile_path_captures_nothing() {
    let mut case = Case::new().await;
    case.run(
        "CREATE SCHEMA trap;
         CREATE FUNCTION trap.raise(anyelement, anyelement) RETURNS boolean LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'trapped'; END $$;
         CREATE FUNCTION trap.raise(name, name) RETURNS boolean LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'trapped'; END $$;
         CREATE FUNCTION trap.raise(oid, oid) RETURNS boolean LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'trapped'; END $$;
         CREATE FUNCTION trap.raise(text, text) RETURNS boolean LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'trapped'; END $$;
         CREATE OPERATOR trap.= (LEFTARG = name, RIGHTARG = name, FUNCTION = trap.raise);
         CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.raise);
         CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.raise);
         CREATE OPERATOR trap.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.raise);
         CREATE FUNCTION trap.md5(text) RETURNS text LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'trapped'; END $$;
         CREATE FUNCTION trap.to_json(integer) RETURNS json LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'trapped'; END $$;
         CREATE TABLE public.t (id integer PRIMARY KEY, a integer[]);
         SET search_path = trap, pg_catalog, public;
         SELECT notify_json.watch('t', 'd', columns => '{id,a}', operations => '{insert}',
            condition => 'NEW.id = 1');
         SELECT * FROM notify_json.watched",
    )
    .await;
    case.run("INSERT INTO t VALUES (1, '{1,2}'); RESET search_path").await;
    let events = case.events().await;
    assert_eq!(
        events,
        [r#"{"op":"insert","table":"public.t","key":{"id":1},"new":{"id":1,"a":[1,2]}}"#]
    );
}

#[tokio::test]
async fn triggers_made_by_hand_are_refused_when_they_fire() {
    let case = Case::with("CREATE TABLE t (id integer)").await;
    let message = "row_changed() was called by what is no trigger of watch()";
    for trigger in [
        "BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION notify_json.row_changed('d', '')",
        "AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION notify_json.row_changed('d')",
        "AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION notify_json.row_changed('d', '')",
    ] {
        case.run(&format!("CREATE TRIGGER by_hand {trigger}")).await;
        case.fails("INSERT INTO t VALUES (1)", "39P01", message).await;
        case.run("DROP TRIGGER by_hand ON t").await;
    }
    case.fails("SELECT notify_json.row_changed()", "39P01", message).await;
}
