//! Whatever the order in which transactions begin, publish and end: a reader gets each committed
//! event once, and causes before effects.

use std::collections::HashMap;

use notify_json_tests::{Database, Server};
use tokio_postgres::Client;

use super::{Reader, database, publish, run, until_blocked};

/// Sessions that publish numbers, a reader that may be one of them, and what is to be expected.
struct Play {
    sessions: Vec<Session>,
    reader: Reader,
    page: i32,
    step: usize,
    published: HashMap<u32, usize>,
    committed: HashMap<u32, usize>,
    delivered: Vec<u32>,
}

/// What a session has published in the transaction it is in: a list for it, and one for each of
/// its savepoints.
struct Session {
    client: Client,
    open: Vec<Vec<u32>>,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Begin,
    Publish,
    Savepoint,
    RollbackTo,
    Release,
    Commit,
    Rollback,
}
use Act::*;

impl Play {
    async fn new(database: &Database, sessions: usize, page: i32) -> Self {
        let reader = Reader::start(&database.connect().await, "latest").await;
        let mut play = Self {
            sessions: Vec::new(),
            reader,
            page,
            step: 0,
            published: HashMap::new(),
            committed: HashMap::new(),
            delivered: Vec::new(),
        };
        for _ in 0..sessions {
            let client = database.connect().await;
            play.sessions.push(Session { client, open: Vec::new() });
        }
        play
    }

    /// Does what makes sense in the session's state; something else than asked where it does not.
    async fn act(&mut self, session: usize, act: Act) {
        self.step += 1;
        let (step, number) = (self.step, self.published.len() as u32);
        let session = &mut self.sessions[session];
        let depth = session.open.len();
        let sql = match act {
            Begin if depth == 0 => {
                session.open.push(Vec::new());
                "BEGIN".to_owned()
            }
            Savepoint if depth > 0 => {
                session.open.push(Vec::new());
                format!("SAVEPOINT s{depth}")
            }
            RollbackTo if depth > 1 => {
                session.open.pop();
                format!("ROLLBACK TO s{0}; RELEASE s{0}", depth - 1)
            }
            Release if depth > 1 => {
                let inner = session.open.pop().expect("a savepoint");
                session.open.last_mut().expect("the transaction").extend(inner);
                format!("RELEASE s{}", depth - 1)
            }
            Commit if depth > 0 => {
                let events = session.open.drain(..).flatten();
                self.committed.extend(events.map(|event| (event, step)));
                "COMMIT".to_owned()
            }
            Rollback if depth > 0 => {
                session.open.clear();
                "ROLLBACK".to_owned()
            }
            _ => {
                self.published.insert(number, step);
                match session.open.last_mut() {
                    Some(open) => open.push(number),
                    None => drop(self.committed.insert(number, step)),
                }
                format!("SELECT notify_json('d', '{number}')")
            }
        };
        run(&session.client, &sql).await;
    }

    /// Reads all there is in a session.
    async fn read(&mut self, session: usize) {
        let client = &self.sessions[session].client;
        let payloads = self.reader.drain(client, self.page).await;
        self.delivered.extend(payloads.iter().map(|payload| payload.parse::<u32>().unwrap()));
    }

    /// Reads all there is, which is all that is committed.
    async fn read_all(&mut self, session: usize) {
        self.read(session).await;
        let mut delivered = self.delivered.clone();
        let mut committed: Vec<u32> = self.committed.keys().copied().collect();
        delivered.sort_unstable();
        committed.sort_unstable();
        assert_eq!(delivered, committed, "each once");
    }

    /// Ends all transactions, reads the rest and checks the order.
    async fn finish(mut self) {
        for session in 0..self.sessions.len() {
            if !self.sessions[session].open.is_empty() {
                self.act(session, Commit).await;
            }
        }
        self.read_all(0).await;
        for (place, effect) in self.delivered.iter().enumerate() {
            for cause in &self.delivered[place..] {
                assert!(
                    self.committed[cause] >= self.published[effect],
                    "{cause} was committed before {effect} was published: {:?}",
                    self.delivered
                );
            }
        }
    }
}

/// Plays a script in which the first session reads after every step, the second only at the end,
/// and so on; with pages of several sizes.
async fn play(script: &[(usize, Act)]) {
    let database = database().await;
    for page in [1, 2, 100] {
        for every in [1, 2, script.len()] {
            let mut play = Play::new(&database, 4, page).await;
            for (step, (session, act)) in script.iter().enumerate() {
                play.act(*session, *act).await;
                if step % every == every - 1 {
                    play.read_all(0).await;
                }
            }
            play.finish().await;
        }
    }
}

#[tokio::test]
async fn the_lower_id_commits_last() {
    let script = [(1, Begin), (1, Publish), (2, Publish), (1, Commit), (2, Publish)];
    play(&script).await;
}

#[tokio::test]
async fn three_transactions_end_in_every_order() {
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let mut script: Vec<(usize, Act)> = (1..4).map(|session| (session, Begin)).collect();
        script.extend([1, 2, 3, 3, 2, 1].map(|session| (session, Publish)));
        for session in order {
            script.extend([(session, Commit), (session, Publish)]);
        }
        play(&script).await;
    }
}

#[tokio::test]
async fn publish_then_long_work_then_commit() {
    let mut script = vec![(1, Begin), (1, Publish)];
    script.extend([(2, Publish), (3, Begin), (3, Publish), (3, Commit)].repeat(5));
    script.extend([(1, Publish), (2, Publish), (1, Commit), (2, Publish)]);
    play(&script).await;
}

#[tokio::test]
async fn savepoints_keep_and_lose_their_events() {
    let script = [
        (1, Begin),
        (1, Publish),
        (1, Savepoint),
        (1, Publish),
        (2, Publish),
        (1, Savepoint),
        (1, Publish),
        (1, Release),
        (2, Publish),
        (1, RollbackTo),
        (1, Publish),
        (1, Savepoint),
        (1, Publish),
        (1, Release),
        (2, Publish),
        (1, Commit),
    ];
    play(&script).await;
}

#[tokio::test]
async fn the_reader_publishes_in_its_own_transaction() {
    let script = [
        (0, Begin),
        (0, Publish),
        (1, Publish),
        (0, Publish),
        (0, Savepoint),
        (0, Publish),
        (2, Publish),
        (0, RollbackTo),
        (0, Publish),
        (0, Commit),
        (0, Begin),
        (2, Begin),
        (2, Publish),
        (0, Publish),
        (1, Publish),
        (0, Rollback),
        (2, Commit),
    ];
    play(&script).await;
}

#[tokio::test]
async fn transactions_open_for_the_whole_test() {
    let (database, other) = (database().await, database().await);
    let (same, elsewhere) = (database.connect().await, other.connect().await);
    for client in [&same, &elsewhere] {
        run(client, "BEGIN; SELECT notify_json('d', '1000')").await;
    }
    let mut play = Play::new(&database, 3, 2).await;
    for round in 0..20 {
        let script = [(1, Begin), (1, Publish), (2, Publish), (1, Commit), (2, Publish)];
        let (session, act) = script[round % script.len()];
        play.act(session, act).await;
        play.read_all(0).await;
    }
    play.finish().await;
    run(&same, "COMMIT").await;
    run(&elsewhere, "COMMIT").await;
}

#[tokio::test]
async fn random_interleavings() {
    let database = database().await;
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut play = Play::new(&database, 5, random.i32(1..5)).await;
        for _ in 0..150 {
            let acts = [Begin, Begin, Publish, Savepoint, RollbackTo, Release, Commit, Rollback];
            let act = acts[random.usize(..acts.len())];
            play.act(random.usize(..5), act).await;
            if random.usize(..3) == 0 {
                play.read_all(random.usize(..5)).await;
            }
        }
        play.finish().await;
    }
}

#[tokio::test]
async fn a_reader_with_one_snapshot_for_many_reads() {
    let database = database().await;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for seed in 0..10 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut play = Play::new(&database, 4, random.i32(1..5)).await;
            for _ in 0..10 {
                run(&play.sessions[0].client, &format!("BEGIN ISOLATION LEVEL {level}")).await;
                // The snapshot is taken here, and all is read that it sees.
                play.read_all(0).await;
                for _ in 0..15 {
                    let acts = [Begin, Publish, Savepoint, RollbackTo, Commit, Rollback];
                    let act = acts[random.usize(..acts.len())];
                    play.act(random.usize(1..4), act).await;
                    let before = play.delivered.len();
                    play.read(0).await;
                    assert_eq!(play.delivered.len(), before, "nothing new in the old snapshot");
                }
                let own = ["", "SELECT notify_json('d', '0')"][random.usize(..2)];
                run(&play.sessions[0].client, &format!("{own}; ROLLBACK")).await;
                play.read_all(3).await;
            }
            play.finish().await;
        }
    }
}

#[tokio::test]
async fn more_transactions_at_once_than_a_window_lists() {
    let database = database().await;
    let (many, client) = (database.connect().await, database.connect().await);
    let mut reader = Reader::start(&client, "latest").await;
    let publish_in_subtransactions = "DO $$ BEGIN
        FOR n IN 1..700 LOOP
            BEGIN PERFORM notify_json('d', to_json(n)); EXCEPTION WHEN data_exception THEN END;
        END LOOP; END $$";
    run(&many, "BEGIN").await;
    let mut expected = Vec::new();
    for round in 0..4 {
        run(&many, publish_in_subtransactions).await;
        assert!(reader.drain(&client, 1_000).await.is_empty());
        if round == 2 {
            publish(&client, "0").await;
            assert_eq!(reader.drain(&client, 1_000).await, ["0"]);
        }
        expected.extend((1..701).map(|n| n.to_string()));
    }
    run(&client, "BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert!(reader.drain(&client, 1_000).await.is_empty());
    run(&many, "COMMIT").await;
    run(&many, publish_in_subtransactions).await;
    run(&many, publish_in_subtransactions).await;
    assert!(reader.drain(&client, 1_000).await.is_empty());
    run(&client, "COMMIT").await;
    expected.extend_from_within(..1_400);
    assert_eq!(reader.drain(&client, 1_000).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_race() {
    let database = database().await;
    let mut writers = Vec::new();
    for writer in 0..6_u64 {
        let client = database.connect().await;
        writers.push(tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(writer);
            let mut committed = Vec::new();
            for transaction in 0..300 {
                let events = random.u64(1..4);
                let numbers: Vec<u64> =
                    (0..events).map(|n| writer * 10_000 + transaction * 10 + n).collect();
                run(&client, "BEGIN").await;
                for number in &numbers {
                    publish(&client, &number.to_string()).await;
                }
                if random.u8(..5) == 0 {
                    run(&client, "ROLLBACK").await;
                } else {
                    run(&client, "COMMIT").await;
                    committed.extend(numbers);
                }
            }
            committed
        }));
    }
    let client = database.connect().await;
    let mut reader = Reader::start(&client, "earliest").await;
    let mut delivered = Vec::new();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        delivered.extend(reader.page(&client, 5).await);
    }
    loop {
        let events = reader.page(&client, 50).await;
        if events.is_empty() {
            break;
        }
        delivered.extend(events);
    }
    for (writer, committed) in writers.into_iter().enumerate() {
        let numbers = delivered.iter().map(|event| event.1.parse::<u64>().unwrap());
        let own: Vec<u64> = numbers.filter(|n| n / 10_000 == writer as u64).collect();
        assert_eq!(own, committed.await.unwrap(), "each once and in order");
    }
}

#[tokio::test]
async fn the_one_that_waited_comes_later() {
    let database = database().await;
    let (first, watcher) = (database.connect().await, database.connect().await);
    let second = database.connect().await;
    run(&first, "CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)").await;
    let mut reader = Reader::start(&first, "earliest").await;
    let pid = super::pid(&second).await;
    run(&first, "BEGIN; UPDATE counter SET n = n + 1; SELECT notify_json('d', '1')").await;
    let waiting = async {
        let sql = "BEGIN; SELECT 1 FROM pg_current_xact_id(); UPDATE counter SET n = n + 1;
                   SELECT notify_json('d', to_json(n)) FROM counter";
        run(&second, sql).await;
    };
    let committing = async {
        until_blocked(&watcher, pid).await;
        assert_eq!(reader.drain(&watcher, 1).await, [] as [&str; 0]);
        run(&first, "COMMIT").await;
    };
    tokio::join!(waiting, committing);
    let third = publish(&watcher, "3").await;
    assert_eq!(reader.drain(&watcher, 1).await, ["1", "3"]);
    run(&second, "COMMIT").await;
    assert_eq!(reader.page(&watcher, 10).await, [(third - 1, "2".to_owned())]);
}

#[tokio::test]
async fn a_prepared_transaction_counts_when_it_commits() {
    let database = database().await;
    let client = database.connect().await;
    let mut reader = Reader::start(&client, "earliest").await;
    run(&client, "BEGIN; SELECT notify_json('d', '1'); PREPARE TRANSACTION 'kept'").await;
    publish(&client, "2").await;
    assert_eq!(reader.drain(&client, 1).await, ["2"]);
    publish(&client, "3").await;
    assert_eq!(reader.drain(&client, 1).await, ["3"]);
    run(&client, "COMMIT PREPARED 'kept'").await;
    assert_eq!(reader.drain(&client, 1).await, ["1"]);
}

#[tokio::test]
async fn positions_survive_a_crash() {
    let server = Server::start(&Default::default());
    let database = server.database().await;
    database.execute("SELECT notify_json.create_channel('d')").await;
    let (client, open) = (database.connect().await, database.connect().await);
    run(&open, "BEGIN; SELECT notify_json('d', '0')").await;
    run(&client, "SELECT notify_json('d', to_json(n)) FROM generate_series(1, 40) n").await;
    let sql = "SELECT id FROM notify_json.fetch('c', 'd', 10)";
    let ids: Vec<i64> = super::column(&client, sql).await;
    assert_eq!(ids.len(), 10);
    run(&client, &format!("SELECT notify_json.ack('c', 'd', {})", ids[9])).await;
    server.crash_and_restart();
    let client = database.connect_when_up().await;
    // The xid of the one that was lost may be given again.
    run(&client, "SELECT notify_json('d', to_json(n)) FROM generate_series(41, 50) n").await;
    let sql = "SELECT payload::text FROM notify_json.fetch('c', 'd', 1000)";
    let mut left: Vec<String> = super::column(&client, sql).await;
    let last: i64 = super::value(&client, "SELECT fetched FROM notify_json.consumer").await;
    run(&client, &format!("SELECT notify_json.ack('c', 'd', {last})")).await;
    left.extend(super::column::<String>(&client, sql).await);
    assert_eq!(left, (11..51).map(|n| n.to_string()).collect::<Vec<_>>());
}
