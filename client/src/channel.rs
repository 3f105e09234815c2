//! Names of channels.

use std::sync::Arc;

use crate::{Error, ErrorKind};

/// Bytes of a channel name that PostgreSQL takes; `LISTEN` cuts a longer one silently.
const MAX_BYTES: usize = 63;

/// Checks a name before it reaches the server.
pub(crate) fn check(name: &str) -> Result<Arc<str>, Error> {
    let problem = match name.len() {
        0 => "is empty".to_owned(),
        bytes if bytes > MAX_BYTES => format!("has {bytes} bytes"),
        _ if name.contains('\0') => "contains a NUL character".to_owned(),
        _ => return Ok(name.into()),
    };
    let text = format!("channel name {problem}: it must have 1 to {MAX_BYTES} bytes and no NUL");
    Err(Error::new(ErrorKind::Channel, text))
}

/// What to say of a name that only the server can measure.
pub(crate) fn cut(name: &str) -> Error {
    let text = format!(
        "channel name of {} bytes has more than {MAX_BYTES} in the database's encoding",
        name.len()
    );
    Error::new(ErrorKind::Channel, text)
}

/// The name as an SQL identifier.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_postgres_would_cut_or_refuse_are_refused() {
        for name in ["", "a\0b", &"x".repeat(64), &"é".repeat(32)] {
            assert_eq!(check(name).unwrap_err().kind(), ErrorKind::Channel);
        }
        let error = check(&"x".repeat(64)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "channel name has 64 bytes: it must have 1 to 63 bytes and no NUL"
        );
    }

    #[test]
    fn every_other_name_is_taken_and_quoted() {
        for (name, quoted) in [
            ("orders", "\"orders\""),
            ("Weird \"name\"", "\"Weird \"\"name\"\"\""),
            ("a$$b; DROP TABLE x", "\"a$$b; DROP TABLE x\""),
            (&"x".repeat(63), &format!("\"{}\"", "x".repeat(63))),
        ] {
            assert_eq!(quote(&check(name).unwrap()), quoted);
        }
    }
}
