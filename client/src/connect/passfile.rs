//! The password file of libpq: lines `host:port:database:user:password`.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The password for `[host, port, database, user]`, from the first line that matches.
///
/// A file that others may read is passed over with a warning, as by libpq.
pub(super) fn password(file: &Path, key: [&str; 4]) -> Option<Vec<u8>> {
    let metadata = match std::fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        metadata => metadata,
    };
    let contents = metadata.and_then(|metadata| {
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a plain file"));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(io::Error::other("group or others have access; make its mode 0600"));
        }
        std::fs::read(file)
    });
    match contents {
        Ok(contents) => find(&contents, key),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "password file ignored");
            None
        }
    }
}

fn find(contents: &[u8], key: [&str; 4]) -> Option<Vec<u8>> {
    let lines = contents.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#"));
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).find_map(|line| {
        let mut rest = line;
        for part in key {
            let (field, after) = split_field(rest);
            if field != b"*" && unescaped(field) != part.as_bytes() {
                return None;
            }
            rest = after?;
        }
        Some(unescaped(split_field(rest).0))
    })
}

/// Splits at the first `:` that no `\` escapes; `None` if there is none.
fn split_field(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut index = 0;
    while let Some(byte) = line.get(index) {
        match byte {
            b':' => return (&line[..index], Some(&line[index + 1..])),
            b'\\' => index += 2,
            _ => index += 1,
        }
    }
    (line, None)
}

fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = field.iter();
    let mut text = Vec::with_capacity(field.len());
    while let Some(byte) = bytes.next() {
        text.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    const FILE: &[u8] = br"# comment:*:*:*:comment
host:5432:db:user:exact
host:*:db:user:any port
too:short
::\1:5432:db:user:unescaped colons
\:\:1:5432:db:user:IPv6
\*:5432:db:user:star
other:5432:d\:b:us\\er:pass\:word\\:rest
*:*:*:*:anything
";

    #[test]
    fn the_first_line_that_matches_wins() {
        for (key, expected) in [
            (["host", "5432", "db", "user"], "exact"),
            (["host", "5433", "db", "user"], "any port"),
            (["::1", "5432", "db", "user"], "IPv6"),
            (["*", "5432", "db", "user"], "star"),
            (["other", "5432", "d:b", r"us\er"], r"pass:word\"),
            (["comment", "1", "x", "y"], "anything"),
        ] {
            assert_eq!(find(FILE, key).as_deref(), Some(expected.as_bytes()), "{key:?}");
        }
        assert_eq!(find(b"host:5432:db:user:a\r\n", ["host", "5432", "db", "user"]).unwrap(), b"a");
        assert_eq!(find(b"host:5432:db:user", ["host", "5432", "db", "user"]), None);
        assert_eq!(find(b"", ["host", "5432", "db", "user"]), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passfile");
        let key = ["host", "5432", "db", "user"];
        assert_eq!(password(&file, key), None, "there is none");
        std::fs::write(&file, FILE).unwrap();
        for (mode, expected) in [(0o600, Some(&b"exact"[..])), (0o640, None), (0o604, None)] {
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            assert_eq!(password(&file, key).as_deref(), expected, "{mode:o}");
        }
        assert_eq!(password(folder.path(), key), None, "a folder");
    }
}
