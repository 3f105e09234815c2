//! The parameters of a connection, from wherever libpq takes them: the connection string, then the
//! service file, then the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::{connection_string, service};
use crate::{Error, ErrorKind};

/// Looks a variable of the environment up.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Parameters that have an effect, and the variables that give them.
const SUPPORTED: [(&str, &str); 27] = [
    ("application_name", "PGAPPNAME"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("dbname", "PGDATABASE"),
    ("fallback_application_name", ""),
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("keepalives", ""),
    ("keepalives_count", ""),
    ("keepalives_idle", ""),
    ("keepalives_interval", ""),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    ("options", "PGOPTIONS"),
    ("passfile", "PGPASSFILE"),
    ("password", "PGPASSWORD"),
    ("port", "PGPORT"),
    ("service", "PGSERVICE"),
    ("servicefile", "PGSERVICEFILE"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("tcp_user_timeout", ""),
    ("user", "PGUSER"),
    ("keepalives_retries", ""),
];

/// Parameters of libpq that ask for what this client does not do, and the values that do not. Any
/// other value is an error, since most of them are about security.
const UNSUPPORTED: [(&str, &str, &[&str]); 11] = [
    ("gssencmode", "PGGSSENCMODE", &["disable", "prefer"]),
    ("replication", "", &["0", "false", "no", "off"]),
    ("require_auth", "PGREQUIREAUTH", &[]),
    ("requirepeer", "PGREQUIREPEER", &[]),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", &["TLSv1.3"]),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("sslcertmode", "PGSSLCERTMODE", &["allow"]),
    ("sslcrl", "PGSSLCRL", &[]),
    ("sslcrldir", "PGSSLCRLDIR", &[]),
    ("sslpassword", "", &[]),
    ("sslsni", "PGSSLSNI", &["1"]),
];

/// Parameters of libpq that change nothing here: text is always UTF-8, and there is no Kerberos.
const IGNORED: [&str; 5] =
    ["client_encoding", "gssdelegation", "gsslib", "krbsrvname", "sslcompression"];

/// The parameters that were given, each with its place of origin.
#[derive(Default)]
pub(crate) struct Parameters(BTreeMap<String, Given>);

struct Given {
    value: String,
    origin: String,
}

impl Parameters {
    pub(super) fn gather(connection: &str, variables: Variables<'_>) -> Result<Self, Error> {
        let mut parameters = Self::default();
        parameters.add(connection_string::parse(connection)?, "the connection string")?;
        for name in ["service", "servicefile"] {
            parameters.add_variable(name, variable_of(name), variables)?;
        }
        if let Some(service) = parameters.text("service") {
            let (pairs, file) = service::find(service, parameters.path("servicefile"), variables)?;
            parameters.add(pairs, &file.display().to_string())?;
        }
        for (name, variable) in SUPPORTED {
            parameters.add_variable(name, variable, variables)?;
        }
        for (name, variable, harmless) in UNSUPPORTED {
            parameters.add_variable(name, variable, variables)?;
            if parameters.text(name).is_some_and(|value| !harmless.contains(&value)) {
                return Err(parameters.invalid(name, "asks for something that is not supported"));
            }
        }
        Ok(parameters)
    }

    /// Adds what one place says; what is there already wins.
    fn add(&mut self, pairs: Vec<(String, String)>, origin: &str) -> Result<(), Error> {
        let mut added = BTreeMap::new();
        for (name, value) in pairs {
            if !is_known(&name) {
                return Err(unknown(&name, origin));
            }
            added.insert(name, Given { value, origin: origin.to_owned() });
        }
        for (name, given) in added {
            self.0.entry(name).or_insert(given);
        }
        Ok(())
    }

    fn add_variable(
        &mut self,
        name: &str,
        variable: &str,
        variables: Variables<'_>,
    ) -> Result<(), Error> {
        let Some(value) = variables(variable).filter(|_| !variable.is_empty()) else {
            return Ok(());
        };
        let value = value.into_string().map_err(|_| {
            Error::new(ErrorKind::Config, format!("variable {variable} is not UTF-8"))
        })?;
        self.add(vec![(name.to_owned(), value)], variable)
    }

    /// A parameter's value. An empty one stands for the default, as in libpq.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        Some(self.0.get(name)?.value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// The values of a list such as `host`; none if it is not given.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        self.text(name).map(|list| list.split(',').collect()).unwrap_or_default()
    }

    /// A parameter's value as `parse` reads it, or an error that says what it must be.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        meaning: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match self.text(name) {
            None => Ok(None),
            Some(value) => match parse(value) {
                Some(parsed) => Ok(Some(parsed)),
                None => Err(self.invalid(name, &format!("must be {meaning}"))),
            },
        }
    }

    /// An error about a parameter that was given. It does not quote the value: a misplaced
    /// character in a connection string can make any parameter hold a part of the password.
    pub(super) fn invalid(&self, name: &str, problem: &str) -> Error {
        let origin = self.0.get(name).map_or("the defaults", |given| &given.origin);
        Error::new(ErrorKind::Config, format!("parameter {name} (from {origin}) {problem}"))
    }
}

/// The user's home, as libpq finds it.
pub(super) fn home(variables: Variables<'_>) -> Option<PathBuf> {
    variables("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

fn variable_of(name: &str) -> &'static str {
    SUPPORTED.iter().find(|(known, _)| *known == name).map_or("", |(_, variable)| variable)
}

fn is_known(name: &str) -> bool {
    SUPPORTED.iter().any(|(known, _)| *known == name)
        || UNSUPPORTED.iter().any(|(known, ..)| *known == name)
        || IGNORED.contains(&name)
}

fn unknown(name: &str, origin: &str) -> Error {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let is_a_name = !name.is_empty() && name.bytes().all(is_letter);
    let name = if is_a_name { name } else { "that has no parameter's name" };
    Error::new(ErrorKind::Config, format!("unknown parameter {name} in {origin}"))
}

#[cfg(test)]
mod tests {
    use crate::connect::tests::gather;

    #[test]
    fn the_connection_string_comes_before_the_environment() {
        let environment = [("PGUSER", "environment"), ("PGPORT", "1"), ("PGHOST", "")];
        let parameters = gather("user=string host=a user=last", &environment).unwrap();
        assert_eq!(parameters.text("user"), Some("last"));
        assert_eq!(parameters.text("port"), Some("1"));
        assert_eq!(parameters.text("host"), Some("a"));
        let parameters = gather("user=''", &environment).unwrap();
        assert_eq!(parameters.text("user"), None, "empty stands for the default");
        assert_eq!(parameters.text("host"), None);
    }

    #[test]
    fn the_service_file_comes_between() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".pg_service.conf");
        std::fs::write(&file, "[shop]\nuser=service\nport=2\ndbname=service\n").unwrap();
        let environment =
            [("HOME", folder.path().to_str().unwrap()), ("PGUSER", "environment"), ("PGPORT", "1")];
        let parameters = gather("service=shop dbname=string", &environment).unwrap();
        assert_eq!(parameters.text("user"), Some("service"));
        assert_eq!(parameters.text("dbname"), Some("string"));
        let environment = [environment.as_slice(), &[("PGSERVICE", "shop")]].concat();
        assert_eq!(gather("", &environment).unwrap().text("port"), Some("2"));
        let error = gather("service=none", &environment).err().unwrap();
        assert!(error.to_string().contains("no service none"), "{error}");

        std::fs::write(&file, "[shop]\ncolour=SECRET\n").unwrap();
        let error = gather("", &environment).err().unwrap();
        let expected = format!("unknown parameter colour in {}", file.display());
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn errors_name_the_parameter_and_its_origin_but_no_value() {
        for (connection, variable, expected) in [
            ("colour=SECRET", "", "unknown parameter colour in the connection string"),
            ("SECRET=1", "", "unknown parameter that has no parameter's name in the connection"),
            ("sslcrl=SECRET", "", "parameter sslcrl (from the connection string) asks for"),
            ("", "PGREQUIREAUTH", "parameter require_auth (from PGREQUIREAUTH) asks for"),
        ] {
            let error = gather(connection, &[(variable, "SECRET")]).err().unwrap();
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
        }
        gather("sslsni=1 gssencmode=disable client_encoding=auto", &[]).unwrap();
    }
}
