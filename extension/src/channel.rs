//! A channel's name.

use std::ffi::CStr;

use crate::argument::{Text, to_utf8};
use crate::error::{Error, MAX_CHANNEL_BYTES};

unsafe extern "C-unwind" {
    /// `src/common/hashfn.c`; pgrx does not bind it.
    fn hash_bytes_extended(bytes: *const u8, length: i32, seed: u64) -> u64;
}

/// A name in the database's encoding, filled up with NUL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        Ok(Self::of(name))
    }

    /// A name of up to 63 bytes; a longer one is cut.
    pub(crate) fn of(name: &[u8]) -> Self {
        let mut bytes = [0; MAX_CHANNEL_BYTES + 1];
        let length = name.len().min(MAX_CHANNEL_BYTES);
        bytes[..length].copy_from_slice(&name[..length]);
        Self(bytes)
    }

    pub(crate) fn name(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).expect("the last byte is NUL")
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.name().to_bytes()
    }

    /// The same in every process.
    pub(crate) fn hash(&self) -> u64 {
        let name = self.bytes();
        // SAFETY: the bytes outlive the call, which copies nothing; a name has at most 63.
        unsafe { hash_bytes_extended(name.as_ptr(), name.len() as i32, 0) }
    }
}
