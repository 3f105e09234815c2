-- As in the script that creates the extension: nothing of whoever updates it is to be found.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Contracts.
-- Apart from notify_json.channel, since few channels have one and it may be long.
CREATE TABLE notify_json.contract (
    channel text COLLATE "C" PRIMARY KEY REFERENCES notify_json.channel ON DELETE CASCADE,
    schema json NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE notify_json.contract IS
'The JSON Schema that every event of a channel must meet, as it was registered.';
COMMENT ON COLUMN notify_json.contract.registered_at IS
'When the channel got this schema, in place of another one if it had one.';

SELECT pg_catalog.pg_extension_config_dump('notify_json.contract'::pg_catalog.regclass, '');

CREATE TRIGGER contract_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON notify_json.contract
    FOR EACH STATEMENT EXECUTE FUNCTION notify_json.channel_changed();
ALTER TABLE notify_json.contract ENABLE ALWAYS TRIGGER contract_changed;

CREATE FUNCTION notify_json.check_schema(schema json) RETURNS void
LANGUAGE c STRICT IMMUTABLE AS 'MODULE_PATHNAME', 'check_schema_wrapper';

COMMENT ON FUNCTION notify_json.check_schema(json) IS
'Refuses what is not a JSON Schema that notify_json() can check events by.';

CREATE FUNCTION notify_json.set_contract(channel text, schema json) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF set_contract.schema::text ~ '^\s*null\s*$' THEN
        DELETE FROM notify_json.contract WHERE channel = set_contract.channel;
    ELSE
        PERFORM notify_json.check_schema(set_contract.schema);
        INSERT INTO notify_json.contract AS current (channel, schema)
        VALUES (set_contract.channel, set_contract.schema)
        ON CONFLICT (channel) DO UPDATE SET schema = excluded.schema, registered_at = DEFAULT
        WHERE current.schema::text <> excluded.schema::text;
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.set_contract(text, json) IS
'Has events of a channel meet a JSON Schema from now on; the JSON value null lifts that.';

CREATE FUNCTION notify_json.replace_contract(channel text, expected json, schema json)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    current text;
BEGIN
    PERFORM notify_json.check_writable('replace a contract');
    -- Whoever else changes the contract waits here, or has committed.
    PERFORM FROM notify_json.channel WHERE name = replace_contract.channel FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM notify_json.unknown_channel(replace_contract.channel);
    END IF;
    SELECT schema::text INTO current FROM notify_json.contract
    WHERE channel = replace_contract.channel;
    IF current IS DISTINCT FROM replace_contract.expected::text THEN
        RETURN false;
    END IF;
    PERFORM notify_json.set_contract(replace_contract.channel, replace_contract.schema);
    RETURN true;
END $$;

COMMENT ON FUNCTION notify_json.replace_contract(text, json, json) IS
'Changes the contract of a channel if it still is the one expected, byte for byte; NULL is none.';

DROP FUNCTION notify_json.create_channel(text, boolean, interval);

CREATE FUNCTION notify_json.create_channel(
    name text, durable boolean DEFAULT true, retention interval DEFAULT '7 days',
    schema json DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM notify_json.check_writable('create a channel');
    PERFORM notify_json.check_name('channel', create_channel.name);
    IF create_channel.durable IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'durable must not be NULL',
            DETAIL = format('Channel "%s" must be durable or live.', create_channel.name),
            HINT = 'Say durable => true to keep its events for consumers.';
    END IF;
    PERFORM notify_json.check_retention(create_channel.retention);
    INSERT INTO notify_json.channel (name, durable, retention)
    VALUES (create_channel.name, create_channel.durable, create_channel.retention)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE duplicate_object USING
            MESSAGE = format('channel "%s" already exists', create_channel.name),
            DETAIL = 'Every channel has one policy.',
            HINT = 'Change it with notify_json.alter_channel().';
    END IF;
    -- What was committed since a channel of this name was dropped is not for the new one.
    DELETE FROM notify_json.event WHERE channel = create_channel.name;
    PERFORM notify_json.set_contract(create_channel.name, create_channel.schema)
    WHERE create_channel.schema IS NOT NULL;
END $$;

COMMENT ON FUNCTION notify_json.create_channel(text, boolean, interval, json) IS
'Makes a channel durable: its events are kept for the time of retention, for every consumer. '
'With a schema every event must meet it.';

DROP FUNCTION notify_json.alter_channel(text, boolean, interval);

CREATE FUNCTION notify_json.alter_channel(
    name text, durable boolean DEFAULT NULL, retention interval DEFAULT NULL,
    schema json DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM notify_json.check_writable('alter a channel');
    IF alter_channel.retention IS NOT NULL THEN
        PERFORM notify_json.check_retention(alter_channel.retention);
    END IF;
    UPDATE notify_json.channel
    SET durable = coalesce(alter_channel.durable, durable),
        retention = coalesce(alter_channel.retention, retention)
    WHERE name = alter_channel.name;
    IF NOT FOUND THEN
        PERFORM notify_json.unknown_channel(alter_channel.name);
    END IF;
    PERFORM notify_json.set_contract(alter_channel.name, alter_channel.schema)
    WHERE alter_channel.schema IS NOT NULL;
END $$;

COMMENT ON FUNCTION notify_json.alter_channel(text, boolean, interval, json) IS
'Changes the policy of a channel. What is NULL stays as it is; schema => ''null'' lifts its contract.';

CREATE OR REPLACE VIEW notify_json.channels AS
SELECT channel.name, channel.durable, channel.retention,
    oldest.published_at AS oldest_event_at,
    newest.published_at AS newest_event_at,
    (SELECT count(*) FROM notify_json.consumer WHERE consumer.channel = channel.name) AS consumers,
    channel.created_at,
    contract.registered_at AS contract_since
FROM notify_json.channel
LEFT JOIN notify_json.contract ON contract.channel = channel.name
LEFT JOIN LATERAL (
    SELECT published_at FROM notify_json.event
    WHERE event.channel = channel.name ORDER BY id LIMIT 1
) AS oldest ON true
LEFT JOIN LATERAL (
    SELECT published_at FROM notify_json.event
    WHERE event.channel = channel.name ORDER BY id DESC LIMIT 1
) AS newest ON true;

COMMENT ON VIEW notify_json.channels IS
'The channels that have a policy, and from when to when there are events of them. '
'contract_since is NULL where events need not meet a schema.';

REVOKE ALL ON FUNCTION notify_json.check_schema, notify_json.set_contract,
    notify_json.replace_contract, notify_json.create_channel, notify_json.alter_channel FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify_json.contract TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION notify_json.check_schema, notify_json.set_contract,
    notify_json.replace_contract, notify_json.create_channel, notify_json.alter_channel
    TO @extowner@ WITH GRANT OPTION;
