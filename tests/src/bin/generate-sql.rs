//! Writes the extension's generated SQL where `make install` takes it from.

use notify_json_tests::schema;

fn main() -> std::io::Result<()> {
    std::fs::write(schema::path(), schema::generate())
}
