//! A caller with traps first in its search path: operators, functions, casts and types of the names
//! that the extension uses. Nothing runs them with another's rights.

use super::Case;

/// Shadows in schema `trap` what could be looked up there, and says so if any of it runs.
const TRAPS: &str = "
    CREATE SCHEMA trap AUTHORIZATION consumer;
    CREATE TABLE trap.sprung (what text);
    GRANT ALL ON trap.sprung TO PUBLIC;
    DO $do$
    DECLARE
        found record;
    BEGIN
        -- Every built-in function and operator of plain types that SQL of the extension could name.
        FOR found IN
            SELECT DISTINCT ON (proname, proargtypes) proname,
                array_to_string(ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes) AS t), ', ')
                    AS arguments, format_type(prorettype, NULL) AS result, proretset
            FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f'
                AND provariadic = 0 AND prorettype NOT IN ('internal'::regtype, 'cstring'::regtype,
                    'trigger'::regtype, 'event_trigger'::regtype)
                AND EXISTS (SELECT FROM pg_proc AS used WHERE
                    used.pronamespace IN ('notify_json'::regnamespace, 'notify_json_unchecked'::regnamespace)
                    AND strpos(used.prosrc, pg_proc.proname || '(') > 0)
                AND NOT proargtypes::oid[] && (SELECT array_agg(oid) FROM pg_type WHERE typtype = 'p')
        LOOP
            EXECUTE format('CREATE FUNCTION trap.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS %L',
                found.proname, found.arguments, CASE WHEN found.proretset THEN 'SETOF' ELSE '' END,
                found.result, format('BEGIN RAISE EXCEPTION %L; END', 'sprung by ' || found.proname));
        END LOOP;
        FOR found IN
            SELECT oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result
            FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b'
                AND oprname IN ('=', '<>', '<', '>', '<=', '>=', '||', '+', '-', '*', '/', '~', '!~', '&')
                AND oprleft IN ('text'::regtype, 'bigint'::regtype, 'integer'::regtype, 'name'::regtype,
                    'oid'::regtype, 'timestamptz'::regtype, 'interval'::regtype, 'boolean'::regtype,
                    'xid8'::regtype, 'smallint'::regtype, 'char'::regtype)
                AND oprcode <> 0
        LOOP
            EXECUTE format('CREATE FUNCTION trap.%I(l %s, r %s) RETURNS %s LANGUAGE plpgsql AS %L',
                'op' || md5(found::text), found.l, found.r, found.result,
                format('BEGIN RAISE EXCEPTION %L; END', 'sprung by ' || found.oprname));
            EXECUTE format('CREATE OPERATOR trap.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = trap.%I)',
                found.oprname, found.l, found.r, 'op' || md5(found::text));
        END LOOP;
        EXECUTE 'CREATE DOMAIN trap.text AS pg_catalog.text CHECK (false)';
        EXECUTE 'CREATE DOMAIN trap.bigint AS pg_catalog.int8 CHECK (false)';
        EXECUTE 'CREATE DOMAIN trap.regrole AS pg_catalog.regrole CHECK (false)';
        EXECUTE 'CREATE TABLE trap.pg_roles (oid oid, rolname name)';
        EXECUTE 'CREATE TABLE trap.pg_class (oid oid)';
        EXECUTE 'CREATE TABLE trap.pg_trigger (oid oid)';
    END $do$;
    GRANT USAGE ON SCHEMA trap TO PUBLIC;";

/// Every function that everybody may call, and those of the owner.
const CALLS: [&str; 36] = [
    "SELECT notify_json.create_channel('trapped')",
    "SELECT notify_json.grant_publish('trapped', 'public')",
    "SELECT notify_json.revoke_publish('trapped', 'public')",
    "SELECT notify_json.grant_consume('trapped', 'public')",
    "SELECT notify_json.revoke_consume('trapped', 'public')",
    "SELECT notify_json.alter_channel('trapped', retention => '1 day')",
    "SELECT public.notify_json('trapped', '1'::pg_catalog.text)",
    "SELECT public.notify_json('trapped', '2'::pg_catalog.json)",
    "SELECT public.notify_json('trapped', '3'::pg_catalog.jsonb)",
    "SELECT notify_json.may_publish('trapped')",
    "SELECT notify_json.may_consume('trapped')",
    "SELECT notify_json.attend('trapped')",
    "SELECT notify_json.leave('trapped')",
    "SELECT * FROM notify_json.fetch('c', 'trapped', 1)",
    "SELECT notify_json.ack('c', 'trapped', (SELECT f.id FROM notify_json.fetch('c', 'trapped') AS f LIMIT 1))",
    "SELECT notify_json.seek('c', 'trapped', 'earliest')",
    "SELECT notify_json.seek('c', 'trapped', pg_catalog.clock_timestamp())",
    "SELECT * FROM notify_json.claim('h', 'trapped', '1 minute')",
    "SELECT notify_json.renew('i', 'trapped', held.epoch, '1 minute')
     FROM notify_json.claim('i', 'trapped', '1 minute') AS held",
    "SELECT notify_json.ack_position('j', 'trapped', held.epoch, '3:3:;0;3:3:;0;0', 1, 0)
     FROM notify_json.claim('j', 'trapped', '1 minute') AS held",
    "SELECT notify_json.release('k', 'trapped', held.epoch)
     FROM notify_json.claim('k', 'trapped', '1 minute') AS held",
    "SELECT * FROM notify_json.start('trapped', 'latest')",
    "SELECT * FROM notify_json.start('trapped', '2020-01-01')",
    "SELECT * FROM notify_json.start_after('trapped', 0)",
    "SELECT * FROM notify_json.read('trapped', '3:3:;0;3:3:;0;0', 0, 10, 1000, 1000)",
    "SELECT * FROM notify_json.missed('trapped', '3:3:;0;3:3:;0;0', 0, NULL)",
    "SELECT notify_json.prune()",
    "SELECT notify_json.running_since()",
    "TABLE notify_json.channels",
    "TABLE notify_json.consumers",
    "TABLE notify_json.channel_rights",
    "CREATE TEMP TABLE own (id pg_catalog.int4); SELECT notify_json.watch('pg_temp.own', 'trapped'); \
     INSERT INTO own VALUES (1); TABLE notify_json.watched; SELECT notify_json.unwatch('pg_temp.own')",
    "SELECT notify_json.set_owner('trapped', current_user)",
    "SELECT notify_json.drop_consumer('c', 'trapped')",
    "SELECT notify_json.drop_channel('trapped')",
    "TABLE notify_json.watch_trigger",
];

#[tokio::test]
async fn no_trap_of_the_caller_is_sprung() {
    let case = Case::new().await;
    case.run(TRAPS).await;
    let traps: i64 =
        case.value("SELECT count(*) FROM pg_proc WHERE pronamespace = 'trap'::regnamespace").await;
    assert!(traps > 200, "{traps}");
    for role in ["extension_owner", "owner"] {
        // A session of its own, whose caches the traps have before anything else.
        let client = case.database.connect().await;
        let prepare = format!("SET ROLE {role}; SET search_path = trap, pg_catalog, public");
        client.batch_execute(&case.sql(&prepare)).await.unwrap();
        let sprung = client.batch_execute("SELECT 1::pg_catalog.int8 = 1").await;
        assert!(sprung.is_err_and(|error| error.to_string().len() > 1), "they work");
        for sql in CALLS {
            client
                .batch_execute(sql)
                .await
                .unwrap_or_else(|error| panic!("{role}: {sql}: {error:?}"));
        }
    }
}

#[tokio::test]
async fn names_break_nothing() {
    let case = Case::new().await;
    for name in [r#"a'b"c\"#, "$$ $1 %I %s", "a\nb; DROP TABLE notify_json.event --", "d'); --"] {
        let calls = [
            "SELECT notify_json.create_channel($1)",
            "SELECT notify_json.grant_publish($1, 'public')",
            "SELECT notify_json($1, '1'::text)",
            "SELECT count(*) FROM notify_json.fetch($1, $1)",
            "SELECT notify_json.ack($1, $1, max(id)) FROM notify_json.fetch($1, $1)",
            "SELECT notify_json.seek($1, $1, 'earliest')",
            "SELECT count(*) FROM notify_json.consumers WHERE channel = $1 AND consumer = $1",
            "SELECT notify_json.drop_consumer($1, $1)",
            "SELECT notify_json.drop_channel($1)",
        ];
        for sql in calls {
            let rows = case.admin.query(sql, &[&name]).await;
            let rows = rows.unwrap_or_else(|error| panic!("{name}: {sql}: {error:?}"));
            if sql.contains("count(*)") {
                assert_eq!(rows[0].get::<_, i64>(0), 1, "{name}: {sql}");
            }
        }
    }
    assert_eq!(case.events().await, 2, "as they were");
}
