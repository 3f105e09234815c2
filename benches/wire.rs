//! Splitting and joining, in bytes of JSON text a second and heap allocations of Rust (zstd's own
//! are not counted).

use std::fmt::Write as _;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use notify_json_wire::{Joined, Joiner, Limits, MAX_PAYLOAD_BYTES, SplitOptions, Splitter};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// The first is bare unless compressed, the last as long as the default limit allows.
const TEXT_BYTES: [usize; 5] = [1 << 10, 8 << 10, 64 << 10, 1 << 20, 16 << 20];

const JSON: Option<usize> = None;
const ZSTD: Option<usize> = Some(0);

fn main() {
    divan::main();
}

#[divan::bench(args = TEXT_BYTES)]
fn split_json(bencher: Bencher<'_, '_>, bytes: usize) {
    split(bencher, bytes, JSON);
}

#[divan::bench(args = TEXT_BYTES)]
fn split_zstd(bencher: Bencher<'_, '_>, bytes: usize) {
    split(bencher, bytes, ZSTD);
}

#[divan::bench(args = TEXT_BYTES)]
fn join_json(bencher: Bencher<'_, '_>, bytes: usize) {
    join(bencher, bytes, JSON);
}

#[divan::bench(args = TEXT_BYTES)]
fn join_zstd(bencher: Bencher<'_, '_>, bytes: usize) {
    join(bencher, bytes, ZSTD);
}

/// From the text to every payload written out, with the context and the buffer of a session.
fn split(bencher: Bencher<'_, '_>, bytes: usize, compress_above_bytes: Option<usize>) {
    let (text, options) = (text(bytes), options(compress_above_bytes));
    let mut splitter = Splitter::new().unwrap();
    let mut buffer = String::with_capacity(MAX_PAYLOAD_BYTES);
    bencher.counter(BytesCount::of_str(&text)).bench_local(|| {
        let split = splitter.split(black_box(&text), &options).unwrap();
        for payload in split.payloads() {
            buffer.clear();
            write!(buffer, "{payload}").unwrap();
            black_box(&buffer);
        }
    });
}

/// From the payloads to the text, decompressed.
fn join(bencher: Bencher<'_, '_>, bytes: usize, compress_above_bytes: Option<usize>) {
    let (text, options) = (text(bytes), options(compress_above_bytes));
    let mut splitter = Splitter::new().unwrap();
    let split = splitter.split(&text, &options).unwrap();
    let payloads: Vec<String> = split.payloads().map(|p| p.to_string()).collect();
    let mut joiner = Joiner::new(Limits::default());
    bencher.counter(BytesCount::of_str(&text)).bench_local(|| {
        for payload in black_box(&payloads) {
            match joiner.push(1, "orders", payload).joined.unwrap() {
                Joined::Unfinished => {}
                Joined::Bare => return payload.clone(),
                Joined::Message(message) => return message.into_text().unwrap(),
                other => panic!("{other:?}"),
            }
        }
        panic!("the message is unfinished")
    });
}

fn options(compress_above_bytes: Option<usize>) -> SplitOptions {
    SplitOptions { compress_above_bytes, ..SplitOptions::default() }
}

/// Orders that differ in their numbers, as a table's rows would, cut to `bytes`.
fn text(bytes: usize) -> String {
    const STATUS: [&str; 4] = ["new", "paid", "sent", "zurückgegeben"];
    let mut text = String::with_capacity(bytes + 128);
    text.push('[');
    for id in 0u64.. {
        let hash = (id + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (status, cents) = (STATUS[(hash >> 62) as usize], hash >> 44);
        write!(
            text,
            r#"{{"id":{id},"status":"{status}","customer":"{hash:016x}","total":{}.{:02}}},"#,
            cents / 100,
            cents % 100
        )
        .unwrap();
        if text.len() >= bytes {
            break;
        }
    }
    text.truncate(text.floor_char_boundary(bytes));
    text
}
