-- Leaves are emptied whole, by TRUNCATE, once no event in them is to be kept. One by one are
-- removed only events that would stay for much longer than their channel says: those of channels
-- with a shorter retention, and those that the ring has caught up with. Counting what consumers and
-- replays lose takes longest, and holds up nobody but consumers that lose something.

CREATE FUNCTION notify_json.is_expired(slot smallint) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM notify_json.event WHERE event.slot = is_expired.slot)
        AND NOT EXISTS (
            SELECT FROM notify_json.channel
            CROSS JOIN LATERAL (
                SELECT published_at FROM notify_json.event
                WHERE event.channel = channel.name AND event.channel_id = channel.id
                    AND event.slot = is_expired.slot
                ORDER BY id DESC LIMIT 1
            ) AS newest
            WHERE newest.published_at > clock_timestamp() - channel.retention
        )
$$;

COMMENT ON FUNCTION notify_json.is_expired(smallint) IS
'Whether a leaf has events, and none that is to be kept.';

CREATE FUNCTION notify_json.behind(slot smallint) RETURNS SETOF notify_json.consumer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT consumer FROM notify_json.consumer
    WHERE EXISTS (
        SELECT FROM notify_json.unacked
        WHERE unacked.channel = consumer.channel AND unacked.consumer = consumer.name
            AND unacked.slot = behind.slot
    )
$$;

COMMENT ON FUNCTION notify_json.behind(smallint) IS
'The consumers that have events of a leaf still to ack.';

CREATE FUNCTION notify_json.has_later(slot smallint, last bigint) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM notify_json.channel CROSS JOIN LATERAL (
            SELECT FROM notify_json.event
            WHERE event.channel = channel.name AND event.channel_id = channel.id
                AND event.slot = has_later.slot AND event.id > has_later.last
            LIMIT 1
        ) AS later
    )
$$;

COMMENT ON FUNCTION notify_json.has_later(smallint, bigint) IS
'Whether a leaf has events with a higher id, of channels that there are.';

-- Not in the queue for the lock, where publishers and readers would wait behind.
CREATE FUNCTION notify_json.lock_leaf(slot smallint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lock text := format(
        'LOCK TABLE ONLY notify_json.event_%s IN ACCESS EXCLUSIVE MODE NOWAIT', slot);
BEGIN
    FOR attempt IN 2..10 LOOP
        BEGIN
            EXECUTE lock;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
        PERFORM pg_sleep(0.01);
    END LOOP;
    EXECUTE lock;
END $$;

COMMENT ON FUNCTION notify_json.lock_leaf(smallint) IS
'Locks a leaf against all others, or fails in a tenth of a second.';

CREATE FUNCTION notify_json.empty_leaf(slot smallint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    last bigint;
    counted bigint;
    step bigint;
    removed bigint;
BEGIN
    IF NOT notify_json.is_expired(empty_leaf.slot) THEN
        RETURN 0;
    END IF;
    -- Nobody is writing to it at this moment, so whoever does later draws a later id. The lock goes
    -- with the block: counting takes long, in which others may read and write.
    BEGIN
        PERFORM notify_json.lock_leaf(empty_leaf.slot);
        last := pg_sequence_last_value('notify_json.event_id');
        RAISE no_data_found;
    EXCEPTION WHEN no_data_found THEN
        NULL;
    END;
    PERFORM FROM notify_json.consumer
    WHERE (channel, name) IN (SELECT channel, name FROM notify_json.behind(empty_leaf.slot))
    ORDER BY channel, name FOR NO KEY UPDATE;
    UPDATE notify_json.consumer SET skipped = consumer.skipped + lost.events
    FROM (
        SELECT behind.channel, behind.name, behind."window", behind.after, (
                SELECT count(*) FROM notify_json.unacked
                WHERE unacked.channel = behind.channel AND unacked.consumer = behind.name
                    AND unacked.slot = empty_leaf.slot
            ) AS events
        FROM notify_json.behind(empty_leaf.slot)
    ) AS lost
    WHERE consumer.channel = lost.channel AND consumer.name = lost.name
        -- Unless it was moved since, and this has waited for it.
        AND consumer."window" = lost."window" AND consumer.after = lost.after;
    GET DIAGNOSTICS counted = ROW_COUNT;
    SELECT (max(id) - min(id)) / 100 + 1, count(*) INTO step, removed FROM notify_json.event
    WHERE slot = empty_leaf.slot;
    INSERT INTO notify_json.removal (channel, total, events, last_id, first_xid, last_xid)
    SELECT channel,
        notify_json.removed(channel) + sum(events) OVER (PARTITION BY channel ORDER BY last_id),
        events, last_id, first_xid, last_xid
    FROM (
        SELECT channel, channel_id, count(*) AS events, max(id) AS last_id,
            min(xid::text::bigint) AS first_xid, max(xid::text::bigint) AS last_xid
        FROM notify_json.event WHERE slot = empty_leaf.slot
        GROUP BY channel, channel_id, id / step
    ) AS batch
    WHERE (channel, channel_id) IN (SELECT name, id FROM notify_json.channel);
    PERFORM notify_json.lock_leaf(empty_leaf.slot);
    -- What was counted must be all that there is, and for all who have not had it.
    IF NOT notify_json.is_expired(empty_leaf.slot)
        OR notify_json.has_later(empty_leaf.slot, last)
        OR counted <> (SELECT count(*) FROM notify_json.behind(empty_leaf.slot))
    THEN
        RAISE lock_not_available;
    END IF;
    EXECUTE format('TRUNCATE ONLY notify_json.event_%s', empty_leaf.slot);
    RETURN removed;
EXCEPTION WHEN lock_not_available THEN
    -- Which also gives back the locks.
    RETURN 0;
END $$;

COMMENT ON FUNCTION notify_json.empty_leaf(smallint) IS
'Empties a leaf if nothing in it is to be kept and nobody uses it; returns the number of events.';

CREATE FUNCTION notify_json.remove_expired(channel text, channel_id bigint, kept_since timestamptz)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    oldest record;
    last bigint;
    removed bigint := 0;
BEGIN
    -- At most this many at a time, since the consumers they count for wait.
    FOR oldest IN
        SELECT id, published_at FROM notify_json.event
        WHERE channel = remove_expired.channel ORDER BY id LIMIT 100000
    LOOP
        EXIT WHEN oldest.published_at >= kept_since;
        last := oldest.id;
    END LOOP;
    IF last IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM FROM notify_json.consumer WHERE (channel, name) IN (
        SELECT channel, consumer FROM notify_json.unacked
        WHERE channel = remove_expired.channel AND id <= last
    ) ORDER BY name FOR NO KEY UPDATE;
    -- In one statement, so that what is counted is what is removed. The channel may have become another
    -- one, of which all is kept.
    WITH own AS (
        SELECT id FROM notify_json.channel
        WHERE name = remove_expired.channel AND id = remove_expired.channel_id
    ), lost AS (
        SELECT consumer, count(*) AS events FROM notify_json.unacked
        WHERE channel = remove_expired.channel AND id <= last AND EXISTS (SELECT FROM own)
        GROUP BY consumer
    ), gone AS (
        DELETE FROM notify_json.event
        WHERE channel = remove_expired.channel AND id <= last
            AND (event.channel_id = remove_expired.channel_id OR NOT EXISTS (
                SELECT FROM notify_json.channel
                WHERE channel.name = event.channel AND channel.id = event.channel_id))
        RETURNING id, xid::text::bigint AS xid, channel_id
    ), recorded AS (
        INSERT INTO notify_json.removal (channel, total, events, last_id, first_xid, last_xid)
        SELECT remove_expired.channel,
            notify_json.removed(remove_expired.channel) + count(*), count(*),
            max(id), min(xid), max(xid)
        FROM gone
        WHERE channel_id IN (SELECT id FROM own)
        HAVING count(*) > 0
    ), counted AS (
        UPDATE notify_json.consumer SET skipped = skipped + lost.events FROM lost
        WHERE consumer.channel = remove_expired.channel AND consumer.name = lost.consumer
    )
    SELECT count(*) INTO removed FROM gone;
    RETURN removed;
EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
END $$;

COMMENT ON FUNCTION notify_json.remove_expired(text, bigint, timestamptz) IS
'Removes up to 100,000 of a channel''s oldest events, up to the first one published since a time.';

CREATE FUNCTION notify_json_unchecked.prune() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET max_parallel_workers_per_gather = 0 SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    longest interval := (SELECT max(retention) FROM notify_json.channel WHERE durable);
    channel record;
    removed bigint := 0;
    emptied bigint;
BEGIN
    PERFORM notify_json.check_writable('remove old events');
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE invalid_transaction_state USING
            MESSAGE = 'cannot prune in this transaction',
            DETAIL = format('Its isolation level is %s: it does not see the events committed since '
                'it began, and would remove them with the others.',
                current_setting('transaction_isolation')),
            HINT = 'Begin the transaction ISOLATION LEVEL READ COMMITTED.';
    END IF;
    -- One at a time: two would count what they remove twice.
    BEGIN
        LOCK TABLE ONLY notify_json.event IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN 0;
    END;
    PERFORM notify_json.forget_dropped_roles();
    FOR channel IN
        WITH RECURSIVE used AS (
            (SELECT channel FROM notify_json.event ORDER BY channel LIMIT 1)
            UNION ALL
            SELECT next.channel FROM used CROSS JOIN LATERAL (
                SELECT channel FROM notify_json.event
                WHERE event.channel > used.channel ORDER BY channel LIMIT 1
            ) AS next
        )
        SELECT used.channel AS name, channel.id, CASE
            WHEN retention IS NULL THEN 'infinity'
            -- Such events leave with their leaf; the ring comes round in longest * 10 / 8.
            WHEN retention > longest * 0.75
                THEN clock_timestamp() - greatest(retention, longest * 1.25)
            ELSE clock_timestamp() - retention
        END AS kept_since
        FROM used LEFT JOIN notify_json.channel ON channel.name = used.channel
    LOOP
        removed := removed + notify_json.remove_expired(channel.name, channel.id, channel.kept_since);
    END LOOP;
    -- Last and at most one, since nobody can read before this transaction ends.
    FOR slot IN 0..9 LOOP
        emptied := notify_json.empty_leaf(slot::smallint);
        removed := removed + emptied;
        EXIT WHEN emptied > 0;
    END LOOP;
    IF removed > 0 THEN
        PERFORM notify_json.compact_removals();
    END IF;
    RETURN removed;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.prune() IS
'Removes events older than their channel''s retention, some at a time; returns how many. '
'0: nothing left for now.';
