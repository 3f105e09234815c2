//! Joining: what arrives in order is joined, and whatever else arrives is named and harmless.

use notify_json_wire::{
    Content, Encoding, Header, Id, Incomplete, JoinError, Joined, Joiner, Limits, ParseError,
    SplitOptions, Splitter, Step,
};

const SENDER: i32 = 4711;
const CHANNEL: &str = "orders";

fn frames(text: &str, compress: bool) -> Vec<String> {
    let options =
        SplitOptions { compress_above_bytes: compress.then_some(0), ..SplitOptions::default() };
    let mut splitter = Splitter::new().unwrap();
    splitter.split(text, &options).unwrap().payloads().map(|payload| payload.to_string()).collect()
}

fn text(seed: u32, bytes: usize) -> String {
    (0..bytes as u32).map(|i| char::from(b'0' + (i.wrapping_mul(seed) >> 7) as u8 % 10)).collect()
}

fn joiner() -> Joiner {
    Joiner::new(Limits::default())
}

fn push(joiner: &mut Joiner, payload: &str) -> Step {
    joiner.push(SENDER, CHANNEL, payload)
}

/// Pushes payloads of one sender and channel, of which the last alone completes a message.
fn join(joiner: &mut Joiner, payloads: &[String]) -> String {
    let (last, earlier) = payloads.split_last().unwrap();
    for payload in earlier {
        let step = push(joiner, payload);
        assert_eq!(step.incomplete, None);
        assert!(matches!(step.joined, Ok(Joined::Unfinished)));
    }
    let step = push(joiner, last);
    assert_eq!(step.incomplete, None);
    match step.joined {
        Ok(Joined::Message(message)) => {
            assert_eq!(message.frame_count as usize, payloads.len());
            message.into_text().unwrap()
        }
        other => panic!("no message: {other:?}"),
    }
}

fn incomplete(received: u32, count: usize) -> Incomplete {
    Incomplete { channel: CHANNEL.to_owned(), received, count: count as u32 }
}

#[test]
fn messages_follow_each_other() {
    let mut joiner = joiner();
    for (bytes, compress) in [(8_000, false), (8_000, true), (100_000, false), (500_000, true)] {
        let text = text(77_777, bytes);
        assert_eq!(join(&mut joiner, &frames(&text, compress)), text);
    }
}

#[test]
fn whatever_does_not_continue_a_message_ends_it() {
    let (one, other) = (frames(&text(3, 30_000), false), frames(&text(5, 30_000), false));
    let interruptions: [(i32, &str, &str); 7] = [
        (SENDER, CHANNEL, "{}"),
        (SENDER, "another", "{}"),
        (SENDER, CHANNEL, "~1 event"),
        (SENDER, CHANNEL, "~"),
        (SENDER, CHANNEL, &other[0]),
        (SENDER + 1, CHANNEL, &one[2]),
        (SENDER, "another", &one[2]),
    ];
    for (sender, channel, payload) in interruptions {
        let mut joiner = joiner();
        push(&mut joiner, &one[0]);
        push(&mut joiner, &one[1]);
        let step = joiner.push(sender, channel, payload);
        assert_eq!(step.incomplete, Some(incomplete(2, one.len())), "{payload:.60}");
    }
}

#[test]
fn interleaved_messages_are_both_reported_and_do_no_harm() {
    let (one, other) = (frames(&text(3, 30_000), false), frames(&text(5, 30_000), false));
    let mut joiner = joiner();
    let mut gaps = Vec::new();
    for payload in one.iter().zip(&other).flat_map(|(a, b)| [a, b]) {
        let step = push(&mut joiner, payload);
        gaps.extend(step.incomplete);
        match step.joined.unwrap() {
            Joined::Unfinished | Joined::PassedOver => {}
            Joined::Headless(gap) => gaps.push(gap),
            other => panic!("{other:?}"),
        }
    }
    assert!(gaps.len() >= 2, "{gaps:?}");
    assert_eq!(gaps[..2], [incomplete(1, one.len()), incomplete(1, other.len())]);
    assert_eq!(join(&mut joiner, &one), text(3, 30_000));
}

#[test]
fn a_repeated_or_skipped_frame_ends_the_message_and_the_rest_is_passed_over() {
    let frames = frames(&text(3, 40_000), false);
    for wrong in [0, 1, 3, 5] {
        let mut joiner = joiner();
        push(&mut joiner, &frames[0]);
        push(&mut joiner, &frames[1]);
        let step = push(&mut joiner, &frames[wrong]);
        assert_eq!(step.incomplete, Some(incomplete(2, frames.len())));
        match wrong {
            0 => assert!(matches!(step.joined, Ok(Joined::Unfinished)), "a new beginning"),
            _ => assert!(matches!(step.joined, Ok(Joined::PassedOver))),
        }
    }
}

#[test]
fn a_tail_is_reported_once() {
    let frames = frames(&text(3, 40_000), false);
    let mut joiner = joiner();
    let Ok(Joined::Headless(gap)) = push(&mut joiner, &frames[2]).joined else { panic!() };
    assert_eq!(gap, incomplete(0, frames.len()));
    for frame in &frames[3..] {
        assert!(matches!(push(&mut joiner, frame).joined, Ok(Joined::PassedOver)));
    }
    assert_eq!(join(&mut joiner, &frames), text(3, 40_000));
}

#[test]
fn giving_up_names_the_message_once() {
    let frames = frames(&text(3, 40_000), false);
    let mut joiner = joiner();
    push(&mut joiner, &frames[0]);
    assert_eq!(joiner.give_up(), Some(incomplete(1, frames.len())));
    assert_eq!(joiner.give_up(), None);
    assert!(matches!(push(&mut joiner, &frames[1]).joined, Ok(Joined::PassedOver)));
}

fn frame(index: u32, count: u32, encoding: Encoding, length: u64, body: &str) -> String {
    format!("{}{body}", Header { id: Id(1), index, count, encoding, length })
}

#[test]
fn headers_that_lie_are_refused_before_anything_is_allocated() {
    use Encoding::{Json, Zstd};
    let limit = Limits::default().max_message_bytes;
    let too_large = |length| JoinError::TooLarge { length, limit };
    let count = |count, length| JoinError::Count { count, length };
    let cases = [
        (frame(0, 600_000, Json, 4 << 30, "x"), too_large(4 << 30)),
        (frame(0, 1, Zstd, u64::MAX, "AAAA"), too_large(u64::MAX)),
        (frame(0, 1, Zstd, (16 << 20) + 1, "AAAA"), too_large((16 << 20) + 1)),
        (frame(0, 1, Json, 8_000, "x"), count(1, 8_000)),
        (frame(0, 3, Json, 100, "x"), count(3, 100)),
        (frame(0, u32::MAX, Json, 16 << 20, "x"), count(u32::MAX, 16 << 20)),
        (frame(0, u32::MAX, Zstd, 16 << 20, "AAAA"), count(u32::MAX, 16 << 20)),
        (frame(0, 1, Json, 2, "xyz"), JoinError::Length { index: 0, actual: 3, length: 2 }),
        (frame(0, 1, Json, 3, "xy"), JoinError::Length { index: 0, actual: 2, length: 3 }),
        (frame(0, 2, Json, 8_000, &"x".repeat(8_000)), {
            JoinError::Length { index: 0, actual: 8_000, length: 8_000 }
        }),
        (frame(0, 1, Zstd, 100, "?"), JoinError::Base64 { index: 0 }),
        (frame(0, 1, Zstd, 100, "AAA"), JoinError::Base64 { index: 0 }),
        (frame(0, 2, Zstd, 9_000, "AA=="), JoinError::Base64 { index: 0 }),
        (frame(0, 1, Zstd, 4, &"A".repeat(4_000)), {
            JoinError::Length { index: 0, actual: 3_000, length: 4 }
        }),
        ("~".to_owned(), JoinError::Parse(ParseError::Version)),
    ];
    for (payload, expected) in cases {
        let mut joiner = joiner();
        let step = push(&mut joiner, &payload);
        assert_eq!(step.incomplete, None);
        assert_eq!(step.joined.unwrap_err(), expected);
        assert_eq!(join(&mut joiner, &frames(&text(3, 9_000), true)), text(3, 9_000));
    }
}

#[test]
fn the_limit_holds_for_bare_messages_too() {
    let mut joiner = Joiner::new(Limits { max_message_bytes: 3 });
    assert!(matches!(push(&mut joiner, "[1]").joined, Ok(Joined::Bare)));
    let error = push(&mut joiner, "[10]").joined.unwrap_err();
    assert_eq!(error, JoinError::TooLarge { length: 4, limit: 3 });
}

#[test]
fn the_rest_of_a_refused_message_is_passed_over() {
    let frames = frames(&text(3, 40_000), false);
    let mut joiner = Joiner::new(Limits { max_message_bytes: 39_999 });
    let error = push(&mut joiner, &frames[0]).joined.unwrap_err();
    assert_eq!(error.to_string(), "message of 40000 bytes exceeds the limit of 39999 bytes");
    for frame in &frames[1..] {
        let step = push(&mut joiner, frame);
        assert_eq!(step.incomplete, None);
        assert!(matches!(step.joined, Ok(Joined::PassedOver)));
    }
}

#[test]
fn a_zstd_bomb_is_an_error_of_its_message() {
    let bomb = frames(&" ".repeat(16 << 20), true);
    assert_eq!(bomb.len(), 1, "16 MiB of spaces travel in one frame");
    let (_, body) = bomb[0].split_once('\n').unwrap();
    let lie = frame(0, 1, Encoding::Zstd, 10_000, body);
    let Ok(Joined::Message(message)) = push(&mut joiner(), &lie).joined else { panic!() };
    assert!(matches!(message.content, Content::Zstd(_)));
    let error = message.into_text().unwrap_err();
    assert_eq!(
        error.to_string(),
        "zstd: not a frame of at most 10000 bytes, as the header announced"
    );
}

#[test]
fn a_message_that_came_whole_is_no_longer_given_up() {
    let frames = frames(&text(3, 40_000), false);
    let mut joiner = joiner();
    push(&mut joiner, &frames[0]);
    assert_eq!(push(&mut joiner, "{}").incomplete, Some(incomplete(1, frames.len())));
    assert_eq!(join(&mut joiner, &frames), text(3, 40_000));
    let Ok(Joined::Headless(gap)) = push(&mut joiner, &frames[2]).joined else {
        panic!("the loss of the third sending is silent")
    };
    assert_eq!(gap, incomplete(0, frames.len()));
}
