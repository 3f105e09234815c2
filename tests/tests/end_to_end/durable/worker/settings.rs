//! Which databases have a worker, and what the view says of it.

use super::*;
use crate::durable::{column, pid};

#[tokio::test]
async fn databases_come_and_go_by_reload() {
    let server = server(&[]);
    let (one, other) = (database(&server).await, database(&server).await);
    let names = [name(&one).await, name(&other).await];
    let client = one.connect().await;
    let all = "SELECT database::text FROM notify_json.worker ORDER BY started_at";
    for databases in [&names[..1], &names, &names[1..], &names, &[], &names] {
        serve(&server, &databases.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for (database, name) in [&one, &other].into_iter().zip(&names) {
            let client = database.connect().await;
            let expected = match databases.contains(name) {
                true => until_served(database).await,
                false => {
                    until_not_served(database).await;
                    pid(&client).await
                }
            };
            let mut ear = Ear::on(database, &["d"]).await;
            publish(&client, "1").await;
            assert_eq!(ear.hear_d().await, expected);
        }
        let mut workers: Vec<String> = column(&client, all).await;
        workers.sort();
        assert_eq!(workers, databases);
    }
}

#[tokio::test]
async fn names_are_as_in_sql() {
    let server = server(&[]);
    let admin = Database::at(server.url("postgres")).connect().await;
    for name in ["\"Shop, the 1st\"", "\"Läden\"", "billing"] {
        run(&admin, &format!("CREATE DATABASE {name}")).await;
    }
    serve(&server, &["\"Shop, the 1st\"", " \"Läden\" ", "BILLING", "billing"]).await;
    let workers = "SELECT array_agg(datname::text ORDER BY datname) FROM pg_stat_activity
                   WHERE backend_type = 'notify_json doorbell'";
    let expected = "ARRAY['Läden', 'Shop, the 1st', 'billing']";
    until_some(&admin, &format!("SELECT ({workers}) @> {expected}")).await;
    let found: Vec<String> = value(&admin, workers).await;
    assert_eq!(found.len(), 3);
}

#[tokio::test]
async fn what_is_no_list_or_no_time_is_refused() {
    let server = server(&[]);
    let admin = Database::at(server.url("postgres")).connect().await;
    for list in ["shop billing", "shop,", "\"shop", ",", "a,,b"] {
        let sql = format!("ALTER SYSTEM SET notify_json.databases = '{list}'");
        let error = admin.batch_execute(&sql).await.expect_err(list);
        let error = error.as_db_error().unwrap().clone();
        assert_eq!(error.code().code(), "22023");
        let detail = "It must be names of databases, separated by commas, as SQL takes them.";
        assert_eq!(error.detail(), Some(detail));
    }
    for interval in ["-1", "1001ms", "2 apples"] {
        let sql = format!("ALTER SYSTEM SET notify_json.doorbell_interval = '{interval}'");
        let error = admin.batch_execute(&sql).await.expect_err(interval);
        assert_eq!(error.code().unwrap().code(), "22023");
    }
    let sql = "SET notify_json.databases = ''";
    assert_eq!(admin.batch_execute(sql).await.unwrap_err().code().unwrap().code(), "55P02");
}

#[tokio::test]
async fn a_database_that_cannot_be_served_is_logged_once_and_served_once_it_can_be() {
    // The server has one of its own.
    let server = server(&[("max_worker_processes", "4")]);
    let admin = Database::at(server.url("postgres")).connect().await;
    run(&admin, "CREATE DATABASE closed ALLOW_CONNECTIONS false").await;
    serve(&server, &["missing", "closed"]).await;
    let warnings = [
        "WARNING:  database \"missing\" in notify_json.databases does not exist",
        "WARNING:  database \"closed\" in notify_json.databases accepts no connections",
    ];
    warnings.iter().for_each(|warning| server.wait_for_log(warning));
    run(&admin, "CREATE DATABASE missing").await;
    run(&admin, "ALTER DATABASE closed ALLOW_CONNECTIONS true").await;
    let served = "SELECT count(*) = 2 FROM pg_stat_activity
                  WHERE backend_type = 'notify_json doorbell' AND query = 'waiting for commits'";
    until(&admin, served).await;

    let third = database(&server).await;
    let name = name(&third).await;
    serve(&server, &["missing", "closed", &name]).await;
    let warning = format!("WARNING:  no background worker is left for database \"{name}\"");
    server.wait_for_log(&warning);
    let client = third.connect().await;
    let state: String = value(
        &client,
        "SELECT state FROM notify_json.worker
                                        WHERE database = current_database()",
    )
    .await;
    assert_eq!(state, "not running");
    let mut ear = Ear::on(&third, &["d"]).await;
    publish(&client, "1").await;
    assert_eq!(ear.hear_d().await, pid(&client).await);
    serve(&server, &[&name]).await;
    let worker = until_served(&third).await;
    publish(&client, "2").await;
    assert_eq!(ear.hear_d().await, worker);
    let log = server.log();
    for warning in [warnings[0], warnings[1], &warning] {
        assert_eq!(log.matches(warning).count(), 1, "{log}");
    }
}

#[tokio::test]
async fn the_view_counts_what_the_worker_does() {
    let server = server(&[]);
    let database = served(&server).await;
    let client = database.connect().await;
    let counts = "SELECT (rounds, doorbells, failures)::text FROM notify_json.worker";
    until(&client, "SELECT rounds = 1 FROM notify_json.worker").await;
    assert_eq!(value::<String>(&client, counts).await, "(1,0,0)");
    publish(&client, "1").await;
    until(&client, "SELECT rounds = 2 FROM notify_json.worker").await;
    assert_eq!(value::<String>(&client, counts).await, "(2,0,0)");
    let mut ear = Ear::on(&database, &["d"]).await;
    publish(&client, "1").await;
    ear.hear_d().await;
    until(&client, "SELECT rounds = 3 FROM notify_json.worker").await;
    assert_eq!(value::<String>(&client, counts).await, "(3,1,0)");
    let sql = "SELECT worker.database = current_database() AND worker.pid = activity.pid
                   AND state = 'serving' AND activity.datname = worker.database
                   AND started_at >= activity.backend_start
                   AND last_round_at BETWEEN started_at AND clock_timestamp()
               FROM notify_json.worker JOIN pg_stat_activity AS activity
                   ON activity.backend_type = 'notify_json doorbell'";
    assert!(value::<bool>(&client, &sql.replace("AND state", "AND worker.state")).await);
}
