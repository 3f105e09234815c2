//! Every JSON text arrives byte for byte.

use std::future::poll_fn;

use notify_json_client::{Listener, Message, Subscription};
use notify_json_tests::{Database, Server, drain, next_message, texts};
use notify_json_wire::{Payload, SplitOptions, Splitter, parse};
use tokio_postgres::{AsyncMessage, Client, NoTls};

struct Pair {
    sender: Client,
    subscription: Subscription<Message>,
    _listener: Listener,
}

/// A sender, with or without compression, and a subscriber.
async fn pair(database: &Database, compress: bool) -> Pair {
    let listener = database.listener().await;
    let subscription = listener.subscribe("documents").await.unwrap();
    let sender = database.connect().await;
    if !compress {
        sender.batch_execute("SET notify_json.compress_above_bytes = -1").await.unwrap();
    }
    Pair { sender, subscription, _listener: listener }
}

impl Pair {
    async fn send(&self, text: &str) {
        let sent = "SELECT notify_json('documents', $1::text)";
        self.sender.execute(sent, &[&text]).await.unwrap();
    }

    /// Sends texts one after the other and expects each, in order.
    async fn check(&mut self, texts: impl IntoIterator<Item = String>) {
        for text in texts {
            self.send(&text).await;
            let message = next_message(&mut self.subscription).await;
            let json = message.json().unwrap();
            assert_eq!(json.len(), text.len());
            assert!(json == text, "{} bytes arrived changed", text.len());
        }
    }
}

const CHARACTERS: [&str; 6] = ["a", "é", "€", "😀", r#"\"\\\n"#, "\\u00e9"];

#[tokio::test]
async fn named_sizes() {
    let database = Server::shared().database().await;
    for compress in [false, true] {
        let mut pair = pair(&database, compress).await;
        pair.check(["1".to_owned()]).await;
        let sizes = [7_998, 7_999, 8_000, 8_001, 15_998, 65_536, 1_000_000, 16 << 20];
        pair.check(sizes.map(|bytes| texts::string("abc", bytes, bytes))).await;
        pair.check(sizes.map(|bytes| texts::incompressible(bytes, bytes as u64))).await;
    }
}

#[tokio::test]
async fn every_size_around_one_payload() {
    let database = Server::shared().database().await;
    for compress in [false, true] {
        let mut pair = pair(&database, compress).await;
        pair.check((7_900..=8_100).map(|bytes| texts::string("x", bytes, bytes))).await;
        pair.check((7_900..=8_100).map(|bytes| texts::incompressible(bytes, 1))).await;
    }
}

#[tokio::test]
async fn every_size_around_full_frames() {
    let raw = SplitOptions { compress_above_bytes: None, ..SplitOptions::default() };
    let mut splitter = Splitter::new().unwrap();
    let mut frame_count =
        |bytes: usize| splitter.split(&"1".repeat(bytes), &raw).unwrap().payloads().len();
    let full: Vec<usize> = (2..13)
        .map(|frames| {
            let largest = (frames * 7_900..frames * 8_000).find(|&b| frame_count(b) > frames);
            largest.unwrap() - 1
        })
        .collect();

    let database = Server::shared().database().await;
    let mut pair = pair(&database, false).await;
    for (frames, bytes) in (2..).zip(full) {
        for (bytes, expected) in [(bytes - 1, frames), (bytes, frames), (bytes + 1, frames + 1)] {
            let text = texts::string("1", bytes, bytes);
            pair.send(&text).await;
            let message = next_message(&mut pair.subscription).await;
            assert_eq!(message.json().unwrap(), text);
            assert_eq!(message.frame_count(), expected, "{bytes} bytes");
        }
    }
}

#[tokio::test]
async fn every_size_around_full_compressed_frames() {
    let database = Server::shared().database().await;
    let mut pair = pair(&database, true).await;
    // Half of it compresses to nothing, so that the whole travels as zstd.
    let text = |bytes: usize| {
        let random = texts::incompressible(bytes / 2, 1);
        format!("[{random},{:>1$}", "1]", bytes - random.len() - 2)
    };
    let options = SplitOptions::default();
    let mut splitter = Splitter::new().unwrap();
    let mut frame_count = |bytes: usize| {
        let text = text(bytes);
        splitter.split(&text, &options).unwrap().payloads().len()
    };
    let mut largest: Vec<usize> = Vec::new();
    for start in (12_000..60_000).step_by(500) {
        if frame_count(start) < frame_count(start + 500) {
            let last =
                (start..start + 500).rfind(|&bytes| frame_count(bytes) == frame_count(start));
            largest.push(last.unwrap());
        }
    }
    assert!(largest.len() >= 3, "{largest:?}");
    for bytes in largest {
        pair.check((bytes - 4..bytes + 6).map(text)).await;
    }
}

#[tokio::test]
async fn characters_of_every_length_across_every_frame_boundary() {
    let database = Server::shared().database().await;
    for compress in [false, true] {
        let mut pair = pair(&database, compress).await;
        for unit in CHARACTERS {
            for shift in 0..unit.len() {
                let text =
                    format!("[\"{}\",{}]", "x".repeat(shift), texts::string(unit, 80_000, 1));
                pair.check([text]).await;
            }
        }
    }
}

#[tokio::test]
async fn text_is_never_normalised() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let texts = [
        "12345678901234567890.123456789",
        "1.10",
        "1e400",
        "-0",
        "-0.0e-00",
        r#"{"a": 1, "a": 2, "b":   [1,2 , 3]}"#,
        "  \t\r\n {\"leading\": \"white space\"}\n ",
        "\"\"",
        "null",
        r#""é€😀 \u00e9 \ud83d\ude00 \/ \\ \" \b\f\n\r\t \u0000""#,
        "\"\u{7f}\u{80}\u{feff}\u{ffff}\u{10ffff}\"",
        "\"~1 event\"",
    ];
    let database = Server::shared().database().await;
    let mut pair = pair(&database, true).await;
    pair.check(texts.map(str::to_owned)).await;
    pair.check([deep(100), deep(3_000), deep(100_000)]).await;

    for text in texts {
        let json = "SELECT notify_json('documents', $1::text::json)";
        pair.sender.execute(json, &[&text]).await.unwrap();
        assert_eq!(next_message(&mut pair.subscription).await.json().unwrap(), text);
    }
    let jsonb = r#"SELECT notify_json('documents', '{"b": 1.10, "a": 1e3, "b": 2}'::jsonb)"#;
    pair.sender.batch_execute(jsonb).await.unwrap();
    let message = next_message(&mut pair.subscription).await;
    assert_eq!(message.json().unwrap(), r#"{"a": 1000, "b": 2}"#, "as the server writes jsonb");
}

#[tokio::test]
async fn the_three_overloads_accept_what_they_say() {
    let database = Server::shared().database().await;
    let mut pair = pair(&database, true).await;
    let sender = &pair.sender;
    for sql in [
        "SELECT notify_json('documents', '[1]')",
        "SELECT notify_json('documents', '[1]'::json)",
        "SELECT notify_json('documents', '[1]'::jsonb)",
        "SELECT notify_json('documents', '[1]'::varchar)",
        "SELECT notify_json('documents', json_build_array(1))",
        "SELECT notify_json('documents', jsonb_build_array(1))",
        "SELECT notify_json(channel => 'documents', payload => to_json(ARRAY[1]))",
    ] {
        let row = sender.query_one(sql, &[]).await.unwrap();
        assert_eq!(row.get::<_, Option<i64>>(0), None, "a live channel has no event ids");
    }
    for message in drain(&mut pair.subscription, 7).await {
        assert_eq!(message.json().unwrap(), "[1]");
    }
}

#[tokio::test]
async fn bare_payloads_are_plain_notifications() {
    let database = Server::shared().database().await;
    let (client, mut connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    let (notifications, mut received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(notification) = message {
                notifications.send(notification).unwrap();
            }
        }
    });
    client.batch_execute("LISTEN documents").await.unwrap();
    let sender = database.connect().await;
    let texts = [
        "{\"id\": 42}".to_owned(),
        " 1.10 ".to_owned(),
        texts::string("é", 7_999, 0),
        texts::incompressible(7_999, 1),
    ];
    for text in &texts {
        sender.execute("SELECT notify_json('documents', $1::text)", &[&text]).await.unwrap();
        let notification = received.recv().await.unwrap();
        assert_eq!(notification.payload(), text);
        assert_eq!(notification.channel(), "documents");
    }
    let text = texts::string("é", 8_000, 0);
    sender.execute("SELECT notify_json('documents', $1::text)", &[&text]).await.unwrap();
    let notification = received.recv().await.unwrap();
    let Ok(Payload::Frame(frame)) = parse(notification.payload()) else { panic!("not a frame") };
    assert_eq!((frame.header.index, frame.header.length), (0, 8_000));
}

#[tokio::test]
async fn settings_decide_how_a_text_travels() {
    let database = Server::shared().database().await;
    let mut pair = pair(&database, true).await;
    let text = texts::string("abc", 100_000, 0);
    for (setting, frames) in
        [("7999", 1), ("-1", 13), ("'97kB'", 1), ("'98kB'", 13), ("0", 1), ("DEFAULT", 1)]
    {
        let set = format!("SET notify_json.compress_above_bytes = {setting}");
        pair.sender.batch_execute(&set).await.unwrap();
        pair.send(&text).await;
        let message = next_message(&mut pair.subscription).await;
        assert_eq!(message.json().unwrap(), text);
        assert_eq!(message.frame_count(), frames, "{setting}");
    }
}
