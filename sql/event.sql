CREATE SEQUENCE notify_json.event_id;

COMMENT ON SEQUENCE notify_json.event_id IS
'Ids of events. A transaction draws them after it has its xid: the windows of readers rely on it.';

-- COLLATE "C" compares bytes, which is faster.
CREATE TABLE notify_json.event (
    id bigint NOT NULL DEFAULT nextval('notify_json.event_id'),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    slot smallint NOT NULL,
    channel text COLLATE "C" NOT NULL,
    payload json NOT NULL,
    channel_id bigint NOT NULL,
    PRIMARY KEY (channel, id, slot)
) PARTITION BY LIST (slot);

COMMENT ON TABLE notify_json.event IS
'Events of durable channels, in a ring of ten leaves that are emptied in turn.';
COMMENT ON COLUMN notify_json.event.xid IS
'The transaction that published it, never a subtransaction.';
COMMENT ON COLUMN notify_json.event.channel_id IS
'Which of the channels that have had this name: nobody reads those of one that was dropped.';
COMMENT ON COLUMN notify_json.event.slot IS
'floor(seconds since 1970 / width) modulo 10; width is an eighth of the longest retention.';

-- For the events of transactions that were in progress when a window began.
CREATE INDEX ON notify_json.event (xid, channel, id);

-- A server may be built without lz4.
DO $$
BEGIN
    ALTER TABLE notify_json.event ALTER payload SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$;

DO $$
BEGIN
    FOR slot IN 0..9 LOOP
        EXECUTE format(
            'CREATE TABLE notify_json.event_%1$s PARTITION OF notify_json.event '
            'FOR VALUES IN (%1$s)', slot);
        EXECUTE format(
            'COMMENT ON TABLE notify_json.event_%1$s IS ''Leaf %1$s of the ring of events.''',
            slot);
    END LOOP;
END $$;

CREATE FUNCTION notify_json.bytes(payload json) RETURNS integer
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textoctetlen';

COMMENT ON FUNCTION notify_json.bytes(json) IS
'Bytes of a JSON text in the database''s encoding, without reading it.';
