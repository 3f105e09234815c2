//! Rights on registered channels: who may do what, as which role, and what nobody can forge.

mod calls;
mod forging;
mod grants;
mod hostile;

use notify_json_tests::{Database, Server};
use tokio_postgres::Client;
use tokio_postgres::error::DbError;
use tokio_postgres::types::FromSqlOwned;

/// A database with a role for every way to have a right, or none, on the durable channel `d`.
struct Case {
    database: Database,
    admin: Client,
    /// Ends the names of its roles, which are the whole server's.
    suffix: String,
}

const SETUP: &str = "
    CREATE ROLE owner; CREATE ROLE publisher; CREATE ROLE consumer; CREATE ROLE nobody;
    CREATE ROLE member_of_owner IN ROLE owner;
    CREATE ROLE member_of_publisher IN ROLE publisher;
    CREATE ROLE member_of_consumer IN ROLE consumer;
    CREATE ROLE set_publisher NOINHERIT IN ROLE publisher;
    CREATE ROLE extension_owner;
    DROP EXTENSION notify_json;
    ALTER DATABASE this OWNER TO extension_owner;
    GRANT ALL ON SCHEMA public TO extension_owner;
    SET ROLE extension_owner;
    CREATE EXTENSION notify_json;
    GRANT EXECUTE ON FUNCTION notify_json.create_channel TO owner;
    SET ROLE owner;
    SELECT notify_json.create_channel('d');
    SELECT notify_json.grant_publish('d', 'publisher'), notify_json.grant_consume('d', 'consumer');
    RESET ROLE;
    CREATE FUNCTION as_publisher(sql text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
        AS $$ BEGIN EXECUTE sql; END $$;
    ALTER FUNCTION as_publisher OWNER TO publisher;";

const ROLES: [&str; 9] = [
    "member_of_owner",
    "member_of_publisher",
    "member_of_consumer",
    "set_publisher",
    "extension_owner",
    "owner",
    "publisher",
    "consumer",
    "nobody",
];

impl Case {
    async fn new() -> Self {
        let database = Server::shared().database().await;
        let admin = database.connect().await;
        let row = admin.query_one("SELECT current_database()::text", &[]).await.unwrap();
        let case = Self { database, admin, suffix: row.get(0) };
        case.run(&SETUP.replace("DATABASE this", &format!("DATABASE {}", case.suffix))).await;
        for payload in ["1", "2"] {
            case.run(&format!("SELECT notify_json('d', '{payload}')")).await;
        }
        case
    }

    /// A statement with the roles' names of this database.
    fn sql(&self, sql: &str) -> String {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let (mut out, mut rest) = (String::new(), sql);
        while let Some(first) = rest.chars().next() {
            let word = rest.bytes().take_while(|byte| is_part(*byte)).count();
            let (token, after) = rest.split_at(word.max(first.len_utf8()));
            out.push_str(token);
            if ROLES.contains(&token) && !after.starts_with(" =>") {
                out.push_str(&format!("_{}", self.suffix));
            }
            rest = after;
        }
        out
    }

    async fn run(&self, sql: &str) {
        let sql = self.sql(sql);
        self.admin.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    async fn value<T: FromSqlOwned>(&self, sql: &str) -> T {
        let sql = self.sql(sql);
        let row = self.admin.query_one(&sql, &[]).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    /// The error of a statement of a role, which must have a DETAIL and a HINT.
    async fn denied(&self, role: &str, sql: &str) -> DbError {
        let sql = format!("BEGIN; SET LOCAL ROLE {role}; {sql}");
        let error = self.admin.batch_execute(&self.sql(&sql)).await.expect_err(&sql);
        self.run("ROLLBACK").await;
        let error = error.as_db_error().unwrap().clone();
        assert_eq!(error.code().code(), "42501", "{sql}: {error:?}");
        assert!(error.detail().is_some() && error.hint().is_some(), "{sql}: {error:?}");
        error
    }

    async fn allowed(&self, role: &str, sql: &str) {
        self.run(&format!("SET ROLE {role}; {sql}; RESET ROLE")).await;
    }

    /// Events of `d`.
    async fn events(&self) -> i64 {
        self.value("SELECT count(*) FROM notify_json.event WHERE channel = 'd'").await
    }
}

/// What is tried, in a transaction that is rolled back.
const ACTIONS: [(&str, &str); 13] = [
    ("publish", "SELECT notify_json('d', '3')"),
    (
        "consume",
        "SELECT notify_json.attend('d'), notify_json.start('d', 'latest'),
            notify_json.start_after('d', 0), notify_json.missed('d', '3:3:;0;3:3:;0;0', 0, NULL),
            notify_json.read('d', '3:3:;0;3:3:;0;0', 0, 1, 1, 1), notify_json.fetch('new', 'd'),
            notify_json.claim('another', 'd', '1 s'), notify_json.prune()",
    ),
    (
        "ack",
        "SELECT notify_json.ack('fetched', 'd', 1);
         SELECT notify_json.renew('claimed', 'd', 1, '1 hour');
         SELECT notify_json.ack_position('claimed', 'd', 1, '3:3:;0;3:3:;0;0', 1, 0);
         SELECT notify_json.release('claimed', 'd', 1)",
    ),
    (
        "seek",
        "SELECT notify_json.seek('fetched', 'd', 'latest'), notify_json.seek('claimed', 'd', now()),
            notify_json.drop_consumer('fetched', 'd')",
    ),
    ("create", "SELECT notify_json.create_channel('new')"),
    ("alter", "SELECT notify_json.alter_channel('d', retention => '1 day')"),
    ("drop", "SELECT notify_json.drop_channel('d')"),
    (
        "grant",
        "SELECT notify_json.grant_publish('d', 'public'), notify_json.revoke_publish('d', 'public'),
            notify_json.grant_consume('d', 'nobody'), notify_json.revoke_consume('d', 'nobody')",
    ),
    (
        "watch",
        "CREATE TEMP TABLE own (id integer PRIMARY KEY);
         SELECT notify_json.watch('own', 'd'); INSERT INTO own VALUES (1)",
    ),
    ("read_table", "SELECT FROM notify_json.event"),
    (
        "write_table",
        "INSERT INTO notify_json.event (slot, channel, payload, channel_id) VALUES (0, 'd', '1', 1)",
    ),
    ("unchecked", "SELECT notify_json_unchecked.drop_channel('d')"),
    // Anybody may, of which nothing comes: see `forging`.
    ("notify", "NOTIFY d, '~1 event'; NOTIFY d, '~1 00000000000000ab 0/1 json 3\n[1]'"),
];

/// In the order of the actions: publish, consume, ack, seek, create, alter, drop, grant, watch, read
/// the table, write to it, call what is not checked, NOTIFY.
const TABLE: &str = "
    superuser               x x x x  x x x x  x x x x x
    extension_owner         . . . .  x . . .  . x . . x
    owner                   x x x x  x x x x  x . . . x
    member_of_owner         x x x x  x x x x  x . . . x
    publisher               x . . .  . . . .  x . . . x
    member_of_publisher     x . . .  . . . .  x . . . x
    consumer                . x x x  . . . .  . . . . x
    member_of_consumer      . x x x  . . . .  . . . . x
    nobody                  . . . .  . . . .  . . . . x
    set_publisher           . . . .  . . . .  . . . . x
    set_publisher:SET       x . . .  . . . .  x . . . x
    nobody:as_publisher     x . . .  . . . .  x . . . x
    superuser:as_publisher  x . . .  . . . .  x . . . x
    consumer:as_publisher   x . . .  . . . .  x . . . x
";

#[tokio::test]
async fn roles_and_actions() {
    let case = Case::new().await;
    // The first consumer that there ever was, whose epoch is 1.
    case.run("SELECT notify_json.claim('claimed', 'd', '1 hour')").await;
    case.run("SELECT notify_json.fetch('fetched', 'd', 1)").await;
    let mut wrong = Vec::new();
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let actor = words.next().unwrap_or_default();
        let cells: Vec<&str> = words.collect();
        if actor.is_empty() {
            continue;
        }
        assert_eq!(cells.len(), ACTIONS.len(), "{line}");
        for ((action, sql), cell) in ACTIONS.into_iter().zip(cells) {
            let found = attempt(&case, actor, sql).await;
            if found != (if cell == "x" { "ok" } else { "42501" }) {
                wrong.push(format!("{actor}: {action}: {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The SQLSTATE with which an action fails, or "ok".
async fn attempt(case: &Case, actor: &str, sql: &str) -> String {
    let (role, way) = actor.split_once(':').unwrap_or((actor, ""));
    // As after a login: RESET ROLE and SET ROLE go by the session's user.
    let role = match role {
        "superuser" => String::new(),
        role => format!("SET LOCAL SESSION AUTHORIZATION {role};"),
    };
    let sql = match way {
        "SET" => format!("SET LOCAL ROLE publisher; {sql}"),
        "as_publisher" => format!("SELECT as_publisher($sql${sql}$sql$)"),
        _ => sql.to_owned(),
    };
    let result = case.admin.batch_execute(&case.sql(&format!("BEGIN; {role} {sql}"))).await;
    case.run("ROLLBACK").await;
    match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.code().map_or_else(|| format!("{error:?}"), |code| code.code().into()),
    }
}
