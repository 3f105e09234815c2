//! Splitting and joining alone: bytes of JSON text a second, and heap allocations of Rust (zstd's
//! own are not counted).

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use notify_json_wire::{Joined, Joiner, Limits, MAX_PAYLOAD_BYTES, SplitOptions, Splitter};

use crate::document::{Body, Language};
use crate::figures::{Axis, Candidate, Role, Scenario, Unit};
use crate::rounds::Bench;

/// The first is bare unless compressed, the last about as long as the default limit allows.
const SIZES: [usize; 5] = [1_000, 8_000, 64_000, 1_000_000, 16_000_000];

#[derive(Clone, Copy)]
enum Encoding {
    Json,
    Zstd,
}

impl From<Encoding> for Candidate {
    fn from(_: Encoding) -> Self {
        Self::new("notify_json", Role::Ours)
    }
}

pub(crate) async fn run(bench: &mut Bench) {
    let turn = bench.effort.turn / 8;
    for size in SIZES {
        let template = Vec::<Language>::template(size);
        let text = template.stamped(1);
        bench
            .interleave(&[Encoding::Json, Encoding::Zstd], async |encoding| {
                measure(&text, encoding, size as u64, turn)
            })
            .await;
    }
}

fn measure(text: &str, encoding: Encoding, size: u64, turn: Duration) -> Vec<(Scenario, f64)> {
    let (name, compress_above_bytes) = match encoding {
        Encoding::Json => ("json", None),
        Encoding::Zstd => ("zstd", Some(0)),
    };
    let options = SplitOptions { compress_above_bytes, ..SplitOptions::default() };
    let mut splitter = Splitter::new().expect("there is memory");
    let mut buffer = String::with_capacity(MAX_PAYLOAD_BYTES);
    // From the text to every payload written out, with the context and the buffer of a session.
    let mut split = || {
        let split = splitter.split(black_box(text), &options).expect("it is within the limit");
        for payload in split.payloads() {
            buffer.clear();
            write!(buffer, "{payload}").expect("writing to memory");
            black_box(&buffer);
        }
    };
    let split = speed(&mut split, text.len(), turn);

    let mut splitter = Splitter::new().expect("there is memory");
    let payloads = splitter.split(text, &options).expect("it is within the limit");
    let payloads: Vec<String> = payloads.payloads().map(|payload| payload.to_string()).collect();
    let mut joiner = Joiner::new(Limits::default());
    let mut join = || {
        black_box(join(&mut joiner, black_box(&payloads)));
    };
    let speed = speed(&mut join, text.len(), turn);
    let allocations = allocation_counter::measure(join).count_total;

    let scenario =
        |what: &str, unit| Scenario::new(format!("wire, {what}, {name}"), Axis::Bytes, size, unit);
    vec![
        (scenario("split", Unit::GigabytesPerSecond), split),
        (scenario("join", Unit::GigabytesPerSecond), speed),
        (scenario("allocations of join", Unit::Allocations), allocations as f64),
    ]
}

/// GB of text a second.
fn speed(work: &mut impl FnMut(), bytes: usize, turn: Duration) -> f64 {
    work();
    let (started, mut times) = (Instant::now(), 0);
    while started.elapsed() < turn || times == 0 {
        work();
        times += 1;
    }
    (times * bytes) as f64 / started.elapsed().as_secs_f64() / 1e9
}

/// From the payloads to the text, decompressed.
fn join(joiner: &mut Joiner, payloads: &[String]) -> String {
    for payload in payloads {
        match joiner.push(1, "orders", payload).joined.expect("they belong together") {
            Joined::Unfinished => {}
            Joined::Bare => return payload.clone(),
            Joined::Message(message) => return message.into_text().expect("as it was split"),
            other => panic!("{other:?}"),
        }
    }
    panic!("the message is unfinished")
}
