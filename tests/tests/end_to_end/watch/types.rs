//! Values of every type, byte for byte as `to_json` writes them.

use super::Case;

/// An expression of random values for every type of PostgreSQL that a column can have.
const VALUES: &str = r#"
    bool: random() < 0.5
    int2: (random() * 65535 - 32768)::int2
    int4: (random() * 4294967294 - 2147483648)::int4
    int8: (random() * 1.8e19 - 9e18)::int8
    float4: (ARRAY['NaN', '-Infinity', '0', '-0', (random() * 1e10)::text, (random() * 1e-30)::text])[1 + random() * 5]::float4
    float8: (ARRAY['NaN', 'Infinity', '1e300', '-0', random()::text, (random() * 1e-30)::text])[1 + random() * 5]::float8
    numeric: (ARRAY['NaN', '-Infinity', '1.10', '0.000', '12345678901234567890.123', random()::text])[1 + random() * 5]::numeric
    money: (random() * 1000)::numeric::money
    text: chr((1 + random() * 300)::int) || E'"\\/\b\f\n\r\t\x01\x1f\x7f' || md5(random()::text)
    varchar: chr((1 + random() * 300)::int) || E'\n'
    bpchar: (md5(random()::text) || ' ')::bpchar
    char: chr((1 + random() * 126)::int)::"char"
    name: (md5(random()::text) || '"')::name
    bytea: decode(md5(random()::text), 'hex')
    uuid: md5(random()::text)::uuid
    date: (ARRAY['infinity', '-infinity', '0044-03-15 BC', '2024-02-29', '12345-06-07'])[1 + random() * 4]::date
    time: (random() * interval '24 hours')::time
    timetz: (random() * interval '24 hours')::time::timetz
    timestamp: (ARRAY['infinity', '-infinity', '0044-03-15 12:00 BC', '2024-02-29 01:02:03.4', '12345-06-07'])[1 + random() * 4]::timestamp
    timestamptz: (ARRAY['infinity', '-infinity', '0044-03-15 12:00 BC', '2024-02-29 01:02:03.4', '12345-06-07'])[1 + random() * 4]::timestamptz
    interval: random() * interval '4 years 5 days 6 seconds' - interval '1 year'
    json: ('{"b" : ' || random() || ', "b": [1.10,  null]}')::json
    jsonb: ('{"b" : ' || random() || ', "b": [1.10,  null]}')::jsonb
    jsonpath: '$.a[*] ? (@ > "1")'::jsonpath
    xml: ('<a b="' || random() || '"/>')::xml
    bit: (random() < 0.5)::int::bit
    varbit: (random() * 1000)::int::bit(10)::varbit
    inet: ('10.0.0.' || (random() * 255)::int || '/8')::inet
    cidr: ('10.0.0.' || (random() * 255)::int)::cidr
    macaddr: '08:00:2b:01:02:03'::macaddr
    macaddr8: '08:00:2b:01:02:03:04:05'::macaddr8
    point: point(random(), -random() * 1e20)
    line: '{1.5,-2,3}'::line
    lseg: lseg(point(random(), 1), point(2, random()))
    box: box(point(random(), 1), point(2, random()))
    path: '[(0,0),(1.5,2)]'::path
    polygon: '((0,0),(1.5,2),(3,1))'::polygon
    circle: circle(point(random(), 1), random())
    tsvector: to_tsvector('english', 'the "quick" fox''s ' || md5(random()::text))
    tsquery: to_tsquery('simple', '''it''''s'' & b:*')
    gtsvector: NULL::gtsvector
    int4range: int4range(NULL, (random() * 100)::int4)
    int8range: int8range(0, (random() * 100)::int8)
    numrange: numrange(0.0, random()::numeric, '[]')
    daterange: daterange('2020-01-01', NULL)
    tsrange: tsrange('2020-01-01', '2021-01-01 01:02:03')
    tstzrange: tstzrange('2020-01-01', NULL)
    int4multirange: int4multirange(int4range(1, 2), int4range(5, NULL))
    int8multirange: int8multirange(int8range(1, 2))
    nummultirange: '{[1.10,2.20],(3,4)}'::nummultirange
    datemultirange: datemultirange(daterange('2020-01-01', NULL))
    tsmultirange: tsmultirange(tsrange('2020-01-01', NULL))
    tstzmultirange: tstzmultirange(tstzrange('2020-01-01', NULL))
    oid: (random() * 4e9)::int8::oid
    tid: '(1,2)'::tid
    xid: '3'::xid
    xid8: pg_current_xact_id()
    cid: '4'::cid
    pg_lsn: '16/B374D848'::pg_lsn
    pg_snapshot: pg_current_snapshot()
    txid_snapshot: txid_current_snapshot()
    refcursor: 'c"'::refcursor
    int2vector: '1 2 3'::int2vector
    oidvector: '1 2 3'::oidvector
    aclitem: (SELECT unnest(acldefault('r', 10)) LIMIT 1)
    regproc: 'md5(text)'::regprocedure::oid::regproc
    regprocedure: 'md5(text)'::regprocedure
    regoper: 'pg_catalog.||/'::regoper
    regoperator: '+(int4,int4)'::regoperator
    regclass: 'pg_class'::regclass
    regtype: 'integer'::regtype
    regcollation: '"C"'::regcollation
    regconfig: 'english'::regconfig
    regdictionary: 'simple'::regdictionary
    regrole: current_user::regrole
    regnamespace: 'public'::regnamespace
    pg_node_tree: NULL::pg_node_tree
    pg_ndistinct: NULL::pg_ndistinct
    pg_dependencies: NULL::pg_dependencies
    pg_mcv_list: NULL::pg_mcv_list
    pg_brin_bloom_summary: NULL::pg_brin_bloom_summary
    pg_brin_minmax_multi_summary: NULL::pg_brin_minmax_multi_summary
    enumeration: (ARRAY['a"b', 'c'])[1 + random()]::enumeration
    pair: (1.10, E'a\n')::pair
    nested: ((random(), 'b')::pair, ARRAY[('1', NULL)::pair, NULL])::nested
    cast_to_json: 'a"'::cast_to_json
    domain_of_int: (random() * 100)::int::domain_of_int
    domain_of_text: 'a"'::domain_of_text
    domain_of_domain: 'a"'::domain_of_domain
    domain_of_array: '{1,NULL,3}'::domain_of_array
    domain_of_pair: (1, 'x')::pair::domain_of_pair
    text_range: text_range('a"', 'b')
"#;

const TYPES: &str = "
    CREATE TYPE enumeration AS ENUM ('a\"b', 'c');
    CREATE TYPE pair AS (first numeric, \"Second \"\"q\" text);
    CREATE TYPE nested AS (p pair, ps pair[]);
    CREATE TYPE cast_to_json AS ENUM ('a\"');
    CREATE FUNCTION written(cast_to_json) RETURNS json LANGUAGE sql
        AS $$ SELECT json_build_object('cast', $1::text) $$;
    CREATE CAST (cast_to_json AS json) WITH FUNCTION written(cast_to_json);
    CREATE DOMAIN domain_of_int AS integer CHECK (VALUE < 1000);
    CREATE DOMAIN domain_of_text AS text;
    CREATE DOMAIN domain_of_domain AS domain_of_text;
    CREATE DOMAIN domain_of_array AS integer[];
    CREATE DOMAIN domain_of_pair AS pair;
    CREATE TYPE text_range AS RANGE (subtype = text);";

fn values() -> impl Iterator<Item = (&'static str, &'static str)> {
    VALUES.lines().filter_map(|line| line.trim().split_once(": "))
}

/// What the catalogs hold statistics and trees in has no arrays; ARRAY[] takes no domain of arrays.
fn is_element(name: &str) -> bool {
    !["pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list", "domain_of_array"]
        .contains(&name)
        && !name.starts_with("pg_brin")
}

#[tokio::test]
async fn every_type_is_tried() {
    let case = Case::with(TYPES).await;
    let tried: Vec<&str> = values().map(|(name, _)| name).collect();
    let missing: Vec<String> = case
        .client
        .query(
            "SELECT typname::text FROM pg_type
             WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm', 'e')
                AND typelem = 0 AND typname::text <> ALL ($1)",
            &[&tried],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn values_are_written_as_to_json_writes_them() {
    let case = Case::with(TYPES).await;
    let columns: Vec<String> = values()
        .map(|(name, _)| {
            // Without the quotes it is another type.
            let of_type = if name == "char" { "\"char\"" } else { name };
            let element = if is_element(name) { of_type } else { "text" };
            format!("c_{name} {of_type}, a_{name} {element}[]")
        })
        .collect();
    let row: Vec<String> = values()
        .map(|(name, value)| {
            let element = if is_element(name) { value } else { "'x'" };
            // A value, NULL now and then; and an array of one, two or none.
            format!(
                "CASE WHEN n % 5 > 0 THEN {value} END,
                 CASE n % 4 WHEN 1 THEN ARRAY[{element}] WHEN 2 THEN ARRAY[NULL, {element}] END"
            )
        })
        .collect();
    case.run(&format!("CREATE TABLE t (n integer PRIMARY KEY, {})", columns.join(", "))).await;
    case.run("SELECT notify_json.watch('t', 'd')").await;
    for settings in [
        "",
        "SET datestyle = 'SQL, DMY'; SET intervalstyle = iso_8601; SET bytea_output = escape",
        "SET timezone = 'Asia/Kolkata'; SET extra_float_digits = -3; SET xmlbinary = hex",
    ] {
        case.run(settings).await;
        case.run("TRUNCATE t; DELETE FROM notify_json.event").await;
        case.run(&format!(
            "INSERT INTO t SELECT n, {} FROM generate_series(1, 60) n",
            row.join(", ")
        ))
        .await;
        let sql = "SELECT payload->>'new', row_to_json(t)::text FROM notify_json.event \
                   JOIN t ON n = (payload->'key'->>'n')::int";
        let rows = case.client.query(sql, &[]).await.unwrap();
        assert_eq!(rows.len(), 60);
        for row in rows {
            let (sent, expected): (&str, &str) = (row.get(0), row.get(1));
            assert!(sent == expected, "{sent}\n{expected}");
        }
    }
}

#[tokio::test]
async fn stored_elsewhere_compressed_or_not_values_are_whole_and_compared() {
    for (storage, big, rows) in [
        ("EXTERNAL", "string_agg(md5(n::text), '')", 10_000),
        ("EXTENDED", "string_agg(md5(n::text), '')", 10_000),
        ("EXTENDED", "repeat('x', 3000000)", 1),
        ("MAIN", "repeat('x', 100000)", 1),
    ] {
        for per in ["row", "statement"] {
            let case = Case::with(&format!(
                "CREATE TABLE t (id integer PRIMARY KEY, big text, doc jsonb, n integer);
                 ALTER TABLE t ALTER big SET STORAGE {storage};
                 INSERT INTO t SELECT 1, big, jsonb_build_object('big', big), 0
                 FROM (SELECT {big} AS big FROM generate_series(1, {rows}) AS n) AS made;
                 SELECT notify_json.watch('t', 'd', include_old => true, per => '{per}')"
            ))
            .await;
            // The same pointer; the same value stored anew; another value.
            case.run("UPDATE t SET n = 1").await;
            case.run("UPDATE t SET n = 2, big = big || '', doc = doc || '{}'").await;
            case.run("UPDATE t SET big = big || 'y'").await;
            let changed: String = case
                .value(
                    "SELECT string_agg(r->>'changed', ' ' ORDER BY id) FROM notify_json.event
                     CROSS JOIN LATERAL json_array_elements(
                        coalesce(payload->'rows', json_build_array(payload))) AS r",
                )
                .await;
            assert_eq!(changed, r#"["n"] ["n"] ["big"]"#, "{storage} {per}");
            let whole: bool = case
                .value(
                    "SELECT bool_and(r->'new'->>'doc' = doc::text
                        AND r->'old'->>'big' IN (big, left(big, -1))
                        AND r->'new'->>'big' IN (big, left(big, -1)))
                     FROM t, notify_json.event
                     CROSS JOIN LATERAL json_array_elements(
                        coalesce(payload->'rows', json_build_array(payload))) AS r",
                )
                .await;
            assert!(whole, "{storage} {per}");
        }
    }
}
