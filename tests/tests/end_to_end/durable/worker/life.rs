//! What happens to a database and its extension, the worker lives through or gives way to.

use super::*;
use crate::durable::column;

async fn rings(database: &Database, client: &Client) {
    let worker = until_served(database).await;
    let mut ear = Ear::on(database, &["d"]).await;
    publish(client, "1").await;
    assert_eq!(ear.hear_d().await, worker);
}

#[tokio::test]
async fn the_extension_comes_and_goes() {
    let server = server(&[]);
    let database = served(&server).await;
    let client = database.connect().await;
    let worker = until_served(&database).await;
    for _ in 0..3 {
        rings(&database, &client).await;
        run(&client, "DROP EXTENSION notify_json").await;
        run(&client, "CREATE EXTENSION notify_json").await;
        run(&client, "SELECT notify_json.create_channel('d')").await;
    }
    rings(&database, &client).await;
    assert_eq!(until_served(&database).await, worker, "one for all that time");
}

#[tokio::test]
async fn a_database_without_the_extension_has_a_worker_that_waits_for_it() {
    let server = server(&[]);
    serve(&server, &["postgres"]).await;
    let database = Database::at(server.url("postgres"));
    let client = database.connect().await;
    let serving = "SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'idle'
                   AND backend_type = 'notify_json doorbell' AND datname = 'postgres'
                   AND query = 'waiting for commits' AND application_name = 'notify_json'";
    until(&client, serving).await;
    run(&client, "CREATE EXTENSION notify_json").await;
    run(&client, "SELECT notify_json.create_channel('d')").await;
    rings(&database, &client).await;
    let log = server.log();
    assert!(!log.contains("WARNING") && !log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn a_worker_that_is_terminated_comes_back() {
    let server = server(&[]);
    let database = served(&server).await;
    let client = database.connect().await;
    for _ in 0..2 {
        let before = until_served(&database).await;
        run(&client, &format!("SELECT pg_terminate_backend({before})")).await;
        until_some(&client, &format!("SELECT pid <> {before} FROM ({OWN}) AS w")).await;
        rings(&database, &client).await;
    }
}

#[tokio::test]
async fn a_launcher_that_is_terminated_comes_back_and_the_worker_stays() {
    let server = server(&[]);
    let database = served(&server).await;
    let client = database.connect().await;
    let worker = until_served(&database).await;
    let launcher = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'notify_json launcher'";
    let before: i32 = value(&client, launcher).await;
    run(&client, &format!("SELECT pg_terminate_backend({before})")).await;
    until_some(&client, &format!("SELECT pid <> {before} FROM ({launcher}) AS l")).await;
    rings(&database, &client).await;
    assert_eq!(until_served(&database).await, worker);
    run(&client, &format!("SELECT pg_terminate_backend({worker})")).await;
    until_some(&client, &format!("SELECT pid <> {worker} FROM ({OWN}) AS w")).await;
    rings(&database, &client).await;
}

#[tokio::test]
async fn there_is_nothing_to_cancel_in_a_worker_that_waits() {
    let server = server(&[]);
    let database = served(&server).await;
    let client = database.connect().await;
    let worker = until_served(&database).await;
    run(
        &client,
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                  WHERE backend_type LIKE 'notify_json %'",
    )
    .await;
    rings(&database, &client).await;
    assert_eq!(until_served(&database).await, worker);
}

#[tokio::test]
async fn a_watched_database_is_in_use_until_it_is_dropped_by_force() {
    let server = server(&[]);
    let (database, other) = (database(&server).await, database(&server).await);
    let (name, template) = (name(&database).await, name(&other).await);
    serve(&server, &[&name, &template]).await;
    let worker = until_served(&database).await;
    until_served(&other).await;
    let admin = Database::at(server.url("postgres")).connect().await;
    let (dropping, copying) = (admin, Database::at(server.url("postgres")).connect().await);
    let (drop, copy) =
        (format!("DROP DATABASE {name}"), format!("CREATE DATABASE copy TEMPLATE {template}"));
    let refusals = tokio::join!(dropping.batch_execute(&drop), copying.batch_execute(&copy));
    for refusal in [refusals.0, refusals.1] {
        assert_eq!(refusal.unwrap_err().code().unwrap().code(), "55006");
    }
    rings(&database, &database.connect().await).await;
    assert_eq!(until_served(&database).await, worker);

    run(&dropping, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    let missing = format!("WARNING:  database \"{name}\" in notify_json.databases does not exist");
    server.wait_for_log(&missing);
    let workers = "SELECT datname::text FROM pg_stat_activity
                   WHERE backend_type = 'notify_json doorbell'";
    assert_eq!(column::<String>(&dropping, workers).await, [template.as_str()]);

    run(&dropping, &format!("CREATE DATABASE {name}")).await;
    let database = Database::at(server.url(&name));
    run(&database.connect().await, "CREATE EXTENSION notify_json").await;
    run(&database.connect().await, "SELECT notify_json.create_channel('d')").await;
    rings(&database, &database.connect().await).await;
    let log = server.log();
    assert_eq!(log.matches(&missing).count(), 1, "{log}");

    serve(&server, &[&name]).await;
    until_not_served(&other).await;
    run(&dropping, &copy).await;
    run(&dropping, &format!("DROP DATABASE {template}")).await;
}
