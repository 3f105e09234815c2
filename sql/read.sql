-- Apart from page(), so that a window without them does not pay for the plan.
CREATE FUNCTION notify_json.late(
    channel text, seen pg_snapshot, floor bigint, till pg_snapshot,
    after bigint, max_events integer
) RETURNS TABLE (id bigint, published_at timestamptz, payload json)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT found.id, found.published_at, found.payload
    FROM pg_snapshot_xip(late.seen) AS xip(xid)
    CROSS JOIN LATERAL (
        SELECT event.id, event.published_at, event.payload
        FROM notify_json.event
        WHERE event.xid = xip.xid
            AND event.channel = late.channel
            AND event.channel_id = (SELECT notify_json.consumable(late.channel))
            AND event.id > late.after
            AND event.id <= late.floor
        ORDER BY event.id LIMIT late.max_events
    ) AS found
    WHERE pg_visible_in_snapshot(xip.xid, late.till)
    ORDER BY id LIMIT late.max_events;
END $$;

COMMENT ON FUNCTION notify_json.late(text, pg_snapshot, bigint, pg_snapshot, bigint, integer) IS
'The next events of transactions that were in progress when a window began.';

-- Inlined into the queries that use it, so it has neither SET nor SECURITY DEFINER; what it names was
-- found when it was created.
CREATE FUNCTION notify_json.page(
    channel text, seen pg_snapshot, floor bigint, till pg_snapshot, last bigint,
    after bigint, max_events integer
) RETURNS TABLE (id bigint, published_at timestamptz, payload json)
LANGUAGE sql STABLE BEGIN ATOMIC
    (
        SELECT event.id, event.published_at, event.payload
        FROM notify_json.event
        WHERE event.channel = page.channel
            AND event.channel_id = (SELECT notify_json.consumable(page.channel))
            AND event.id > greatest(page.after, page.floor) AND event.id <= page.last
            AND pg_visible_in_snapshot(event.xid, page.till)
            AND NOT pg_visible_in_snapshot(event.xid, page.seen)
        ORDER BY event.id LIMIT page.max_events
    )
    UNION ALL
    SELECT late.id, late.published_at, late.payload
    FROM notify_json.late(
        page.channel, page.seen, page.floor, page.till, page.after, page.max_events) AS late
    WHERE page.after < page.floor
        AND pg_snapshot_xmin(page.seen) < pg_snapshot_xmax(page.seen)
    ORDER BY id LIMIT page.max_events;
END;

COMMENT ON FUNCTION
notify_json.page(text, pg_snapshot, bigint, pg_snapshot, bigint, bigint, integer) IS
'The next events of a window by id: visible in till, not visible in seen.';

CREATE FUNCTION notify_json_unchecked.read(
    channel text, in_window text, after bigint,
    max_events integer, max_bytes bigint, max_event_bytes bigint
) RETURNS TABLE ("window" text, id bigint, published_at timestamptz, bytes bigint, payload text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- By index, whatever the statistics say.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET max_parallel_workers_per_gather = 0 SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    is_new boolean := false;
    seen pg_snapshot;
    floor bigint;
    till pg_snapshot;
    last bigint;
BEGIN
    PERFORM notify_json.check_window(in_window);
    IF after IS NULL OR max_events IS NULL OR max_bytes IS NULL OR max_event_bytes IS NULL
        OR after < 0 OR max_events < 1
    THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'bad argument of read()',
            DETAIL = 'No argument may be NULL, after must be at least 0 and max_events at least 1.',
            HINT = 'Take window and after from start() or claim().';
    END IF;
    PERFORM notify_json.check_durable(read.channel);
    LOOP
        seen := split_part(in_window, ';', 1);
        floor := split_part(in_window, ';', 2);
        till := split_part(in_window, ';', 3);
        last := split_part(in_window, ';', 5);
        -- The second condition costs more, and is only for what the first leaves open.
        IF pg_snapshot_xmax(till) > pg_snapshot_xmin(pg_current_snapshot())
            AND NOT is_new AND NOT notify_json.includes(pg_current_snapshot(), till)
        THEN
            RAISE object_not_in_prerequisite_state USING
                MESSAGE = 'window lies in the future',
                DETAIL = 'It was opened after this transaction''s snapshot, or on another server.',
                HINT = 'Read in a new transaction, or start() again.';
        END IF;
        IF read.after < last THEN
            RETURN QUERY
            WITH page AS MATERIALIZED (
                SELECT id, published_at, payload, notify_json.bytes(payload) AS bytes
                FROM notify_json.page(
                    read.channel, seen, floor, till, last, read.after, read.max_events)
            ), whole AS MATERIALIZED (
                SELECT count(*) AS events,
                    coalesce(sum(bytes) FILTER (WHERE bytes <= read.max_event_bytes), 0)
                        <= read.max_bytes AS fits
                FROM page
            )
            SELECT in_window, CASE WHEN fits AND events < read.max_events THEN last END,
                NULL::timestamptz, NULL::bigint, NULL::text
            FROM whole WHERE is_new OR events > 0
            UNION ALL
            SELECT NULL, id, published_at, bytes,
                CASE WHEN bytes <= read.max_event_bytes THEN payload::text END
            FROM page WHERE (SELECT fits FROM whole)
            UNION ALL
            SELECT NULL, id, published_at, bytes,
                CASE WHEN bytes <= read.max_event_bytes THEN payload::text END
            FROM (
                SELECT *, row_number() OVER by_id AS number,
                    sum(bytes) FILTER (WHERE bytes <= read.max_event_bytes) OVER by_id AS total
                FROM page WINDOW by_id AS (ORDER BY id ROWS UNBOUNDED PRECEDING)
            ) AS cut
            WHERE NOT (SELECT fits FROM whole)
                AND (number = 1 OR coalesce(total, 0) <= read.max_bytes);
            EXIT WHEN FOUND;
        ELSIF is_new THEN
            RETURN QUERY VALUES
                (in_window, last, NULL::timestamptz, NULL::bigint, NULL::text);
            EXIT;
        END IF;
        in_window := notify_json.next_window(in_window);
        after := 0;
        is_new := true;
    END LOOP;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.read(text, text, bigint, integer, bigint, bigint) IS
'The next events from a position. The first row names the window that the events belong to, and
the id to go on after once they are read if nothing of the window is left.';

CREATE FUNCTION notify_json.first_since(channel text, since timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
    -- Publishers at work at the same time draw ids in another order than they read the clock.
    surely CONSTANT timestamptz := since - interval '1 minute';
    own_id CONSTANT bigint := notify_json.consumable(channel);
    below bigint := 0;
    above bigint := coalesce(pg_sequence_last_value('notify_json.event_id'), 0);
    middle record;
BEGIN
    WHILE above - below > 1000 LOOP
        SELECT id, published_at INTO middle FROM notify_json.event
        WHERE channel = first_since.channel AND channel_id = own_id
            AND id >= below + (above - below) / 2
        ORDER BY id LIMIT 1;
        IF middle.published_at < surely THEN
            below := middle.id;
        ELSE
            above := below + (above - below) / 2;
        END IF;
    END LOOP;
    RETURN (
        SELECT id FROM notify_json.event
        WHERE channel = first_since.channel AND channel_id = own_id
            AND id > below AND published_at >= since
        ORDER BY id LIMIT 1
    );
END $$;

COMMENT ON FUNCTION notify_json.first_since(text, timestamptz) IS
'The lowest id of an event published at a time or later.';

CREATE FUNCTION notify_json.to_time(since text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    since_time timestamptz;
BEGIN
    BEGIN
        since_time := since;
    EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow
        OR invalid_parameter_value OR invalid_time_zone_displacement_value
    THEN
        NULL;
    END;
    IF since_time IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'bad place to start from',
            DETAIL = 'It is neither ''earliest'' nor ''latest'' nor a time.',
            HINT = 'A time is for example ''2026-01-31 12:00+00''.';
    END IF;
    RETURN since_time;
END $$;

COMMENT ON FUNCTION notify_json.to_time(text) IS
'A time, or an error that says how to write one.';

CREATE FUNCTION notify_json_unchecked.start(channel text, since text)
RETURNS TABLE ("window" text, after bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    earliest CONSTANT text := '3:3:;0;3:3:;0;0';
    first bigint;
BEGIN
    PERFORM notify_json.check_durable(channel);
    "window" := notify_json.next_window(earliest);
    after := 0;
    IF since = 'earliest' THEN
        "window" := earliest;
    ELSE
        -- Sought after the window was opened: what is committed in between belongs to the next one.
        IF since IS DISTINCT FROM 'latest' THEN
            first := notify_json.first_since(channel, notify_json.to_time(since));
        END IF;
        IF first IS NULL THEN
            -- The end of that window, with nothing left to read in it.
            "window" := format('%1$s;%2$s;%1$s;%2$s;0',
                split_part("window", ';', 3), split_part("window", ';', 4));
        ELSE
            after := first - 1;
        END IF;
    END IF;
    RETURN NEXT;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.start(text, text) IS
'A position to read from: earliest, latest, or the first event published at a time or later.';
