//! The service file of libpq: named sets of parameters.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::parameters::{Variables, home};
use crate::{Error, ErrorKind};

/// Where Debian's libpq looks unless PGSYSCONFDIR says otherwise.
const SYSTEM_FOLDER: &str = "/etc/postgresql-common";

type Pairs = Vec<(String, String)>;

/// The parameters of a service, and the file they are from: `file` or `~/.pg_service.conf`, else
/// the system's `pg_service.conf`.
pub(super) fn find(
    service: &str,
    file: Option<PathBuf>,
    variables: Variables<'_>,
) -> Result<(Pairs, PathBuf), Error> {
    let system = variables("PGSYSCONFDIR").map_or_else(|| SYSTEM_FOLDER.into(), PathBuf::from);
    let must_exist = file.is_some();
    let first = file.or_else(|| Some(home(variables)?.join(".pg_service.conf")));
    let files = first.map(|file| (file, must_exist)).into_iter();
    for (file, must_exist) in files.chain([(system.join("pg_service.conf"), false)]) {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => continue,
            Err(error) => {
                let text = format!("cannot read the service file {}", file.display());
                return Err(Error::new(ErrorKind::Config, text).caused_by(error));
            }
        };
        if let Some(pairs) = section(&text, service, &file)? {
            return Ok((pairs, file));
        }
    }
    Err(Error::new(ErrorKind::Config, format!("there is no service {service} in a service file")))
}

/// The parameters below `[service]`.
fn section(text: &str, service: &str, file: &Path) -> Result<Option<Pairs>, Error> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let is_heading = |line: &str| line.starts_with('[');
    let wanted = format!("[{service}]");
    // As in libpq, what follows the bracket is no part of a heading, and the first of equal keys
    // counts.
    if !lines.any(|(_, line)| line.starts_with(&wanted)) {
        return Ok(None);
    }
    let mut keys = HashSet::new();
    lines
        .take_while(|(_, line)| !is_heading(line))
        .map(|(number, line)| match line.split_once('=') {
            Some((key, value)) if key.trim_end() != "service" => {
                Ok((key.trim_end().to_owned(), value.trim_start().to_owned()))
            }
            _ => {
                let file = file.display();
                let text = format!("line {number} of {file} is not a parameter of a service");
                Err(Error::new(ErrorKind::Config, text))
            }
        })
        .filter(|pair| pair.as_ref().map_or(true, |(key, _)| keys.insert(key.clone())))
        .collect::<Result<_, _>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# comment
[a] # the first
host=one
host=other

 port = 1 \n[b]
host=two
password=a=b#c
[broken]
host
[nested]
service=a
";

    fn read(service: &str) -> Result<Option<String>, Error> {
        let pairs = section(TEXT, service, Path::new("file"))?;
        let joined = |pairs: Pairs| {
            pairs.iter().map(|(key, value)| format!("{key}={value};")).collect::<String>()
        };
        Ok(pairs.map(joined))
    }

    #[test]
    fn a_section_ends_at_the_next() {
        assert_eq!(read("a").unwrap().unwrap(), "host=one;port=1;");
        assert_eq!(read("b").unwrap().unwrap(), "host=two;password=a=b#c;");
        assert_eq!(read("c").unwrap(), None);
    }

    #[test]
    fn what_is_no_parameter_is_an_error_with_its_line() {
        let error = read("broken").unwrap_err();
        assert_eq!(error.to_string(), "line 11 of file is not a parameter of a service");
        assert!(read("nested").is_err());
    }

    #[test]
    fn a_file_that_is_named_must_exist_and_others_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let variables = |name: &str| (name != "PGSERVICE").then(|| path.clone().into_os_string());
        assert!(find("a", None, &variables).unwrap_err().to_string().contains("no service a"));
        let missing = path.join("missing");
        let error = find("a", Some(missing), &variables).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the service file"), "{error}");
        std::fs::write(path.join("pg_service.conf"), TEXT).unwrap();
        let (_, file) = find("a", None, &variables).unwrap();
        assert_eq!(file, path.join("pg_service.conf"));
    }
}
