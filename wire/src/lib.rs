//! The wire format of `notify_json`: a JSON text of any size as payloads of PostgreSQL's `NOTIFY`.
//!
//! No I/O, no clock, no randomness: [`Splitter`] turns a text into payloads of at most
//! [`MAX_PAYLOAD_BYTES`] bytes, [`Joiner`] turns received payloads into messages again, and
//! [`parse`] reads a single payload.
//!
//! A payload is one of three things:
//!
//! - **bare**: the JSON text itself, when it fits; anything that does not begin with `~`;
//! - a **frame**: `~1 ID INDEX/COUNT ENCODING LENGTH\n` and a body;
//! - a **doorbell**: `~1 event`, news in the log of a durable channel.
//!
//! ```
//! use notify_json_wire::{Joined, Joiner, Limits, SplitOptions, Splitter};
//!
//! let text = format!("[{}0]", "1.10, ".repeat(5_000));
//! let mut splitter = Splitter::new()?;
//! let split = splitter.split(&text, &SplitOptions::default())?;
//!
//! let mut joiner = Joiner::new(Limits::default());
//! for payload in split.payloads() {
//!     let step = joiner.push(4711, "orders", &payload.to_string());
//!     if let Joined::Message(message) = step.joined? {
//!         assert_eq!(message.into_text()?, text);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod encode;
mod header;
mod join;
mod payload;
mod split;

pub use encode::{DecodeError, Encoded};
pub use header::{Encoding, Header, Id};
pub use join::{Content, Incomplete, JoinError, Joined, Joiner, Limits, Message, Step};
pub use payload::{Frame, ParseError, Payload, parse};
pub use split::{Carrier, Payloads, Split, SplitError, SplitOptions, Splitter};

/// The longest payload `NOTIFY` takes, in bytes of the database's encoding.
pub const MAX_PAYLOAD_BYTES: usize = 7_999;

/// The default limit for one message on both ends, in bytes of its JSON text: 16 MiB.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
