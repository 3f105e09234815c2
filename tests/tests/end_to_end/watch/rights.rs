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
         GRANT USAGE ON SCHEMA notify_json TO {owner};
         GRANT SELECT ON notify_json.watch_trigger TO {owner};
         GRANT EXECUTE ON FUNCTION notify_json.watch, notify_json.unwatch, notify_json.row_changed,
            notify_json.check_name, notify_json.check_watch, notify_json.create_trigger TO {owner}"
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
        "CREATE ROLE {role}; GRANT ALL ON t TO {role}; GRANT USAGE ON SCHEMA notify_json TO {role};
         GRANT ALL ON ALL FUNCTIONS IN SCHEMA notify_json TO {role}; SET ROLE {role}"
    ))
    .await;
    let message = "must be owner of table public.t";
    case.fails("SELECT notify_json.watch('t', 'd')", "42501", message).await;
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
