//! Whether a connection is encrypted, and whom it trusts.

use std::path::PathBuf;

use tokio_postgres::config::{SslMode, SslNegotiation};

use super::parameters::{Parameters, Variables, home};
use crate::Error;

/// What `sslmode` and its companions say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) mode: SslMode,
    pub(super) negotiation: SslNegotiation,
    pub(super) trust: Trust,
    /// The files of the client's certificate and of its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// Which server is believed to be the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any.
    Anyone,
    /// One whose certificate these roots vouch for.
    Signed(Roots),
    /// One whose certificate also names the host.
    Named(Roots),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// Those of the operating system.
    System,
    File(PathBuf),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Tls {
    /// Encrypts as `mode` says, with any server.
    pub(super) fn with_anyone(mode: SslMode, negotiation: SslNegotiation) -> Self {
        Self { mode, negotiation, trust: Trust::Anyone, identity: None }
    }

    pub(super) fn from_parameters(
        parameters: &Parameters,
        variables: Variables<'_>,
    ) -> Result<Self, Error> {
        let default_file = |name: &str| {
            Some(home(variables)?.join(".postgresql").join(name)).filter(|file| file.exists())
        };
        let roots = match parameters.text("sslrootcert") {
            Some("system") => Some(Roots::System),
            Some(file) => Some(Roots::File(file.into())),
            None => default_file("root.crt").map(Roots::File),
        };
        let mode = match parameters.parsed("sslmode", MODES, parse_mode)? {
            Some(mode) if mode != Mode::VerifyFull && roots == Some(Roots::System) => {
                let problem = "must be verify-full with sslrootcert=system";
                return Err(parameters.invalid("sslmode", problem));
            }
            Some(mode) => mode,
            None if roots == Some(Roots::System) => Mode::VerifyFull,
            None => Mode::Prefer,
        };
        let negotiation = parameters
            .parsed("sslnegotiation", "postgres or direct", |value| match value {
                "postgres" => Some(SslNegotiation::Postgres),
                "direct" => Some(SslNegotiation::Direct),
                _ => None,
            })?
            .unwrap_or(SslNegotiation::Postgres);
        if negotiation == SslNegotiation::Direct && mode < Mode::Require {
            let problem = "direct needs sslmode=require, verify-ca or verify-full";
            return Err(parameters.invalid("sslnegotiation", problem));
        }
        if cfg!(not(feature = "tls")) && mode >= Mode::Require {
            let problem = "needs the cargo feature `tls` of notify-json-client";
            return Err(parameters.invalid("sslmode", problem));
        }
        let no_roots = || parameters.invalid("sslmode", "needs sslrootcert, a file or `system`");
        let trust = match mode {
            Mode::Disable | Mode::Prefer => Trust::Anyone,
            // For compatibility with libpq, a file of roots makes this the same as verify-ca.
            Mode::Require => roots.map_or(Trust::Anyone, Trust::Signed),
            Mode::VerifyCa => Trust::Signed(roots.ok_or_else(no_roots)?),
            Mode::VerifyFull => Trust::Named(roots.ok_or_else(no_roots)?),
        };
        let certificate = parameters.path("sslcert").or_else(|| default_file("postgresql.crt"));
        let key = parameters.path("sslkey").or_else(|| default_file("postgresql.key"));
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(_), None) => return Err(parameters.invalid("sslcert", "needs an sslkey")),
            (None, _) => None,
        };
        let mode = match mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        };
        Ok(Self { mode, negotiation, trust, identity })
    }
}

const MODES: &str = "disable, allow, prefer, require, verify-ca or verify-full";

fn parse_mode(value: &str) -> Option<Mode> {
    Some(match value {
        "disable" => Mode::Disable,
        // An attempt in plain text first would only serve those who listen in.
        "allow" | "prefer" => Mode::Prefer,
        "require" => Mode::Require,
        "verify-ca" => Mode::VerifyCa,
        "verify-full" => Mode::VerifyFull,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::tests::{gather, lookup};

    fn read(connection: &str, environment: &[(&str, &str)]) -> Result<Tls, Error> {
        Tls::from_parameters(&gather(connection, environment)?, &lookup(environment))
    }

    #[test]
    fn prefer_is_the_default_and_verifies_nothing() {
        for text in ["", "sslmode=allow", "sslmode=prefer sslrootcert=/r"] {
            let expected = Tls::with_anyone(SslMode::Prefer, SslNegotiation::Postgres);
            assert_eq!(read(text, &[]).unwrap(), expected, "{text}");
        }
        assert_eq!(read("sslmode=disable", &[]).unwrap().mode, SslMode::Disable);
    }

    #[cfg(feature = "tls")]
    #[test]
    fn the_modes_and_their_roots() {
        let file = || Roots::File("/r".into());
        for (text, trust) in [
            ("sslmode=require", Trust::Anyone),
            ("sslmode=require sslrootcert=/r", Trust::Signed(file())),
            ("sslmode=verify-ca sslrootcert=/r", Trust::Signed(file())),
            ("sslmode=verify-full sslrootcert=/r", Trust::Named(file())),
            ("sslrootcert=system", Trust::Named(Roots::System)),
        ] {
            let tls = read(text, &[("PGSSLMODE", "")]).unwrap();
            assert_eq!((tls.mode, tls.trust), (SslMode::Require, trust), "{text}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn files_below_the_home_are_the_defaults() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".postgresql");
        std::fs::create_dir(&folder).unwrap();
        for name in ["root.crt", "postgresql.crt", "postgresql.key"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let tls = read("sslmode=require", &[("HOME", home.path().to_str().unwrap())]).unwrap();
        assert_eq!(tls.trust, Trust::Signed(Roots::File(folder.join("root.crt"))));
        let identity = (folder.join("postgresql.crt"), folder.join("postgresql.key"));
        assert_eq!(tls.identity, Some(identity));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn what_does_not_go_together_is_an_error() {
        for text in [
            "sslmode=on",
            "sslmode=verify-full",
            "sslmode=verify-ca",
            "sslmode=require sslrootcert=system",
            "sslnegotiation=direct",
            "sslnegotiation=tls",
            "sslcert=/c",
        ] {
            assert_eq!(read(text, &[]).unwrap_err().kind(), crate::ErrorKind::Config, "{text}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn without_the_feature_a_mode_that_needs_it_is_an_error() {
        let error = read("sslmode=require", &[]).unwrap_err().to_string();
        assert!(error.contains("cargo feature `tls`"), "{error}");
    }
}
