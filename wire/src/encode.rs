//! The `zstd` encoding: text → zstd → base64, and back.

use std::cell::RefCell;
use std::io;

use base64_simd::STANDARD as BASE64;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, compress_bound};

/// Compresses texts, one after the other, with one context.
pub(crate) struct Encoder {
    compressor: Compressor<'static>,
}

/// Faster levels compress no faster on JSON, and higher ones cost more time than bytes.
const LEVEL: i32 = 1;

/// A hash table of 16 kB, which stays in the processor's first cache: a quarter faster on JSON than
/// the level's own of 64 kB, and a little shorter too.
const HASH_LOG: u32 = 12;

/// Of texts longer than this, samples tell whether they are worth compressing.
const SAMPLED_ABOVE_BYTES: usize = 32 << 10;
const SAMPLE_BYTES: usize = 4 << 10;

impl Encoder {
    pub(crate) fn new() -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
        Ok(Self { compressor })
    }

    /// The base64 of one zstd frame of `text`, if that takes at most `max_bytes`.
    pub(crate) fn encode(&mut self, text: &str, max_bytes: usize) -> Option<String> {
        if max_bytes < text.len() && !self.promises(text.as_bytes()) {
            return None;
        }
        let bound = compress_bound(text.len()).min(max_bytes / 4 * 3);
        let mut compressed = Vec::with_capacity(bound);
        self.compressor.compress_to_buffer(text.as_bytes(), &mut compressed).ok()?;
        Some(BASE64.encode_to_string(compressed))
    }

    /// Whether a sample from the beginning, the middle or the end takes less in base64 than as it
    /// is. What was compressed before, such as pictures, would else cost its sender as much time as
    /// sending it.
    fn promises(&mut self, text: &[u8]) -> bool {
        let last = text.len().saturating_sub(SAMPLE_BYTES);
        text.len() <= SAMPLED_ABOVE_BYTES
            || [0, last / 2, last].into_iter().any(|first| {
                let sample = &text[first..first + SAMPLE_BYTES];
                let mut compressed = Vec::with_capacity(SAMPLE_BYTES / 4 * 3);
                self.compressor.compress_to_buffer(sample, &mut compressed).is_ok()
            })
    }
}

/// The bodies of a `zstd` message, joined and out of base64, not yet decompressed.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded {
    pub(crate) compressed: Vec<u8>,
    pub(crate) length: usize,
}

/// Why the bodies of a complete message are not its text.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not a zstd frame, or it holds more than the header announced.
    #[error("zstd: not a frame of at most {length} bytes, as the header announced")]
    Zstd {
        /// Bytes announced by the header.
        length: usize,
        /// What zstd said.
        source: io::Error,
    },
    /// The zstd frame holds less than the header announced.
    #[error("text has {actual} bytes, but the header announced {length}")]
    Length {
        /// Bytes announced by the header.
        length: usize,
        /// Bytes decompressed.
        actual: usize,
    },
    /// The decompressed bytes are not UTF-8.
    #[error("text is not UTF-8 after byte {valid_up_to}")]
    Utf8 {
        /// Bytes up to which the text is valid.
        valid_up_to: usize,
    },
}

thread_local! {
    /// A new context costs more than decompressing a small message with it.
    static DECOMPRESSOR: RefCell<Decompressor<'static>> = RefCell::default();
}

impl Encoded {
    /// Bytes of the compressed form.
    pub fn compressed_bytes(&self) -> usize {
        self.compressed.len()
    }

    /// Bytes of the text, as the header announced them.
    pub fn text_bytes(&self) -> usize {
        self.length
    }

    /// The compressed form as it travelled, in base64.
    pub fn to_base64(&self) -> String {
        BASE64.encode_to_string(&self.compressed)
    }

    /// Decompresses the text. Allocates as many bytes as the header announced, and no more.
    ///
    /// # Errors
    /// [`DecodeError`] if what comes out is not UTF-8 text of exactly the announced length.
    pub fn decode(&self) -> Result<String, DecodeError> {
        let length = self.length;
        let mut text = Vec::with_capacity(length);
        DECOMPRESSOR
            .with_borrow_mut(|context| context.decompress_to_buffer(&self.compressed, &mut text))
            .map_err(|source| DecodeError::Zstd { length, source })?;
        if text.len() != length {
            return Err(DecodeError::Length { length, actual: text.len() });
        }
        String::from_utf8(text)
            .map_err(|e| DecodeError::Utf8 { valid_up_to: e.utf8_error().valid_up_to() })
    }
}

impl std::fmt::Debug for Encoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoded")
            .field("compressed_bytes", &self.compressed.len())
            .field("length", &self.length)
            .finish()
    }
}

/// The most bytes a zstd frame of `length` bytes takes.
pub(crate) fn compressed_bound(length: usize) -> usize {
    compress_bound(length)
}

/// The most characters the base64 of a zstd frame of `length` bytes takes.
pub(crate) fn encoded_bound(length: usize) -> usize {
    compressed_bound(length).div_ceil(3) * 4
}

/// Appends the bytes of one frame's body. `false` if it is not base64.
pub(crate) fn append_base64(body: &str, compressed: &mut Vec<u8>) -> bool {
    BASE64.decode_append(body, compressed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str, length: usize) -> Encoded {
        let compressed = zstd::bulk::compress(text.as_bytes(), LEVEL).unwrap();
        Encoded { compressed, length }
    }

    #[test]
    fn encode_and_decode_are_inverse() {
        let text = "[1.10, \"é€😀\"]".repeat(1_000);
        let body = Encoder::new().unwrap().encode(&text, text.len()).unwrap();
        let mut compressed = Vec::new();
        assert!(append_base64(&body, &mut compressed));
        assert_eq!(Encoded { compressed, length: text.len() }.decode().unwrap(), text);
    }

    #[test]
    fn what_would_take_too_much_is_not_encoded() {
        let mut encoder = Encoder::new().unwrap();
        let bytes = encoder.encode("[1, 2, 3]", usize::MAX).unwrap().len();
        assert!(encoder.encode("[1, 2, 3]", bytes).is_some());
        assert_eq!(encoder.encode("[1, 2, 3]", bytes - 4), None);
    }

    #[test]
    fn one_sample_that_compresses_is_enough() {
        let random: String = (0..100_000_u64)
            .map(|n| {
                char::from(b' ' + 2 + (xxhash_rust::xxh3::xxh3_64(&n.to_ne_bytes()) % 90) as u8)
            })
            .collect();
        let mut encoder = Encoder::new().unwrap();
        assert!(encoder.encode(&random, random.len() - 1).is_none());
        let blank = " ".repeat(100_000);
        for parts in
            [[&blank, &random, &random], [&random, &blank, &random], [&random, &random, &blank]]
        {
            let text = parts.map(String::as_str).concat();
            assert!(encoder.encode(&text, text.len() - text.len() / 8).is_some());
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_announced_length() {
        let bomb = encoded(&" ".repeat(64 << 20), 1_000);
        assert!(bomb.compressed_bytes() < 10_000);
        assert!(matches!(bomb.decode(), Err(DecodeError::Zstd { length: 1_000, .. })));
    }

    #[test]
    fn less_than_announced_is_an_error() {
        let error = encoded("[1]", 4).decode().unwrap_err();
        assert_eq!(error.to_string(), "text has 3 bytes, but the header announced 4");
    }

    #[test]
    fn text_must_be_utf8() {
        let compressed = zstd::bulk::compress(b"\"\xff\"", LEVEL).unwrap();
        let error = Encoded { compressed, length: 3 }.decode().unwrap_err();
        assert_eq!(error.to_string(), "text is not UTF-8 after byte 1");
    }

    #[test]
    fn debug_shows_no_content() {
        let shown = format!("{:?}", encoded("\"secret\"", 8));
        assert_eq!(shown, "Encoded { compressed_bytes: 17, length: 8 }");
    }
}
