//! Received payloads as messages again.

use crate::encode::{DecodeError, Encoded, append_base64, compressed_bound, encoded_bound};
use crate::header::{Encoding, Header, Id};
use crate::payload::{Frame, ParseError, Payload, parse};
use crate::{DEFAULT_MAX_MESSAGE_BYTES, MAX_PAYLOAD_BYTES};

/// What a receiver accepts.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest text accepted, in bytes of UTF-8. Default 16 MiB.
    pub max_message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES }
    }
}

/// Joins the payloads of one connection.
///
/// The server delivers the frames of a message together and in order, so at most one message is
/// unfinished, and no timer is needed: whatever does not continue it ends it.
#[derive(Debug)]
pub struct Joiner {
    limits: Limits,
    unfinished: Option<Unfinished>,
    /// The last message that was given up; its remaining frames are passed over.
    given_up: Option<Key>,
}

/// What one payload led to.
#[derive(Debug)]
pub struct Step {
    /// The message that this payload should have continued and did not.
    pub incomplete: Option<Incomplete>,
    /// What the payload itself is or completes.
    pub joined: Result<Joined, JoinError>,
}

/// What a payload is or completes.
#[derive(Debug)]
pub enum Joined {
    /// The payload is a message as it is.
    Bare,
    /// The payload was the last frame of this message.
    Message(Message),
    /// A frame was kept; its message goes on.
    Unfinished,
    /// A frame without the ones before it. Expected at the start of a subscription, where it is
    /// the tail of a message that began earlier; later it means a loss. Reported once for frames
    /// that follow each other.
    Headless(Incomplete),
    /// A further frame of a message that was reported already.
    PassedOver,
    /// News in the log of a durable channel.
    Doorbell,
}

/// A message of which frames are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// The channel of the message.
    pub channel: String,
    /// Frames received.
    pub received: u32,
    /// Frames announced.
    pub count: u32,
}

/// Why a frame, and with it its message, is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The payload is not one of version 1.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The message is longer than [`Limits::max_message_bytes`].
    #[error("message of {length} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Bytes announced by the header.
        length: u64,
        /// The limit.
        limit: usize,
    },
    /// So many frames cannot carry so many bytes, or would not be needed to.
    #[error("{count} frames do not fit a message of {length} bytes")]
    Count {
        /// Frames announced.
        count: u32,
        /// Bytes announced.
        length: u64,
    },
    /// A body is not base64, or padded before the end.
    #[error("body of frame {index} is not base64")]
    Base64 {
        /// Index of the frame, from 0.
        index: u32,
    },
    /// The bodies do not add up to what the header announced.
    #[error("bodies of {actual} bytes up to frame {index} do not fit the {length} bytes announced")]
    Length {
        /// Index of the frame, from 0.
        index: u32,
        /// Bytes of all bodies so far; of a `zstd` message, compressed bytes.
        actual: usize,
        /// Bytes of the text announced by the header.
        length: usize,
    },
}

/// A complete message that travelled in frames.
#[derive(Debug)]
pub struct Message {
    /// The id of its frames.
    pub id: Id,
    /// Frames it travelled in.
    pub frame_count: u32,
    /// Its text, or the compressed form of it.
    pub content: Content,
}

/// The bodies of a message, joined.
pub enum Content {
    /// The JSON text.
    Text(String),
    /// The text in compressed form.
    Zstd(Encoded),
}

impl Message {
    /// The JSON text, decompressed where needed.
    ///
    /// # Errors
    /// [`DecodeError`] if the compressed form does not hold what the header announced.
    pub fn into_text(self) -> Result<String, DecodeError> {
        match self.content {
            Content::Text(text) => Ok(text),
            Content::Zstd(encoded) => encoded.decode(),
        }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.debug_struct("Text").field("bytes", &text.len()).finish(),
            Self::Zstd(encoded) => encoded.fmt(f),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Key {
    sender: i32,
    channel: String,
    id: Id,
}

impl Key {
    fn is(&self, sender: i32, channel: &str, id: Id) -> bool {
        self.sender == sender && self.id == id && self.channel == channel
    }
}

#[derive(Debug)]
struct Unfinished {
    key: Key,
    /// The header the next frame must have.
    next: Header,
    length: usize,
    content: Content,
}

impl Joiner {
    /// A joiner for one connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, unfinished: None, given_up: None }
    }

    /// Takes the next payload of the connection. `sender` is the process id of the session that
    /// sent it.
    pub fn push(&mut self, sender: i32, channel: &str, payload: &str) -> Step {
        let payload = parse(payload);
        let continued = match (&self.unfinished, &payload) {
            (Some(unfinished), Ok(Payload::Frame(frame))) => {
                unfinished.next == frame.header
                    && unfinished.key.is(sender, channel, frame.header.id)
            }
            _ => false,
        };
        let incomplete = if continued { None } else { self.give_up() };
        let joined = match payload {
            Ok(Payload::Bare(text)) => self.check_bare(text.len()),
            Ok(Payload::Doorbell) => Ok(Joined::Doorbell),
            Ok(Payload::Frame(frame)) => self.push_frame(sender, channel, frame),
            Err(error) => Err(error.into()),
        };
        Step { incomplete, joined }
    }

    /// Ends the unfinished message, if there is one: the connection will bring no more of it.
    pub fn give_up(&mut self) -> Option<Incomplete> {
        let Unfinished { key, next, .. } = self.unfinished.take()?;
        let incomplete =
            Incomplete { channel: key.channel.clone(), received: next.index, count: next.count };
        self.given_up = Some(key);
        Some(incomplete)
    }

    fn check_bare(&self, length: usize) -> Result<Joined, JoinError> {
        let limit = self.limits.max_message_bytes;
        if length > limit {
            return Err(JoinError::TooLarge { length: length as u64, limit });
        }
        Ok(Joined::Bare)
    }

    fn push_frame(
        &mut self,
        sender: i32,
        channel: &str,
        frame: Frame<'_>,
    ) -> Result<Joined, JoinError> {
        let header = frame.header;
        let mut unfinished = match self.unfinished.take() {
            Some(unfinished) => unfinished,
            None if header.index == 0 => self.begin(sender, channel, header)?,
            None if self
                .given_up
                .as_ref()
                .is_some_and(|key| key.is(sender, channel, header.id)) =>
            {
                return Ok(Joined::PassedOver);
            }
            None => {
                let channel = channel.to_owned();
                let incomplete =
                    Incomplete { channel: channel.clone(), received: 0, count: header.count };
                self.given_up = Some(Key { sender, channel, id: header.id });
                return Ok(Joined::Headless(incomplete));
            }
        };
        if let Err(error) = unfinished.append(&frame) {
            self.given_up = Some(unfinished.key);
            return Err(error);
        }
        if unfinished.next.index < header.count {
            self.unfinished = Some(unfinished);
            return Ok(Joined::Unfinished);
        }
        let Unfinished { content, .. } = unfinished;
        Ok(Joined::Message(Message { id: header.id, frame_count: header.count, content }))
    }

    /// Checks what the first header announces, then allocates for it.
    fn begin(
        &mut self,
        sender: i32,
        channel: &str,
        header: Header,
    ) -> Result<Unfinished, JoinError> {
        let key = Key { sender, channel: channel.to_owned(), id: header.id };
        // It begins anew, so what follows of it is no longer what was reported.
        self.given_up.take_if(|given_up| *given_up == key);
        match announced_length(&header, &self.limits) {
            Ok(length) => Ok(Unfinished {
                key,
                next: header,
                length,
                content: empty_content(&header, length),
            }),
            Err(error) => {
                self.given_up = Some(key);
                Err(error)
            }
        }
    }
}

/// The length the header announces, if it is within the limits and the count fits it.
fn announced_length(header: &Header, limits: &Limits) -> Result<usize, JoinError> {
    let Header { count, encoding, length, .. } = *header;
    let limit = limits.max_message_bytes;
    let announced = usize::try_from(length)
        .ok()
        .filter(|&length| length <= limit)
        .ok_or(JoinError::TooLarge { length, limit })?;

    let (fewest, most) = match encoding {
        Encoding::Json => (announced, announced),
        Encoding::Zstd => (1, encoded_bound(announced)),
    };
    let frames = count as usize;
    let enough = frames >= fewest.div_ceil(MAX_PAYLOAD_BYTES);
    let needed = (frames - 1).checked_mul(LEAST_FULL_BODY_BYTES).is_some_and(|full| full < most);
    if enough && needed { Ok(announced) } else { Err(JoinError::Count { count, length }) }
}

/// Every frame but the last holds at least this much: a payload less the longest header and the
/// rest of a cut character or group.
const LEAST_FULL_BODY_BYTES: usize = MAX_PAYLOAD_BYTES - Header::MAX_BYTES - 3;

fn empty_content(header: &Header, length: usize) -> Content {
    match header.encoding {
        Encoding::Json => Content::Text(String::with_capacity(length)),
        Encoding::Zstd => {
            let received = (header.count as usize).saturating_mul(MAX_PAYLOAD_BYTES / 4 * 3);
            let compressed = Vec::with_capacity(received.min(compressed_bound(length)));
            Content::Zstd(Encoded { compressed, length })
        }
    }
}

impl Unfinished {
    fn append(&mut self, frame: &Frame<'_>) -> Result<(), JoinError> {
        let Frame { header: Header { index, count, .. }, body } = *frame;
        let (length, last) = (self.length, index + 1 == count);
        let (actual, fits) = match &mut self.content {
            Content::Text(text) => {
                let actual = text.len() + body.len();
                let fits = if last { actual == length } else { actual < length };
                if fits {
                    text.push_str(body);
                }
                (actual, fits)
            }
            Content::Zstd(Encoded { compressed, .. }) => {
                let padding = body.bytes().rev().take_while(|&b| b == b'=').count();
                let actual = compressed.len() + (body.len() / 4 * 3).saturating_sub(padding);
                let fits = actual <= compressed_bound(length);
                let padded_early = !last && padding > 0;
                if fits && (padded_early || !append_base64(body, compressed)) {
                    return Err(JoinError::Base64 { index });
                }
                (actual, fits)
            }
        };
        if !fits {
            return Err(JoinError::Length { index, actual, length });
        }
        self.next.index += 1;
        Ok(())
    }
}
