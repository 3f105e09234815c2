//! What plain NOTIFY can do to a durable channel: cost its consumers a look.

use std::time::Duration;

use notify_json_client::{Event, LogState, Message};
use notify_json_tests::next_message;

use super::Case;

/// Forged doorbells, frames and JSON, whole and broken.
const FORGED: [&str; 7] = [
    "~1 event",
    "{\"forged\": true}",
    "99",
    "~1 00000000000000ab 0/1 json 2\n99",
    "~1 00000000000000ab 0/2 json 4\n99",
    "~1 00000000000000ab 7/9 zstd 4\nAAAA",
    "~2 event",
];

async fn forge(case: &Case) {
    case.run("SET ROLE nobody").await;
    for payload in FORGED {
        let notify = "SELECT pg_notify('d', $1)";
        case.admin.execute(notify, &[&payload]).await.unwrap();
    }
    case.run("RESET ROLE").await;
}

#[tokio::test]
async fn consumers_and_replays_get_what_was_published_and_no_more() {
    let case = Case::new().await;
    let listener = case.database.listener().await;
    let mut consumer = listener.consume::<Message>("d", "c").await.unwrap();
    let mut replay =
        listener.replay::<Message>("d", notify_json_client::Since::Earliest).await.unwrap();
    let mut expected = vec!["1".to_owned(), "2".to_owned()];
    for round in 3..6 {
        forge(&case).await;
        expected.push(round.to_string());
        case.allowed("publisher", &format!("SELECT notify_json('d', '{round}')")).await;
        forge(&case).await;
    }
    let (mut consumed, mut replayed) = (Vec::new(), Vec::new());
    while consumed.len() < expected.len() {
        match consumer.recv().await {
            Some(Ok(Event::Message(event))) => {
                consumed.push(event.payload.json().unwrap().to_owned());
            }
            other => panic!("{other:?}"),
        }
        match replay.recv().await {
            Some(Ok(Event::Message(event))) => {
                replayed.push(event.payload.json().unwrap().to_owned());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((&consumed, &replayed), (&expected, &expected));
    consumer.state().wait_for(|state| matches!(state, LogState::Live)).await.unwrap();
    forge(&case).await;
    // Nothing comes of it: the next event is the next that is published.
    case.run("SELECT notify_json('d', '6')").await;
    match consumer.recv().await {
        Some(Ok(Event::Message(event))) => assert_eq!(event.payload.json().unwrap(), "6"),
        other => panic!("{other:?}"),
    }
    assert_eq!(case.events().await, 6);
}

#[tokio::test]
async fn a_live_subscription_hears_only_what_anybody_may_say() {
    let case = Case::new().await;
    let nobody = case.sql("nobody");
    case.run("ALTER ROLE nobody LOGIN").await;
    let listener = case.database.as_role(&nobody).listener().await;
    let mut live = listener.subscribe::<Message>("d").await.unwrap();
    // With an attentive consumer, so that doorbells ring.
    case.run("SELECT notify_json.attend('d'), notify_json('d', '{\"secret\": 1}')").await;
    case.run("SELECT pg_notify('d', '99')").await;
    let heard = tokio::time::timeout(Duration::from_secs(60), next_message(&mut live)).await;
    assert_eq!(heard.unwrap().json().unwrap(), "99");
    let error = listener.consume::<Message>("d", "c").await.expect_err("it may not consume");
    assert_eq!(error.code().unwrap().code(), "42501");
    assert!(error.to_string().contains("notify_json.grant_consume"), "{error}");
}
