//! Payloads for the fuzz targets: noise, well-formed frames that lie, and golden vectors with an
//! edit. The vectors are the seed corpus, so a run starts among valid messages.

use std::sync::LazyLock;
use std::{fs, path::Path};

use arbitrary::Arbitrary;
use notify_json_wire::{Encoding, Frame, Header, Id, MAX_PAYLOAD_BYTES, Payload, parse};
use serde_json::Value;

/// The payloads of the golden vectors, malformed ones included.
pub static GOLDEN: LazyLock<Vec<String>> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut paths: Vec<_> = fs::read_dir(directory)
        .expect("the golden vectors lie in the repository")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths
        .iter()
        .flat_map(|path| {
            let content: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            payloads(&content)
        })
        .collect()
});

/// The strings of every `payloads` in a vector or a list of vectors.
fn payloads(content: &Value) -> Vec<String> {
    match content {
        Value::Array(vectors) => vectors.iter().flat_map(payloads).collect(),
        vector => vector["payloads"]
            .as_array()
            .expect("a vector has payloads")
            .iter()
            .map(|payload| payload.as_str().unwrap().to_owned())
            .collect(),
    }
}

/// Where a payload comes from.
#[derive(Arbitrary, Debug)]
pub enum Source<'a> {
    /// Any text.
    Raw(&'a str),
    /// Golden payloads as they are, one after the other: mostly whole messages.
    Golden { first: u8, more: u8 },
    /// A golden payload of which some bytes are replaced.
    Edited { golden: u8, at: u16, removed: u16, inserted: &'a str },
    /// A golden frame whose header announces something else.
    Lying { golden: u8, index: Option<u8>, count: Option<u8>, length: Option<u16> },
    /// A well-formed frame that need not fit any other.
    Frame { id: bool, index: u32, count: u32, zstd: bool, length: u64, body: &'a str },
}

impl Source<'_> {
    /// The payloads, never longer than `NOTIFY` takes.
    pub fn payloads(&self) -> Vec<String> {
        let mut payload = match *self {
            Self::Raw(text) => text.to_owned(),
            Self::Golden { first, more } => {
                let golden = GOLDEN.iter().cycle().skip(first.into());
                return golden.take(1 + usize::from(more % 16)).cloned().collect();
            }
            Self::Edited { golden: index, at, removed, inserted } => {
                let mut payload = golden(index).to_owned();
                let start = payload.floor_char_boundary(at.into());
                let end = payload.floor_char_boundary(start + usize::from(removed));
                payload.replace_range(start..end, inserted);
                payload
            }
            Self::Lying { golden: position, index, count, length } => match parse(golden(position))
            {
                Ok(Payload::Frame(Frame { header, body })) => {
                    let header = Header {
                        index: index.map_or(header.index, u32::from),
                        count: count.map_or(header.count, u32::from),
                        length: length.map_or(header.length, u64::from),
                        ..header
                    };
                    Payload::Frame(Frame { header, body }).to_string()
                }
                _ => golden(position).to_owned(),
            },
            Self::Frame { id, index, count, zstd, length, body } => Payload::Frame(Frame {
                header: Header {
                    id: Id(id.into()),
                    index,
                    count,
                    encoding: if zstd { Encoding::Zstd } else { Encoding::Json },
                    length,
                },
                body,
            })
            .to_string(),
        };
        payload.truncate(payload.floor_char_boundary(MAX_PAYLOAD_BYTES));
        vec![payload]
    }
}

fn golden(index: u8) -> &'static str {
    &GOLDEN[usize::from(index) % GOLDEN.len()]
}
