//! A connection string, as libpq takes it, taken apart into parameters.
//!
//! Errors quote nothing: whatever is misplaced in a connection string may be a password.

use percent_encoding::percent_decode_str;

use crate::{Error, ErrorKind};

type Pairs = Vec<(String, String)>;

/// Reads a URL (`postgres://…`) or `key=value` pairs.
pub(super) fn parse(connection: &str) -> Result<Pairs, Error> {
    let rest = ["postgres://", "postgresql://"]
        .into_iter()
        .find_map(|scheme| connection.trim_start().strip_prefix(scheme));
    match rest {
        Some(rest) => url(rest),
        None => key_value(connection),
    }
}

/// What follows the scheme: `[user[:password]@][host[:port],…][/database][?key=value&…]`.
fn url(mut rest: &str) -> Result<Pairs, Error> {
    let mut pairs = Pairs::new();
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    if let Some((credentials, _)) = authority.rsplit_once('@') {
        rest = &rest[credentials.len() + 1..];
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        push(&mut pairs, "user", decode(user)?);
        push(&mut pairs, "password", decode(password)?);
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (servers, database) = rest.split_once('/').unwrap_or((rest, ""));
    if database.contains('@') {
        return Err(malformed("`@`, `/`, `?` and `%` in a password must be percent-encoded"));
    }
    hosts(servers, &mut pairs)?;
    push(&mut pairs, "dbname", decode(database)?);
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let Some((key, value)) = parameter.split_once('=') else {
            return Err(malformed("a parameter after `?` has no `=`"));
        };
        match (decode(key)?, decode(value)?) {
            // JDBC's spelling, which libpq takes too.
            (key, value) if key == "ssl" && value == "true" => {
                pairs.push(("sslmode".into(), "require".into()));
            }
            pair => pairs.push(pair),
        }
    }
    Ok(pairs)
}

/// The list `host[:port],…` of a URL, where a host may be `[an IPv6 address]`.
fn hosts(servers: &str, pairs: &mut Pairs) -> Result<(), Error> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for server in servers.split(',') {
        let (host, after) = match server.strip_prefix('[') {
            Some(bracketed) => {
                bracketed.split_once(']').ok_or_else(|| malformed("`[` without `]`"))?
            }
            None => server.split_at(server.find(':').unwrap_or(server.len())),
        };
        let port = match after.strip_prefix(':') {
            Some(port) => port,
            None if after.is_empty() => "",
            None => return Err(malformed("`]` is followed by something else than a port")),
        };
        hosts.push(decode(host)?);
        ports.push(decode(port)?);
    }
    for (name, values) in [("host", hosts), ("port", ports)] {
        if values.iter().any(|value| !value.is_empty()) {
            pairs.push((name.into(), values.join(",")));
        }
    }
    Ok(())
}

fn push(pairs: &mut Pairs, name: &str, value: String) {
    if !value.is_empty() {
        pairs.push((name.into(), value));
    }
}

fn decode(text: &str) -> Result<String, Error> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(malformed("what is percent-encoded is not UTF-8")),
    }
}

/// `key=value` pairs; a value may be in single quotes, and `\` takes the next character as it is.
fn key_value(text: &str) -> Result<Pairs, Error> {
    let mut pairs = Pairs::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else {
            return Err(malformed("it is neither postgres://… nor key=value pairs"));
        };
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => value(quoted, |c| c == '\'')
                .and_then(|(value, after)| Some((value, after.strip_prefix('\'')?)))
                .ok_or_else(|| malformed("a quote is not closed"))?,
            None => value(after, char::is_whitespace).unwrap_or_default(),
        };
        pairs.push((key.trim_end().to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// Splits `text` at the first character that ends a value, which is left in the second part.
fn value(text: &str, ends: impl Fn(char) -> bool) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            end if ends(end) => return Some((value, &text[index..])),
            other => value.push(other),
        }
    }
    Some((value, ""))
}

fn malformed(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("connection string is not one: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(connection: &str) -> String {
        let pairs = parse(connection).unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(" ")
    }

    #[test]
    fn urls() {
        for (url, expected) in [
            ("postgres://", ""),
            ("postgresql://host", "host=host"),
            ("postgres://user@host:5433/db", "user=user host=host port=5433 dbname=db"),
            ("postgres://u%40x:p%2Fw%3a@h/d%20b", "user=u@x password=p/w: host=h dbname=d b"),
            ("postgres://u:p@ss?@h/", "user=u password=p@ss? host=h"),
            ("postgres://a,b:5433/db", "host=a,b port=,5433 dbname=db"),
            ("postgres://[::1]:5433,[::2]", "host=::1,::2 port=5433,"),
            ("postgres:///db?host=/tmp&user=a@b", "dbname=db host=/tmp user=a@b"),
            ("postgres://%2Fvar%2Frun/db?", "host=/var/run dbname=db"),
            (
                "postgres://h?ssl=true&sslrootcert=%2Fa%20b",
                "host=h sslmode=require sslrootcert=/a b",
            ),
        ] {
            assert_eq!(read(url), expected, "{url}");
        }
    }

    #[test]
    fn pairs() {
        for (text, expected) in [
            ("", ""),
            ("  ", ""),
            ("host=a port=1", "host=a port=1"),
            (" host = a\tport= 1 ", "host=a port=1"),
            (r"password='it\'s \\ a' user=x\ y", r"password=it's \ a user=x y"),
            ("password='' user=x", "password= user=x"),
            ("user=", "user="),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn errors_quote_nothing() {
        for text in [
            "SECRET",
            "user=a password=b SECRET",
            "password='SECRET",
            "password=SECRET'a' SECRET",
            "postgresql+driver://user:SECRET@host",
            "postgres://user:1/SECRET@host/db",
            "postgres://user:x@[SECRET",
            "postgres://[::1]SECRET",
            "postgres://host/db?SECRET",
            "postgres://user:%FFSECRET@host/db",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().starts_with("connection string is not one: "), "{error}");
            assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
        }
    }
}
