//! The extension's SQL as `cargo pgrx schema` generates it, without needing cargo-pgrx.

use std::path::PathBuf;

use object::{Object, ObjectSection};
use pgrx_sql_entity_graph::section::{decode_entities, is_schema_section_name};
use pgrx_sql_entity_graph::{ControlFile, PgrxSql, SqlGraphEntity};

use crate::installation::project;

/// The file that `CREATE EXTENSION` runs.
pub fn path() -> PathBuf {
    project().join(format!("sql/notify_json--{}.sql", env!("CARGO_PKG_VERSION")))
}

/// Reads what pgrx's macros left in the library built for release.
pub fn generate() -> String {
    let library = std::fs::read(project().join("target/release/libnotify_json.so"))
        .expect("`make build` makes the library");
    let library = object::File::parse(&*library).expect("it is a shared library");
    let section = library
        .sections()
        .find(|section| section.name().is_ok_and(is_schema_section_name))
        .expect("pgrx leaves a section");
    let entities = decode_entities(section.data().expect("it has data")).expect("pgrx wrote it");
    let control = ControlFile::from_path_with_cargo_version(
        project().join("extension/notify_json.control"),
        env!("CARGO_PKG_VERSION"),
    )
    .expect("the control file is one");
    let entities = std::iter::once(SqlGraphEntity::ExtensionRoot(control)).chain(entities);
    PgrxSql::build(entities, "notify_json".to_owned(), false)
        .and_then(|sql| sql.to_sql())
        .expect("the entities form a schema")
}
