-- What replays need to know of events that are gone; consumers are counted for one by one.
CREATE TABLE notify_json.removal (
    channel text COLLATE "C" NOT NULL,
    total bigint NOT NULL,
    events bigint NOT NULL,
    last_id bigint NOT NULL,
    first_xid bigint NOT NULL,
    last_xid bigint NOT NULL,
    PRIMARY KEY (channel, total)
);

COMMENT ON TABLE notify_json.removal IS
'Batches of events that prune() has removed: a hundredth of a leaf, or those of one call.';
COMMENT ON COLUMN notify_json.removal.total IS
'Events ever removed from the channel, with these, counted from the last id that there was before it.';

CREATE FUNCTION notify_json.removed(channel text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(max(total), 0) FROM notify_json.removal
    WHERE removal.channel = removed.channel
$$;

COMMENT ON FUNCTION notify_json.removed(text) IS
'Events ever removed from a channel by prune(), counted from the last id before it.';

CREATE FUNCTION notify_json.compact_removals() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM notify_json.removal
    WHERE NOT EXISTS (SELECT FROM notify_json.channel WHERE channel.name = removal.channel);
    WITH old AS (
        DELETE FROM notify_json.removal USING (
            SELECT channel, total, row_number() OVER (PARTITION BY channel ORDER BY total DESC) AS age
            FROM notify_json.removal
        ) AS ranked
        WHERE ranked.channel = removal.channel AND ranked.total = removal.total AND age > 1000
        RETURNING removal.*
    )
    INSERT INTO notify_json.removal
    SELECT channel, max(total), sum(events), max(last_id), min(first_xid), max(last_xid)
    FROM old GROUP BY channel
$$;

COMMENT ON FUNCTION notify_json.compact_removals() IS
'Keeps the last thousand batches of each channel, and the sum of those before.';

-- A mark is SINCE:TOTAL. SINCE is running_since() in microseconds since 1970, TOTAL is removed().
CREATE FUNCTION notify_json_unchecked.missed(channel text, in_window text, after bigint, mark text)
RETURNS TABLE (next_mark text, skipped bigint, restarted boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    since text := (extract(epoch FROM notify_json.running_since()) * 1000000)::bigint;
    seen pg_snapshot;
    till pg_snapshot;
    before bigint;
BEGIN
    PERFORM notify_json.check_window(in_window);
    IF after IS NULL OR after < 0 OR mark !~ '^[0-9]{1,18}:[0-9]{1,18}$' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'bad argument of missed()',
            DETAIL = 'after must be at least 0; a mark looks like 1760000000000000:0.',
            HINT = 'Take mark from missed(), as it is, or NULL for the first one.';
    END IF;
    PERFORM notify_json.check_durable(missed.channel);
    seen := split_part(in_window, ';', 1);
    till := split_part(in_window, ';', 3);
    next_mark := format('%s:%s', since, notify_json.removed(missed.channel));
    before := coalesce(split_part(mark, ':', 2)::bigint, split_part(next_mark, ':', 2)::bigint);
    restarted := split_part(mark, ':', 1) <> since;
    restarted := coalesce(restarted, false);
    -- Of a batch that was read in part, all events.
    SELECT coalesce(sum(events), 0) INTO skipped FROM notify_json.removal
    WHERE channel = missed.channel AND total > before
        AND (
            last_xid >= pg_snapshot_xmax(seen)::text::bigint
            OR EXISTS (
                SELECT FROM pg_snapshot_xip(seen) AS xip(xid)
                WHERE xid::text::bigint BETWEEN first_xid AND last_xid
            )
        )
        AND NOT (
            last_id <= after
            AND last_xid < pg_snapshot_xmax(till)::text::bigint
            AND NOT EXISTS (
                SELECT FROM pg_snapshot_xip(till) AS xip(xid)
                WHERE xid::text::bigint BETWEEN first_xid AND last_xid
            )
        );
    RETURN NEXT;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.missed(text, text, bigint, text) IS
'At most how many events a replay has missed since it had a mark, and whether the server restarted.';

CREATE FUNCTION notify_json_unchecked.start_after(channel text, id bigint)
RETURNS TABLE ("window" text, after bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF id IS NULL OR id < 0 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'bad argument of start_after()',
            DETAIL = format('The id is %s; it must be at least 0.', coalesce(id::text, 'NULL')),
            HINT = 'Take the id of an event.';
    END IF;
    PERFORM notify_json.check_durable(channel);
    RETURN QUERY VALUES (notify_json.next_window('3:3:;0;3:3:;0;0'), id);
END $$;

COMMENT ON FUNCTION notify_json_unchecked.start_after(text, bigint) IS
'A position after all events up to an id, whichever transactions published them.';
