//! One client at a time acks for a consumer, and what it acked in a transaction is never lost to
//! the next one.

use notify_json_tests::{Database, Server, ServerOptions};
use tokio_postgres::{Client, Row};

use super::{Reader, column, database, pid, publish, refused, run, until_blocked, value};

/// A claim of consumer `c`.
#[derive(Debug)]
struct Claim {
    epoch: i64,
    reader: Reader,
    skipped: i64,
    told: i64,
}

async fn claim(client: &Client, lease: &str) -> Option<Claim> {
    let sql = format!("SELECT * FROM notify_json.claim('c', 'd', '{lease}')");
    let row = client.query_opt(&sql, &[]).await.unwrap()?;
    let reader = Reader { window: row.get("window"), after: row.get("after") };
    let (epoch, skipped, told) = (row.get("epoch"), row.get("skipped"), row.get("told"));
    Some(Claim { epoch, reader, skipped, told })
}

impl Claim {
    fn ack(&self) -> String {
        let (epoch, Reader { window, after }) = (self.epoch, &self.reader);
        format!("SELECT notify_json.ack_position('c', 'd', {epoch}, '{window}', {after}, 0)")
    }

    async fn renew(&self, client: &Client) -> (bool, i64) {
        let epoch = self.epoch;
        let sql = format!("SELECT * FROM notify_json.renew('c', 'd', {epoch}, '1 hour')");
        let row: Row = client.query_one(&sql, &[]).await.unwrap();
        (row.get("held"), row.get("skipped"))
    }

    async fn release(&self, client: &Client) {
        run(client, &format!("SELECT notify_json.release('c', 'd', {})", self.epoch)).await;
    }
}

async fn with_events(count: i64) -> (Database, Client, Client) {
    let database = database().await;
    let (first, second) = (database.connect().await, database.connect().await);
    let sql = format!("SELECT notify_json('d', to_json(n)) FROM generate_series(1, {count}) n");
    run(&first, &sql).await;
    (database, first, second)
}

#[tokio::test]
async fn one_at_a_time() {
    let (_database, first, second) = with_events(3).await;
    let mut held = claim(&first, "1 hour").await.unwrap();
    assert_eq!((held.epoch, held.skipped), (1, 0));
    assert!(claim(&second, "1 hour").await.is_none());
    assert_eq!(held.renew(&first).await, (true, 0));
    assert_eq!(held.reader.page(&first, 2).await.len(), 2);
    run(&first, &held.ack()).await;
    held.release(&first).await;
    let mut next = claim(&second, "1 hour").await.unwrap();
    assert_eq!(next.epoch, 2);
    assert_eq!(next.reader.drain(&second, 1).await, ["3"]);
    assert_eq!(held.renew(&first).await, (false, 0));
    held.release(&first).await;
    assert!(claim(&first, "1 hour").await.is_none(), "an old epoch releases nothing");
    assert!(value::<bool>(&first, "SELECT held FROM notify_json.consumers").await);
}

#[tokio::test]
async fn while_a_lease_runs_nobody_waits_for_an_open_transaction() {
    let (_database, first, second) = with_events(3).await;
    let mut held = claim(&first, "1 hour").await.unwrap();
    held.reader.page(&first, 2).await;
    run(&first, &format!("BEGIN; {}", held.ack())).await;
    assert!(claim(&second, "1 hour").await.is_none());
    assert_eq!(held.renew(&second).await, (true, 0));
    held.release(&second).await;
    assert_eq!(held.renew(&second).await, (true, 0));
    run(&first, "COMMIT").await;
}

#[tokio::test]
async fn a_takeover_waits_for_an_open_transaction() {
    for (end, left) in [("COMMIT", vec!["3"]), ("ROLLBACK", vec!["1", "2", "3"])] {
        let (database, first, second) = with_events(3).await;
        let watcher = database.connect().await;
        let second_pid = pid(&second).await;
        let mut held = claim(&first, "1 microsecond").await.unwrap();
        held.reader.page(&first, 2).await;
        run(&first, &format!("BEGIN; {}", held.ack())).await;
        let (next, ()) = tokio::join!(claim(&second, "1 hour"), async {
            until_blocked(&watcher, second_pid).await;
            run(&first, end).await;
        });
        let mut next = next.unwrap();
        assert_eq!(next.reader.drain(&second, 10).await, left);
        let error = refused(&first, &held.ack(), "55006").await;
        assert_eq!(error.message(), "lost its place as consumer \"c\" of channel \"d\"");
        assert_eq!(held.renew(&first).await, (false, 0));
    }
}

#[tokio::test]
async fn a_renewal_stops_a_takeover_that_waits() {
    let (database, first, second) = with_events(3).await;
    let watcher = database.connect().await;
    let second_pid = pid(&second).await;
    let mut held = claim(&first, "1 microsecond").await.unwrap();
    held.reader.page(&first, 2).await;
    run(&first, &format!("BEGIN; {}", held.ack())).await;
    let (next, ()) = tokio::join!(claim(&second, "1 hour"), async {
        until_blocked(&watcher, second_pid).await;
        assert_eq!(held.renew(&watcher).await, (true, 0));
        run(&first, "COMMIT").await;
    });
    assert!(next.is_none());
    run(&first, &held.ack()).await;
}

#[tokio::test]
async fn an_ack_after_a_takeover_fails_whatever_its_snapshot() {
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let (_database, first, second) = with_events(3).await;
        let mut held = claim(&first, "1 microsecond").await.unwrap();
        held.reader.page(&first, 2).await;
        let sql = format!("BEGIN ISOLATION LEVEL {level}; SELECT 1 FROM notify_json.holder");
        run(&first, &sql).await;
        assert!(claim(&second, "1 hour").await.is_some());
        let error = first.batch_execute(&held.ack()).await.unwrap_err();
        let expected = if level == "READ COMMITTED" { "55006" } else { "40001" };
        assert_eq!(error.code().unwrap().code(), expected, "{level}");
    }
}

#[tokio::test]
async fn renewals_do_not_disturb_an_ack_with_an_older_snapshot() {
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let (_database, first, second) = with_events(3).await;
        let mut held = claim(&first, "1 hour").await.unwrap();
        held.reader.page(&first, 2).await;
        let sql = format!("BEGIN ISOLATION LEVEL {level}; SELECT 1 FROM notify_json.holder");
        run(&first, &sql).await;
        assert_eq!(held.renew(&second).await, (true, 0));
        run(&first, &held.ack()).await;
        assert_eq!(held.renew(&second).await, (true, 0));
        run(&first, "COMMIT").await;
    }
}

#[tokio::test]
async fn a_position_never_moves_back() {
    let (_database, first, _second) = with_events(5).await;
    let mut held = claim(&first, "1 hour").await.unwrap();
    let mut positions = vec![held.ack()];
    for round in 0..8 {
        if round == 5 {
            publish(&first, "6").await;
        }
        held.reader.page(&first, 2).await;
        positions.push(held.ack());
    }
    let stored = "SELECT \"window\" || ' ' || after FROM notify_json.consumer";
    for (latest, ack) in positions.iter().enumerate() {
        run(&first, ack).await;
        let position: String = value(&first, stored).await;
        for earlier in &positions[..latest] {
            run(&first, earlier).await;
            assert_eq!(value::<String>(&first, stored).await, position);
        }
    }
}

#[tokio::test]
async fn losses_are_told_once() {
    let (_database, first, second) = with_events(1).await;
    let held = claim(&first, "1 hour").await.unwrap();
    run(&second, "UPDATE notify_json.consumer SET skipped = 7").await;
    assert_eq!(held.renew(&first).await, (true, 7));
    for told in [5, 3] {
        run(&first, &held.ack().replace(", 0)", &format!(", {told})"))).await;
    }
    let shown: i64 = value(&first, "SELECT skipped FROM notify_json.consumers").await;
    assert_eq!(shown, 2);
    held.release(&first).await;
    let next = claim(&second, "1 hour").await.unwrap();
    assert_eq!((next.skipped, next.told), (7, 5));
}

#[tokio::test]
async fn seek_takes_it_from_the_holder() {
    let (database, first, second) = with_events(3).await;
    let watcher = database.connect().await;
    let second_pid = pid(&second).await;
    let mut held = claim(&first, "1 hour").await.unwrap();
    held.reader.page(&first, 2).await;
    run(&first, &format!("BEGIN; {}", held.ack())).await;
    let seek = "SELECT notify_json.seek('c', 'd', 'earliest')";
    tokio::join!(run(&second, seek), async {
        until_blocked(&watcher, second_pid).await;
        run(&first, "COMMIT").await;
    });
    assert_eq!(held.renew(&first).await, (false, 0));
    refused(&first, &held.ack(), "55006").await;
    let mut again = claim(&first, "1 hour").await.unwrap();
    assert_eq!(again.reader.drain(&first, 10).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn sql_leaves_a_held_consumer_alone() {
    let (_database, first, second) = with_events(3).await;
    let fetch = "SELECT id FROM notify_json.fetch('c', 'd', 2)";
    assert_eq!(column::<i64>(&second, fetch).await, [1, 2]);
    let mut held = claim(&first, "1 hour").await.unwrap();
    for sql in [fetch, "SELECT notify_json.ack('c', 'd', 1)"] {
        let error = refused(&second, sql, "55006").await;
        assert_eq!(error.message(), "consumer \"c\" of channel \"d\" is held");
    }
    held.release(&first).await;
    // The client is slow rather than gone; SQL goes on, and the client must not.
    let mut slow = claim(&first, "1 microsecond").await.unwrap();
    slow.reader.page(&first, 2).await;
    run(&second, &format!("{fetch}; SELECT notify_json.ack('c', 'd', 2)")).await;
    refused(&first, &slow.ack(), "55006").await;
    held = claim(&first, "1 hour").await.unwrap();
    assert_eq!(held.reader.drain(&first, 2).await, ["3"]);
}

#[tokio::test]
async fn a_claim_waits_for_sql_that_acks() {
    let (database, first, second) = with_events(3).await;
    let watcher = database.connect().await;
    let second_pid = pid(&second).await;
    run(&first, "BEGIN; SELECT notify_json.fetch('c', 'd', 2)").await;
    let (held, ()) = tokio::join!(claim(&second, "1 hour"), async {
        until_blocked(&watcher, second_pid).await;
        run(&first, "SELECT notify_json.ack('c', 'd', 2); COMMIT").await;
    });
    assert_eq!(held.unwrap().reader.drain(&second, 2).await, ["3"]);
}

#[tokio::test]
async fn a_dropped_consumer_has_no_holder() {
    let (_database, first, second) = with_events(3).await;
    let held = claim(&first, "1 hour").await.unwrap();
    run(&second, "SELECT notify_json.drop_consumer('c', 'd')").await;
    assert_eq!(held.renew(&first).await, (false, 0));
    refused(&first, &held.ack(), "55006").await;
    held.release(&first).await;
}

#[tokio::test]
async fn a_holder_has_no_place_in_another_consumer_of_the_name() {
    let again = "SELECT notify_json.drop_channel('d'), notify_json.create_channel('d')";
    for drop in ["SELECT notify_json.drop_consumer('c', 'd')", again] {
        let (_database, first, second) = with_events(3).await;
        let held = claim(&first, "1 hour").await.unwrap();
        run(&second, drop).await;
        let other = claim(&second, "1 hour").await.unwrap();
        assert_eq!(held.renew(&first).await, (false, 0), "{drop}");
        refused(&first, &held.ack(), "55006").await;
        held.release(&first).await;
        assert_eq!(other.renew(&second).await, (true, 0), "{drop}");
        run(&second, &other.ack()).await;
    }
}

#[tokio::test]
async fn nothing_is_held_across_a_restart_of_the_server() {
    let server = Server::start(&ServerOptions::default());
    let database = server.database().await;
    let client = database.connect().await;
    run(&client, "SELECT notify_json.create_channel('d')").await;
    let held = claim(&client, "1 hour").await.unwrap();
    let shown = "SELECT held FROM notify_json.consumers";
    assert!(value::<bool>(&client, shown).await);
    server.crash_and_restart();
    let client = database.connect_when_up().await;
    assert!(!value::<bool>(&client, shown).await);
    refused(&client, &held.ack(), "55006").await;
    assert!(!held.renew(&client).await.0);
    assert_eq!(claim(&client, "1 hour").await.unwrap().epoch, held.epoch + 1);
    assert!(value::<bool>(&client, shown).await);
    refused(&client, &held.ack(), "55006").await;
}

#[tokio::test]
async fn a_window_of_another_server_is_not_stored() {
    let (_database, first, _second) = with_events(1).await;
    let mut held = claim(&first, "1 hour").await.unwrap();
    held.reader.window = "3:3:;0;9000000:9000000:;0;0".to_owned();
    refused(&first, &held.ack(), "55006").await;
}
