//! Names of every kind, and tables that are renamed, moved and dropped.

use notify_json_tests::next_message;

use super::Case;

#[tokio::test]
async fn a_renamed_or_moved_table_is_watched_on() {
    let mut case = Case::with(
        "CREATE TABLE t (id integer PRIMARY KEY); SELECT notify_json.watch('t', 'd');
         CREATE SCHEMA s; INSERT INTO t VALUES (1)",
    )
    .await;
    case.events().await;
    let event = |table: &str, id: i32| {
        format!(r#"{{"op":"insert","table":"{table}","key":{{"id":{id}}},"new":{{"id":{id}}}}}"#)
    };
    case.gives("ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (2)", &[&event("public.u", 2)])
        .await;
    case.gives("ALTER TABLE u SET SCHEMA s; INSERT INTO s.u VALUES (3)", &[&event("s.u", 3)]).await;
    let renamed = "ALTER SCHEMA s RENAME TO \"S\"; INSERT INTO \"S\".u VALUES (4)";
    case.gives(renamed, &[&event(r#"\"S\".u"#, 4)]).await;
    // Whoever changes the table decides nothing about its name.
    case.gives(
        "SET quote_all_identifiers = on; ALTER TABLE \"S\".u RENAME TO v;
         INSERT INTO \"S\".v VALUES (5)",
        &[&event(r#"\"S\".v"#, 5)],
    )
    .await;
}

#[tokio::test]
async fn a_dropped_table_leaves_nothing() {
    let case = Case::with(
        "CREATE TABLE t (id integer); SELECT notify_json.watch('t', 'd', columns => '{id}');
         DROP TABLE t",
    )
    .await;
    let left: i64 = case.value("SELECT count(*) FROM notify_json.watch_trigger").await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_is_rolled_back_was_never_watched() {
    let mut case = Case::with("CREATE TABLE t (id integer PRIMARY KEY)").await;
    let watched = "SELECT notify_json.watch('t', 'd'); INSERT INTO t VALUES (1)";
    case.gives(&format!("BEGIN; {watched}; ROLLBACK; INSERT INTO t VALUES (2)"), &[]).await;
    case.run(&format!("BEGIN; {watched}; COMMIT; SELECT notify_json.unwatch('t', 'd')")).await;
    assert_eq!(case.events().await.len(), 1);
    case.gives("INSERT INTO t VALUES (3)", &[]).await;
}

#[tokio::test]
async fn the_extension_is_not_dropped_from_under_a_table() {
    let case = Case::with("CREATE TABLE t (id integer); SELECT notify_json.watch('t', 'd')").await;
    let error = case.error("DROP EXTENSION notify_json").await;
    assert_eq!(error.code().code(), "2BP01");
    case.run("DROP EXTENSION notify_json CASCADE; INSERT INTO t VALUES (1)").await;
}

/// What breaks whatever is put together from text.
const HOSTILE: [&str; 6] = [
    r#"a'b"c\"#,
    "a\nb; DROP TABLE t --",
    "$$ $1 %I %s",
    " FOR EACH ROW WHEN (",
    ") EXECUTE FUNCTION notify_json.row_changed(",
    "ääääääääääääääääääääääääääääää_63",
];

#[tokio::test]
async fn hostile_names() {
    let case = Case::new().await;
    let listener = case.database.listener().await;
    for name in HOSTILE {
        let mut changes = listener.subscribe::<serde_json::Value>(name).await.unwrap();
        let names: Vec<String> = case
            .client
            .query_one("SELECT quote_ident($1), quote_literal($1)", &[&name])
            .await
            .map(|row| vec![row.get(0), row.get(1)])
            .unwrap();
        let (quoted, literal) = (&names[0], &names[1]);
        case.run(&format!(
            "CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.{quoted} ({quoted} text PRIMARY KEY)"
        ))
        .await;
        for per in ["row", "statement"] {
            let condition = match per {
                "row" => format!("NEW.{quoted} <> ''"),
                _ => String::new(),
            };
            case.client
                .execute(
                    "SELECT notify_json.watch(format('%1$I.%1$I', $1::text)::regclass, $1,
                        columns => ARRAY[$1], per => $2, condition => nullif($3, ''),
                        operations => '{insert,update,insert}')",
                    &[&name, &per, &condition],
                )
                .await
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
            case.run(&format!("INSERT INTO {quoted}.{quoted} VALUES ({literal})")).await;
            let change = next_message(&mut changes).await;
            let row = serde_json::json!({ name: name });
            let new = if per == "row" { &change["new"] } else { &change["rows"][0]["new"] };
            assert_eq!((new, &change["table"]), (&row, &format!("{quoted}.{quoted}").into()));
            let watched = case
                .client
                .query_one(
                    "SELECT channel, columns, condition, per,
                        \"table\" = format('%1$I.%1$I', $1::text)::regclass
                     FROM notify_json.watched",
                    &[&name],
                )
                .await
                .unwrap();
            assert_eq!(watched.get::<_, &str>(0), name);
            assert_eq!(watched.get::<_, Vec<String>>(1), [name]);
            let condition = (per == "row").then(|| format!("(new.{quoted} <> ''::text)"));
            assert_eq!(watched.get::<_, Option<String>>(2), condition);
            assert_eq!(watched.get::<_, &str>(3), per);
            assert!(watched.get::<_, bool>(4));
            case.run(&format!(
                "SELECT notify_json.unwatch('{}', {literal}); TRUNCATE {quoted}.{quoted}",
                format!("{quoted}.{quoted}").replace('\'', "''")
            ))
            .await;
        }
    }
}

#[tokio::test]
async fn the_view_is_the_same_whatever_is_set() {
    let case = Case::with(
        r#"CREATE TABLE "T""." ("A" integer); SELECT notify_json.watch('"T""."', 'a\b',
            operations => '{insert}', condition => 'NEW."A" > 0')"#,
    )
    .await;
    for setting in ["standard_conforming_strings = off", "quote_all_identifiers = on"] {
        case.run(&format!("SET {setting}")).await;
        let condition: String = case.value("SELECT condition FROM notify_json.watched").await;
        assert_eq!(condition, r#"(new."A" > 0)"#, "{setting}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let case = Case::with("CREATE TABLE t (id integer); CREATE VIEW v AS SELECT 1").await;
    for (arguments, code, message) in [
        ("NULL, 'd'", "42P01", "table to watch does not exist"),
        ("4711::oid, 'd'", "42P01", "table to watch does not exist"),
        ("'v', 'd'", "42809", "cannot watch public.v"),
        ("'t', ''", "22023", "bad name of a channel"),
        ("'t', NULL", "22023", "bad name of a channel"),
        ("'t', repeat('x', 64)", "22023", "bad name of a channel"),
        ("'t', 'd', operations => '{}'", "22023", "bad operations to watch"),
        ("'t', 'd', operations => '{insert,NULL}'", "22023", "bad operations to watch"),
        ("'t', 'd', operations => '{select}'", "22023", "bad operations to watch"),
        ("'t', 'd', per => 'day'", "22023", "bad value of per"),
        ("'t', 'd', columns => '{}'", "42703", "no columns to watch"),
        ("'t', 'd', columns => '{ID}'", "42703", "column \"ID\" of table public.t does not exist"),
        (
            "'t', 'd', columns => '{xmin}'",
            "42703",
            "column \"xmin\" of table public.t does not exist",
        ),
        ("'t', 'd', per => 'statement', condition => 'true'", "0A000", "a condition needs rows"),
        ("'t', 'd', condition => 'NEW.id > 0'", "42P17", "condition does not fit table public.t"),
        ("'t', 'd', condition => 'NEW.a > 0'", "42703", "condition does not fit table public.t"),
        (
            "'t', 'd', columns => '{id,NULL}'",
            "42703",
            "column NULL of table public.t does not exist",
        ),
        (
            "'t', 'd', operations => '{insert}', condition => '(SELECT true)'",
            "0A000",
            "condition does not fit table public.t",
        ),
        ("'t', 'd', condition => '('", "42601", "condition does not fit table public.t"),
        (
            "'t', 'd', condition => $$true) EXECUTE FUNCTION notify_json.row_changed('d', '');
                                    DROP TABLE t; SELECT (true$$",
            "42601",
            "condition does not fit table public.t",
        ),
    ] {
        case.fails(&format!("SELECT notify_json.watch({arguments})"), code, message).await;
    }
    case.run("SELECT notify_json.watch('t', 'd', per => 'statement')").await;
    let message = "public.t is already watched on channel \"d\"";
    case.fails("SELECT notify_json.watch('t', 'd')", "42710", message).await;
    let message = "public.t is not watched on channel \"e\"";
    case.fails("SELECT notify_json.unwatch('t', 'e')", "42704", message).await;
    case.fails("SELECT notify_json.unwatch(NULL)", "42704", "NULL is not watched").await;
    let left: i64 = case.value("SELECT count(*) FROM notify_json.watched").await;
    assert_eq!(left, 1);
}
