//! Properties of splitting and joining over random texts and hostile payloads.

use notify_json_wire::{
    Carrier, Joined, Joiner, Limits, MAX_PAYLOAD_BYTES, Payload, SplitOptions, Splitter, parse,
};
use proptest::prelude::*;

/// Texts around multiples of a payload, of characters of 1 to 4 bytes.
fn text() -> impl Strategy<Value = String> {
    let alphabet = prop::sample::select(vec!["a", "\"", "é", "€", "😀", "\n", "~"]);
    (prop::collection::vec(alphabet, 1..40), 0usize..40_000).prop_map(|(unit, bytes)| {
        let unit = unit.concat();
        let mut text = unit.repeat(bytes / unit.len() + 1);
        text.truncate(text.floor_char_boundary(bytes));
        text
    })
}

fn options() -> impl Strategy<Value = SplitOptions> {
    let compress_above_bytes = prop_oneof![Just(None), (0usize..20_000).prop_map(Some)];
    let carrier = prop_oneof![
        Just(Carrier::Utf8),
        (0usize..20_000).prop_map(|text_bytes| Carrier::Other { text_bytes })
    ];
    (compress_above_bytes, carrier).prop_map(|(compress_above_bytes, carrier)| SplitOptions {
        compress_above_bytes,
        carrier,
        ..SplitOptions::default()
    })
}

fn split(text: &str, options: &SplitOptions) -> Vec<String> {
    let mut splitter = Splitter::new().unwrap();
    splitter.split(text, options).unwrap().payloads().map(|payload| payload.to_string()).collect()
}

/// Payloads between noise and well-formed frames.
fn payload() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        (0u64..4).prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        "[0-9+-]{0,12}",
    ];
    let encoding = prop::sample::select(vec!["json", "zstd", "lz4", ""]);
    let id = prop_oneof![Just("00000000000000ab".to_owned()), "[0-9a-f]{16}", ".{0,17}"];
    let body = prop_oneof!["[A-Za-z0-9+/]{0,64}={0,2}", ".{0,80}"];
    let frame = (id, number.clone(), number.clone(), encoding, number, body).prop_map(
        |(id, index, count, encoding, length, body)| {
            format!("~1 {id} {index}/{count} {encoding} {length}\n{body}")
        },
    );
    prop_oneof![4 => frame, 1 => ".{0,40}", 1 => "~1? ?.{0,40}", 1 => Just("~1 event".to_owned())]
}

proptest! {
    #[test]
    fn joined_frames_equal_the_text(text in text(), options in options()) {
        let payloads = split(&text, &options);
        let mut joiner = Joiner::new(Limits::default());
        let (last, earlier) = payloads.split_last().unwrap();
        for payload in earlier {
            let step = joiner.push(1, "c", payload);
            prop_assert!(matches!(step.joined, Ok(Joined::Unfinished)));
        }
        let joined = match joiner.push(1, "c", last).joined {
            Ok(Joined::Bare) => last.clone(),
            Ok(Joined::Message(message)) => message.into_text().unwrap(),
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(joined, text);
    }

    #[test]
    fn every_payload_fits_and_parses_back(text in text(), options in options()) {
        for payload in split(&text, &options) {
            match parse(&payload).unwrap() {
                Payload::Bare(bare) => prop_assert_eq!(bare, &text),
                frame => {
                    prop_assert!(payload.len() <= MAX_PAYLOAD_BYTES);
                    prop_assert_eq!(frame.to_string(), payload);
                }
            }
        }
    }

    #[test]
    fn another_carrier_never_sees_a_cut_text_that_is_not_ascii(
        text in text(),
        text_bytes in 0usize..20_000,
    ) {
        let carrier = Carrier::Other { text_bytes };
        let payloads = split(&text, &SplitOptions { carrier, ..SplitOptions::default() });
        for payload in &payloads {
            prop_assert!(payload.is_ascii() || (payloads.len() == 1 && *payload == text));
        }
    }

    #[test]
    fn what_parses_displays_as_it_was(payload in payload()) {
        if let Ok(parsed) = parse(&payload) {
            prop_assert_eq!(parsed.to_string(), payload);
        }
    }

    #[test]
    fn hostile_payloads_neither_panic_nor_stop_what_follows(
        payloads in prop::collection::vec((0i32..2, payload()), 0..30),
        text in text(),
    ) {
        let mut joiner = Joiner::new(Limits { max_message_bytes: 100_000 });
        for (sender, payload) in &payloads {
            if let Ok(Joined::Message(message)) = joiner.push(*sender, "c", payload).joined {
                prop_assert!(message.into_text().map_or(0, |text| text.len()) <= 100_000);
            }
        }
        for payload in split(&text, &SplitOptions::default()) {
            match joiner.push(3, "c", &payload).joined.unwrap() {
                Joined::Bare => prop_assert_eq!(&payload, &text),
                Joined::Message(message) => prop_assert_eq!(&message.into_text().unwrap(), &text),
                other => prop_assert!(matches!(other, Joined::Unfinished)),
            }
        }
    }

    #[test]
    fn lost_frames_never_make_another_text(text in text(), lost in prop::collection::vec(any::<bool>(), 8)) {
        let options = SplitOptions { compress_above_bytes: None, ..SplitOptions::default() };
        let mut joiner = Joiner::new(Limits::default());
        for (payload, lost) in split(&text, &options).iter().zip(lost) {
            if lost {
                continue;
            }
            if let Ok(Joined::Message(message)) = joiner.push(1, "c", payload).joined {
                prop_assert_eq!(message.into_text().unwrap(), text.as_str());
            }
        }
    }
}
