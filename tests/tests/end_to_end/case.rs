//! Three subscriptions that are to survive what happens to their connection.

use std::time::Duration;

use notify_json_client::{Event, Gap, Listener, ListenerConfig, State, Subscription, publish};
use notify_json_tests::{Database, Proxy, Server, drain};
use tokio_postgres::Client;

pub(crate) fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Notices and reconnects quickly, but not so quickly that a busy machine looks like a fault.
pub(crate) fn quick(url: &str) -> ListenerConfig {
    let config: ListenerConfig = url.parse().unwrap();
    config
        .heartbeat(milliseconds(100), milliseconds(2_000))
        .reconnect_delay(milliseconds(1), milliseconds(50))
        .connect_timeout(milliseconds(2_000))
}

/// Three subscriptions behind a proxy, and a session that sends past it.
pub(crate) struct Case {
    pub(crate) database: Database,
    pub(crate) proxy: Proxy,
    pub(crate) listener: Listener,
    pub(crate) subscriptions: Vec<Subscription<u32>>,
    pub(crate) sender: Client,
}

const CHANNELS: [&str; 2] = ["a", "b"];

impl Case {
    pub(crate) async fn on(server: &Server) -> Self {
        let database = server.database().await;
        let proxy = Proxy::start(server.port()).await;
        Self::with(database.clone(), quick(&proxy.url(&database)), proxy).await
    }

    pub(crate) async fn with(database: Database, config: ListenerConfig, proxy: Proxy) -> Self {
        let listener = config.connect().await.unwrap();
        let mut subscriptions = Vec::new();
        for channels in [&["a"][..], &["b"], &CHANNELS] {
            subscriptions.push(listener.subscribe_many(channels).await.unwrap());
        }
        let sender = database.connect().await;
        let mut case = Self { database, proxy, listener, subscriptions, sender };
        case.everything_arrives(0).await;
        case
    }

    /// Sends numbers on both channels and expects them, and nothing else, in order.
    pub(crate) async fn everything_arrives(&mut self, start: u32) {
        let numbers: Vec<u32> = (start..start + 20).collect();
        for number in &numbers {
            publish(&self.sender, CHANNELS[*number as usize % 2], number).await.unwrap();
        }
        let parity = |parity| numbers.iter().copied().filter(|n| n % 2 == parity).collect();
        let expected: [Vec<u32>; 3] = [parity(0), parity(1), numbers.clone()];
        for (subscription, expected) in self.subscriptions.iter_mut().zip(expected) {
            assert_eq!(drain(subscription, expected.len()).await, expected);
        }
    }

    pub(crate) async fn wait_for(&self, condition: impl FnMut(&State) -> bool) {
        self.listener.state().wait_for(condition).await.unwrap();
    }

    pub(crate) async fn is_disconnected(&self) {
        self.wait_for(|state| !matches!(state, State::Listening)).await;
    }

    /// Every subscription yields one gap, then everything sent after it, and no further gap.
    pub(crate) async fn one_gap_and_on(&mut self) {
        for subscription in &mut self.subscriptions {
            match subscription.recv().await {
                Some(Ok(Event::Gap(Gap::Reconnected { down_for }))) => {
                    assert!(down_for < Duration::from_secs(60), "{down_for:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        self.everything_arrives(100).await;
    }
}
