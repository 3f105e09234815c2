//! A channel's name.

use std::ffi::CStr;

use crate::argument::{Text, to_utf8};
use crate::error::{Error, MAX_CHANNEL_BYTES};

/// A name in the database's encoding, filled up with NUL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Channel([u8; MAX_CHANNEL_BYTES + 1]);

impl Channel {
    /// Checks an argument of SQL.
    pub(crate) fn new(argument: Option<Text<'_>>) -> Result<Self, Error> {
        Self::named(argument.ok_or(Error::Null("channel"))?.bytes())
    }

    /// Checks a name in the database's encoding.
    pub(crate) fn named(name: &[u8]) -> Result<Self, Error> {
        match name.len() {
            0 => return Err(Error::EmptyChannel),
            bytes if bytes > MAX_CHANNEL_BYTES => return Err(Error::LongChannel { bytes }),
            _ => {}
        }
        // A name that cannot be converted would fail in the listeners' sessions, at delivery.
        to_utf8(name, "channel name")?;
        let mut bytes = [0; MAX_CHANNEL_BYTES + 1];
        bytes[..name.len()].copy_from_slice(name);
        Ok(Self(bytes))
    }

    pub(crate) fn name(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).expect("the last byte is NUL")
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.name().to_bytes()
    }
}
