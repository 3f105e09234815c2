//! Whatever arrives, joining never panics, keeps to its limits and joins the next clean message.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use notify_json_wire::{Joined, Joiner, Limits, SplitOptions, Splitter, Step};
use notify_json_wire_fuzz::Source;
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Small enough that golden vectors lie on either side of it.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// The compressed form and the text of one message, and what names an incomplete one.
const MAX_HEAP_BYTES: usize = 2 * MAX_MESSAGE_BYTES + (2 << 10);

#[derive(Arbitrary, Debug)]
struct Sent<'a> {
    sender: bool,
    channel: bool,
    source: Source<'a>,
}

const HOSTILE_SENDERS: [i32; 2] = [1, 2];
const CLEAN_SENDER: i32 = 3;

struct Clean {
    text: String,
    payloads: Vec<String>,
}

static CLEAN: LazyLock<[Clean; 2]> = LazyLock::new(|| {
    let text = format!("[{}0]", "\"é€😀\", 1.10, ".repeat(1_000));
    [None, Some(0)].map(|compress_above_bytes| {
        let options = SplitOptions { compress_above_bytes, ..SplitOptions::default() };
        let mut splitter = Splitter::new().unwrap();
        let split = splitter.split(&text, &options).unwrap();
        let payloads = split.payloads().map(|payload| payload.to_string());
        Clean { payloads: payloads.collect(), text: text.clone() }
    })
});

fuzz_target!(|sent: Vec<Sent<'_>>| {
    let hostile: Vec<_> = sent
        .iter()
        .map(|sent| {
            (
                HOSTILE_SENDERS[usize::from(sent.sender)],
                ["orders", "another"][usize::from(sent.channel)],
                sent.source.payloads(),
            )
        })
        .collect();
    let clean = &CLEAN[sent.len() % 2];

    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let mut joiner = Joiner::new(Limits { max_message_bytes: MAX_MESSAGE_BYTES });
    for (sender, channel, payloads) in &hostile {
        for payload in payloads {
            check(joiner.push(*sender, channel, payload));
        }
    }
    let heap_bytes = HEAP.peak_usage() - before;
    assert!(heap_bytes <= MAX_HEAP_BYTES, "{heap_bytes} bytes");

    for payload in &clean.payloads {
        match joiner.push(CLEAN_SENDER, "orders", payload).joined.unwrap() {
            Joined::Message(message) => {
                return assert_eq!(message.into_text().unwrap(), clean.text);
            }
            other => assert!(matches!(other, Joined::Unfinished), "{other:?}"),
        }
    }
    panic!("the clean message is unfinished");
});

fn check(step: Step) {
    if let Some(incomplete) = step.incomplete {
        assert!((1..incomplete.count).contains(&incomplete.received));
    }
    match step.joined {
        Ok(Joined::Message(message)) => {
            let text = message.into_text().unwrap_or_default();
            assert!(text.len() <= MAX_MESSAGE_BYTES);
        }
        Ok(Joined::Headless(incomplete)) => assert_eq!(incomplete.received, 0),
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(_) => {}
    }
}
