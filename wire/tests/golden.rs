//! Golden vectors, made by `golden/make.py` without this crate: they pin the format, both ways.

use std::fs;
use std::path::{Path, PathBuf};

use notify_json_wire::{
    Encoding, Id, Joined, Joiner, Limits, Payload, SplitOptions, Splitter, parse,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Vector {
    encoding: String,
    /// Strings and how often each is repeated.
    text: Vec<(String, usize)>,
    payloads: Vec<String>,
}

#[derive(Deserialize)]
struct Malformed {
    payloads: Vec<String>,
    error: String,
}

impl Vector {
    fn text(&self) -> String {
        self.text.iter().map(|(piece, times)| piece.repeat(*times)).collect()
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn read<T: DeserializeOwned>(path: &Path) -> T {
    let content = fs::read_to_string(path).unwrap();
    serde_json::from_str(&content).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The vectors of some encodings, with their names.
fn vectors(encodings: &[&str]) -> Vec<(String, Vector)> {
    let vectors: Vec<_> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| !path.ends_with("malformed.json"))
        .map(|path| (path.display().to_string(), read::<Vector>(&path)))
        .filter(|(_, vector)| encodings.contains(&vector.encoding.as_str()))
        .collect();
    assert!(!vectors.is_empty());
    vectors
}

fn split(text: &str, compress: bool) -> Vec<String> {
    let options =
        SplitOptions { compress_above_bytes: compress.then_some(0), ..SplitOptions::default() };
    let mut splitter = Splitter::new().unwrap();
    let split = splitter.split(text, &options).unwrap();
    split.payloads().map(|payload| payload.to_string()).collect()
}

/// Joins payloads of which the last alone completes a message.
fn join(payloads: &[String]) -> String {
    let (last, earlier) = payloads.split_last().unwrap();
    let mut joiner = Joiner::new(Limits::default());
    for payload in earlier {
        let step = joiner.push(1, "c", payload);
        assert!(matches!(step.joined, Ok(Joined::Unfinished)), "{:?}", step.joined);
    }
    match joiner.push(1, "c", last).joined.unwrap() {
        Joined::Bare => last.clone(),
        Joined::Message(message) => {
            assert_eq!(message.frame_count as usize, payloads.len());
            message.into_text().unwrap()
        }
        other => panic!("no message: {other:?}"),
    }
}

#[test]
fn a_text_splits_into_exactly_these_payloads() {
    for (name, vector) in vectors(&["bare", "json"]) {
        assert!(split(&vector.text(), false) == vector.payloads, "{name}");
    }
}

#[test]
fn these_payloads_join_to_exactly_this_text() {
    for (name, vector) in vectors(&["bare", "json", "zstd"]) {
        assert!(join(&vector.payloads) == vector.text(), "{name}");
    }
}

/// What a compressor makes of a text is not part of the format.
#[test]
fn a_compressed_text_has_these_headers_and_comes_back() {
    for (name, vector) in vectors(&["zstd"]) {
        let (text, payloads) = (vector.text(), split(&vector.text(), true));
        for (index, payload) in payloads.iter().enumerate() {
            let (Ok(Payload::Frame(ours)), Ok(Payload::Frame(theirs))) =
                (parse(payload), parse(&vector.payloads[0]))
            else {
                panic!("{name}: not frames")
            };
            assert_eq!(ours.header.id, theirs.header.id, "{name}");
            assert_eq!(ours.header.id, Id::of(&text), "{name}");
            assert_eq!(ours.header.index as usize, index, "{name}");
            assert_eq!(ours.header.count as usize, payloads.len(), "{name}");
            assert_eq!(ours.header.encoding, Encoding::Zstd, "{name}");
            assert_eq!(ours.header.length as usize, text.len(), "{name}");
        }
        assert!(join(&payloads) == text, "{name}");
    }
}

#[test]
fn the_doorbell_is_constant() {
    for (_, vector) in vectors(&["doorbell"]) {
        assert_eq!(vector.payloads, [Payload::Doorbell.to_string()]);
        assert_eq!(parse(&vector.payloads[0]), Ok(Payload::Doorbell));
    }
}

#[test]
fn every_payload_displays_as_it_parses() {
    for (name, vector) in vectors(&["bare", "json", "zstd", "doorbell"]) {
        for payload in &vector.payloads {
            assert!(parse(payload).unwrap().to_string() == *payload, "{name}");
        }
    }
}

#[test]
fn malformed_payloads_say_exactly_what_is_wrong() {
    for Malformed { payloads, error } in read::<Vec<Malformed>>(&directory().join("malformed.json"))
    {
        let mut joiner = Joiner::new(Limits::default());
        let (last, earlier) = payloads.split_last().unwrap();
        for payload in earlier {
            let joined = joiner.push(1, "c", payload).joined;
            assert!(matches!(joined, Ok(Joined::Unfinished)), "{payload}");
        }
        let said = match joiner.push(1, "c", last).joined {
            Ok(Joined::Message(message)) => message.into_text().unwrap_err().to_string(),
            Ok(other) => panic!("{last}: {other:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, error, "{last}");
    }
}
