//! What waits for one subscriber: a queue bounded by count and bytes that drops the oldest.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use crate::{Error, Gap, Message};

/// What a subscriber may have waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Message(Message),
    Gap(Gap),
    Error(Error),
}

impl Item {
    fn held_bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.held_bytes(),
            Self::Error(error) => error.raw().map_or(0, str::len),
            Self::Gap(_) => 0,
        }
    }
}

/// Filled by the session, which never waits, and emptied by one subscriber.
#[derive(Debug)]
pub(crate) struct Buffer {
    bounds: Bounds,
    state: Mutex<State>,
    subscriber: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// Items other than gaps.
    messages: usize,
    bytes: usize,
    closed: bool,
}

impl Buffer {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: Mutex::default(), subscriber: AtomicWaker::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while locked")
    }

    /// Adds an item and drops the oldest ones where it exceeds the bounds. One item is always
    /// kept, however large.
    pub(crate) fn push(&self, item: Item) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        state.bytes += item.held_bytes();
        state.messages += usize::from(!matches!(item, Item::Gap(_)));
        state.items.push_back(item);
        while state.messages > 1
            && (state.messages > self.bounds.messages || state.bytes > self.bounds.bytes)
        {
            state.drop_oldest();
        }
        drop(state);
        self.subscriber.wake();
    }

    /// Lets the subscriber take what is waiting; after that its stream ends.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.subscriber.wake();
    }

    /// Takes the oldest item; `None` once the buffer is closed and empty.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        self.subscriber.register(cx.waker());
        let mut state = self.state();
        match state.items.pop_front() {
            Some(item) => {
                state.bytes -= item.held_bytes();
                state.messages -= usize::from(!matches!(item, Item::Gap(_)));
                Poll::Ready(Some(item))
            }
            None if state.closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl State {
    /// Replaces the oldest message by a gap in its place, or adds it to the gap just before.
    fn drop_oldest(&mut self) {
        let oldest = self
            .items
            .iter()
            .position(|item| !matches!(item, Item::Gap(_)))
            .expect("counted in messages");
        let dropped = &mut self.items[oldest];
        self.bytes -= dropped.held_bytes();
        self.messages -= 1;
        *dropped = Item::Gap(Gap::Lagged { missed: 1 });
        if let Some(before) = oldest.checked_sub(1)
            && let Item::Gap(Gap::Lagged { missed }) = &mut self.items[before]
        {
            *missed += 1;
            self.items.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Item {
        Item::Message(Message::bare("c".into(), 1, text))
    }

    fn drain(buffer: &Buffer) -> Vec<String> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut shown = Vec::new();
        while let Poll::Ready(Some(item)) = buffer.poll_next(&mut cx) {
            shown.push(match item {
                Item::Message(message) => message.json().unwrap().to_owned(),
                Item::Gap(Gap::Lagged { missed }) => format!("missed {missed}"),
                Item::Gap(gap) => gap.to_string(),
                Item::Error(error) => error.to_string(),
            });
        }
        shown
    }

    fn gap() -> Item {
        Item::Gap(Gap::Incomplete { channel: "c".to_owned(), received: 1, count: 2 })
    }

    const GAP: &str = "1 of 2 frames of a message received on \"c\"";

    #[test]
    fn the_oldest_messages_give_way_to_a_count_in_their_place() {
        let buffer = Buffer::new(Bounds { messages: 2, bytes: usize::MAX });
        for text in ["1", "2", "3", "4", "5"] {
            buffer.push(message(text));
        }
        assert_eq!(drain(&buffer), ["missed 3", "4", "5"]);
        buffer.push(message("6"));
        assert_eq!(drain(&buffer), ["6"]);
    }

    #[test]
    fn other_gaps_keep_their_place() {
        let buffer = Buffer::new(Bounds { messages: 1, bytes: usize::MAX });
        buffer.push(message("1"));
        buffer.push(gap());
        buffer.push(message("2"));
        buffer.push(message("3"));
        assert_eq!(drain(&buffer), ["missed 1", GAP, "missed 1", "3"]);
    }

    #[test]
    fn bytes_are_bounded_but_one_message_is_always_kept() {
        let bytes = 2 * Message::bare("c".into(), 1, "").held_bytes() + 10;
        let buffer = Buffer::new(Bounds { messages: usize::MAX, bytes });
        for text in ["12345", "67890", "123456"] {
            buffer.push(message(text));
        }
        assert_eq!(drain(&buffer), ["missed 2", "123456"]);
        buffer.push(message(&"1".repeat(10_000)));
        assert_eq!(drain(&buffer), ["1".repeat(10_000)]);
    }

    #[test]
    fn a_closed_buffer_gives_out_what_waits_and_takes_no_more() {
        let buffer = Buffer::new(Bounds { messages: 9, bytes: usize::MAX });
        buffer.push(message("1"));
        buffer.close();
        buffer.push(message("2"));
        assert_eq!(drain(&buffer), ["1"]);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(buffer.poll_next(&mut cx), Poll::Ready(None)));
    }
}
