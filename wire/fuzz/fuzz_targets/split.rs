//! Any text with any options joins back exactly, from payloads that fit.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use notify_json_wire::{
    Carrier, Joined, Joiner, Limits, MAX_PAYLOAD_BYTES, Payload, SplitOptions, Splitter,
};

const MAX_MESSAGE_BYTES: usize = 17 * MAX_PAYLOAD_BYTES;

/// A payload less the longest header of such a message.
const FULL_BODY_BYTES: usize = 7_960;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    compress_above_bytes: Option<u16>,
    /// A carrier that is not UTF-8, and the bytes less one of its characters beyond ASCII.
    other_carrier: Option<u8>,
    /// 0: the text is `unit`; else `unit` is repeated to about so many full frames and a bit, since
    /// the boundaries lie there.
    frames: u8,
    bit: u8,
    /// Digits after each repeat that compress badly, so that `zstd` takes several frames.
    noise: bool,
    unit: &'a str,
}

impl Input<'_> {
    fn text(&self) -> String {
        let mut text = self.unit.to_owned();
        let frames = usize::from(self.frames % 17);
        if frames == 0 || (text.is_empty() && !self.noise) {
            return text;
        }
        let bytes = frames * FULL_BODY_BYTES + usize::from(self.bit);
        for i in 1u64.. {
            if text.len() >= bytes {
                break;
            }
            if self.noise {
                text += &format!("{:x}", i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            }
            text += self.unit;
        }
        text.truncate(text.floor_char_boundary(bytes));
        text
    }

    fn carrier(&self, text: &str) -> Carrier {
        let Some(bytes) = self.other_carrier else {
            return Carrier::Utf8;
        };
        let ascii = text.bytes().filter(u8::is_ascii).count();
        let others = text.chars().count() - ascii;
        let text_bytes = ascii + others * usize::from(bytes % 4 + 1);
        Carrier::Other { text_bytes }
    }
}

fuzz_target!(|input: Input<'_>| {
    let text = input.text();
    let carrier = input.carrier(&text);
    let options = SplitOptions {
        max_message_bytes: MAX_MESSAGE_BYTES,
        compress_above_bytes: input.compress_above_bytes.map(usize::from),
        carrier,
    };
    let mut splitter = Splitter::new().unwrap();
    let split = splitter.split(&text, &options).unwrap();
    let mut joiner = Joiner::new(Limits { max_message_bytes: MAX_MESSAGE_BYTES });
    let mut remaining = split.payloads().len();
    for payload in split.payloads() {
        remaining -= 1;
        let raw = payload.to_string();
        match payload {
            Payload::Bare(bare) => assert!(carried_bytes(bare, carrier) <= MAX_PAYLOAD_BYTES),
            _ => assert!(raw.len() <= MAX_PAYLOAD_BYTES),
        }
        match joiner.push(1, "orders", &raw).joined.unwrap() {
            Joined::Unfinished => assert!(remaining > 0),
            joined => {
                assert_eq!(remaining, 0);
                let joined = match joined {
                    Joined::Bare => raw,
                    Joined::Message(message) => message.into_text().unwrap(),
                    other => panic!("{other:?}"),
                };
                return assert_eq!(joined, text);
            }
        }
    }
    panic!("the text is unfinished");
});

fn carried_bytes(text: &str, carrier: Carrier) -> usize {
    match carrier {
        Carrier::Utf8 => text.len(),
        Carrier::Other { text_bytes } => text_bytes,
    }
}
