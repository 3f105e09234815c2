-- What may be asked of this server, and in this transaction.

CREATE FUNCTION notify_json.check_writable(what text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE read_only_sql_transaction USING
            MESSAGE = format('cannot %s during recovery', what),
            DETAIL = 'This server is a standby, which takes no writes of its own.',
            HINT = 'Connect to the primary.';
    ELSIF current_setting('transaction_read_only')::boolean THEN
        RAISE read_only_sql_transaction USING
            MESSAGE = format('cannot %s in a read-only transaction', what),
            DETAIL = 'What this changes is kept in tables, which takes a write.',
            HINT = 'Begin the transaction READ WRITE.';
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.check_writable(text) IS
'Refuses a standby and a read-only transaction.';

-- The one place that knows how many fields a window has and what each looks like.
CREATE FUNCTION notify_json.check_window("window" text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE read_only_sql_transaction USING
            MESSAGE = 'cannot read events during recovery',
            DETAIL = 'This server is a standby, whose snapshots list no transactions in progress.',
            HINT = 'Connect to the primary.';
    END IF;
    IF "window" ~ '^([0-9]+:[0-9]+:[0-9,]*;[0-9]+;){2}[0-9]+$' THEN
        BEGIN
            PERFORM pg_snapshot_xmax(split_part("window", ';', 1)::pg_snapshot)::text::bigint,
                split_part("window", ';', 2)::bigint,
                pg_snapshot_xmax(split_part("window", ';', 3)::pg_snapshot)::text::bigint,
                split_part("window", ';', 4)::bigint,
                split_part("window", ';', 5)::bigint;
            RETURN;
        EXCEPTION WHEN invalid_text_representation OR numeric_value_out_of_range THEN
            NULL;
        END;
    END IF;
    RAISE invalid_parameter_value USING
        MESSAGE = 'malformed window',
        DETAIL = format('It %s; a window looks like 740:745:740,742;40;750:750:;49;50.',
            coalesce('has ' || octet_length("window") || ' bytes', 'is NULL')),
        HINT = 'Take it from start(), claim() or read(), as it is.';
END $$;

COMMENT ON FUNCTION notify_json.check_window(text) IS
'Refuses a standby, which cannot read by windows, and a text that is not a window.';
