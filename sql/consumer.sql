-- The holder of one that was dropped has no epoch of another one with its name. 2^32 claims each.
CREATE SEQUENCE notify_json.consumer_epoch INCREMENT 4294967296 MINVALUE 0;

COMMENT ON SEQUENCE notify_json.consumer_epoch IS 'Where the epochs of each consumer begin.';

CREATE TABLE notify_json.consumer (
    channel text COLLATE "C" NOT NULL REFERENCES notify_json.channel ON DELETE CASCADE,
    name text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL DEFAULT nextval('notify_json.consumer_epoch'),
    "window" text NOT NULL DEFAULT '3:3:;0;3:3:;0;0',
    after bigint NOT NULL DEFAULT 0,
    fetched bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    told bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    acked_at timestamptz,
    shown bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (channel, name)
);

COMMENT ON TABLE notify_json.consumer IS
'How far each consumer has come: everything in its window up to after, and all before its window.';
COMMENT ON COLUMN notify_json.consumer.epoch IS 'Which claim may ack: the last one.';
COMMENT ON COLUMN notify_json.consumer.fetched IS
'The last id that fetch() gave out of the window.';
COMMENT ON COLUMN notify_json.consumer.skipped IS 'Events ever removed before it had them.';
COMMENT ON COLUMN notify_json.consumer.told IS
'Of the skipped, those that it has acknowledged to know of.';
COMMENT ON COLUMN notify_json.consumer.shown IS
'Of the skipped, those that there were at its last fetch(): it may know of them.';

-- Apart from the position, so that a renewal neither waits for an ack in an open transaction nor
-- makes one with an older snapshot fail. Who changes both rows begins with the consumer's.
CREATE TABLE notify_json.holder (
    channel text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    held_until timestamptz NOT NULL DEFAULT '-infinity',
    server timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (channel, name),
    FOREIGN KEY (channel, name) REFERENCES notify_json.consumer ON DELETE CASCADE
);

COMMENT ON TABLE notify_json.holder IS 'Until when the last claim of each consumer holds it.';
COMMENT ON COLUMN notify_json.holder.server IS 'What running_since() was at the claim.';

CREATE FUNCTION notify_json.ensure_consumer(consumer text, channel text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    first bigint;
BEGIN
    PERFORM notify_json.check_durable(ensure_consumer.channel);
    PERFORM notify_json.check_name('consumer', consumer);
    -- ON CONFLICT would wait for an ack in an open transaction.
    PERFORM FROM notify_json.consumer
    WHERE channel = ensure_consumer.channel AND name = ensure_consumer.consumer;
    IF NOT FOUND THEN
        -- Nobody drops it from here on.
        PERFORM FROM notify_json.channel WHERE name = ensure_consumer.channel FOR KEY SHARE;
        IF NOT FOUND THEN
            PERFORM notify_json.unknown_channel(ensure_consumer.channel);
        END IF;
        INSERT INTO notify_json.consumer (channel, name)
        VALUES (ensure_consumer.channel, ensure_consumer.consumer) ON CONFLICT DO NOTHING
        RETURNING epoch INTO first;
        INSERT INTO notify_json.holder (channel, name, epoch)
        SELECT ensure_consumer.channel, ensure_consumer.consumer, first WHERE FOUND;
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.ensure_consumer(text, text) IS
'Creates a consumer at the earliest event, unless it exists.';

CREATE FUNCTION notify_json.unknown_consumer(consumer text, channel text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM notify_json.check_name('channel', channel);
    PERFORM notify_json.check_name('consumer', consumer);
    RAISE undefined_object USING
        MESSAGE = format('consumer "%s" of channel "%s" does not exist', consumer, channel),
        DETAIL = 'It was never created, or it was dropped.',
        HINT = 'fetch() and seek() create a consumer.';
END $$;

COMMENT ON FUNCTION notify_json.unknown_consumer(text, text) IS
'Says that a consumer does not exist, or that its name cannot be one.';

CREATE FUNCTION notify_json_unchecked.drop_consumer(consumer text, channel text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM notify_json.check_writable('drop a consumer');
    DELETE FROM notify_json.consumer
    WHERE channel = drop_consumer.channel AND name = drop_consumer.consumer;
    IF NOT FOUND THEN
        PERFORM notify_json.unknown_consumer(consumer, drop_consumer.channel);
    END IF;
    -- Until here the channel may have become another one.
    PERFORM notify_json.consumable(drop_consumer.channel);
END $$;

COMMENT ON FUNCTION notify_json_unchecked.drop_consumer(text, text) IS
'Forgets a consumer and its position.';
