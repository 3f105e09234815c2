//! A subscriber that is too slow costs a bounded amount and disturbs nobody else.

use notify_json_client::{Bounds, ErrorKind, Overflow, publish};
use notify_json_tests::{Running, Server, drain, next_message, soak};

#[tokio::test]
async fn overflow_may_close_a_subscription() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let bounds = Bounds { messages: 10, overflow: Overflow::Close, ..Bounds::default() };
    let mut closing = listener.subscribe_bounded::<u32>(["a"], bounds).await.unwrap();
    let mut other = listener.subscribe::<u32>("b").await.unwrap();
    let sender = database.connect().await;
    for number in 0..20 {
        publish(&sender, "a", &number).await.unwrap();
    }
    publish(&sender, "b", &1).await.unwrap();
    assert_eq!(next_message(&mut other).await, 1);
    assert_eq!(drain(&mut closing, 10).await, (0..10).collect::<Vec<_>>());
    assert_eq!(closing.recv().await.unwrap().unwrap_err().kind(), ErrorKind::Overflow);
    assert!(closing.recv().await.is_none());
    while listener.listening_channels().await.unwrap() != ["b".to_owned()].into() {}
}

#[test]
fn a_subscriber_that_never_reads_costs_a_bounded_amount() {
    let mut command = soak();
    let (code, output, errors) = Running::start(command.args(["slow-reader", "1000000"])).finish();
    assert_eq!(code, Some(0), "{output}{errors}");
}
