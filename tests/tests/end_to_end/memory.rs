//! What a message of 16 MiB costs at most.

use notify_json_tests::{Database, Running, Server, memory, notify_json, soak, texts};

const BYTES: usize = 16 << 20;

#[tokio::test]
async fn a_receiver_holds_at_most_three_times_the_message() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    for (compress, text) in [
        ("-1", texts::string("abc", BYTES, 1)),
        ("7999", texts::string("abc", BYTES, 1)),
        ("7999", texts::incompressible(BYTES, 1)),
    ] {
        let set = format!("SET notify_json.compress_above_bytes = {compress}");
        client.batch_execute(&set).await.unwrap();
        let mut listen = Running::start(notify_json().args([
            "listen",
            "c",
            "--payload-only",
            "--url",
            database.url(),
        ]));
        listen.wait_for_error_line("listening on c");
        client.batch_execute("SELECT notify_json('c', '1')").await.unwrap();
        assert_eq!(listen.line(), "1");
        let (idle, _) = memory(listen.pid());
        client.execute("SELECT notify_json('c', $1::text)", &[&text]).await.unwrap();
        assert!(listen.line() == text);
        let (_, peak) = memory(listen.pid());
        let above = peak - idle;
        assert!(above <= 3 * BYTES as u64, "{above} bytes above idle, compress above {compress}");
    }
}

#[tokio::test]
async fn a_senders_backend_holds_at_most_four_times_the_message() {
    for encoding in ["UTF8", "LATIN1"] {
        a_senders_backend(&Server::shared().database_with_encoding(encoding).await).await;
    }
}

async fn a_senders_backend(database: &Database) {
    for (compress, text) in [
        ("-1", texts::string("abc", BYTES, 1)),
        ("7999", texts::string("abc", BYTES, 1)),
        ("7999", texts::incompressible(BYTES, 1)),
    ] {
        let client = database.connect().await;
        let set = format!("SET notify_json.compress_above_bytes = {compress}");
        client.batch_execute(&set).await.unwrap();
        let sql = "SELECT notify_json('c', $1::text)";
        let statement = client.prepare(sql).await.unwrap();
        client.execute(&statement, &[&texts::string("abc", 9_000, 1)]).await.unwrap();
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
        let (idle, _) = memory(pid as u32);
        client.execute(&statement, &[&text]).await.unwrap();
        let (_, peak) = memory(pid as u32);
        let above = peak - idle;
        assert!(above <= 4 * BYTES as u64, "{above} bytes above idle, compress above {compress}");
    }
}

#[tokio::test]
async fn forged_frames_and_bombs_stay_within_the_buffers_bound() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    let mut soak = Running::start(soak().args(["sleeper", database.url()]));
    assert_eq!(soak.line(), "ready");
    let (idle, _) = memory(soak.pid());
    client
        .batch_execute(
            "SELECT pg_notify('c', '~1 ' || lpad(to_hex(n), 16, '0') || E' 0/2 json 8000\nx')
             FROM generate_series(1, 200000) n",
        )
        .await
        .unwrap();
    for number in 0..200 {
        let send = "SELECT notify_json('c', to_json(repeat('x', 1000000) || $1::int))";
        client.execute(send, &[&number]).await.unwrap();
    }
    client.batch_execute("SELECT notify_json('c', '\"end\"')").await.unwrap();
    assert_eq!(soak.line(), "end");
    let above = memory(soak.pid()).1 - idle;
    assert!(above < 64 << 20, "{above} bytes above idle, of which the buffer may hold 8 MiB");
}
