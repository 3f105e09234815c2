//! One payload of `NOTIFY`: bare text, a frame or a doorbell.

use std::fmt;

use crate::header::{Encoding, Header, Id};

/// What a payload of `NOTIFY` is. `Display` writes it in the wire format, [`parse`] reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A JSON text as it is.
    Bare(&'a str),
    /// A piece of a message.
    Frame(Frame<'a>),
    /// News in the log of a durable channel.
    Doorbell,
}

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which piece of which message.
    pub header: Header,
    /// A slice of the text, or of the base64 of its compressed form.
    pub body: &'a str,
}

const MARK: char = '~';
const VERSION: &str = "1 ";
const DOORBELL: &str = "event";

/// Why a payload that begins with `~` is not one of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// `~` is not followed by `1` and a space.
    #[error("payload begins with `~` but not with `~1 `: not version 1 of the wire format")]
    Version,
    /// The header does not end in a line feed.
    #[error("frame header does not end in a line feed")]
    Unterminated,
    /// The header is not `ID INDEX/COUNT ENCODING LENGTH` with one space between fields.
    #[error("frame header is not `~1 ID INDEX/COUNT ENCODING LENGTH`")]
    Fields,
    /// The id is not 16 lower-case hexadecimal digits.
    #[error("frame id is not 16 lower-case hexadecimal digits")]
    Id,
    /// A number is not decimal, has a leading zero, or is too large for its field.
    #[error("frame {0} is not a decimal number in range without leading zeros")]
    Number(&'static str),
    /// The index lies outside the message.
    #[error("frame index {index} is not below its count {count}")]
    Index {
        /// Index of the frame, from 0.
        index: u32,
        /// Frames in the message.
        count: u32,
    },
    /// The encoding is neither `json` nor `zstd`.
    #[error("frame encoding is neither `json` nor `zstd`")]
    Encoding,
    /// A frame carries at least one byte of a message of at least one byte.
    #[error("frame has no body")]
    Empty,
}

/// Reads one payload.
///
/// # Errors
/// [`ParseError`] if it begins with `~` and is neither a frame nor a doorbell of version 1.
pub fn parse(payload: &str) -> Result<Payload<'_>, ParseError> {
    let Some(rest) = payload.strip_prefix(MARK) else {
        return Ok(Payload::Bare(payload));
    };
    let rest = rest.strip_prefix(VERSION).ok_or(ParseError::Version)?;
    if rest == DOORBELL {
        return Ok(Payload::Doorbell);
    }
    let (header, body) = rest.split_once('\n').ok_or(ParseError::Unterminated)?;
    let header = parse_header(header)?;
    if body.is_empty() || header.length == 0 {
        return Err(ParseError::Empty);
    }
    Ok(Payload::Frame(Frame { header, body }))
}

fn parse_header(header: &str) -> Result<Header, ParseError> {
    let mut fields = header.split(' ');
    let mut field = || fields.next().ok_or(ParseError::Fields);
    let id = parse_id(field()?)?;
    let (index, count) = field()?.split_once('/').ok_or(ParseError::Fields)?;
    let (index, count) = (parse_number(index, "index")?, parse_number(count, "count")?);
    let encoding = Encoding::from_name(field()?).ok_or(ParseError::Encoding)?;
    let length = parse_number(field()?, "length")?;
    if fields.next().is_some() {
        return Err(ParseError::Fields);
    }
    if index >= count {
        return Err(ParseError::Index { index, count });
    }
    Ok(Header { id, index, count, encoding, length })
}

fn parse_id(digits: &str) -> Result<Id, ParseError> {
    let canonical =
        digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !canonical {
        return Err(ParseError::Id);
    }
    u64::from_str_radix(digits, 16).map(Id).map_err(|_| ParseError::Id)
}

fn parse_number<N: std::str::FromStr>(digits: &str, name: &'static str) -> Result<N, ParseError> {
    let canonical =
        digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if !canonical {
        return Err(ParseError::Number(name));
    }
    digits.parse().map_err(|_| ParseError::Number(name))
}

impl fmt::Display for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(text) => f.write_str(text),
            Self::Frame(Frame { header, body }) => write!(f, "{header}{body}"),
            Self::Doorbell => write!(f, "{MARK}{VERSION}{DOORBELL}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_begin_with_a_tilde_is_bare() {
        for text in ["", "{}", " ~1 event", "not json"] {
            assert_eq!(parse(text), Ok(Payload::Bare(text)));
        }
    }

    #[test]
    fn a_frame_parses_and_displays_back() {
        let raw = "~1 00000000000000ab 3/12 zstd 96000\nKLUv/Q==";
        let Ok(Payload::Frame(frame)) = parse(raw) else { panic!("not a frame") };
        let header =
            Header { id: Id(0xab), index: 3, count: 12, encoding: Encoding::Zstd, length: 96_000 };
        assert_eq!(frame, Frame { header, body: "KLUv/Q==" });
        assert_eq!(Payload::Frame(frame).to_string(), raw);
    }

    #[test]
    fn a_body_may_contain_line_feeds() {
        let Ok(Payload::Frame(frame)) = parse("~1 00000000000000ab 0/1 json 4\n[\n1]") else {
            panic!("not a frame")
        };
        assert_eq!(frame.body, "[\n1]");
    }

    #[test]
    fn doorbell_is_exact() {
        assert_eq!(parse("~1 event"), Ok(Payload::Doorbell));
        assert_eq!(Payload::Doorbell.to_string(), "~1 event");
        assert_eq!(parse("~1 event "), Err(ParseError::Unterminated));
    }

    #[test]
    fn malformed_headers_say_what_is_wrong() {
        let cases = [
            ("~", ParseError::Version),
            ("~1", ParseError::Version),
            ("~2 00000000000000ab 0/1 json 2\n{}", ParseError::Version),
            ("~1 ", ParseError::Unterminated),
            ("~1 00000000000000ab 0/1 json 2", ParseError::Unterminated),
            ("~1 \n", ParseError::Id),
            ("~1 00000000000000AB 0/1 json 2\n{}", ParseError::Id),
            ("~1 +0000000000000ab 0/1 json 2\n{}", ParseError::Id),
            ("~1 0ab 0/1 json 2\n{}", ParseError::Id),
            ("~1 00000000000000ab 0 json 2\n{}", ParseError::Fields),
            ("~1 00000000000000ab 0/1 json\n{}", ParseError::Fields),
            ("~1 00000000000000ab 0/1 json 2 \n{}", ParseError::Fields),
            ("~1 00000000000000ab  0/1 json 2\n{}", ParseError::Fields),
            ("~1 00000000000000ab /1 json 2\n{}", ParseError::Number("index")),
            ("~1 00000000000000ab -1/1 json 2\n{}", ParseError::Number("index")),
            ("~1 00000000000000ab 0/4294967296 json 2\n{}", ParseError::Number("count")),
            ("~1 00000000000000ab 0/01 json 2\n{}", ParseError::Number("count")),
            ("~1 00000000000000ab 0/1 json +2\n{}", ParseError::Number("length")),
            ("~1 00000000000000ab 0/1 json 18446744073709551616\n{}", ParseError::Number("length")),
            ("~1 00000000000000ab 1/1 json 2\n{}", ParseError::Index { index: 1, count: 1 }),
            ("~1 00000000000000ab 0/0 json 2\n{}", ParseError::Index { index: 0, count: 0 }),
            ("~1 00000000000000ab 0/1 lz4 2\n{}", ParseError::Encoding),
            ("~1 00000000000000ab 0/1 json 2\n", ParseError::Empty),
            ("~1 00000000000000ab 0/1 json 0\n{}", ParseError::Empty),
        ];
        for (payload, error) in cases {
            assert_eq!(parse(payload), Err(error), "{payload:?}");
        }
    }
}
