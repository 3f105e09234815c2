//! One received JSON document, shared between its subscribers.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use notify_json_wire::{Content, Encoded};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// One JSON document as it was sent, byte for byte.
///
/// Subscribers share it, and cloning it copies a pointer. A compressed one is decompressed by the
/// first subscriber that reads it.
#[derive(Clone)]
pub struct Message(Arc<MessageInner>);

struct MessageInner {
    channel: Arc<str>,
    sender_pid: i32,
    frame_count: u32,
    body: Body,
}

enum Body {
    Text(String),
    Zstd {
        /// Taken, and so freed, when the text is made.
        encoded: Mutex<Option<Encoded>>,
        held_bytes: usize,
        text: OnceLock<Result<String, Error>>,
    },
}

impl Message {
    pub(crate) fn bare(channel: Arc<str>, sender_pid: i32, text: &str) -> Self {
        let body = Body::Text(text.to_owned());
        Self(Arc::new(MessageInner { channel, sender_pid, frame_count: 1, body }))
    }

    /// Of a durable channel, where it has no sender and no frames.
    pub(crate) fn stored(channel: Arc<str>, text: String) -> Self {
        let body = Body::Text(text);
        Self(Arc::new(MessageInner { channel, sender_pid: 0, frame_count: 0, body }))
    }

    pub(crate) fn joined(
        channel: Arc<str>,
        sender_pid: i32,
        message: notify_json_wire::Message,
    ) -> Self {
        let frame_count = message.frame_count;
        let body = match message.content {
            Content::Text(text) => Body::Text(text),
            Content::Zstd(encoded) => Body::Zstd {
                // The first reader replaces the compressed form by the text.
                held_bytes: encoded.compressed_bytes().max(encoded.text_bytes()),
                encoded: Mutex::new(Some(encoded)),
                text: OnceLock::new(),
            },
        };
        Self(Arc::new(MessageInner { channel, sender_pid, frame_count, body }))
    }

    /// The channel it was sent on.
    pub fn channel(&self) -> &str {
        &self.0.channel
    }

    /// The process id of the session that sent it; 0 on a durable channel.
    pub fn sender_pid(&self) -> i32 {
        self.0.sender_pid
    }

    /// Notifications it travelled in, from 1; 0 on a durable channel.
    pub fn frame_count(&self) -> u32 {
        self.0.frame_count
    }

    /// The JSON text.
    ///
    /// # Errors
    /// [`ErrorKind::Frame`](crate::ErrorKind::Frame) if it was compressed and does not decompress.
    pub fn json(&self) -> Result<&str, Error> {
        match &self.0.body {
            Body::Text(text) => Ok(text),
            Body::Zstd { encoded, text, .. } => {
                text.get_or_init(|| self.decompress(encoded)).as_deref().map_err(Error::clone)
            }
        }
    }

    fn decompress(&self, encoded: &Mutex<Option<Encoded>>) -> Result<String, Error> {
        let encoded = encoded.lock().expect("no panic while locked").take();
        let encoded = encoded.expect("decompressed once");
        encoded
            .decode()
            .map_err(|error| Error::unpack(self.0.channel.clone(), encoded.to_base64(), error))
    }

    /// Decodes the text into a type that may borrow from it.
    ///
    /// # Errors
    /// As [`json`](Self::json), and [`ErrorKind::Decode`](crate::ErrorKind::Decode) if the text
    /// is not a `T`.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        let text = self.json()?;
        serde_json::from_str(text).map_err(|error| {
            let channel = self.0.channel.clone();
            Error::decode(channel, text, std::any::type_name::<T>(), error)
        })
    }

    /// Bytes it holds in memory while it waits.
    pub(crate) fn held_bytes(&self) -> usize {
        let body = match &self.0.body {
            Body::Text(text) => text.len(),
            Body::Zstd { held_bytes, .. } => *held_bytes,
        };
        body + size_of::<MessageInner>()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("channel", &self.channel())
            .field("sender_pid", &self.sender_pid())
            .field("frame_count", &self.frame_count())
            .finish_non_exhaustive()
    }
}

/// What a [`Subscription`](crate::Subscription) can yield: any owned serde type, or [`Message`]
/// itself, to borrow from its text or to pass it on undecoded.
pub trait FromMessage: Sized {
    /// Makes the type of a message.
    ///
    /// # Errors
    /// Those of [`Message::decode`].
    fn from_message(message: Message) -> Result<Self, Error>;
}

impl<T: DeserializeOwned> FromMessage for T {
    fn from_message(message: Message) -> Result<Self, Error> {
        message.decode()
    }
}

impl FromMessage for Message {
    fn from_message(message: Message) -> Result<Self, Error> {
        Ok(message)
    }
}
