-- As in the script that creates the extension: nothing of whoever updates it is to be found.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA notify_json_unchecked;

COMMENT ON SCHEMA notify_json_unchecked IS
'What the functions of the same names in schema notify_json do once they have checked the right.';

-- The channels there are belong to the owner of the extension.
ALTER TABLE notify_json.channel ADD owner regrole;
UPDATE notify_json.channel SET owner = '@extowner@'::regrole;
ALTER TABLE notify_json.channel ALTER owner SET NOT NULL,
    ALTER owner SET DEFAULT quote_ident(current_user)::regrole;
-- pg_dump would write the number of a role that is gone, which is somebody else's where it is restored.
SELECT pg_catalog.pg_extension_config_dump('notify_json.channel'::pg_catalog.regclass, $$
    WHERE EXISTS (SELECT FROM pg_catalog.pg_roles WHERE pg_roles.oid = owner)
    UNION ALL SELECT name, durable, retention, created_at, 0::pg_catalog.regrole
    FROM notify_json.channel
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE pg_roles.oid = owner)$$);

CREATE FUNCTION notify_json.created_at(channel text) RETURNS timestamptz
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'created_at_wrapper';

COMMENT ON FUNCTION notify_json.created_at(text) IS
'When a channel was created, as of now, whatever the snapshot has.';

CREATE OR REPLACE FUNCTION notify_json.check_durable(channel text) RETURNS void
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

-- Rights on registered channels. Who owns one, or is a member of a role that does, may do all.
CREATE TABLE notify_json.channel_right (
    channel text COLLATE "C" NOT NULL REFERENCES notify_json.channel ON DELETE CASCADE,
    role regrole NOT NULL,
    publish boolean NOT NULL,
    consume boolean NOT NULL,
    PRIMARY KEY (channel, role)
);

COMMENT ON TABLE notify_json.channel_right IS
'What roles may do on registered channels, beside their owners. Role - is everybody.';

SELECT pg_catalog.pg_extension_config_dump('notify_json.channel_right'::pg_catalog.regclass, $$
    WHERE role = 0::pg_catalog.oid
        OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE pg_roles.oid = role)$$);

CREATE TRIGGER channel_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON notify_json.channel_right
    FOR EACH STATEMENT EXECUTE FUNCTION notify_json.channel_changed();
ALTER TABLE notify_json.channel_right ENABLE ALWAYS TRIGGER channel_changed;

CREATE FUNCTION notify_json.may_publish(
    channel text, role regrole DEFAULT quote_ident(current_user)::regrole
) RETURNS boolean
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'may_publish_wrapper';

COMMENT ON FUNCTION notify_json.may_publish(text, regrole) IS
'Whether a role may publish on a channel. Anybody may on one that is not registered.';

CREATE FUNCTION notify_json.may_consume(
    channel text, role regrole DEFAULT quote_ident(current_user)::regrole
) RETURNS boolean
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'may_consume_wrapper';

COMMENT ON FUNCTION notify_json.may_consume(text, regrole) IS
'Whether a role may read the events of a channel and move its consumers.';

CREATE FUNCTION notify_json.check_publisher(channel text, "table" regclass, owner regrole)
RETURNS void
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'check_publisher_wrapper';

COMMENT ON FUNCTION notify_json.check_publisher(text, regclass, regrole) IS
'Refuses to let a table publish on a channel unless both the caller and its owner may.';

CREATE FUNCTION notify_json.deny("right" text, channel text, role regrole, "table" regclass)
RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    role_name text := pg_get_userbyid(deny.role);
    owner text := coalesce((
        SELECT format('It belongs to %s', rolname) FROM notify_json.channel
        JOIN pg_roles ON pg_roles.oid = channel.owner WHERE channel.name = deny.channel
    ), 'Its owner was dropped');
BEGIN
    IF deny.channel = '' THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'permission denied to remove old events',
            DETAIL = format('Role %s may consume no channel.', role_name),
            HINT = 'Let a consumer of any channel call the function.';
    ELSIF deny."right" = 'own' THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('must be owner of channel "%s"', deny.channel),
            DETAIL = format('%s; %s has not that role''s rights.', owner, role_name),
            HINT = 'Let the owner call the function, or a superuser.';
    END IF;
    RAISE insufficient_privilege USING
        MESSAGE = format('permission denied to %s on channel "%s"', deny."right", deny.channel),
        DETAIL = CASE WHEN deny."table" = 0::oid
            THEN format('%s; %s has neither that role''s rights nor been granted this one.',
                owner, role_name)
            ELSE format('%s; changes of %s are published in the name of the table''s owner, %s, '
                'who has not been granted this right.', owner, deny."table", role_name)
        END,
        HINT = format('SELECT notify_json.grant_%s(%L, %L), by the channel''s owner, grants it.',
            deny."right", deny.channel, role_name);
END $$;

COMMENT ON FUNCTION notify_json.deny(text, text, regrole, regclass) IS
'Says that a right on a channel is missing, and how to grant it.';

CREATE FUNCTION notify_json.caller() RETURNS regrole
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'caller_wrapper';

COMMENT ON FUNCTION notify_json.caller() IS
'Inside of schema notify_json_unchecked: the role that called the function''s namesake.';

CREATE FUNCTION notify_json.role_named(name text) RETURNS regrole
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found oid := (SELECT oid FROM pg_roles WHERE rolname = role_named.name);
BEGIN
    IF found IS NULL THEN
        RAISE undefined_object USING
            MESSAGE = format('role "%s" does not exist', coalesce(role_named.name, 'NULL')),
            DETAIL = 'The name is compared as it is, with its capitals and without quotes.',
            HINT = 'See the view pg_roles; ''public'' stands for everybody, but owns nothing.';
    END IF;
    RETURN found;
END $$;

COMMENT ON FUNCTION notify_json.role_named(text) IS 'A role by its name.';

CREATE FUNCTION notify_json.forget_dropped_roles() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    gone regrole[] := ARRAY(
        SELECT role FROM notify_json.channel_right
        WHERE role <> 0::oid AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = role)
        FOR UPDATE SKIP LOCKED);
BEGIN
    -- A DELETE would have every session read the rights again, whether there is something or not.
    IF cardinality(gone) > 0 THEN
        DELETE FROM notify_json.channel_right WHERE role = ANY (gone);
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.forget_dropped_roles() IS
'Removes the rights of roles that are gone.';

CREATE FUNCTION notify_json.set_right(channel text, role text, publish boolean, consume boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    grantee regrole := CASE WHEN set_right.role = 'public' THEN 0::oid
        ELSE notify_json.role_named(set_right.role) END;
BEGIN
    PERFORM notify_json.check_writable('change rights');
    PERFORM FROM notify_json.channel WHERE name = set_right.channel FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM notify_json.unknown_channel(set_right.channel);
    END IF;
    PERFORM notify_json.forget_dropped_roles();
    INSERT INTO notify_json.channel_right AS held (channel, role, publish, consume)
    VALUES (set_right.channel, grantee,
        coalesce(set_right.publish, false), coalesce(set_right.consume, false))
    ON CONFLICT (channel, role) DO UPDATE SET
        publish = coalesce(set_right.publish, held.publish),
        consume = coalesce(set_right.consume, held.consume);
    DELETE FROM notify_json.channel_right
    WHERE channel = set_right.channel AND role = grantee AND NOT publish AND NOT consume;
END $$;

COMMENT ON FUNCTION notify_json.set_right(text, text, boolean, boolean) IS
'Grants what is true, revokes what is false, and leaves what is NULL.';

CREATE FUNCTION notify_json_unchecked.grant_publish(channel text, role text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT notify_json.set_right(channel, role, true, NULL)
$$;

COMMENT ON FUNCTION notify_json_unchecked.grant_publish(text, text) IS
'Lets a role, or public, publish on a channel that the caller owns.';

CREATE FUNCTION notify_json_unchecked.revoke_publish(channel text, role text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT notify_json.set_right(channel, role, false, NULL)
$$;

COMMENT ON FUNCTION notify_json_unchecked.revoke_publish(text, text) IS
'Takes back grant_publish().';

CREATE FUNCTION notify_json_unchecked.grant_consume(channel text, role text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT notify_json.set_right(channel, role, NULL, true)
$$;

COMMENT ON FUNCTION notify_json_unchecked.grant_consume(text, text) IS
'Lets a role, or public, read the events of a channel that the caller owns, and move its consumers.';

CREATE FUNCTION notify_json_unchecked.revoke_consume(channel text, role text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT notify_json.set_right(channel, role, NULL, false)
$$;

COMMENT ON FUNCTION notify_json_unchecked.revoke_consume(text, text) IS
'Takes back grant_consume().';

CREATE FUNCTION notify_json_unchecked.set_owner(channel text, role text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    new_owner regrole := notify_json.role_named(set_owner.role);
    -- As for ALTER ... OWNER TO.
    member text := CASE WHEN current_setting('server_version_num')::integer < 160000
        THEN 'MEMBER' ELSE 'SET' END;
BEGIN
    PERFORM notify_json.check_writable('give a channel away');
    IF NOT pg_has_role(notify_json.caller(), new_owner, member) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('must be member of role "%s"', set_owner.role),
            DETAIL = format('%s would give channel "%s" to a role that it cannot become.',
                notify_json.caller(), set_owner.channel),
            HINT = 'Let a superuser call the function, or a member of both roles.';
    END IF;
    UPDATE notify_json.channel SET owner = new_owner WHERE name = set_owner.channel;
    IF NOT FOUND THEN
        PERFORM notify_json.unknown_channel(set_owner.channel);
    END IF;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.set_owner(text, text) IS
'Gives a channel that the caller owns to another role, of which the caller is a member.';

CREATE VIEW notify_json.channel_rights WITH (security_barrier) AS
SELECT channel.name AS channel, held.role, held.is_owner, held.publish, held.consume
FROM notify_json.channel
CROSS JOIN LATERAL (
    SELECT rolname::text AS role, true AS is_owner, true AS publish, true AS consume
    FROM pg_roles WHERE oid = channel.owner
    UNION ALL
    SELECT coalesce(rolname::text, 'public'), false, channel_right.publish, channel_right.consume
    FROM notify_json.channel_right LEFT JOIN pg_roles ON oid = channel_right.role
    WHERE channel_right.channel = channel.name
        AND (rolname IS NOT NULL OR channel_right.role = 0::oid)
) AS held
WHERE notify_json.may_publish(channel.name) OR notify_json.may_consume(channel.name);

COMMENT ON VIEW notify_json.channel_rights IS
'Who may do what on the channels on which the reader may do something.';

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

CREATE FUNCTION notify_json_unchecked.replace_contract(channel text, expected json, schema json)
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

COMMENT ON FUNCTION notify_json_unchecked.replace_contract(text, json, json) IS
'Changes the contract of a channel if it still is the one expected, byte for byte; NULL is none.';

CREATE VIEW notify_json.contracts WITH (security_barrier) AS
SELECT channel, schema, registered_at FROM notify_json.contract
WHERE notify_json.may_publish(channel) OR notify_json.may_consume(channel);

COMMENT ON VIEW notify_json.contracts IS
'The contracts of the channels on which the reader may publish or consume.';

-- As before everybody may publish on them, and those consume who could call fetch() or read().
INSERT INTO notify_json.channel_right (channel, role, publish, consume)
SELECT channel.name, grantee, bool_or(publish), bool_or(consume)
FROM notify_json.channel
CROSS JOIN (
    SELECT 0::oid::regrole, true, false
    UNION ALL
    SELECT granted.grantee::regrole, false, true
    FROM pg_proc CROSS JOIN LATERAL aclexplode(proacl) AS granted
    WHERE pronamespace = 'notify_json'::regnamespace AND proname IN ('fetch', 'read')
        AND granted.grantee NOT IN (proowner, '@extowner@'::regrole)
) AS held(grantee, publish, consume)
GROUP BY channel.name, grantee;

ALTER TABLE notify_json.consumer ADD shown bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN notify_json.consumer.shown IS
'Of the skipped, those that there were at its last fetch(): it may know of them.';

CREATE OR REPLACE FUNCTION notify_json.unknown_consumer(consumer text, channel text) RETURNS void
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
            WHERE event.channel = channel.name AND event.slot = has_later.slot
                AND event.id > has_later.last
            LIMIT 1
        ) AS later
    )
$$;

COMMENT ON FUNCTION notify_json.has_later(smallint, bigint) IS
'Whether a leaf has events with a higher id, of channels that there are.';

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

CREATE OR REPLACE FUNCTION notify_json.empty_leaf(slot smallint) RETURNS bigint
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
        SELECT channel, count(*) AS events, max(id) AS last_id,
            min(xid::text::bigint) AS first_xid, max(xid::text::bigint) AS last_xid
        FROM notify_json.event WHERE slot = empty_leaf.slot GROUP BY channel, id / step
    ) AS batch;
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

CREATE OR REPLACE FUNCTION notify_json.trigger_condition(trigger oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
SET standard_conforming_strings = on SET quote_all_identifiers = off AS $$
DECLARE
    name text := '(?:"(?:[^"]|"")+"|[^ ".]+)';
    before text := format(
        '^CREATE TRIGGER %1$s AFTER [A-Z ]+ ON %1$s\.%1$s FOR EACH ROW WHEN \((.*)$', name);
    -- The channel may look like anything, so this is known by its length.
    after text := (
        SELECT format(') EXECUTE FUNCTION notify_json.row_changed(''%s'', ''%s'')',
            replace(channel, '''', ''''''), array_to_string(options, ' '))
        FROM notify_json.watch_trigger WHERE oid = trigger_condition.trigger);
BEGIN
    RETURN left(substring(pg_get_triggerdef(trigger_condition.trigger) FROM before), -length(after));
END $$;

COMMENT ON FUNCTION notify_json.trigger_condition(oid) IS
'The condition of a trigger of watch(), as the server writes it.';

CREATE OR REPLACE VIEW notify_json.watch_trigger AS
SELECT trigger.oid, trigger.tgname AS name, trigger.tgrelid AS "table",
    convert_from(substring(tgargs FROM 1 FOR till - 1), getdatabaseencoding()) AS channel,
    string_to_array(convert_from(
        rtrim(substring(tgargs FROM till + 1), '\x00'::bytea), 'SQL_ASCII'), ' ') AS options,
    trigger.tgtype AS type, trigger.tgattr AS attributes, trigger.tgenabled AS enabled,
    trigger.tgparentid <> 0 AS of_parent,
    coalesce(obj_description(trigger.oid, 'pg_trigger') = format(
        'Publishes on channel "%s" with the rights of the table''s owner.',
        convert_from(substring(tgargs FROM 1 FOR till - 1), getdatabaseencoding())), false) AS signed
FROM pg_trigger AS trigger
CROSS JOIN LATERAL position('\x00'::bytea IN tgargs) AS argument(till)
WHERE trigger.tgfoid = 'notify_json.row_changed'::regproc AND trigger.tgnargs = 2;

CREATE OR REPLACE VIEW notify_json.watched AS
SELECT "table"::regclass AS "table", channel,
    array_remove(ARRAY[
        CASE WHEN bool_or(type & 4 > 0) THEN 'insert' END,
        CASE WHEN bool_or(type & 16 > 0) FILTER (WHERE cardinality(attributes) = 0) THEN 'update' END,
        CASE WHEN bool_or(type & 8 > 0) THEN 'delete' END,
        CASE WHEN bool_or(type & 32 > 0) THEN 'truncate' END
    ], NULL) AS operations,
    CASE WHEN bool_or('columns' = ANY (options)) THEN ARRAY(
        SELECT attname::text FROM notify_json.watch_trigger AS list
        CROSS JOIN LATERAL unnest(list.attributes::smallint[]) AS listed(attnum)
        JOIN pg_attribute ON attrelid = list."table" AND pg_attribute.attnum = listed.attnum
        WHERE list."table" = watch_trigger."table" AND list.channel = watch_trigger.channel
            AND (list.signed OR NOT bool_or(watch_trigger.signed))
        ORDER BY pg_attribute.attnum
    ) END AS columns,
    bool_or('only_if_changed' = ANY (options)) AS only_if_changed,
    bool_or('include_old' = ANY (options)) AS include_old,
    max(notify_json.trigger_condition(oid)) AS condition,
    CASE WHEN bool_or(type & 1 = 0 AND type & 28 > 0 AND cardinality(attributes) = 0)
        THEN 'statement' ELSE 'row' END AS per,
    bool_or(enabled = 'A') AS always,
    bool_and(enabled <> 'D') AS enabled
FROM notify_json.watch_trigger
WHERE NOT of_parent
GROUP BY "table", channel;

COMMENT ON VIEW notify_json.watched IS
'The tables whose changes are published, and how. Their partitions are not listed.';

-- What checked functions go on to: those that have not changed are copied as they are.
DO $$
DECLARE
    old pg_proc;
    target text;
BEGIN
    FOR old IN
        SELECT * FROM pg_proc
        WHERE pronamespace = 'notify_json'::regnamespace AND prosecdef AND prolang <> (
                SELECT oid FROM pg_language WHERE lanname = 'c')
            AND proname NOT IN ('create_channel', 'alter_channel', 'fetch', 'ack', 'seek', 'missed', 'prune', 'deny') ORDER BY oid
    LOOP
        EXECUTE replace(pg_get_functiondef(old.oid),
            'FUNCTION notify_json.', 'FUNCTION notify_json_unchecked.');
        EXECUTE format('COMMENT ON FUNCTION notify_json_unchecked.%I(%s) IS %L', old.proname,
            pg_get_function_identity_arguments(old.oid), obj_description(old.oid, 'pg_proc'));
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION notify_json.ensure_consumer(consumer text, channel text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
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
        VALUES (ensure_consumer.channel, ensure_consumer.consumer) ON CONFLICT DO NOTHING;
        INSERT INTO notify_json.holder (channel, name)
        SELECT ensure_consumer.channel, ensure_consumer.consumer WHERE FOUND;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION notify_json.take(consumer text, channel text) RETURNS notify_json.consumer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    taken notify_json.consumer;
BEGIN
    PERFORM notify_json.check_free(consumer, take.channel);
    SELECT * INTO taken FROM notify_json.consumer
    WHERE channel = take.channel AND name = take.consumer FOR NO KEY UPDATE;
    IF NOT FOUND THEN
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
    PERFORM notify_json.check_durable(ack.channel);
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

CREATE FUNCTION notify_json_unchecked.seek(consumer text, channel text, since text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    position record;
BEGIN
    PERFORM notify_json.check_writable('move a consumer');
    PERFORM notify_json.ensure_consumer(consumer, seek.channel);
    SELECT * INTO position FROM notify_json_unchecked.start(seek.channel, since);
    UPDATE notify_json.consumer
    SET epoch = epoch + 1, "window" = position."window", after = position.after,
        fetched = 0, told = skipped
    WHERE channel = seek.channel AND name = seek.consumer;
    IF NOT FOUND THEN
        PERFORM notify_json.unknown_consumer(consumer, seek.channel);
    END IF;
    -- Whoever holds it finds out, and the next claim succeeds at once.
    UPDATE notify_json.holder SET epoch = epoch + 1, held_until = '-infinity'
    WHERE channel = seek.channel AND name = seek.consumer;
END $$;

COMMENT ON FUNCTION notify_json_unchecked.seek(text, text, text) IS
'Moves a consumer to earliest, latest, or the first event published at a time or later.';

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
        SELECT used.channel AS name, CASE
            WHEN retention IS NULL THEN 'infinity'
            -- Such events leave with their leaf; the ring comes round in longest * 10 / 8.
            WHEN retention > longest * 0.75
                THEN clock_timestamp() - greatest(retention, longest * 1.25)
            ELSE clock_timestamp() - retention
        END AS kept_since
        FROM used LEFT JOIN notify_json.channel ON channel.name = used.channel
    LOOP
        removed := removed + notify_json.remove_expired(channel.name, channel.kept_since);
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

CREATE OR REPLACE VIEW notify_json.consumers WITH (security_barrier) AS
SELECT consumer.channel, consumer.name AS consumer,
    lag.events AS lag_events,
    extract(epoch FROM clock_timestamp() - lag.oldest)::float8 AS lag_seconds,
    consumer.skipped - consumer.told AS skipped,
    holder.held_until > clock_timestamp() AND holder.server = running_since AS held,
    holder.held_until,
    consumer.acked_at,
    consumer.created_at
FROM notify_json.consumer
JOIN notify_json.holder USING (channel, name)
CROSS JOIN notify_json.running_since()
CROSS JOIN LATERAL (
    SELECT count(*) AS events, min(published_at) AS oldest FROM notify_json.unacked
    WHERE unacked.channel = consumer.channel AND unacked.consumer = consumer.name
) AS lag
WHERE notify_json.may_consume(consumer.channel);

COMMENT ON VIEW notify_json.consumers IS
'How far each consumer is behind, what it has missed, and whether a client holds it; of the channels '
'that the reader may consume.';

CREATE OR REPLACE VIEW notify_json.channels WITH (security_barrier) AS
SELECT channel.name, channel.durable, channel.retention,
    oldest.published_at AS oldest_event_at,
    newest.published_at AS newest_event_at,
    (SELECT count(*) FROM notify_json.consumer WHERE consumer.channel = channel.name) AS consumers,
    channel.created_at,
    (SELECT rolname::text FROM pg_roles WHERE oid = channel.owner) AS owner,
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
) AS newest ON true
WHERE notify_json.may_publish(channel.name) OR notify_json.may_consume(channel.name);

COMMENT ON VIEW notify_json.channels IS
'The channels that have a policy, and from when to when there are events of them; those on which the '
'reader may publish or consume. contract_since is NULL where events need not meet a schema.';

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
            AND event.id > late.after
            AND event.id <= late.floor
        ORDER BY event.id LIMIT late.max_events
    ) AS found
    WHERE pg_visible_in_snapshot(xip.xid, late.till)
    ORDER BY id LIMIT late.max_events;
END $$;

COMMENT ON FUNCTION notify_json.late(text, pg_snapshot, bigint, pg_snapshot, bigint, integer) IS
'The next events of transactions that were in progress when a window began.';

CREATE OR REPLACE FUNCTION notify_json.page(
    channel text, seen pg_snapshot, floor bigint, till pg_snapshot, last bigint,
    after bigint, max_events integer
) RETURNS TABLE (id bigint, published_at timestamptz, payload json)
LANGUAGE sql STABLE BEGIN ATOMIC
    (
        SELECT event.id, event.published_at, event.payload
        FROM notify_json.event
        WHERE event.channel = page.channel
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

CREATE OR REPLACE FUNCTION notify_json.next_window(previous text) RETURNS text
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

DROP FUNCTION notify_json.check_watch(regclass, text[], text[], text, text);

CREATE FUNCTION notify_json.check_watch(
    "table" regclass, channel text, operations text[], columns text[], condition text, per text
) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation pg_class := (SELECT pg_class FROM pg_class WHERE oid = check_watch."table");
    wrong text;
BEGIN
    IF relation.oid IS NULL THEN
        RAISE undefined_table USING
            MESSAGE = 'table to watch does not exist',
            DETAIL = format('There is no table %s.', coalesce(check_watch."table"::text, 'NULL')),
            HINT = 'Name the table as in SELECT, and in quotes: ''public.orders''.';
    END IF;
    IF relation.relkind NOT IN ('r', 'p') THEN
        RAISE wrong_object_type USING
            MESSAGE = format('cannot watch %s', check_watch."table"),
            DETAIL = format('Its kind is "%s"; only tables (r) and partitioned tables (p) change by '
                'statements that triggers of this server see.', relation.relkind),
            HINT = 'Watch the tables that the data comes from.';
    END IF;
    IF NOT pg_has_role(relation.relowner, 'USAGE') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('must be owner of table %s', check_watch."table"),
            DETAIL = format('The owner is %s; %s has not that role''s rights.',
                relation.relowner::regrole, current_user),
            HINT = 'Let the owner call the function.';
    END IF;
    PERFORM notify_json.check_publisher(channel, check_watch."table", relation.relowner);
    IF operations IS NULL OR cardinality(operations) = 0
        OR NOT operations <@ ARRAY['insert', 'update', 'delete', 'truncate']
    THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'bad operations to watch',
            DETAIL = format('They are %s.', coalesce(operations::text, 'NULL')),
            HINT = 'Name some of insert, update, delete and truncate: operations => ''{insert}''.';
    END IF;
    IF per IS NULL OR per NOT IN ('row', 'statement') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'bad value of per',
            DETAIL = format('It is %s.', coalesce(per, 'NULL')),
            HINT = 'Say per => ''row'' or per => ''statement''.';
    END IF;
    IF condition IS NOT NULL AND (per = 'statement' OR operations <@ ARRAY['truncate']) THEN
        RAISE feature_not_supported USING
            MESSAGE = 'a condition needs rows',
            DETAIL = 'Triggers of a statement have no row that a condition could be about.',
            HINT = 'Say per => ''row'', and name operations other than truncate.';
    END IF;
    SELECT name INTO wrong FROM unnest(columns) AS listed(name)
    WHERE NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = check_watch."table" AND attname = listed.name AND attnum > 0
            AND NOT attisdropped
    ) OR name IS NULL LIMIT 1;
    IF FOUND OR cardinality(columns) = 0 THEN
        RAISE undefined_column USING
            MESSAGE = CASE WHEN FOUND
                THEN format('column "%s" of table %s does not exist', wrong, check_watch."table")
                ELSE 'no columns to watch' END,
            DETAIL = format('The columns are %s.', columns),
            HINT = 'Name columns as in the catalog: columns => ''{id,"Mixed Case"}''; NULL for all.';
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.check_watch(regclass, text, text[], text[], text, text) IS
'Refuses arguments of watch() that make no sense, and whoever may not make a table publish there.';

CREATE OR REPLACE FUNCTION notify_json.create_trigger(
    "table" regclass, channel text, kind text, events text, rest text, options text, always boolean
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Triggers fire in the order of their names. This one fires first, or what another trigger, such
    -- as that of a foreign key, does to the same row would be published before what it fires for.
    name text := format('!notify_json_%s_%s', left(md5(channel), 16), kind);
BEGIN
    EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s %s EXECUTE FUNCTION notify_json.row_changed(%L, %L)',
        name, events, create_trigger."table", rest, channel, options);
    -- The sign that the owner has made it: whoever has only the privilege TRIGGER cannot comment.
    EXECUTE format('COMMENT ON TRIGGER %I ON %s IS %L', name, create_trigger."table",
        format('Publishes on channel "%s" with the rights of the table''s owner.', channel));
    IF always THEN
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', create_trigger."table", name);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION notify_json.watch(
    "table" regclass, channel text,
    operations text[] DEFAULT '{insert,update,delete,truncate}', columns text[] DEFAULT NULL,
    only_if_changed boolean DEFAULT false, include_old boolean DEFAULT false,
    condition text DEFAULT NULL, per text DEFAULT 'row', always boolean DEFAULT false
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    options text := concat_ws(' ',
        CASE WHEN only_if_changed THEN 'only_if_changed' END,
        CASE WHEN include_old THEN 'include_old' END,
        CASE WHEN columns IS NOT NULL THEN 'columns' END);
    of_rows text := (
        SELECT string_agg(DISTINCT upper(operation), ' OR ') FROM unnest(operations) AS operation
        WHERE operation <> 'truncate');
    watched regclass;
    state text;
BEGIN
    PERFORM notify_json.check_name('channel', channel);
    PERFORM notify_json.check_watch(watch."table", channel, operations, columns, condition, per);
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', watch."table");
    -- Partitions get the trigger of rows too.
    SELECT watch_trigger."table" INTO watched FROM notify_json.watch_trigger
    WHERE watch_trigger.channel = watch.channel AND (watch_trigger."table" = watch."table"
        OR per = 'row' AND of_rows IS NOT NULL AND watch_trigger.type & 1 > 0
            AND watch_trigger."table" IN (SELECT relid FROM pg_partition_tree(watch."table")))
    LIMIT 1;
    IF FOUND THEN
        RAISE duplicate_object USING
            MESSAGE = format('%s is already watched on channel "%s"', watched, channel),
            DETAIL = 'By itself, or as a partition of a table that is.',
            HINT = 'See the view notify_json.watched; notify_json.unwatch() ends it.';
    END IF;
    -- Never fires: the list of columns, which the server keeps right through RENAME and pg_dump.
    IF columns IS NOT NULL THEN
        PERFORM notify_json.create_trigger(watch."table", channel, 'columns',
            format('UPDATE OF %s', (SELECT string_agg(DISTINCT quote_ident(name), ', ')
                FROM unnest(columns) AS name)),
            'FOR EACH STATEMENT WHEN (false)', 'columns', false);
    END IF;
    IF 'truncate' = ANY (operations) THEN
        PERFORM notify_json.create_trigger(watch."table", channel, 'truncate',
            'TRUNCATE', 'FOR EACH STATEMENT', options, always);
    END IF;
    IF per = 'row' AND of_rows IS NOT NULL THEN
        BEGIN
            PERFORM notify_json.create_trigger(watch."table", channel, 'row', of_rows,
                -- The line feed ends a comment.
                'FOR EACH ROW' || coalesce(' WHEN (' || condition || E'\n)', ''), options, always);
        EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
            IF condition IS NULL OR state = '42501' THEN
                RAISE;
            END IF;
            RAISE USING ERRCODE = state,
                MESSAGE = format('condition does not fit table %s', watch."table"),
                DETAIL = format('PostgreSQL says: %s.', SQLERRM),
                HINT = 'It is an expression of NEW.column and OLD.column. An insert has no OLD, a '
                    'delete no NEW: name operations that have what it needs. Names outside of '
                    'pg_catalog need their schema.';
        END;
    END IF;
    IF per = 'statement' THEN
        PERFORM notify_json.create_trigger(watch."table", channel, event.name, upper(event.name),
            format('REFERENCING %s FOR EACH STATEMENT', event.tables), options, always)
        FROM (VALUES ('insert', 'NEW TABLE AS new_rows'), ('delete', 'OLD TABLE AS old_rows'),
            ('update', 'OLD TABLE AS old_rows NEW TABLE AS new_rows')) AS event(name, tables)
        WHERE event.name = ANY (operations);
    END IF;
END $$;

-- Triggers that watch() has made before, so far as it is known, are signed and named like those to
-- come: with names that come first.
DO $$
DECLARE
    made notify_json.watch_trigger;
BEGIN
    FOR made IN SELECT * FROM notify_json.watch_trigger WHERE NOT of_parent LOOP
        EXECUTE format('COMMENT ON TRIGGER %I ON %s IS %L', made.name, made."table"::regclass,
            format('Publishes on channel "%s" with the rights of the table''s owner.',
                made.channel));
        EXECUTE format('ALTER TRIGGER %I ON %s RENAME TO %I', made.name, made."table"::regclass,
            '!' || made.name);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION notify_json_unchecked.read(
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

-- What is called: functions that check the caller's right, then go on to their namesake.
DO $$
DECLARE
    target oid;
    name text;
BEGIN
    FOR target, name IN
        SELECT oid, proname FROM pg_proc
        WHERE pronamespace = 'notify_json_unchecked'::regnamespace ORDER BY oid
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE FUNCTION notify_json.%I(%s) RETURNS %s LANGUAGE c '
            'AS ''MODULE_PATHNAME'', %L',
            name, pg_get_function_arguments(target), pg_get_function_result(target),
            'checked_for_' || CASE
                WHEN name = 'create_channel' THEN 'anybody'
                WHEN name ~ '^(alter|drop)_channel$|^(grant|revoke)_|^set_owner$|^replace_contract$' THEN 'owners'
                ELSE 'consumers'
            END);
        EXECUTE format('COMMENT ON FUNCTION notify_json.%I(%s) IS %L', name,
            pg_get_function_identity_arguments(target), obj_description(target, 'pg_proc'));
    END LOOP;
END $$;

-- Whoever creates the extension decides who may use it. What everybody may call checks the rights on
-- the channel, or works with the caller's rights alone.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA notify_json, notify_json_unchecked FROM PUBLIC;
DO $$
DECLARE
    checked regprocedure;
BEGIN
    FOR checked IN
        SELECT oid FROM pg_proc WHERE pronamespace = 'notify_json'::regnamespace
            AND prosrc IN ('checked_for_consumers', 'checked_for_owners')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', checked);
    END LOOP;
END $$;
GRANT USAGE ON SCHEMA notify_json TO PUBLIC;
GRANT EXECUTE ON FUNCTION
    notify_json.attend, notify_json.leave, notify_json.seek(text, text, timestamptz),
    notify_json.may_publish, notify_json.may_consume, notify_json.running_since,
    notify_json.watch, notify_json.unwatch, notify_json.row_changed, notify_json.check_name,
    notify_json.check_watch, notify_json.check_publisher, notify_json.create_trigger,
    notify_json.trigger_condition
TO PUBLIC;
GRANT SELECT ON
    notify_json.channels, notify_json.consumers, notify_json.channel_rights, notify_json.contracts,
    notify_json.watch_trigger, notify_json.watched
TO PUBLIC;
GRANT USAGE ON SCHEMA notify_json TO @extowner@ WITH GRANT OPTION;
GRANT SELECT ON ALL TABLES IN SCHEMA notify_json TO @extowner@ WITH GRANT OPTION;
GRANT INSERT, UPDATE, DELETE
    ON notify_json.channel, notify_json.channel_right, notify_json.contract
TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA notify_json TO @extowner@ WITH GRANT OPTION;

-- The functions of before go; who could call create_channel() still can.
DO $$
DECLARE
    grantee oid;
BEGIN
    FOR grantee IN
        SELECT granted.grantee FROM pg_proc CROSS JOIN LATERAL aclexplode(proacl) AS granted
        WHERE oid = 'notify_json.create_channel(text, boolean, interval)'::regprocedure
            AND granted.grantee NOT IN (proowner, '@extowner@'::regrole)
    LOOP
        EXECUTE format(
            'GRANT EXECUTE ON FUNCTION notify_json.create_channel(text, boolean, interval, json) TO %s',
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END);
    END LOOP;
END $$;
DROP FUNCTION notify_json.create_channel(text, boolean, interval);
DROP FUNCTION notify_json.alter_channel(text, boolean, interval);
