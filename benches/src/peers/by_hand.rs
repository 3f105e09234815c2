//! Notifications joined and decoded by hand: what one writes without notify_json.
//!
//! Up to 7,999 bytes travel as they are, more in frames: `ID INDEX COUNT`, a line feed and a slice
//! of the text. One transaction sends them, so they arrive together.

pub(super) mod pgpubsub;
pub(super) mod raw;
pub(super) mod sqlx;

use futures_util::future::BoxFuture;

use super::{Receiver, Seen};
/// One connection's notifications.
pub(super) trait Notifications: Send {
    type Notification: Payload + Send;

    fn next(&mut self) -> impl Future<Output = Self::Notification> + Send;
}

pub(super) trait Payload {
    fn payload(&self) -> &str;
}

pub(super) struct ByHand<N> {
    notifications: N,
    unfinished: Unfinished,
}

#[derive(Default)]
struct Unfinished {
    id: u64,
    frames: u32,
    text: String,
}

impl<N> ByHand<N> {
    pub(super) fn new(notifications: N) -> Self {
        Self { notifications, unfinished: Unfinished::default() }
    }
}

impl<N: Notifications> ByHand<N> {
    /// Hands over the next whole text.
    pub(super) async fn next_text<R>(&mut self, seen: impl FnOnce(&str) -> R) -> R {
        loop {
            let notification = self.notifications.next().await;
            let payload = notification.payload();
            if payload.starts_with('{') {
                return seen(payload);
            }
            if let Some(text) = self.unfinished.join(payload) {
                return seen(text);
            }
        }
    }
}

impl<N: Notifications> Receiver for ByHand<N> {
    fn receive<'a>(&'a mut self, seen: Seen<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move { while self.next_text(&mut *seen).await.is_continue() {} })
    }
}

impl Unfinished {
    /// The text, once the last frame has come.
    fn join(&mut self, payload: &str) -> Option<&str> {
        let (header, body) = payload.split_once('\n')?;
        let mut fields = header.split(' ');
        let id = fields.next()?.parse().ok()?;
        let index: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        if index == 0 {
            *self = Self { id, frames: 0, text: std::mem::take(&mut self.text) };
            self.text.clear();
        }
        if self.id != id || self.frames != index {
            return None;
        }
        self.text.push_str(body);
        self.frames += 1;
        (self.frames == count).then_some(&self.text)
    }
}

/// The longest payload of NOTIFY.
const PAYLOAD_BYTES: usize = 7_999;

/// Room for `ID INDEX COUNT` and a line feed.
const HEADER_BYTES: usize = 32;

/// The payloads of a message.
pub(super) fn frames(id: u64, text: &str) -> Vec<String> {
    if text.len() <= PAYLOAD_BYTES {
        return vec![text.to_owned()];
    }
    let mut bodies = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (body, after) = rest.split_at(rest.floor_char_boundary(PAYLOAD_BYTES - HEADER_BYTES));
        bodies.push(body);
        rest = after;
    }
    let count = bodies.len();
    let bodies = bodies.into_iter().enumerate();
    bodies.map(|(index, body)| format!("{id} {index} {count}\n{body}")).collect()
}
