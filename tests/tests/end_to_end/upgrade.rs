//! `ALTER EXTENSION notify_json UPDATE` from each released version ends where `CREATE EXTENSION` does.

use notify_json_tests::{Database, Server, project};
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::durable::{pid, until_blocked};

/// Every version ever released, with the SHA-256 of its script, which never changes again.
const RELEASED: [(&str, &str); 1] =
    [("0.1.0", "271e172cca2f3b85738acf66f3f859677eba8273efc63659a115756aac46a924")];

/// All that the extension has in a database, one line each.
const OBJECTS: &str = "
WITH member AS (
    SELECT classid, objid, objsubid, objid AS oid FROM pg_depend
    WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
        AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'notify_json')
), relation AS (
    SELECT * FROM pg_class
    WHERE relnamespace IN ('notify_json'::regnamespace, 'notify_json_unchecked'::regnamespace)
), line AS (
    SELECT format('%s: member, comment %L, acl at creation %s',
        pg_describe_object(classid, objid, objsubid),
        obj_description(objid, classid::regclass::name),
        (SELECT array_agg(acl::text ORDER BY acl::text) FROM pg_init_privs AS i
            CROSS JOIN unnest(initprivs) AS acl
            WHERE i.objoid = objid AND i.classoid = classid AND i.objsubid = 0))
    FROM member
    UNION ALL
    SELECT format('%s, owner %s, acl %s', pg_get_functiondef(oid), proowner::regrole,
        (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(proacl) AS acl))
    FROM pg_proc WHERE oid IN (SELECT oid FROM member WHERE classid = 'pg_proc'::regclass)
    UNION ALL
    SELECT format('schema %s, owner %s, acl %s', nspname, nspowner::regrole,
        (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(nspacl) AS acl))
    FROM pg_namespace WHERE nspname IN ('notify_json', 'notify_json_unchecked')
    UNION ALL
    SELECT format('relation %s, kind %s, owner %s, options %s, row security %s, bound %s, acl %s',
        relname, relkind, relowner::regrole, reloptions, relrowsecurity,
        pg_get_expr(relpartbound, oid),
        (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(relacl) AS acl))
    FROM relation
    UNION ALL
    SELECT format('column %s.%s of %s: %s, not null %s, collation %s, storage %s%s, default %s, comment %L',
        attname, attnum, relname, format_type(atttypid, atttypmod), attnotnull, attcollation,
        attstorage, attcompression, pg_get_expr(adbin, adrelid),
        col_description(relation.oid, attnum))
    FROM relation JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    UNION ALL
    SELECT format('index %s', pg_get_indexdef(oid)) FROM relation WHERE relkind IN ('i', 'I')
    UNION ALL
    SELECT format('view %s: %s', relname, pg_get_viewdef(oid)) FROM relation WHERE relkind = 'v'
    UNION ALL
    SELECT format('constraint %s of %s: %s', conname, conrelid::regclass, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'notify_json'::regnamespace
    UNION ALL
    SELECT format('trigger, enabled %s: %s', tgenabled, pg_get_triggerdef(pg_trigger.oid))
    FROM pg_trigger JOIN relation ON relation.oid = tgrelid WHERE NOT tgisinternal
    UNION ALL
    SELECT format('dumped: %s %L', table_of.oid::regclass, condition)
    FROM pg_extension CROSS JOIN unnest(extconfig, extcondition) AS table_of(oid, condition)
    WHERE extname = 'notify_json'
    UNION ALL
    SELECT format('the extension: owner %s, schema %s, version %s',
        extowner::regrole, extnamespace::regnamespace, extversion)
    FROM pg_extension WHERE extname = 'notify_json'
)
SELECT format FROM line ORDER BY format";

async fn objects(client: &Client) -> Vec<String> {
    client.query(OBJECTS, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// A new database without the extension, whose owner is no superuser.
async fn database(role: &str) -> Database {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    let name: String =
        client.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    let prepare = format!(
        "DROP EXTENSION notify_json;
         DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         ALTER DATABASE {name} OWNER TO {role}; GRANT ALL ON SCHEMA public TO {role}"
    );
    client.batch_execute(&prepare).await.unwrap();
    database.as_role(role)
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// What a consumer has not acknowledged yet, window by window.
async fn drain(client: &Client, consumer: &str) -> Vec<String> {
    let mut payloads = Vec::new();
    loop {
        let fetch = "SELECT id, payload::text FROM notify_json.fetch($1, 'orders')";
        let rows = client.query(fetch, &[&consumer]).await.unwrap();
        let Some(last) = rows.last() else { return payloads };
        payloads.extend(rows.iter().map(|row| row.get::<_, String>(1)));
        let ack = "SELECT notify_json.ack($1, 'orders', $2)";
        client.query(ack, &[&consumer, &last.get::<_, i64>(0)]).await.unwrap();
    }
}

#[test]
fn released_scripts_never_change() {
    for (version, expected) in RELEASED {
        let path = project().join(format!("sql/notify_json--{version}.sql"));
        let digest = Sha256::digest(std::fs::read(&path).unwrap());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, expected, "{} is released: write an upgrade script", path.display());
    }
}

#[tokio::test]
async fn an_updated_extension_equals_a_fresh_one() {
    for (version, _) in RELEASED {
        let fresh = database("upgrader").await.connect().await;
        run(&fresh, "CREATE EXTENSION notify_json").await;
        let updated = database("upgrader").await.connect().await;
        run(&updated, &format!("CREATE EXTENSION notify_json VERSION '{version}'")).await;
        run(&updated, LIVE_DATA).await;
        run(&updated, "ALTER EXTENSION notify_json UPDATE").await;
        let (fresh, updated) = (objects(&fresh).await, objects(&updated).await);
        let missing: Vec<_> = fresh.iter().filter(|line| !updated.contains(line)).collect();
        let surplus: Vec<_> = updated.iter().filter(|line| !fresh.contains(line)).collect();
        assert!(missing.is_empty() && surplus.is_empty(), "{missing:#?}\n{surplus:#?}");
    }
}

const LIVE_DATA: &str = "
    SELECT notify_json.create_channel('orders', retention => '30 days');
    SELECT notify_json('orders', '1'), notify_json('orders', '2');
    CREATE TABLE parcel (id bigint PRIMARY KEY, state text, pin text);
    SELECT notify_json.watch('parcel', 'orders', columns => '{id,state}');";

#[tokio::test]
async fn an_update_loses_nothing_while_sessions_publish_and_consume() {
    for (version, _) in RELEASED {
        let database = database("live_upgrader").await;
        let owner = database.connect().await;
        run(&owner, &format!("CREATE EXTENSION notify_json VERSION '{version}'")).await;
        run(&owner, LIVE_DATA).await;
        let publisher = database.connect().await;
        // The new library serves the old version too, as it must between its installation and this.
        run(&publisher, "SELECT notify_json('orders', '3')").await;
        assert_eq!(drain(&owner, "billing").await, ["1", "2", "3"]);
        run(&publisher, "SELECT notify_json('orders', '3.5')").await;
        // It waits for transactions that publish and consume, and holds up neither them nor others.
        let consumer = database.connect().await;
        let fetch = "SELECT max(id) FROM notify_json.fetch('billing', 'orders')";
        run(&publisher, "BEGIN; SELECT notify_json('orders', '4')").await;
        run(&consumer, &format!("BEGIN; {fetch}")).await;
        let updater = database.connect().await;
        let pid = pid(&updater).await;
        let update = tokio::spawn(async move {
            run(&updater, "ALTER EXTENSION notify_json UPDATE").await;
        });
        until_blocked(&owner, pid).await;
        let other = database.connect().await;
        run(&other, "SET statement_timeout = '10s'; SELECT notify_json('orders', '4.5')").await;
        run(&publisher, "SELECT notify_json('orders', '5')").await;
        let last = consumer.query_one(fetch, &[]).await.unwrap().get::<_, i64>(0);
        let ack = format!("SELECT notify_json.ack('billing', 'orders', {last}); {fetch}; COMMIT");
        run(&consumer, &ack).await;
        run(&publisher, "COMMIT").await;
        update.await.unwrap();
        run(&publisher, "INSERT INTO parcel VALUES (1, 'packed', '0815')").await;
        let rest = drain(&owner, "billing").await;
        assert_eq!(rest[..3], ["4.5", "4", "5"]);
        let change: serde_json::Value = serde_json::from_str(&rest[3]).unwrap();
        assert_eq!(change["new"], serde_json::json!({"id": 1, "state": "packed"}));
        assert_eq!(rest.len(), 4);
        // A channel of the old version, too, is another one once it is created again.
        run(&publisher, "BEGIN; SELECT notify_json('orders', '6')").await;
        let again =
            "SELECT notify_json.drop_channel('orders'), notify_json.create_channel('orders')";
        run(&owner, again).await;
        run(&publisher, "COMMIT; SELECT notify_json('orders', '7')").await;
        assert_eq!(drain(&owner, "billing").await, ["7"]);
    }
}

#[tokio::test]
async fn an_update_lets_those_go_on_who_could_before() {
    let database = database("rights_upgrader").await;
    let owner = database.connect().await;
    run(&owner, "CREATE EXTENSION notify_json VERSION '0.1.0'").await;
    run(&owner, LIVE_DATA).await;
    let names = ["upgraded_reader", "upgraded_fetcher", "upgraded_creator", "upgraded_other"];
    for name in names {
        let role = format!("CREATE ROLE {name} LOGIN; GRANT INSERT ON parcel TO {name}");
        Database::at(database.url().replace("rights_upgrader@", "postgres@")).execute(&role).await;
    }
    let grants = "GRANT USAGE ON SCHEMA notify_json TO PUBLIC;
                  GRANT EXECUTE ON FUNCTION notify_json.start, notify_json.read TO upgraded_reader;
                  GRANT EXECUTE ON FUNCTION notify_json.fetch TO upgraded_fetcher;
                  GRANT EXECUTE ON FUNCTION notify_json.create_channel TO upgraded_creator";
    run(&owner, grants).await;
    run(&owner, "ALTER EXTENSION notify_json UPDATE").await;
    let rights = "SELECT concat_ws(' ', channel, role, is_owner, publish, consume)
                  FROM notify_json.channel_rights ORDER BY 1";
    let rows = owner.query(rights, &[]).await.unwrap();
    let rights: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let expected = [
        "orders public f t f",
        "orders rights_upgrader t t t",
        "orders upgraded_fetcher f f t",
        "orders upgraded_reader f f t",
    ];
    assert_eq!(rights, expected);
    for (name, key) in names.into_iter().zip(1..) {
        let client = Database::at(database.url().replace("rights_upgrader@", &format!("{name}@")));
        let client = client.connect().await;
        run(&client, "SELECT notify_json('orders', '0')").await;
        run(&client, &format!("INSERT INTO parcel VALUES ({key})")).await;
        let reads = client.batch_execute("SELECT notify_json.fetch('c', 'orders')").await;
        assert_eq!(reads.is_ok(), key <= 2, "{name}: {reads:?}");
        let creates = client.batch_execute("SELECT notify_json.create_channel('new')").await;
        assert_eq!(creates.is_ok(), key == 3, "{name}: {creates:?}");
    }
    run(&owner, "SELECT notify_json.revoke_publish('orders', 'public')").await;
    // Now in the name of the table's owner, whose triggers the update has signed.
    let other = Database::at(database.url().replace("rights_upgrader@", "upgraded_other@"));
    let other = other.connect().await;
    run(&other, "INSERT INTO parcel VALUES (7)").await;
    let error = other.batch_execute("SELECT notify_json('orders', '0')").await;
    assert_eq!(error.expect_err("it was revoked").code().unwrap().code(), "42501");
}
