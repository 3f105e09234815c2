//! A JSON text as payloads of `NOTIFY`.

use std::borrow::Cow;
use std::io;

use crate::encode::Encoder;
use crate::header::{Encoding, Header, Id, decimal_digits};
use crate::payload::{Frame, Payload};
use crate::{DEFAULT_MAX_MESSAGE_BYTES, MAX_PAYLOAD_BYTES};

/// How a text is split.
#[derive(Clone, Debug)]
pub struct SplitOptions {
    /// The longest text accepted, in bytes of UTF-8. Default 16 MiB.
    pub max_message_bytes: usize,
    /// A text longer than this many bytes travels compressed if that saves an eighth of it, of which
    /// samples give an idea beyond 32 kB; `None` turns compression off. Default 7,999: what fits
    /// bare stays bare.
    pub compress_above_bytes: Option<usize>,
    /// What the payloads travel through. Default [`Carrier::Utf8`].
    pub carrier: Carrier,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self {
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            compress_above_bytes: Some(MAX_PAYLOAD_BYTES),
            carrier: Carrier::Utf8,
        }
    }
}

/// The encoding of the database whose queue carries the payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// UTF-8: any text can be cut between its characters.
    Utf8,
    /// Another one: a text travels whole or as ASCII, since a slice of it could take more bytes
    /// there than in UTF-8.
    Other {
        /// Bytes the whole text takes in that encoding.
        text_bytes: usize,
    },
}

/// Why a text cannot be split.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The text is longer than [`SplitOptions::max_message_bytes`].
    #[error("JSON text of {length} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Bytes of the text.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// zstd failed; it has no reason to but want of memory.
    #[error("zstd failed to compress {length} bytes")]
    Compress {
        /// Bytes of the text.
        length: usize,
    },
}

/// Splits texts, one after the other, with one compression context.
pub struct Splitter {
    encoder: Encoder,
}

impl Splitter {
    /// A splitter with a compression context of its own.
    ///
    /// # Errors
    /// If there is no memory for a compression context.
    pub fn new() -> io::Result<Self> {
        Ok(Self { encoder: Encoder::new()? })
    }

    /// Decides how `text` travels. It need not be JSON, but the receiver will expect it to be.
    ///
    /// # Errors
    /// [`SplitError::TooLarge`] beyond the limit, [`SplitError::Compress`] for want of memory.
    pub fn split<'a>(
        &mut self,
        text: &'a str,
        options: &SplitOptions,
    ) -> Result<Split<'a>, SplitError> {
        let (length, limit) = (text.len(), options.max_message_bytes);
        if length > limit {
            return Err(SplitError::TooLarge { length, limit });
        }
        let ascii_only = options.carrier != Carrier::Utf8 && !text.is_ascii();
        let bare = fits_bare(text, options.carrier);
        let compress = options.compress_above_bytes.is_some_and(|above| length > above);

        let must_encode = ascii_only && !bare;
        if compress || must_encode {
            let max_bytes = if must_encode { usize::MAX } else { worthwhile_bytes(length) };
            match self.encoder.encode(text, max_bytes) {
                Some(body) => return Ok(Split::framed(text, Encoding::Zstd, Cow::Owned(body))),
                None if must_encode => return Err(SplitError::Compress { length }),
                None => {}
            }
        }
        if bare {
            return Ok(Split(Form::Bare(text)));
        }
        Ok(Split::framed(text, Encoding::Json, Cow::Borrowed(text)))
    }
}

/// Compression that saves less than an eighth, or than a header, is not worth the receiver's work.
fn worthwhile_bytes(length: usize) -> usize {
    (length - length / 8).saturating_sub(Header::MAX_BYTES)
}

fn fits_bare(text: &str, carrier: Carrier) -> bool {
    let carried_bytes = match carrier {
        Carrier::Utf8 => text.len(),
        Carrier::Other { text_bytes } => text_bytes,
    };
    text.is_empty() || (carried_bytes <= MAX_PAYLOAD_BYTES && !text.starts_with('~'))
}

/// A text ready to travel.
#[derive(Debug)]
pub struct Split<'a>(Form<'a>);

enum Form<'a> {
    Bare(&'a str),
    Framed { first: Header, body: Cow<'a, str> },
}

impl<'a> Split<'a> {
    fn framed(text: &str, encoding: Encoding, body: Cow<'a, str>) -> Self {
        let mut first =
            Header { id: Id::of(text), index: 0, count: 1, encoding, length: text.len() as u64 };
        first.count = count_frames(first, &body);
        Self(Form::Framed { first, body })
    }

    /// The payloads in the order in which they must be sent.
    pub fn payloads(&self) -> Payloads<'_> {
        match &self.0 {
            Form::Bare(text) => Payloads { remaining: 1, next: Next::Bare(text) },
            Form::Framed { first, body } => {
                Payloads { remaining: first.count, next: Next::Frame(*first, body) }
            }
        }
    }
}

impl std::fmt::Debug for Form<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bare(text) => f.debug_struct("Bare").field("bytes", &text.len()).finish(),
            Self::Framed { first, .. } => f.debug_tuple("Framed").field(first).finish(),
        }
    }
}

/// The payloads of one message, borrowed from its text.
#[derive(Clone, Debug)]
pub struct Payloads<'a> {
    remaining: u32,
    next: Next<'a>,
}

#[derive(Clone, Debug)]
enum Next<'a> {
    Bare(&'a str),
    Frame(Header, &'a str),
}

impl<'a> Iterator for Payloads<'a> {
    type Item = Payload<'a>;

    fn next(&mut self) -> Option<Payload<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        match &mut self.next {
            Next::Bare(text) => Some(Payload::Bare(text)),
            Next::Frame(next, rest) => {
                let header = *next;
                let (body, after) = rest.split_at(body_bytes(&header, rest));
                *rest = after;
                next.index += 1;
                Some(Payload::Frame(Frame { header, body }))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining as usize, Some(self.remaining as usize))
    }
}

impl ExactSizeIterator for Payloads<'_> {}

/// How much of `rest` goes into the frame with this header: as much as a payload holds, up to a
/// character boundary or a group of base64.
fn body_bytes(header: &Header, rest: &str) -> usize {
    let room = MAX_PAYLOAD_BYTES - header.bytes();
    if rest.len() <= room {
        return rest.len();
    }
    match header.encoding {
        Encoding::Json => rest.floor_char_boundary(room),
        Encoding::Zstd => room - room % 4,
    }
}

/// The count depends on the room in a frame, which depends on the digits of the count. More
/// digits never make fewer frames, so the first number of digits that agrees is the right one.
fn count_frames(first: Header, body: &str) -> u32 {
    let mut assumed = 1;
    loop {
        let mut header = Header { count: assumed, ..first };
        let mut rest = body;
        let mut count = 0;
        while !rest.is_empty() {
            header.index = count;
            rest = &rest[body_bytes(&header, rest)..];
            count += 1;
        }
        if decimal_digits(count.into()) == decimal_digits(assumed.into()) {
            return count;
        }
        assumed *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, options: &SplitOptions) -> Vec<String> {
        let mut splitter = Splitter::new().unwrap();
        let split = splitter.split(text, options).unwrap();
        let payloads = split.payloads();
        assert_eq!(payloads.len(), payloads.clone().count());
        payloads.map(|payload| payload.to_string()).collect()
    }

    fn raw() -> SplitOptions {
        SplitOptions { compress_above_bytes: None, ..SplitOptions::default() }
    }

    /// Digits that zstd cannot bring below their number in base64 characters.
    fn incompressible(bytes: usize) -> String {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b' ' + 1 + (state % 93) as u8)
        };
        (0..bytes).map(|_| next()).collect()
    }

    #[test]
    fn a_text_that_fits_is_bare() {
        let text = "1".repeat(MAX_PAYLOAD_BYTES);
        assert_eq!(split(&text, &SplitOptions::default()), [text.as_str()]);
        assert_eq!(split(&format!("{text}1"), &raw()).len(), 2);
    }

    #[test]
    fn a_text_that_begins_with_a_tilde_is_framed() {
        assert_eq!(split("~1", &raw()), ["~1 5c0b22bb6e5e4f71 0/1 json 2\n~1"]);
    }

    #[test]
    fn a_long_text_is_compressed_where_that_is_shorter() {
        let options = SplitOptions::default();
        let repetitive = split(&"1".repeat(100_000), &options);
        assert_eq!(repetitive.len(), 1);
        assert!(repetitive[0].contains(" 0/1 zstd 100000\n"));
        assert!(split(&incompressible(100_000), &options)[0].contains("/13 json 100000\n"));
    }

    #[test]
    fn the_threshold_is_exclusive_and_may_lie_below_a_payload() {
        let text = "1".repeat(1_000);
        let above = |bytes| SplitOptions { compress_above_bytes: Some(bytes), ..raw() };
        assert_eq!(split(&text, &above(1_000)), [text.as_str()]);
        assert!(split(&text, &above(999))[0].contains(" 0/1 zstd 1000\n"));
        assert_eq!(split("[1]", &above(0)), ["[1]"], "compression would only lengthen it");
    }

    #[test]
    fn another_carrier_gets_whole_texts_or_ascii() {
        let carried = |text: &str, text_bytes| {
            split(text, &SplitOptions { carrier: Carrier::Other { text_bytes }, ..raw() })
        };
        let text = "é".repeat(7_000);
        assert_eq!(carried(&text, 7_000), [text.as_str()], "7,000 bytes of LATIN1 fit");
        assert!(carried(&text, 14_000)[0].contains(" zstd 14000\n"));
        assert!(carried(&"e".repeat(8_000), 8_000)[0].contains(" json 8000\n"));
        assert!(carried(&text, 14_000).iter().all(|payload| payload.is_ascii()));
    }

    #[test]
    fn an_empty_text_has_a_payload_too() {
        let carrier = Carrier::Other { text_bytes: 8_000 };
        assert_eq!(split("", &SplitOptions { carrier, ..raw() }), [""]);
    }

    #[test]
    fn a_text_over_the_limit_is_refused() {
        let options = SplitOptions { max_message_bytes: 9, ..raw() };
        let error = Splitter::new().unwrap().split("1234567890", &options).unwrap_err();
        assert_eq!(error.to_string(), "JSON text of 10 bytes exceeds the limit of 9 bytes");
    }

    #[test]
    fn every_frame_but_the_last_is_full() {
        for text in [incompressible(1_000_000), "€".repeat(300_000)] {
            let payloads = split(&text, &raw());
            let (last, full) = payloads.split_last().unwrap();
            assert!(full.iter().all(|payload| payload.len() > MAX_PAYLOAD_BYTES - 4));
            assert!(payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD_BYTES));
            assert!(!last.is_empty());
        }
    }

    #[test]
    fn the_count_is_right_where_it_gains_a_digit() {
        for count in [9, 10, 99, 100] {
            for bytes in (count * 7_960 - 400..count * 7_970 + 400).step_by(7) {
                let payloads = split(&"1".repeat(bytes), &raw());
                let announced = format!(" 0/{} json {bytes}\n", payloads.len());
                assert!(payloads[0].contains(&announced), "{bytes} bytes");
            }
        }
    }
}
