//! The first line of a frame.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

/// What makes the frames of one message belong together: XXH3-64 of its UTF-8 JSON text.
///
/// Made from the content because PostgreSQL drops repeated (channel, payload) pairs within a
/// transaction: equal messages are then dropped whole, and no frame is ever shared by two
/// different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(pub u64);

impl Id {
    /// The id of a JSON text.
    pub fn of(text: &str) -> Self {
        Self(xxh3_64(text.as_bytes()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How the bodies of a message's frames carry its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Slices of the JSON text, cut between characters.
    Json,
    /// Slices of base64 (standard alphabet, padded) of one zstd frame of the JSON text.
    Zstd,
}

impl Encoding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Zstd => "zstd",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Json, Self::Zstd].into_iter().find(|encoding| encoding.name() == name)
    }
}

/// The header of a frame: `~1 ID INDEX/COUNT ENCODING LENGTH\n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message this frame belongs to.
    pub id: Id,
    /// Which frame this is, from 0.
    pub index: u32,
    /// How many frames the message has, from 1.
    pub count: u32,
    /// How the body carries the text.
    pub encoding: Encoding,
    /// Bytes of the message's whole JSON text in UTF-8.
    pub length: u64,
}

impl Header {
    /// The longest header there can be, in bytes.
    pub const MAX_BYTES: usize =
        FIXED_BYTES + 2 * decimal_digits(u32::MAX as u64) + decimal_digits(u64::MAX);

    /// Bytes of this header, its line feed included.
    pub fn bytes(&self) -> usize {
        FIXED_BYTES
            + decimal_digits(self.index.into())
            + decimal_digits(self.count.into())
            + decimal_digits(self.length)
    }
}

/// `~1 `, the id, three spaces, the slash, the encoding and the line feed.
const FIXED_BYTES: usize = 3 + 16 + 3 + 1 + 4 + 1;

pub(crate) const fn decimal_digits(number: u64) -> usize {
    match number.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, index, count, encoding, length } = self;
        writeln!(f, "~1 {id} {index}/{count} {} {length}", encoding.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_is_the_length_of_display() {
        for (index, count, length) in
            [(0, 1, 1), (9, 10, 99_999), (99, 100, 16 << 20), (u32::MAX, u32::MAX, u64::MAX)]
        {
            let header = Header { id: Id(7), index, count, encoding: Encoding::Json, length };
            assert_eq!(header.bytes(), header.to_string().len());
            assert!(header.bytes() <= Header::MAX_BYTES);
        }
    }

    #[test]
    fn id_is_sixteen_lower_case_hex_digits() {
        assert_eq!(Id(0xAB).to_string(), "00000000000000ab");
        assert_eq!(Id::of("").to_string(), "2d06800538d394c2");
    }
}
