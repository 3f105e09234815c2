CREATE TABLE notify_json.channel (
    name text COLLATE "C" PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 63),
    durable boolean NOT NULL,
    retention interval NOT NULL DEFAULT '7 days'
        CHECK (retention > '0' AND retention <= '1000 years'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    owner regrole NOT NULL DEFAULT quote_ident(current_user)::regrole
);

COMMENT ON TABLE notify_json.channel IS
'Channels with a policy of their own. A name that is not here is a live channel.';

-- pg_dump would write the number of a role that is gone, which is somebody else's where it is restored.
SELECT pg_catalog.pg_extension_config_dump('notify_json.channel'::pg_catalog.regclass, $$
    WHERE EXISTS (SELECT FROM pg_catalog.pg_roles WHERE pg_roles.oid = owner)
    UNION ALL SELECT name, durable, retention, created_at, 0::pg_catalog.regrole
    FROM notify_json.channel
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE pg_roles.oid = owner)$$);

CREATE FUNCTION notify_json.channel_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'channel_changed_wrapper';

COMMENT ON FUNCTION notify_json.channel_changed() IS
'Tells every session that what it knows of the channels is out of date.';

CREATE TRIGGER channel_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON notify_json.channel
    FOR EACH STATEMENT EXECUTE FUNCTION notify_json.channel_changed();
ALTER TABLE notify_json.channel ENABLE ALWAYS TRIGGER channel_changed;

CREATE FUNCTION notify_json_unchecked.create_channel(
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
    INSERT INTO notify_json.channel (name, durable, retention, owner)
    VALUES (create_channel.name, create_channel.durable, create_channel.retention,
        notify_json.caller())
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

COMMENT ON FUNCTION notify_json_unchecked.create_channel(text, boolean, interval, json) IS
'Makes a channel durable: its events are kept for the time of retention, for every consumer. '
'With a schema every event must meet it.';

CREATE FUNCTION notify_json_unchecked.alter_channel(
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

COMMENT ON FUNCTION notify_json_unchecked.alter_channel(text, boolean, interval, json) IS
'Changes the policy of a channel. What is NULL stays as it is; schema => ''null'' lifts its contract.';

CREATE FUNCTION notify_json_unchecked.drop_channel(name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM notify_json.check_writable('drop a channel');
    DELETE FROM notify_json.channel WHERE name = drop_channel.name;
    IF NOT FOUND THEN
        PERFORM notify_json.unknown_channel(drop_channel.name);
    END IF;
    DELETE FROM notify_json.event WHERE channel = drop_channel.name;
    DELETE FROM notify_json.removal WHERE channel = drop_channel.name;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.drop_channel(text) IS
'Removes a channel''s policy, events and consumers. The name is that of a live channel again.';

CREATE FUNCTION notify_json.check_name(what text, name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF name IS NULL OR octet_length(name) NOT BETWEEN 1 AND 63 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('bad name of a %s', what),
            DETAIL = CASE
                WHEN name IS NULL THEN 'The name is NULL; it must have 1 to 63 bytes.'
                ELSE format('The name has %s bytes; it must have 1 to 63.', octet_length(name))
            END,
            HINT = 'Use a name of 1 to 63 bytes.';
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.check_name(text, text) IS
'Refuses a name that is NULL, empty or longer than 63 bytes.';

CREATE FUNCTION notify_json.check_retention(retention interval) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF retention IS NULL OR retention <= '0' OR retention > '1000 years' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'retention is out of range',
            DETAIL = format('It is %s; it must be more than 0 and at most 1000 years.',
                coalesce(retention::text, 'NULL')),
            HINT = 'Say for example retention => ''7 days''.';
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.check_retention(interval) IS
'Refuses a time that events cannot be kept for.';

CREATE FUNCTION notify_json.unknown_channel(name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF name IS NULL THEN
        PERFORM notify_json.check_name('channel', name);
    END IF;
    RAISE undefined_object USING
        MESSAGE = format('channel "%s" does not exist', name),
        DETAIL = 'A channel without a policy is live: it has no events to read and no consumers.',
        HINT = format('SELECT notify_json.create_channel(%L) makes it durable.', name);
END $$;

COMMENT ON FUNCTION notify_json.unknown_channel(text) IS
'Says that a channel has no policy.';

CREATE FUNCTION notify_json.created_at(channel text) RETURNS timestamptz
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'created_at_wrapper';

COMMENT ON FUNCTION notify_json.created_at(text) IS
'When a channel was created, as of now, whatever the snapshot has.';

CREATE FUNCTION notify_json.check_durable(channel text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    known notify_json.channel := (
        SELECT channel FROM notify_json.channel WHERE name = check_durable.channel);
BEGIN
    IF known.name IS NULL THEN
        PERFORM notify_json.unknown_channel(check_durable.channel);
    ELSIF NOT known.durable THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('channel "%s" is live', check_durable.channel),
            DETAIL = 'Events of a live channel are not kept.',
            HINT = format('SELECT notify_json.alter_channel(%L, durable => true) makes it durable.',
                check_durable.channel);
    -- The right to read is one on the channel of now.
    ELSIF known.created_at IS DISTINCT FROM notify_json.created_at(check_durable.channel) THEN
        RAISE serialization_failure USING
            MESSAGE = format('channel "%s" was dropped', check_durable.channel),
            DETAIL = 'What this transaction sees of it is from before that.',
            HINT = 'Run the transaction again.';
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.check_durable(text) IS
'Refuses a channel that is not durable.';
