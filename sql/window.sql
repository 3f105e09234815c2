-- A window is FROM;FLOOR;TILL;FLOOR;LAST. FROM and TILL are snapshots; the events of the window are
-- those visible in TILL and not in FROM. After each snapshot comes a number such that every event
-- with an id up to it is visible in the snapshot, or belongs to a transaction that the snapshot
-- lists as in progress. No event visible in TILL has an id above LAST.

CREATE FUNCTION notify_json.next_xid() RETURNS xid8
LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'next_xid_wrapper';

COMMENT ON FUNCTION notify_json.next_xid() IS
'The xid that the next transaction will get. Assigns none.';

CREATE FUNCTION notify_json.next_window(previous text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    seen pg_snapshot := pg_current_snapshot();
    seen_xmax bigint := pg_snapshot_xmax(seen)::text;
    last bigint;
    floor bigint;
    xmax bigint;
    in_progress text;
BEGIN
    PERFORM notify_json.check_window(previous);
    -- In this order: after the snapshot, so that what it sees has no later id, and before xmax, so
    -- that whoever gets an xid from there on draws later ids. The function reads the sequence under
    -- its lock; a plain SELECT now and then sees a value of the future.
    last := coalesce(pg_sequence_last_value('notify_json.event_id'), 0);
    floor := last;
    xmax := notify_json.next_xid()::text;
    -- Many xids are behind an old snapshot, or were given to subtransactions. Rather than to list
    -- them all, the next window starts to read where this one does.
    IF xmax - seen_xmax > 1000 THEN
        floor := split_part(previous, ';', 4);
        xmax := pg_snapshot_xmax(split_part(previous, ';', 3)::pg_snapshot)::text;
    END IF;
    xmax := greatest(xmax, seen_xmax);
    IF xmax > pg_snapshot_xmin(seen)::text::bigint THEN
        -- The snapshot leaves out xids from seen_xmax on, which it does not see, and the own one.
        SELECT string_agg(xid::text, ',' ORDER BY xid) INTO in_progress FROM (
            SELECT xid::text::bigint FROM pg_snapshot_xip(seen) AS xip(xid)
            UNION
            SELECT generate_series(seen_xmax, xmax - 1)
            UNION
            SELECT own FROM CAST(pg_current_xact_id_if_assigned()::text AS bigint) AS own
            WHERE own < xmax
        ) AS listed(xid);
    END IF;
    RETURN format('%s;%s;%s:%s:%s;%s;%s',
        split_part(previous, ';', 3), split_part(previous, ';', 4),
        pg_snapshot_xmin(seen), xmax, in_progress, floor, last);
END $$;

COMMENT ON FUNCTION notify_json.next_window(text) IS
'The window from the end of another one till now.';

CREATE FUNCTION notify_json.includes(later pg_snapshot, earlier pg_snapshot) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (
            SELECT FROM pg_snapshot_xip(later) AS xip(xid)
            WHERE pg_visible_in_snapshot(xid, earlier)
        )
        AND (
            SELECT count(*) FROM pg_snapshot_xip(earlier) AS xip(xid)
            WHERE xid >= pg_snapshot_xmax(later)
        ) >= pg_snapshot_xmax(earlier)::text::bigint - pg_snapshot_xmax(later)::text::bigint
$$;

COMMENT ON FUNCTION notify_json.includes(pg_snapshot, pg_snapshot) IS
'Whether all that is visible in the earlier snapshot is visible in the later one.';
