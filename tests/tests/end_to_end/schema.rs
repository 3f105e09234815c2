//! The SQL that `CREATE EXTENSION` runs is the one the extension's code generates.

use notify_json_tests::{Server, schema};

#[tokio::test]
async fn the_generated_sql_is_current() {
    Server::shared().database().await;
    let generated = schema::generate();
    let kept = std::fs::read_to_string(schema::path()).unwrap();
    assert!(kept == generated, "run `make sql` and commit what it writes");
}

#[tokio::test]
async fn every_object_has_a_comment() {
    let client = Server::shared().database().await.connect().await;
    let rows = client
        .query(
            "SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
             WHERE deptype = 'e' AND refobjid =
                   (SELECT oid FROM pg_extension WHERE extname = 'notify_json')
               AND obj_description(objid, classid::regclass::name) IS NULL",
            &[],
        )
        .await
        .unwrap();
    let silent: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
