CREATE FUNCTION notify_json.check_lease(lease interval) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF lease IS NULL OR lease <= '0' OR lease > '1 year' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'lease is out of range',
            DETAIL = format('It is %s; it must be more than 0 and at most a year.',
                coalesce(lease::text, 'NULL')),
            HINT = 'Say for example ''30 seconds''.';
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.check_lease(interval) IS
'Refuses a time that a consumer cannot be held for.';

-- What a client holds in memory may name transactions that a crash has undone, or that another
-- server never had, and their xids are given out again. So nothing is held across a restart.
CREATE FUNCTION notify_json.running_since() RETURNS timestamptz
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'running_since_wrapper';

COMMENT ON FUNCTION notify_json.running_since() IS
'When the server started, or last recovered from the crash of one of its processes.';

CREATE FUNCTION notify_json.is_held(consumer text, channel text) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM notify_json.holder
        WHERE holder.channel = is_held.channel AND holder.name = is_held.consumer
            AND holder.held_until > clock_timestamp()
            AND holder.server = notify_json.running_since()
    )
$$;

COMMENT ON FUNCTION notify_json.is_held(text, text) IS
'Whether the lease of a client runs.';

CREATE FUNCTION notify_json_unchecked.claim(consumer text, channel text, lease interval)
RETURNS TABLE (epoch bigint, "window" text, after bigint, skipped bigint, told bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    since timestamptz := notify_json.running_since();
    stored notify_json.consumer;
BEGIN
    PERFORM notify_json.check_writable('claim a consumer');
    PERFORM notify_json.check_lease(lease);
    PERFORM notify_json.ensure_consumer(consumer, claim.channel);
    IF notify_json.is_held(consumer, claim.channel) THEN
        RETURN;
    END IF;
    -- Waits for an ack in an open transaction, and for its holder to renew.
    SELECT * INTO stored FROM notify_json.consumer
    WHERE channel = claim.channel AND name = claim.consumer FOR NO KEY UPDATE;
    PERFORM notify_json.check_durable(claim.channel);
    UPDATE notify_json.holder
    SET epoch = epoch + 1, held_until = clock_timestamp() + lease, server = since
    WHERE channel = claim.channel AND name = claim.consumer
        AND (held_until <= clock_timestamp() OR server <> since)
    RETURNING epoch INTO stored.epoch;
    IF FOUND THEN
        UPDATE notify_json.consumer SET epoch = stored.epoch
        WHERE channel = claim.channel AND name = claim.consumer;
        RETURN QUERY VALUES
            (stored.epoch, stored."window", stored.after, stored.skipped, stored.told);
    END IF;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.claim(text, text, interval) IS
'Makes the caller the one that acks for a consumer, for a time. No row: another one holds it.';

CREATE FUNCTION notify_json_unchecked.renew(consumer text, channel text, epoch bigint, lease interval)
RETURNS TABLE (held boolean, skipped bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM notify_json.check_writable('hold a consumer');
    PERFORM notify_json.check_lease(lease);
    UPDATE notify_json.holder SET held_until = clock_timestamp() + lease
    WHERE channel = renew.channel AND name = renew.consumer AND epoch = renew.epoch
        AND server = notify_json.running_since();
    held := FOUND;
    skipped := (
        SELECT skipped FROM notify_json.consumer
        WHERE channel = renew.channel AND name = renew.consumer
    );
    skipped := coalesce(skipped, 0);
    RETURN NEXT;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.renew(text, text, bigint, interval) IS
'Holds a consumer for longer. held is false if it was claimed by another one since.';

CREATE FUNCTION notify_json_unchecked.release(consumer text, channel text, epoch bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM notify_json.check_writable('release a consumer');
    UPDATE notify_json.holder SET held_until = '-infinity'
    WHERE channel = release.channel AND name = release.consumer AND epoch = release.epoch;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.release(text, text, bigint) IS
'Lets the next claim() succeed at once. Does nothing for an epoch that is over.';

CREATE FUNCTION notify_json_unchecked.ack_position(
    consumer text, channel text, epoch bigint, "window" text, after bigint, told bigint
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    stored notify_json.consumer;
    is_later boolean;
BEGIN
    PERFORM notify_json.check_writable('acknowledge events');
    PERFORM notify_json.check_window(ack_position."window");
    IF ack_position.after IS NULL OR ack_position.after < 0 OR ack_position.told IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'bad argument of ack_position()',
            DETAIL = 'No argument may be NULL, and after must be at least 0.',
            HINT = 'Take window, after and told from claim(), read() and renew().';
    END IF;
    -- Until the end of this transaction nobody takes over.
    SELECT * INTO stored FROM notify_json.consumer
    WHERE channel = ack_position.channel AND name = ack_position.consumer
        AND epoch = ack_position.epoch
        AND pg_snapshot_xmax(split_part(ack_position."window", ';', 3)::pg_snapshot)
            <= notify_json.next_xid()
    FOR NO KEY UPDATE;
    IF FOUND THEN
        PERFORM FROM notify_json.holder
        WHERE channel = ack_position.channel AND name = ack_position.consumer
            AND server = notify_json.running_since();
    END IF;
    IF NOT FOUND THEN
        RAISE object_in_use USING
            MESSAGE = format('lost its place as consumer "%s" of channel "%s"',
                consumer, ack_position.channel),
            DETAIL = format('Epoch %s is over: the consumer was claimed, moved or dropped since, or '
                'the server restarted.',
                ack_position.epoch),
            HINT = 'Claim it again and go on from the position that comes with it.';
    END IF;
    -- Until here the channel may have become another one.
    PERFORM notify_json.consumable(ack_position.channel);
    is_later := CASE
        WHEN ack_position."window" = stored."window" THEN ack_position.after > stored.after
        -- Windows without anything between them may come after each other.
        ELSE notify_json.includes(
                split_part(ack_position."window", ';', 1)::pg_snapshot,
                split_part(stored."window", ';', 3)::pg_snapshot)
            AND NOT notify_json.includes(
                split_part(stored."window", ';', 1)::pg_snapshot,
                split_part(ack_position."window", ';', 3)::pg_snapshot)
    END;
    UPDATE notify_json.consumer
    SET "window" = CASE WHEN is_later THEN ack_position."window" ELSE "window" END,
        after = CASE WHEN is_later THEN ack_position.after ELSE after END,
        fetched = CASE WHEN is_later THEN 0 ELSE fetched END,
        told = least(skipped, greatest(told, ack_position.told)),
        acked_at = clock_timestamp()
    WHERE channel = ack_position.channel AND name = ack_position.consumer;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.ack_position(text, text, bigint, text, bigint, bigint) IS
'Moves a consumer forward to a position, for the client that holds it.';
