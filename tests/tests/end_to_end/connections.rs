//! Connections by the rules of libpq, against servers of every kind.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use notify_json_client::{Error, ErrorKind, Listener, ListenerConfig, Message, connect, publish};
use notify_json_tests::{
    Running, Server, ServerOptions, next_message, notify_json, own, psql, texts,
};

use crate::certificates::Authority;

/// Roles of the encrypted servers, each with its line in pg_hba.conf.
const ROLES: &str = "\
    CREATE ROLE anyone LOGIN; CREATE ROLE plain LOGIN; CREATE ROLE certified LOGIN;
    CREATE ROLE secret LOGIN PASSWORD 'hunter2'";
const HBA: &str = "\
local     all postgres                trust
local     all secret                  scram-sha-256
host      all postgres  127.0.0.1/32  trust
hostssl   all anyone    127.0.0.1/32  trust
hostssl   all certified 127.0.0.1/32  cert
hostssl   all secret    127.0.0.1/32  scram-sha-256
hostnossl all plain     127.0.0.1/32  trust
";

/// A server that shows the certificate `NAME.crt` of an authority.
async fn encrypted(authority: &Authority, name: &str, settings: &[(&str, &str)]) -> Server {
    let (certificate, key) =
        (authority.file(&format!("{name}.crt")), authority.file(&format!("{name}.key")));
    own(Path::new(&key));
    let (ca, hba) = (authority.file("ca.crt"), authority.file("hba.conf"));
    fs::write(&hba, HBA).unwrap();
    let files = [
        ("ssl", "on"),
        ("ssl_cert_file", &certificate),
        ("ssl_key_file", &key),
        ("ssl_ca_file", &ca),
        ("hba_file", &hba),
    ];
    let settings = [&files, settings].concat();
    let server = Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() });
    query(&server.url("postgres"), ROLES).await.unwrap();
    server
}

/// Parameters of a server that is at 127.0.0.1 whatever its name is.
fn parameters(server: &Server, host: &str, user: &str, rest: &str) -> String {
    let port = server.port();
    format!("host={host} hostaddr=127.0.0.1 port={port} user={user} dbname=postgres {rest}")
}

/// The first value of a query's result, as text.
async fn query(connection: &str, sql: &str) -> Result<String, Error> {
    use tokio_postgres::SimpleQueryMessage::Row;
    let (client, connection) = connect(connection).await?;
    tokio::spawn(connection);
    let messages = client.simple_query(sql).await.unwrap();
    let row = messages.iter().find_map(|message| match message {
        Row(row) => row.get(0),
        _ => None,
    });
    Ok(row.unwrap_or_default().to_owned())
}

/// Whether a new connection is encrypted.
async fn is_encrypted(connection: &str) -> Result<bool, Error> {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    Ok(query(connection, sql).await? == "t")
}

/// The error of a connection that must fail, with all its causes.
async fn refusal(connection: &str) -> String {
    let error = match connect(connection).await {
        Ok(_) => panic!("{connection} connects"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn verification_is_as_strict_as_asked_for() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("db.example");
    let server = encrypted(&authority, "db.example", &[]).await;
    let connection = |host, mode: &str, roots: &Authority| {
        let rest = format!("sslmode={mode} sslrootcert={}", roots.file("ca.crt"));
        parameters(&server, host, "anyone", &rest)
    };
    for (host, mode) in [
        ("db.example", "verify-full"),
        ("db.example", "verify-ca"),
        ("localhost", "verify-ca"),
        ("localhost", "require"),
        ("localhost", "prefer"),
    ] {
        assert!(is_encrypted(&connection(host, mode, &authority)).await.unwrap(), "{host} {mode}");
    }
    let error = refusal(&connection("localhost", "verify-full", &authority)).await;
    assert!(error.contains("not valid for name"), "{error}");
    for mode in ["verify-full", "verify-ca", "require"] {
        let error = refusal(&connection("db.example", mode, &stranger)).await;
        assert!(error.contains("invalid peer certificate"), "{mode}: {error}");
    }
    let error = refusal(&parameters(&server, "127.0.0.1", "anyone", "sslmode=disable")).await;
    assert!(error.contains("no encryption"), "{error}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_taken_unless_it_is_to_be_verified() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue_self_signed("db.example");
    let server = encrypted(&authority, "db.example", &[]).await;
    let connection = |rest: &str| parameters(&server, "db.example", "anyone", rest);
    assert!(is_encrypted(&connection("sslmode=require")).await.unwrap());
    let itself = format!("sslmode=verify-full sslrootcert={}", authority.file("db.example.crt"));
    assert!(is_encrypted(&connection(&itself)).await.unwrap());
    let other = format!("sslmode=verify-ca sslrootcert={}", stranger.file("ca.crt"));
    refusal(&connection(&other)).await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let server = Server::shared();
    let error = refusal(&format!("{}?sslmode=require", server.url("postgres"))).await;
    assert!(error.contains("server does not support TLS"), "{error}");
    for mode in ["disable", "allow", "prefer"] {
        let url = format!("{}?sslmode={mode}", server.url("postgres"));
        assert!(!is_encrypted(&url).await.unwrap(), "{mode}");
    }
}

#[tokio::test]
async fn prefer_goes_on_in_plain_text() {
    let authority = Authority::new();
    authority.issue("db.example");
    // rustls knows no cipher without forward secrecy, so the handshake fails.
    let old = [("ssl_ciphers", "AES256-SHA"), ("ssl_max_protocol_version", "TLSv1.2")];
    for settings in [&[][..], &old] {
        let server = encrypted(&authority, "db.example", settings).await;
        let user = if settings.is_empty() { "plain" } else { "postgres" };
        assert!(!is_encrypted(&parameters(&server, "127.0.0.1", user, "")).await.unwrap());
        refusal(&parameters(&server, "127.0.0.1", user, "sslmode=require")).await;
    }
}

#[tokio::test]
async fn listening_over_tls_with_a_client_certificate() {
    let authority = Authority::new();
    for name in ["db.example", "certified", "other"] {
        authority.issue(name);
    }
    let server = encrypted(&authority, "db.example", &[]).await;
    query(&server.url("postgres"), "CREATE EXTENSION notify_json").await.unwrap();
    let connection = |name: &str| {
        let [root, certificate, key] =
            ["ca.crt", &format!("{name}.crt"), &format!("{name}.key")].map(|f| authority.file(f));
        let files = format!("sslrootcert={root} sslcert={certificate} sslkey={key}");
        parameters(&server, "db.example", "certified", &format!("sslmode=verify-full {files}"))
    };
    let listener = Listener::connect(&connection("certified")).await.unwrap();
    let mut subscription = listener.subscribe::<Message>("c").await.unwrap();
    let (client, ending) = connect(&connection("certified")).await.unwrap();
    tokio::spawn(ending);
    let large = texts::incompressible(1_000_000, 1);
    notify_json_client::publish_json(&client, "c", &large).await.unwrap();
    assert!(next_message(&mut subscription).await.json().unwrap() == large);

    refusal(&connection("other")).await;
    let key = authority.file("certified.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = Listener::connect(&connection("certified")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().ends_with("make its mode 0600"), "{error}");
}

#[tokio::test]
async fn the_first_host_that_will_have_us_is_taken() {
    let server = Server::shared();
    let port = server.port();
    // One that nobody is at, one that takes connections and says nothing, one with no address.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    for (host, other_port) in [("127.0.0.1", 1), ("127.0.0.1", silent_port), ("none.invalid", 1)] {
        let url = format!(
            "postgres://postgres@{host}:{other_port},127.0.0.1:{port}/postgres?connect_timeout=1"
        );
        assert_eq!(query(&url, "SHOW port").await.unwrap(), port.to_string(), "{url}");
    }
    let url = format!("postgres://127.0.0.1:{silent_port}/x?connect_timeout=1");
    let error = refusal(&url).await;
    assert_eq!(error, format!("cannot connect to 127.0.0.1:{silent_port}: no answer in 1s"));

    // A refusal counts, as in libpq: the same password is not shown to every host.
    let url = format!("postgres://nobody@127.0.0.1:{port},127.0.0.1:1/postgres");
    let error = refusal(&url).await;
    assert!(error.contains("role \"nobody\" does not exist"), "{error}");
}

#[tokio::test]
async fn a_standby_is_passed_over_for_a_primary() {
    let primary = Server::start(&ServerOptions::default());
    let options = ServerOptions { standby_of: Some(&primary), ..ServerOptions::default() };
    let standby = Server::start(&options);
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres",
        standby.port(),
        primary.port()
    );
    let sql = "SELECT pg_is_in_recovery()";
    assert_eq!(query(&url, sql).await.unwrap(), "t");
    for attributes in ["read-write", "primary"] {
        let url = format!("{url}?target_session_attrs={attributes}");
        assert_eq!(query(&url, sql).await.unwrap(), "f");
        Listener::connect(&url).await.unwrap().subscribe::<Message>("c").await.unwrap();
    }
    let alone = format!("{}?target_session_attrs=read-write", standby.url("postgres"));
    let error = refusal(&alone).await;
    assert!(error.contains("does not allow writes"), "{error}");
}

#[tokio::test]
async fn passwords_are_sent_but_never_shown() {
    let authority = Authority::new();
    authority.issue("db.example");
    let server = encrypted(&authority, "db.example", &[]).await;
    let connection = |rest: &str| parameters(&server, "127.0.0.1", "secret", rest);
    let right = connection("password=hunter2 channel_binding=require");
    assert!(is_encrypted(&right).await.unwrap());
    let wrong = connection("password=hunter3");
    let config = wrong.parse::<ListenerConfig>().unwrap();
    let error = Listener::connect(&wrong).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "28P01");
    let texts = format!("{config:?} {error} {error:?} {}", refusal(&wrong).await);
    assert!(!texts.contains("hunter3"), "{texts}");

    // From the password file, over TCP and a Unix socket.
    let file = authority.file("passfile");
    let folder = server.socket_folder().to_str().unwrap();
    let line = |host: &str| format!("{host}:{}:postgres:secret:hunter2\n", server.port());
    fs::write(&file, line("127.0.0.1") + &line(folder)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let passfile = format!("passfile={file}");
    assert!(is_encrypted(&connection(&passfile)).await.unwrap());
    let (port, rest) = (server.port(), format!("user=secret dbname=postgres {passfile}"));
    let socket = format!("host={folder} port={port} sslmode=require {rest}");
    assert!(!is_encrypted(&socket).await.unwrap(), "sslmode is not for Unix sockets");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    refusal(&connection(&passfile)).await;
}

#[tokio::test]
async fn a_configuration_of_tokio_postgres_is_taken_as_it_is() {
    let authority = Authority::new();
    authority.issue_self_signed("db.example");
    let server = encrypted(&authority, "db.example", &[]).await;
    let text = parameters(&server, "db.example", "anyone", "sslmode=require");
    let config = text.parse::<tokio_postgres::Config>().unwrap();
    let listener = ListenerConfig::from(config).connect().await.unwrap();
    let mut subscription = listener.subscribe::<u32>("c").await.unwrap();
    query(&server.url("postgres"), "CREATE EXTENSION notify_json").await.unwrap();
    let (client, ending) = connect(&text).await.unwrap();
    tokio::spawn(ending);
    publish(&client, "c", &1).await.unwrap();
    assert_eq!(next_message(&mut subscription).await, 1);
}

/// Publishes from the command line, as whoever `variables` say.
fn publish_with(variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = notify_json();
    command.args(["publish", "c", "1"]).envs(variables.iter().copied());
    let (code, _, errors) = Running::start(&mut command).finish();
    (code, errors)
}

/// What psql makes of the same variables.
fn psql_with(variables: &[(&str, &str)]) -> Option<i32> {
    let mut command = psql("");
    let path = std::env::var_os("PATH").unwrap();
    command.args(["-c", "SELECT 1"]).env_clear().env("PATH", path);
    Running::start(command.envs(variables.iter().copied())).finish().0
}

#[tokio::test]
async fn the_command_line_takes_what_psql_takes() {
    let authority = Authority::new();
    for name in ["db.example", "certified"] {
        authority.issue(name);
    }
    let server = encrypted(&authority, "db.example", &[]).await;
    query(&server.url("postgres"), "CREATE EXTENSION notify_json").await.unwrap();
    let port = server.port().to_string();
    let home = authority.file("");
    let passfile = authority.file(".pgpass");
    let socket_folder = server.socket_folder().to_str().unwrap();
    fs::write(&passfile, "*:*:postgres:secret:hunter2\n").unwrap();
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).unwrap();
    let service = format!(
        "[shop]\nhost=db.example\nhostaddr=127.0.0.1\nport={port}\ndbname=postgres\nuser=secret\n\
         sslmode=verify-full\nsslrootcert={}\n",
        authority.file("ca.crt")
    );
    fs::write(authority.file(".pg_service.conf"), service).unwrap();
    let (roots, certificate, key) = (
        authority.file("ca.crt"),
        authority.file("certified.crt"),
        authority.file("certified.key"),
    );

    let tcp = [
        ("HOME", home.as_str()),
        ("PGHOST", "db.example"),
        ("PGHOSTADDR", "127.0.0.1"),
        ("PGPORT", &port),
        ("PGDATABASE", "postgres"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", &roots),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&tcp, more].concat();
    let certified =
        [&tcp[..], &[("PGUSER", "certified"), ("PGSSLCERT", &certificate), ("PGSSLKEY", &key)]]
            .concat();
    let socket = [
        ("HOME", home.as_str()),
        ("PGHOST", socket_folder),
        ("PGPORT", &port),
        ("PGUSER", "secret"),
        ("PGDATABASE", "postgres"),
    ];
    for (name, variables, works) in [
        ("TLS", with(&[("PGUSER", "anyone")]), true),
        ("another name", with(&[("PGUSER", "anyone"), ("PGHOST", "localhost")]), false),
        ("client certificate", certified, true),
        ("no client certificate", with(&[("PGUSER", "certified")]), false),
        ("password file", with(&[("PGUSER", "secret")]), true),
        ("wrong password", with(&[("PGUSER", "secret"), ("PGPASSWORD", "no")]), false),
        ("no password file", with(&[("PGUSER", "secret"), ("PGPASSFILE", "/none")]), false),
        ("service", vec![("HOME", &home), ("PGSERVICE", "shop")], true),
        ("no service", vec![("HOME", &home), ("PGSERVICE", "none")], false),
        ("Unix socket", socket.to_vec(), true),
    ] {
        let (code, errors) = publish_with(&variables);
        assert_eq!(code == Some(0), works, "{name}: {errors}");
        assert!(!errors.contains("hunter2"), "{name}: {errors}");
        assert_eq!(psql_with(&variables) == Some(0), works, "psql: {name}");
    }
    let mut system = with(&[("PGUSER", "anyone"), ("PGSSLROOTCERT", "system")]);
    assert_eq!(publish_with(&system).0, Some(1), "the system does not know the authority");
    system.push(("SSL_CERT_FILE", &roots));
    assert_eq!(publish_with(&system), (Some(0), String::new()));
}

#[test]
fn a_password_file_for_all_to_read_is_passed_over_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passfile");
    fs::write(&file, "*:*:*:*:hunter2\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let url = Server::shared().url("postgres");
    let mut command: Command = notify_json();
    command.args(["publish", "c", "1", "--url", &url]).env("PGPASSFILE", &file);
    let (_, _, errors) = Running::start(command.env("RUST_LOG", "warn")).finish();
    assert!(errors.contains("password file ignored"), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
}
