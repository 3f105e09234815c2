-- The triggers are the only record of what is watched, so DROP, RENAME, ATTACH PARTITION and pg_dump
-- need no help. Those that the owner has made publish in the name of the owner, others in that of
-- whoever changes the table.

CREATE FUNCTION notify_json.row_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'row_changed_wrapper';

COMMENT ON FUNCTION notify_json.row_changed() IS
'Publishes the changes of a table. Its triggers are made by watch().';

CREATE VIEW notify_json.watch_trigger AS
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

COMMENT ON VIEW notify_json.watch_trigger IS
'The triggers that watch() has made, and those that partitions have of them.';

-- The settings are those of the definition's text.
CREATE FUNCTION notify_json.trigger_condition(trigger oid) RETURNS text
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

CREATE VIEW notify_json.watched AS
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
                THEN format('column %s of table %s does not exist',
                    coalesce('"' || wrong || '"', 'NULL'), check_watch."table")
                ELSE 'no columns to watch' END,
            DETAIL = format('The columns are %s.', columns),
            HINT = 'Name columns as in the catalog: columns => ''{id,"Mixed Case"}''; NULL for all.';
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.check_watch(regclass, text, text[], text[], text, text) IS
'Refuses arguments of watch() that make no sense, and whoever may not make a table publish there.';

CREATE FUNCTION notify_json.is_one_statement(sql text) RETURNS boolean
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'is_one_statement_wrapper';

COMMENT ON FUNCTION notify_json.is_one_statement(text) IS
'Whether a text is one SQL statement and not several.';

CREATE FUNCTION notify_json.create_trigger(
    "table" regclass, channel text, kind text, events text, rest text, options text, always boolean
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Triggers fire in the order of their names. This one fires first, or what another trigger, such
    -- as that of a foreign key, does to the same row would be published before what it fires for.
    name text := format('!notify_json_%s_%s', left(md5(channel), 16), kind);
    statement text := format(
        'CREATE TRIGGER %I AFTER %s ON %s %s EXECUTE FUNCTION notify_json.row_changed(%L, %L)',
        name, events, create_trigger."table", rest, channel, options);
BEGIN
    IF NOT notify_json.is_one_statement(statement) THEN
        RAISE syntax_error USING MESSAGE = 'a condition is one expression, without ";"';
    END IF;
    EXECUTE statement;
    -- The sign that the owner has made it: whoever has only the privilege TRIGGER cannot comment.
    EXECUTE format('COMMENT ON TRIGGER %I ON %s IS %L', name, create_trigger."table",
        format('Publishes on channel "%s" with the rights of the table''s owner.', channel));
    IF always THEN
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', create_trigger."table", name);
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.create_trigger(regclass, text, text, text, text, text, boolean) IS
'Creates one of the triggers of watch().';

CREATE FUNCTION notify_json.watch(
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
        EXCEPTION WHEN syntax_error_or_access_rule_violation OR feature_not_supported THEN
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

COMMENT ON FUNCTION notify_json.watch(
    regclass, text, text[], text[], boolean, boolean, text, text, boolean) IS
'Publishes the changes of a table on a channel, one event a row or one a statement.';

CREATE FUNCTION notify_json.unwatch("table" regclass, channel text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT watch_trigger.name FROM notify_json.watch_trigger
        WHERE watch_trigger."table" = unwatch."table" AND NOT of_parent
            AND watch_trigger.channel = coalesce(unwatch.channel, watch_trigger.channel)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', name, unwatch."table");
    END LOOP;
    IF name IS NULL THEN
        RAISE undefined_object USING
            MESSAGE = coalesce(unwatch."table"::text, 'NULL') || ' is not watched'
                || coalesce(' on channel "' || channel || '"', ''),
            DETAIL = 'It has no trigger of watch() of its own.',
            HINT = 'See the view notify_json.watched. A partition is watched with its table.';
    END IF;
END $$;

COMMENT ON FUNCTION notify_json.unwatch(regclass, text) IS
'Ends what watch() began, on one channel or, without one, on all.';
