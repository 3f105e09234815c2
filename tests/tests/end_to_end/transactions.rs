//! Messages follow the fate and the order of their transactions.

use notify_json_client::{Listener, Message, Subscription};
use notify_json_tests::{Database, Server, drain, next_message, texts};

async fn subscribe(database: &Database) -> (Listener, Subscription<Message>) {
    let listener = database.listener().await;
    let subscription = listener.subscribe("t").await.unwrap();
    (listener, subscription)
}

async fn received(subscription: &mut Subscription<Message>, count: usize) -> Vec<String> {
    let messages = drain(subscription, count).await;
    messages.iter().map(|message| message.json().unwrap().to_owned()).collect()
}

/// Large enough for several frames, with compression or without.
const LARGE: &str = "to_json(repeat('0123456789', 5000) || ";

#[tokio::test]
async fn nothing_before_commit_and_nothing_after_rollback() {
    let database = Server::shared().database().await;
    let (_listener, mut subscription) = subscribe(&database).await;
    let (writer, other) = (database.connect().await, database.connect().await);
    for sql in [
        format!("BEGIN; SELECT notify_json('t', '1'), notify_json('t', {LARGE}1)); ROLLBACK"),
        "BEGIN; SELECT notify_json('t', '2')".to_owned(),
    ] {
        writer.batch_execute(&sql).await.unwrap();
    }
    writer.batch_execute("SELECT 1/0").await.unwrap_err();
    writer.batch_execute("COMMIT").await.unwrap();

    writer.batch_execute("BEGIN; SELECT notify_json('t', '3')").await.unwrap();
    other.batch_execute("SELECT notify_json('t', '4')").await.unwrap();
    assert_eq!(received(&mut subscription, 1).await, ["4"], "3 is not committed yet");
    writer.batch_execute("COMMIT").await.unwrap();
    assert_eq!(received(&mut subscription, 1).await, ["3"]);
}

#[tokio::test]
async fn a_savepoint_takes_its_messages_with_it() {
    let database = Server::shared().database().await;
    let (_listener, mut subscription) = subscribe(&database).await;
    let sql = format!(
        "BEGIN;
         SELECT notify_json('t', '1');
         SAVEPOINT a; SELECT notify_json('t', '2'), notify_json('t', {LARGE}2)); ROLLBACK TO a;
         SELECT notify_json('t', '3');
         SAVEPOINT b; SELECT notify_json('t', '4'); RELEASE b;
         COMMIT"
    );
    database.execute(&sql).await;
    assert_eq!(received(&mut subscription, 3).await, ["1", "3", "4"]);
}

#[tokio::test]
async fn order_is_kept_within_and_between_transactions() {
    let database = Server::shared().database().await;
    let (_listener, mut subscription) = subscribe(&database).await;
    let writer = database.connect().await;
    let mut expected = Vec::new();
    for transaction in 0..20 {
        writer.batch_execute("BEGIN").await.unwrap();
        for number in 0..20 {
            let bytes = if number % 3 == 0 { 20_000 } else { 20 };
            let text = texts::string("x", bytes, transaction * 100 + number);
            writer.execute("SELECT notify_json('t', $1::text)", &[&text]).await.unwrap();
            expected.push(text);
        }
        writer.batch_execute("COMMIT").await.unwrap();
    }
    assert_eq!(received(&mut subscription, expected.len()).await, expected);
}

#[tokio::test]
async fn equal_messages_of_a_transaction_arrive_once_whatever_their_size() {
    let database = Server::shared().database().await;
    let (_listener, mut subscription) = subscribe(&database).await;
    for compress in ["DEFAULT", "-1"] {
        let sql = format!(
            "SET notify_json.compress_above_bytes = {compress};
             BEGIN;
             SELECT notify_json('t', '1'), notify_json('t', '1');
             SELECT notify_json('t', {LARGE}1)), notify_json('t', '2'), notify_json('t', {LARGE}1));
             SAVEPOINT a; SELECT notify_json('t', {LARGE}1)), notify_json('t', '1'); RELEASE a;
             SELECT notify_json('t', '3');
             COMMIT"
        );
        database.execute(&sql).await;
        let large = format!("\"{}1\"", "0123456789".repeat(5_000));
        assert_eq!(received(&mut subscription, 4).await, ["1", &large, "2", "3"]);
    }
}

#[tokio::test]
async fn large_messages_that_share_most_of_their_text_both_arrive() {
    let database = Server::shared().database().await;
    let (_listener, mut subscription) = subscribe(&database).await;
    let common = "0123456789".repeat(10_000);
    let ends = [format!("\"{common}a\""), format!("\"{common}b\""), format!("\"{common}ab\"")];
    let mut writer = database.connect().await;
    for compress in ["DEFAULT", "-1"] {
        let set = format!("SET notify_json.compress_above_bytes = {compress}");
        writer.batch_execute(&set).await.unwrap();
        let transaction = writer.transaction().await.unwrap();
        for text in &ends {
            transaction.execute("SELECT notify_json('t', $1::text)", &[text]).await.unwrap();
        }
        transaction.commit().await.unwrap();
        assert_eq!(received(&mut subscription, 3).await, ends);
    }
}

#[tokio::test]
async fn triggers_functions_and_do_blocks_send() {
    let database = Server::shared().database().await;
    let (_listener, mut subscription) = subscribe(&database).await;
    database
        .execute(
            "CREATE TABLE orders (id int PRIMARY KEY, note text);
             CREATE FUNCTION announce() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 PERFORM notify_json('t', to_jsonb(NEW));
                 RETURN NULL;
             END $$;
             CREATE TRIGGER announce AFTER INSERT ON orders
                 FOR EACH ROW EXECUTE FUNCTION announce();
             CREATE FUNCTION announce_sql(n int) RETURNS bigint LANGUAGE sql
                 AS $$ SELECT notify_json('t', to_json(n)) $$;",
        )
        .await;
    database.execute("INSERT INTO orders SELECT n, 'é' FROM generate_series(1, 2) n").await;
    database.execute("SELECT announce_sql(7)").await;
    database
        .execute(
            "DO $$ BEGIN
                 FOR n IN 8..9 LOOP PERFORM notify_json('t', to_json(n)); END LOOP;
                 BEGIN
                     PERFORM notify_json('t', '10');
                     RAISE EXCEPTION 'undone';
                 EXCEPTION WHEN raise_exception THEN NULL;
                 END;
             END $$",
        )
        .await;
    database.execute("SELECT notify_json('t', '11')").await;
    let expected = [r#"{"id": 1, "note": "é"}"#, r#"{"id": 2, "note": "é"}"#, "7", "8", "9", "11"];
    assert_eq!(received(&mut subscription, expected.len()).await, expected);
}

#[tokio::test]
async fn the_least_of_roles_may_send() {
    let database = Server::shared().database().await;
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    let role = format!("least_{name}");
    database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN;
             REVOKE ALL ON DATABASE {name} FROM PUBLIC;
             REVOKE ALL ON SCHEMA public FROM PUBLIC;
             GRANT CONNECT ON DATABASE {name} TO {role};
             GRANT USAGE ON SCHEMA public TO {role};"
        ))
        .await;
    let (_listener, mut subscription) = subscribe(&database).await;
    let least = database.as_role(&role);
    let text = texts::incompressible(100_000, 1);
    let client = least.connect().await;
    client.execute("SELECT notify_json('t', $1::text)", &[&text]).await.unwrap();
    assert_eq!(next_message(&mut subscription).await.json().unwrap(), text);
}
