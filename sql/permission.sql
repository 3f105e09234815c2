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

CREATE FUNCTION notify_json.sees(channel text, id bigint, publishing boolean) RETURNS boolean
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'sees_wrapper';

COMMENT ON FUNCTION notify_json.sees(text, bigint, boolean) IS
'Whether a channel is still the one of an id, and the caller may consume it, or publishing is enough '
'and that is allowed.';

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
    owner text := (
        SELECT coalesce('It belongs to ' || rolname, 'Its owner was dropped') FROM notify_json.channel
        LEFT JOIN pg_roles ON pg_roles.oid = channel.owner WHERE channel.name = deny.channel);
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
    ELSIF owner IS NULL THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied to %s on channel "%s"', deny."right", deny.channel),
            DETAIL = 'It was dropped since this transaction began.',
            HINT = 'Run the transaction again.';
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
WHERE notify_json.sees(channel.name, channel.id, true);

COMMENT ON VIEW notify_json.channel_rights IS
'Who may do what on the channels on which the reader may do something.';
