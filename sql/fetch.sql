CREATE FUNCTION notify_json.check_free(consumer text, channel text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF notify_json.is_held(consumer, channel) THEN
        RAISE object_in_use USING
            MESSAGE = format('consumer "%s" of channel "%s" is held', consumer, channel),
            DETAIL = 'A client has claimed it and acks its events.',
            HINT = 'Use a consumer of another name, or stop that client.';
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.check_free(text, text) IS
'Refuses a consumer that a client holds.';

CREATE FUNCTION notify_json.take(consumer text, channel text) RETURNS notify_json.consumer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    taken notify_json.consumer;
BEGIN
    PERFORM notify_json.check_free(consumer, take.channel);
    SELECT * INTO taken FROM notify_json.consumer
    WHERE channel = take.channel AND name = take.consumer FOR NO KEY UPDATE;
    -- From here on nobody drops the channel; until here it may have become another one.
    PERFORM notify_json.check_durable(take.channel);
    IF taken.name IS NULL THEN
        PERFORM notify_json.unknown_consumer(consumer, take.channel);
    END IF;
    -- Again, since that may have waited for an ack.
    PERFORM notify_json.check_free(consumer, take.channel);
    -- Whoever let its lease run out must not ack any more.
    UPDATE notify_json.holder SET epoch = epoch + 1, held_until = '-infinity'
    WHERE channel = take.channel AND name = take.consumer AND held_until > '-infinity';
    IF FOUND THEN
        UPDATE notify_json.consumer SET epoch = epoch + 1
        WHERE channel = take.channel AND name = take.consumer;
    END IF;
    RETURN taken;
END $$;

COMMENT ON FUNCTION notify_json.take(text, text) IS
'Makes sure that no client holds a consumer until the end of the transaction; returns its row.';

CREATE FUNCTION notify_json_unchecked.fetch(consumer text, channel text, max_events integer DEFAULT 100)
RETURNS TABLE (id bigint, published_at timestamptz, payload json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET max_parallel_workers_per_gather = 0 SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    stored notify_json.consumer;
    current text;
    is_new boolean := false;
    seen pg_snapshot;
    floor bigint;
    till pg_snapshot;
    last bigint;
    given bigint;
BEGIN
    PERFORM notify_json.check_writable('fetch events');
    IF max_events IS NULL OR max_events < 1 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'max_events is out of range',
            DETAIL = format('It is %s; it must be at least 1.', coalesce(max_events::text, 'NULL')),
            HINT = 'Leave it out to get up to 100 events.';
    END IF;
    PERFORM notify_json.ensure_consumer(consumer, "fetch".channel);
    stored := notify_json.take(consumer, "fetch".channel);
    current := stored."window";
    LOOP
        seen := split_part(current, ';', 1);
        floor := split_part(current, ';', 2);
        till := split_part(current, ';', 3);
        last := split_part(current, ';', 5);
        FOR id, published_at, payload IN
            SELECT * FROM notify_json.page(
                "fetch".channel, seen, floor, till, last, stored.after, "fetch".max_events)
        LOOP
            given := id;
            RETURN NEXT;
        END LOOP;
        EXIT WHEN given IS NOT NULL OR is_new;
        current := notify_json.next_window(current);
        stored.after := 0;
        stored.fetched := 0;
        is_new := true;
    END LOOP;
    -- While nothing is published, the end of the old window is as good a place to go on from.
    IF given > stored.fetched
        OR given IS NULL AND floor <> split_part(current, ';', 4)::bigint
        OR stored.shown < stored.skipped
    THEN
        UPDATE notify_json.consumer
        SET "window" = current, after = stored.after, fetched = greatest(given, stored.fetched),
            shown = skipped
        WHERE channel = "fetch".channel AND name = "fetch".consumer;
    END IF;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.fetch(text, text, integer) IS
'The next events of a consumer, which is created at the earliest one. The same again until ack().';

CREATE FUNCTION notify_json_unchecked.ack(consumer text, channel text, id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    stored notify_json.consumer;
BEGIN
    PERFORM notify_json.check_writable('acknowledge events');
    stored := notify_json.take(consumer, ack.channel);
    IF ack.id IS NULL OR ack.id <= stored.after OR ack.id > stored.fetched THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('event %s is not among those fetched', coalesce(ack.id::text, 'NULL')),
            DETAIL = CASE
                WHEN stored.fetched <= stored.after THEN 'No fetched event waits for its ack.'
                ELSE format('Those that wait for their ack have ids after %s and up to %s.',
                    stored.after, stored.fetched)
            END,
            HINT = 'Ack the id of an event that fetch() has returned since the last ack.';
    END IF;
    UPDATE notify_json.consumer
    SET after = ack.id, told = greatest(told, shown), acked_at = clock_timestamp()
    WHERE channel = ack.channel AND name = ack.consumer;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.ack(text, text, bigint) IS
'Moves a consumer past the events fetched up to this id, and clears its count of those skipped '
'before they were fetched.';

CREATE FUNCTION notify_json_unchecked.seek(consumer text, channel text, since text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    position record;
    moved boolean;
BEGIN
    PERFORM notify_json.check_writable('move a consumer');
    PERFORM notify_json.ensure_consumer(consumer, seek.channel);
    SELECT * INTO position FROM notify_json_unchecked.start(seek.channel, since);
    UPDATE notify_json.consumer
    SET epoch = epoch + 1, "window" = position."window", after = position.after,
        fetched = 0, told = skipped
    WHERE channel = seek.channel AND name = seek.consumer;
    moved := FOUND;
    PERFORM notify_json.check_durable(seek.channel);
    IF NOT moved THEN
        PERFORM notify_json.unknown_consumer(consumer, seek.channel);
    END IF;
    -- Whoever holds it finds out, and the next claim succeeds at once.
    UPDATE notify_json.holder SET epoch = epoch + 1, held_until = '-infinity'
    WHERE channel = seek.channel AND name = seek.consumer;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.seek(text, text, text) IS
'Moves a consumer to earliest, latest, or the first event published at a time or later.';

CREATE FUNCTION notify_json.seek(consumer text, channel text, since timestamptz) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
-- Other styles do not read back the time that they have written.
SET datestyle = 'ISO, YMD' AS $$
    SELECT notify_json.seek(consumer, channel, since::text)
$$;

COMMENT ON FUNCTION notify_json.seek(text, text, timestamptz) IS
'Moves a consumer to the first event published at a time or later.';
