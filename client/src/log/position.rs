//! Places in the log of a durable channel.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::{Error, ErrorKind};

/// The place of an event in the log of its channel, to go on after it in another run.
///
/// Opaque, but printable: `Display` and `FromStr` are each other's inverse. It means something only
/// to the database that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// As the server names it.
    pub(crate) window: Arc<str>,
    /// The last event taken of it.
    pub(crate) after: i64,
    /// What was gone by then, as the server names it; empty for a consumer, which has a row for it.
    pub(crate) mark: Arc<str>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}@{}", self.after, self.window, self.mark)
    }
}

impl FromStr for Position {
    type Err = Error;

    /// Reads what `Display` wrote. What else is wrong with it, the server says.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            let text = "not a position in a log: it looks like \
                        42@740:745:740,742;40;750:750:;48;49@1760000000000000:0";
            Error::new(ErrorKind::Config, text)
        };
        let [after, window, mark] = text.split('@').collect::<Vec<_>>()[..] else {
            return Err(bad());
        };
        let is_window = window.chars().all(|c| c.is_ascii_digit() || ":,;".contains(c));
        let is_mark = mark
            .split_once(':')
            .is_some_and(|(since, total)| [since, total].iter().all(|n| n.parse::<i64>().is_ok()));
        if !is_window || !is_mark {
            return Err(bad());
        }
        let after = after.parse().map_err(|_| bad())?;
        Ok(Self { window: window.into(), after, mark: mark.into() })
    }
}

/// Where a [`Replay`](crate::Replay) begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// At the oldest event that there still is.
    Earliest,
    /// With what is committed from now on.
    Latest,
    /// At the first event published then or later.
    Time(SystemTime),
    /// After the event that had this place.
    After(Position),
}

impl From<SystemTime> for Since {
    fn from(time: SystemTime) -> Self {
        Self::Time(time)
    }
}

impl From<Position> for Since {
    fn from(position: Position) -> Self {
        Self::After(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let text = "42@740:745:740,742;40;750:750:;48;49@1760000000000000:0";
        assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        for bad in [
            "",
            "42",
            "@@",
            "42@1:1:;0",
            "x@1:1:;0@1:1",
            "42@1:1:;0'@1:1",
            "42@ @1:1",
            "42@@1",
            "42@@1:x",
        ] {
            assert_eq!(bad.parse::<Position>().unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }
}
