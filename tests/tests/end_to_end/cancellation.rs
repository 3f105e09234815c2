//! A future or a runtime that is dropped loses nothing and leaves nobody waiting.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use notify_json_client::{ErrorKind, publish};
use notify_json_tests::Server;

#[tokio::test]
async fn dropping_recv_at_any_point_loses_nothing() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
    let sender = database.connect().await;
    for number in 0..500 {
        publish(&sender, "a", &number).await.unwrap();
    }
    let mut received = Vec::new();
    while received.len() < 500 {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(event) = pin!(subscription.recv()).poll(&mut cx) {
            received.push(event.unwrap().unwrap().message().unwrap());
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(received, (0..500).collect::<Vec<_>>());
}

#[test]
fn a_runtime_that_is_dropped_leaves_nobody_waiting() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (listener, mut subscription) = first.block_on(async {
        let listener = Server::shared().database().await.listener().await;
        let subscription = listener.subscribe::<u32>("a").await.unwrap();
        (listener, subscription)
    });
    drop(first);
    second.block_on(async {
        let error = subscription.recv().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(subscription.recv().await.is_none());
        let error = listener.subscribe::<u32>("a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        listener.shutdown().await;
    });
}
