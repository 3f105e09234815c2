//! A random table, and random statements on it.

use tokio_postgres::{Client, Error};

/// What a table is for all of its run. Its columns change.
#[derive(Debug)]
pub(super) struct Table {
    number: u64,
    kind: Kind,
    per: &'static str,
    include_old: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Keyed,
    /// With a key of two columns, one of which needs quotes.
    Composite,
    Keyless,
    Partitioned,
}

/// A column beside the key, as the catalog has it.
pub(super) struct Column {
    /// In quotes.
    name: String,
    of_type: String,
    is_generated: bool,
}

/// Types of columns, with random values.
const TYPES: [(&str, &str); 11] = [
    ("integer", "(random() * 1000)::int"),
    ("bigint", "(random() * 1e18)::bigint"),
    ("text", "(ARRAY[NULL, '', E'a\"b\\\\\\n', 'ä', md5(random()::text)])[1 + random() * 4]"),
    ("text", "repeat(md5(random()::text), 200)"),
    ("numeric", "(ARRAY['NaN', '1.10', '0.000', random()::text])[1 + random() * 3]::numeric"),
    (
        "double precision",
        "(ARRAY['NaN', '-Infinity', '-0', random()::text])[1 + random() * 3]::float8",
    ),
    ("timestamp with time zone", "now() + random() * interval '1 year'"),
    ("jsonb", "jsonb_build_object('a', random(), 'b', ARRAY[NULL, 'x\"'])"),
    ("text[]", "ARRAY[NULL, md5(random()::text), 'a,\"b']"),
    ("boolean", "random() < 0.5"),
    ("bytea", "decode(md5(random()::text), 'hex')"),
];

impl Table {
    pub(super) fn random(number: u64, random: &mut fastrand::Rng) -> Self {
        let kinds = [Kind::Keyed, Kind::Composite, Kind::Keyless, Kind::Partitioned];
        let kind = kinds[random.usize(0..kinds.len())];
        let per = ["row", "statement"][random.usize(0..2)];
        Self { number, kind, per, include_old: kind == Kind::Keyless || random.bool() }
    }

    /// The table, watched, and its mirror.
    pub(super) fn create(&self) -> String {
        let Self { number, .. } = self;
        let columns = "id integer NOT NULL, \"K \"\"2\" integer NOT NULL DEFAULT 1, a text";
        let key = match self.kind {
            Kind::Keyed | Kind::Partitioned => ", PRIMARY KEY (id)",
            Kind::Composite => ", PRIMARY KEY (\"K \"\"2\", id)",
            Kind::Keyless => "",
        };
        let (partitioned, partitions) = match self.kind {
            Kind::Partitioned => (
                " PARTITION BY RANGE (id)",
                format!(
                    "CREATE TABLE part_{number}_a PARTITION OF source_{number}
                        FOR VALUES FROM (MINVALUE) TO (50);
                     CREATE TABLE part_{number}_b PARTITION OF source_{number} DEFAULT;"
                ),
            ),
            _ => ("", String::new()),
        };
        format!(
            "DROP TABLE IF EXISTS mirror_{number}, source_{number};
             CREATE TABLE mirror_{number} ({columns});
             CREATE TABLE source_{number} ({columns}{key}){partitioned};
             {partitions} {}",
            self.watch()
        )
    }

    fn watch(&self) -> String {
        format!(
            "SELECT notify_json.watch(source({}), 'mirror', per => '{}', include_old => {});",
            self.number, self.per, self.include_old
        )
    }

    /// Its columns beside `id` and `K "2`.
    pub(super) async fn columns(&self, client: &Client) -> Result<Vec<Column>, Error> {
        let sql = format!(
            "SELECT quote_ident(attname), format_type(atttypid, NULL), attgenerated <> ''
             FROM pg_attribute WHERE attrelid = source({}) AND attnum > 2 AND NOT attisdropped",
            self.number
        );
        let rows = client.query(&sql, &[]).await?;
        let column = |row: &tokio_postgres::Row| Column {
            name: row.get(0),
            of_type: row.get(1),
            is_generated: row.get(2),
        };
        Ok(rows.iter().map(column).collect())
    }

    /// A statement; one that changes the shape of the table tells the mirror.
    pub(super) fn statement(&self, columns: &[Column], random: &mut fastrand::Rng) -> String {
        let number = self.number;
        let changeable: Vec<&Column> = columns.iter().filter(|c| !c.is_generated).collect();
        let column = random.choice(&changeable);
        let place = random.u32(0..100);
        let some = format!("id % {} = {}", random.u32(1..6), random.u32(0..3));
        let on_source = |sql: &str| self.on_source(sql);
        match (random.u32(0..40), column) {
            (0..=9, _) => on_source(&self.insert(&changeable, random)),
            (10..=16, Some(column)) => {
                let value = value(column, random);
                on_source(&format!("UPDATE %s SET {} = {value} WHERE {some}", column.name))
            }
            (17..=19, _) => on_source(&format!("UPDATE %s SET id = id + {place} WHERE {some}")),
            (20..=22, _) => on_source(&format!("DELETE FROM %s WHERE {some}")),
            (23, _) => on_source("TRUNCATE %s"),
            (24..=26, _) => on_source(&format!(
                "MERGE INTO %s AS t USING generate_series({place}, {place} + 5) AS s (id)
                 ON t.id = s.id
                 WHEN MATCHED AND s.id % 3 = 0 THEN DELETE
                 WHEN MATCHED THEN UPDATE SET \"K \"\"2\" = t.\"K \"\"2\" + 1
                 WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"
            )),
            (27..=29, _) => {
                let (of_type, _) = TYPES[random.usize(0..TYPES.len())];
                // Rows that are there already get it without an event.
                let default = match of_type {
                    "integer" | "bigint" | "numeric" => " DEFAULT 7",
                    "text" => " DEFAULT 'd'",
                    _ => "",
                };
                self.on_both(&format!("ADD \"c {place}\" {of_type}{default}"))
            }
            (30, _) => self
                .on_both(&format!("ADD \"g {place}\" integer GENERATED ALWAYS AS (id * 2) STORED")),
            (31..=32, Some(column)) => self.on_both(&format!("DROP {}", column.name)),
            (33..=34, Some(column)) => {
                self.on_both(&format!("RENAME {} TO \"r {place}\"", column.name))
            }
            (35, Some(column)) => {
                let name = &column.name;
                self.on_both(&format!("ALTER {name} TYPE text USING {name}::text || '!'"))
            }
            (36, _) => on_source(&format!("ALTER TABLE %s RENAME TO source_{number}_{place}")),
            (37, _) if self.kind == Kind::Partitioned => format!(
                "CREATE TABLE part_{number}_{place} (LIKE part_{number}_a INCLUDING GENERATED);
                 DO $$ BEGIN EXECUTE format('ALTER TABLE %s ATTACH PARTITION
                    part_{number}_{place} FOR VALUES FROM ({from}) TO ({from} + 50)',
                    source({number})); END $$",
                from = 1000 + place * 50
            ),
            (38, _) => format!("SELECT notify_json.unwatch(source({number})); {}", self.watch()),
            _ => on_source(&format!("UPDATE %s SET \"K \"\"2\" = \"K \"\"2\" + 1 WHERE {some}")),
        }
    }

    fn insert(&self, columns: &[&Column], random: &mut fastrand::Rng) -> String {
        let first = random.u32(0..100);
        let count = random.u32(0..20);
        let mut names = "id".to_owned();
        let mut values = "n".to_owned();
        for column in columns {
            names = format!("{names}, {}", column.name);
            values = format!("{values}, {}", value(column, random));
        }
        let key = if self.kind == Kind::Composite { "\"K \"\"2\", id" } else { "id" };
        let conflict = match random.u32(0..3) {
            _ if self.kind == Kind::Keyless => String::new(),
            0 => String::new(),
            1 => " ON CONFLICT DO NOTHING".to_owned(),
            _ => format!(" ON CONFLICT ({key}) DO UPDATE SET \"K \"\"2\" = excluded.\"K \"\"2\""),
        };
        format!(
            "INSERT INTO %s ({names}) SELECT {values}
             FROM generate_series({first}, {first} + {count}) AS n{conflict}"
        )
    }

    /// With the name that the table has by now for `%s`.
    fn on_source(&self, sql: &str) -> String {
        let sql = sql.replace('%', "%%").replacen("%%s", "%s", 1);
        format!("DO $d$ BEGIN EXECUTE format($s${sql}$s$, source({})); END $d$", self.number)
    }

    fn on_both(&self, change: &str) -> String {
        let ddl = format!("ALTER TABLE mirror_{} {change}", self.number);
        format!(
            "{}; SELECT notify_json('mirror', json_build_object('ddl', $s${ddl}$s$))",
            self.on_source(&format!("ALTER TABLE %s {change}"))
        )
    }
}

fn value(column: &Column, random: &mut fastrand::Rng) -> &'static str {
    let of_type = |(name, _): &&(&str, &str)| *name == column.of_type;
    let values: Vec<_> = TYPES.iter().filter(of_type).collect();
    match random.choice(values) {
        Some((_, value)) if random.u32(0..5) > 0 => value,
        _ => "NULL",
    }
}
