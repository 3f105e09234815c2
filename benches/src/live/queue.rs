//! What a message takes of the server's queue, of which there are 8 GB for the whole cluster.

use notify_json_tests::Database;

use super::large::{SIZES, WINDOW_BYTES};
use crate::document::{Body, Language, Picture};
use crate::figures::{Axis, Scenario, Unit};
use crate::peers::{CHANNEL, Peer, Publisher};
use crate::rounds::Bench;

pub(crate) async fn run(bench: &mut Bench, database: &Database) {
    measure::<Vec<Language>>(bench, database).await;
    measure::<Picture>(bench, database).await;
}

async fn measure<B: Body>(bench: &mut Bench, database: &Database) {
    for size in SIZES {
        let template = B::template(size);
        let messages = (WINDOW_BYTES / size) as u64;
        bench
            .interleave(&[Peer::NotifyJson, Peer::Raw], async |peer| {
                let mut publisher = Publisher::connect(peer, database).await;
                // A listener in a transaction reads nothing, so what is sent stays in the queue.
                let idle = database.connect().await;
                let hold = format!("LISTEN {CHANNEL}; BEGIN; SELECT 1");
                for sql in hold.split("; ") {
                    idle.batch_execute(sql).await.expect("the server runs");
                }
                let before = queue_bytes(&publisher).await;
                for id in 0..messages {
                    publisher.publish(&[template.stamped(id)]).await;
                }
                let each = (queue_bytes(&publisher).await - before) / messages as f64;
                idle.batch_execute("ROLLBACK").await.expect("the server runs");
                let family = format!("live {}, room in the queue", B::NAME);
                let scenario = Scenario::new(family, Axis::Bytes, size as u64, Unit::Bytes);
                vec![(scenario, each)]
            })
            .await;
    }
}

/// Of whole pages, which is how the server counts.
async fn queue_bytes(publisher: &Publisher) -> f64 {
    const PAGES: &str =
        "coalesce(current_setting('max_notify_queue_pages', true)::float8, 1048576)";
    const PAGE: &str = "current_setting('block_size')::float8";
    publisher.ask(&format!("SELECT pg_notification_queue_usage() * {PAGES} * {PAGE}")).await
}
