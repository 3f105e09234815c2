//! What waits for one subscriber: a queue bounded by count and bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::counters::Counters;
use crate::{Bounds, Error, Gap, Message, Overflow};

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Message(Message),
    Gap(Gap),
    Error(Error),
}

#[derive(Debug)]
enum Slot {
    Item(Item),
    /// The place of a gap whose channels are not listened to again yet. Nothing behind it is
    /// given out until they are.
    Barrier {
        since: Instant,
    },
}

impl Slot {
    /// Whether it counts as a message, and gives way to newer ones. Anyone can cause incomplete
    /// messages, so they count too.
    fn is_droppable(&self) -> bool {
        !matches!(
            self,
            Self::Barrier { .. }
                | Self::Item(Item::Gap(Gap::Reconnected { .. } | Gap::Lagged { .. }))
        )
    }

    fn held_bytes(&self) -> usize {
        match self {
            Self::Item(Item::Message(message)) => message.held_bytes(),
            Self::Item(Item::Error(error)) => error.raw().map_or(0, str::len),
            Self::Item(Item::Gap(_)) | Self::Barrier { .. } => 0,
        }
    }
}

/// Filled by the session, which never waits, and emptied by one subscriber.
#[derive(Debug)]
pub(crate) struct Buffer {
    bounds: Bounds,
    state: Mutex<State>,
    subscriber: AtomicWaker,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct State {
    slots: VecDeque<Slot>,
    /// Slots that count as messages.
    messages: usize,
    bytes: usize,
    closed: bool,
}

impl Buffer {
    pub(crate) fn new(bounds: Bounds, counters: Arc<Counters>) -> Self {
        Self { bounds, state: Mutex::default(), subscriber: AtomicWaker::new(), counters }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while locked")
    }

    /// Adds an item. Where that exceeds the bounds, the oldest ones give way or the buffer closes.
    /// One item is always kept, however large.
    pub(crate) fn push(&self, item: Item) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        if let Item::Gap(_) = item {
            self.counters.gaps.add(1);
        }
        state.push_back(Slot::Item(item));
        while state.messages > 1
            && (state.messages > self.bounds.messages || state.bytes > self.bounds.bytes)
        {
            match self.bounds.overflow {
                Overflow::DropOldest => {
                    self.counters.lagged.add(1);
                    self.counters.gaps.add(u64::from(state.drop_oldest()));
                }
                Overflow::Close => {
                    state.pop_back();
                    let (messages, bytes) = (state.messages, state.bytes);
                    state.push_back(Slot::Item(Item::Error(Error::overflow(messages, bytes))));
                    // Nobody resumes a buffer that is closed.
                    self.counters.gaps.add(state.resume());
                    state.closed = true;
                    break;
                }
            }
        }
        drop(state);
        self.subscriber.wake();
    }

    /// Notes that messages may be missing from here on, until [`resume`](Self::resume).
    pub(crate) fn interrupt(&self, since: Instant) {
        let mut state = self.state();
        if !state.closed && !matches!(state.slots.back(), Some(Slot::Barrier { .. })) {
            state.push_back(Slot::Barrier { since });
        }
    }

    /// Adds an error that does not wait for the channels to be listened to again.
    pub(crate) fn push_ahead(&self, error: Error) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        let barrier = match state.slots.back() {
            Some(Slot::Barrier { .. }) => state.slots.pop_back(),
            _ => None,
        };
        state.push_back(Slot::Item(Item::Error(error)));
        state.slots.extend(barrier);
        drop(state);
        self.subscriber.wake();
    }

    /// Turns what was interrupted into gaps: every channel is listened to again.
    pub(crate) fn resume(&self) {
        let resumed = self.state().resume();
        self.counters.gaps.add(resumed);
        self.subscriber.wake();
    }

    /// Forgets what waits, which was not promised to anyone yet.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        if !state.closed {
            *state = State::default();
        }
    }

    /// Lets the subscriber take what is waiting, gaps that are not over included; after that its
    /// stream ends.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        self.counters.gaps.add(state.resume());
        state.closed = true;
        drop(state);
        self.subscriber.wake();
    }

    /// Whether it closed itself because it overflowed.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.bounds.overflow == Overflow::Close && self.state().closed
    }

    /// Takes the oldest item; `None` once the buffer is closed and empty.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let mut state = self.state();
        match state.slots.front() {
            Some(Slot::Item(_)) => {
                let Some(Slot::Item(item)) = state.pop_front() else { unreachable!("seen") };
                Poll::Ready(Some(item))
            }
            None if state.closed => Poll::Ready(None),
            Some(Slot::Barrier { .. }) | None => {
                // Still locked: whoever adds an item does so after this, and wakes us.
                self.subscriber.register(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl State {
    fn push_back(&mut self, slot: Slot) {
        self.bytes += slot.held_bytes();
        self.messages += usize::from(slot.is_droppable());
        self.slots.push_back(slot);
    }

    fn pop_front(&mut self) -> Option<Slot> {
        let slot = self.slots.pop_front()?;
        self.forget(&slot);
        Some(slot)
    }

    fn pop_back(&mut self) {
        if let Some(slot) = self.slots.pop_back() {
            self.forget(&slot);
        }
    }

    fn forget(&mut self, slot: &Slot) {
        self.bytes -= slot.held_bytes();
        self.messages -= usize::from(slot.is_droppable());
    }

    /// Replaces the oldest message by a gap in its place, or adds it to the gap just before.
    /// `true` if that made a gap.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.slots.iter().position(Slot::is_droppable).expect("counted in messages");
        let lagged = Slot::Item(Item::Gap(Gap::Lagged { missed: 1 }));
        let dropped = std::mem::replace(&mut self.slots[oldest], lagged);
        self.forget(&dropped);
        let before = oldest.checked_sub(1).map(|before| &mut self.slots[before]);
        if let Some(Slot::Item(Item::Gap(Gap::Lagged { missed }))) = before {
            *missed += 1;
            self.slots.remove(oldest);
            return false;
        }
        true
    }

    /// How many barriers became gaps.
    fn resume(&mut self) -> u64 {
        let mut resumed = 0;
        for slot in &mut self.slots {
            if let Slot::Barrier { since } = slot {
                let down_for = since.elapsed();
                *slot = Slot::Item(Item::Gap(Gap::Reconnected { down_for }));
                resumed += 1;
            }
        }
        resumed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Item {
        Item::Message(Message::bare("c".into(), 1, text))
    }

    fn buffer(messages: usize, bytes: usize) -> Buffer {
        let overflow = Overflow::DropOldest;
        Buffer::new(Bounds { messages, bytes, overflow }, Arc::default())
    }

    fn drain(buffer: &Buffer) -> Vec<String> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut shown = Vec::new();
        while let Poll::Ready(Some(item)) = buffer.poll_next(&mut cx) {
            shown.push(match item {
                Item::Message(message) => message.json().unwrap().to_owned(),
                Item::Gap(Gap::Lagged { missed }) => format!("missed {missed}"),
                Item::Gap(Gap::Reconnected { .. }) => "reconnected".to_owned(),
                Item::Gap(gap) => gap.to_string(),
                Item::Error(error) => error.to_string(),
            });
        }
        shown
    }

    fn gap() -> Item {
        Item::Gap(Gap::Incomplete { channel: "c".to_owned(), received: 1, count: 2 })
    }

    #[test]
    fn the_oldest_messages_give_way_to_a_count_in_their_place() {
        let buffer = buffer(2, usize::MAX);
        for text in ["1", "2", "3", "4", "5"] {
            buffer.push(message(text));
        }
        assert_eq!(drain(&buffer), ["missed 3", "4", "5"]);
        buffer.push(message("6"));
        assert_eq!(drain(&buffer), ["6"]);
    }

    #[test]
    fn incomplete_messages_are_bounded_like_messages() {
        let buffer = buffer(1, usize::MAX);
        buffer.push(message("1"));
        buffer.push(gap());
        buffer.push(message("2"));
        buffer.push(message("3"));
        assert_eq!(drain(&buffer), ["missed 3", "3"], "incomplete messages give way too");
    }

    #[test]
    fn bytes_are_bounded_but_one_message_is_always_kept() {
        let bytes = 2 * Message::bare("c".into(), 1, "").held_bytes() + 10;
        let buffer = buffer(usize::MAX, bytes);
        for text in ["12345", "67890", "123456"] {
            buffer.push(message(text));
        }
        assert_eq!(drain(&buffer), ["missed 2", "123456"]);
        buffer.push(message(&"1".repeat(10_000)));
        assert_eq!(drain(&buffer), ["1".repeat(10_000)]);
    }

    #[test]
    fn a_closed_buffer_gives_out_what_waits_and_takes_no_more() {
        let buffer = buffer(9, usize::MAX);
        buffer.push(message("1"));
        buffer.close();
        buffer.push(message("2"));
        assert_eq!(drain(&buffer), ["1"]);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(buffer.poll_next(&mut cx), Poll::Ready(None)));
    }

    #[test]
    fn nothing_behind_an_interruption_is_given_out_before_it_is_over() {
        let buffer = buffer(3, usize::MAX);
        buffer.push(message("1"));
        buffer.interrupt(Instant::now());
        buffer.interrupt(Instant::now());
        buffer.push(message("2"));
        assert_eq!(drain(&buffer), ["1"]);
        buffer.interrupt(Instant::now());
        buffer.push(message("3"));
        buffer.resume();
        assert_eq!(drain(&buffer), ["reconnected", "2", "reconnected", "3"]);
        assert_eq!(buffer.counters.gaps.value(), 2);
    }

    #[test]
    fn messages_dropped_behind_an_interruption_are_counted_behind_it() {
        let buffer = buffer(1, usize::MAX);
        buffer.push(message("1"));
        buffer.interrupt(Instant::now());
        for text in ["2", "3", "4"] {
            buffer.push(message(text));
        }
        buffer.resume();
        assert_eq!(drain(&buffer), ["missed 1", "reconnected", "missed 2", "4"]);
    }

    #[test]
    fn closing_makes_gaps_of_interruptions() {
        let buffer = buffer(9, usize::MAX);
        buffer.push(message("1"));
        buffer.interrupt(Instant::now());
        buffer.push(message("2"));
        buffer.interrupt(Instant::now());
        buffer.close();
        assert_eq!(drain(&buffer), ["1", "reconnected", "2", "reconnected"]);
    }

    #[test]
    fn overflow_closes_also_while_interrupted() {
        let bounds = Bounds { messages: 2, overflow: Overflow::Close, ..Bounds::default() };
        let buffer = Buffer::new(bounds, Arc::default());
        buffer.interrupt(Instant::now());
        for text in ["1", "2", "3"] {
            buffer.push(message(text));
        }
        let drained = drain(&buffer);
        assert_eq!(drained[..3], ["reconnected", "1", "2"]);
        assert_eq!(drained.len(), 4, "{drained:?}");
    }

    #[test]
    fn overflow_may_close_instead_of_dropping() {
        let bounds = Bounds { messages: 2, bytes: usize::MAX, overflow: Overflow::Close };
        let buffer = Buffer::new(bounds, Arc::default());
        for text in ["1", "2", "3", "4"] {
            buffer.push(message(text));
        }
        assert!(buffer.has_overflowed());
        let shown = drain(&buffer);
        assert_eq!(shown[..2], ["1", "2"]);
        assert!(shown[2].starts_with("subscription closed: it had 2 messages"), "{shown:?}");
        assert_eq!(shown.len(), 3);
    }
}
