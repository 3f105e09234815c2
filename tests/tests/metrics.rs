//! With feature `metrics` every counter of a listener is one of the `metrics` facade too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_global_recorder,
};
use notify_json_client::{Bounds, Event, Gap};
use notify_json_tests::{Server, next_message};

/// Keeps counters by name, and nothing else.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Recorded {
    fn values(&self) -> BTreeMap<String, u64> {
        let counters = self.0.lock().unwrap();
        let read = |(name, value): (&String, &Arc<AtomicU64>)| {
            (name.clone(), value.load(Ordering::Relaxed))
        };
        counters.iter().map(read).collect()
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counters = self.0.lock().unwrap();
        Counter::from_arc(counters.entry(key.name().to_owned()).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn every_counter_reaches_the_recorder() {
    let recorded = Recorded::default();
    set_global_recorder(recorded.clone()).unwrap();

    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let bounds = Bounds { messages: 2, ..Bounds::default() };
    let mut slow = listener.subscribe_bounded::<u32>(["slow"], bounds).await.unwrap();
    let mut typed = listener.subscribe::<u32>("typed").await.unwrap();
    for sql in [
        "SELECT notify_json('slow', to_json(n)) FROM generate_series(1, 10) n",
        r#"SELECT notify_json('typed', '"no number"')"#,
        "SELECT pg_notify('typed', '~1 no frame')",
        "SELECT pg_notify('typed', E'~1 0123456789abcdef 0/2 json 8000\nx')",
        "SELECT notify_json('typed', '1')",
    ] {
        database.execute(sql).await;
    }
    for _ in 0..2 {
        typed.recv().await.unwrap().unwrap_err();
    }
    let gap = typed.recv().await.unwrap().unwrap();
    assert!(matches!(gap, Event::Gap(Gap::Incomplete { .. })), "{gap:?}");
    assert_eq!(next_message(&mut typed).await, 1);
    assert_eq!(slow.recv().await.unwrap().unwrap(), Event::Gap(Gap::Lagged { missed: 8 }));
    database
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'notify_json' AND datname = current_database()",
        )
        .await;
    let gap = typed.recv().await.unwrap().unwrap();
    assert!(matches!(gap, Event::Gap(Gap::Reconnected { .. })), "{gap:?}");

    let counts = listener.counts();
    let expected = [
        ("received", counts.received),
        ("received_bytes", counts.received_bytes),
        ("delivered", counts.delivered),
        ("lagged", counts.lagged),
        ("gaps", counts.gaps),
        ("reconnects", counts.reconnects),
        ("decode_errors", counts.decode_errors),
        ("frame_errors", counts.frame_errors),
        ("incomplete", counts.incomplete),
    ];
    let expected = expected.map(|(name, value)| (format!("notify_json_{name}_total"), value));
    assert!(expected.iter().all(|(_, value)| *value > 0), "{counts:?}");
    assert_eq!(recorded.values(), expected.into());
}
