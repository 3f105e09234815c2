//! What the documents say is true: their SQL and commands run, their paths exist. Their Rust is
//! compiled by the client's doc tests.

use std::process::Command;

use notify_json_tests::{Database, Server, ServerOptions, make, notify_json, project};

fn read(path: &str) -> String {
    std::fs::read_to_string(project().join(path)).unwrap()
}

/// The code blocks of a language, in order.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let blocks = document.split(&opening).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_sql_of_the_readme_runs() {
    let client = Server::shared().database().await.connect().await;
    client.batch_execute("DROP EXTENSION notify_json").await.unwrap();
    let blocks = blocks(&read("README.md"), "sql");
    assert!(blocks.len() >= 4);
    for sql in blocks {
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_of_the_readme_work() {
    let block = blocks(&read("README.md"), "conf").concat();
    let lines = block.lines().map(|line| line.split_once(" = ").unwrap());
    let settings: Vec<(&str, &str)> =
        lines.map(|(name, value)| (name, value.trim_matches('\''))).collect();
    let server = Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() });
    let client = Database::at(server.url("postgres")).connect().await;
    let served = "SELECT count(*) FROM pg_stat_activity
                  WHERE backend_type = 'notify_json doorbell' AND datname = $1";
    for database in ["shop", "billing"] {
        client.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        while client.query_one(served, &[&database]).await.unwrap().get::<_, i64>(0) != 1 {
            tokio::task::yield_now().await;
        }
    }
}

/// Run by CI, and the last one by `installing_takes_the_library_the_control_file_and_the_scripts`.
const RUN_ELSEWHERE: [&str; 3] = ["make demo ", "make test ", "make install "];

#[tokio::test]
async fn the_commands_of_the_readme_run() {
    let database = Server::shared().database().await;
    database.execute("SELECT notify_json.create_channel('invoices')").await;
    let blocks = blocks(&read("README.md"), "sh").concat();
    let program = notify_json().get_program().to_owned();
    let folder = std::path::Path::new(&program).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut run = 0;
    for line in blocks.lines().filter(|line| !line.is_empty()) {
        if RUN_ELSEWHERE.iter().any(|command| line.starts_with(command)) {
            continue;
        }
        assert!(line.contains("notify-json "), "nothing runs this command: {line}");
        let output = Command::new("sh")
            .args(["-c", line])
            .env("PATH", &path)
            .env("DATABASE_URL", database.url())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        run += 1;
    }
    assert!(run >= 3);
}

#[test]
fn the_dependencies_of_the_readme_exist() {
    let lock = read("Cargo.lock");
    let block = blocks(&read("README.md"), "toml").concat();
    let names: Vec<&str> =
        block.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    assert!(names.len() >= 3);
    for name in names {
        assert!(lock.contains(&format!("name = \"{name}\"\n")), "{name}");
    }
}

#[test]
fn installing_takes_the_library_the_control_file_and_the_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let destination = format!("DESTDIR={}", folder.path().display());
    make(&["install", &destination]);
    let listing = Command::new("find")
        .arg(folder.path())
        .args(["-type", "f", "-printf", "%f\\n"])
        .output()
        .unwrap();
    let mut files: Vec<&str> = std::str::from_utf8(&listing.stdout).unwrap().lines().collect();
    files.sort_unstable();
    let scripts =
        ["notify_json--0.1.0--0.2.0.sql", "notify_json--0.1.0.sql", "notify_json--0.2.0.sql"];
    assert_eq!(files, [&scripts[..], &["notify_json.control", "notify_json.so"]].concat());
}

#[test]
fn the_paths_of_the_map_exist_and_no_source_is_missing_from_it() {
    let document = read("ARCHITECTURE.md");
    let map = document.split("## Map").nth(1).unwrap();
    let paths: Vec<&str> =
        map.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    for path in &paths {
        assert!(project().join(path).exists(), "{path}");
    }
    for folder in [
        "wire/src",
        "extension/src",
        "extension/src/contract",
        "extension/src/worker",
        "client/src",
        "client/src/connect",
        "client/src/contract",
        "client/src/log",
    ] {
        for file in std::fs::read_dir(project().join(folder)).unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_dir() {
                continue;
            }
            let name = file.file_name().into_string().unwrap();
            let path = format!("{folder}/{name}");
            assert!(name == "lib.rs" || paths.contains(&path.as_str()), "{path} is not in the map");
        }
    }
}

#[test]
fn every_public_async_function_says_what_dropping_it_does() {
    let mut found = 0;
    for folder in ["client/src", "client/src/connect", "client/src/log"] {
        for file in std::fs::read_dir(project().join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let mut documentation = String::new();
            for line in source.lines().map(str::trim_start) {
                if line.starts_with("pub async fn") {
                    found += 1;
                    let says = documentation.contains("/// # Cancel safety");
                    assert!(says, "{}: {line}", path.display());
                }
                match line.starts_with("///") || line.starts_with("#[") {
                    true => documentation += line,
                    false => documentation.clear(),
                }
            }
        }
    }
    assert!(found >= 11);
}

#[test]
fn the_changelog_knows_the_version() {
    assert!(read("CHANGELOG.md").contains(&format!("## {}", env!("CARGO_PKG_VERSION"))));
}
