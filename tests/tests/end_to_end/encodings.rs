//! Databases of every encoding deliver the same UTF-8.

use notify_json_client::Message;
use notify_json_tests::{Server, next_message, texts};

/// Characters that each encoding has.
const ALPHABETS: [(&str, &str); 4] =
    [("UTF8", "aé日😀"), ("LATIN1", "aéÿß"), ("EUC_JP", "aé日本ｱ"), ("SQL_ASCII", "aé日😀")];

#[tokio::test]
async fn texts_arrive_byte_for_byte_from_every_encoding() {
    for (encoding, alphabet) in ALPHABETS {
        let database = Server::shared().database_with_encoding(encoding).await;
        let listener = database.listener().await;
        let mut subscription = listener.subscribe::<Message>("kanäle").await.unwrap();
        let client = database.connect().await;
        for compress in ["DEFAULT", "-1", "0"] {
            let set = format!("SET notify_json.compress_above_bytes = {compress}");
            client.batch_execute(&set).await.unwrap();
            for bytes in [20, 5_000, 7_990, 7_999, 8_000, 8_100, 12_000, 16_000, 100_000, 1 << 20] {
                for (unit, kind) in [(alphabet, "text"), ("ascii", "json"), (alphabet, "jsonb")] {
                    let text = texts::string(unit, bytes, bytes);
                    let sql = format!("SELECT notify_json('kanäle', $1::text::{kind})");
                    client.execute(&sql, &[&text]).await.unwrap();
                    let message = next_message(&mut subscription).await;
                    assert!(
                        message.json().unwrap() == text,
                        "{encoding} {kind} {bytes} bytes, compress above {compress}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn what_fits_in_the_databases_encoding_stays_bare() {
    let database = Server::shared().database_with_encoding("LATIN1").await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<Message>("c").await.unwrap();
    let client = database.connect().await;
    client.batch_execute("SET notify_json.compress_above_bytes = -1").await.unwrap();
    for (characters, frames) in [(7_997, "bare"), (7_998, "framed")] {
        let text = format!("\"{}\"", "é".repeat(characters));
        client.execute("SELECT notify_json('c', $1::text)", &[&text]).await.unwrap();
        let message = next_message(&mut subscription).await;
        assert!(message.json().unwrap() == text, "{frames}");
        assert_eq!(message.frame_count(), 1, "bare, or one frame of zstd");
    }
}

#[tokio::test]
async fn sql_ascii_refuses_what_is_not_utf8() {
    let database = Server::shared().database_with_encoding("SQL_ASCII").await;
    let client = database.connect().await;
    for sql in [
        r#"SELECT notify_json('c', E'"abc\xff"')"#,
        r#"SELECT notify_json('c', (E'"abc\xff"')::json)"#,
    ] {
        let error = client.batch_execute(sql).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "22021");
        assert_eq!(error.message(), "payload is not valid UTF-8");
        let detail =
            "The database's encoding is SQL_ASCII, and the payload stops being UTF-8 after byte 4.";
        assert_eq!(error.detail(), Some(detail));
        assert!(error.hint().is_some());
    }
    let error = client.batch_execute(r"SELECT notify_json(E'\xff', '1')").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22021");
}

#[tokio::test]
async fn a_character_without_equivalent_in_utf8_is_refused_at_the_sender() {
    let database = Server::shared().database_with_encoding("EUC_JP").await;
    let client = database.connect().await;
    // A code of EUC_JP's reserved rows, which UTF-8 has no character for.
    let sql = r#"SELECT notify_json('c', E'"\xa9\xa1"')"#;
    let error = client.batch_execute(sql).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "22P05", "{error}");
    assert_eq!(error.message(), "payload has a character without equivalent in UTF-8");
    client.batch_execute("SELECT notify_json('c', '1')").await.unwrap();
}
