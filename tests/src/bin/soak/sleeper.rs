//! A subscriber that never reads, for tests that watch its memory.

use futures_util::StreamExt;
use notify_json_client::{Bounds, ListenerConfig};
use tokio::io::AsyncReadExt;

pub(crate) async fn run(url: &str) {
    let config: ListenerConfig = url.parse().expect("it is a URL");
    let bounds = Bounds { bytes: 8 << 20, ..Bounds::default() };
    let listener = config.bounds(bounds).connect().await.expect("the server runs");
    let sleeper = listener.subscribe::<String>("c").await.expect("the server runs");
    let mut reader = listener.subscribe::<String>("c").await.expect("the server runs").messages();
    println!("ready");
    while reader.next().await.expect("the listener runs").expect("only strings") != "end" {}
    println!("end");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.expect("it can be read");
    drop(sleeper);
}
