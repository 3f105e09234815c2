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
    IF set_contract.schema::text ~ '^[[:space:]]*null[[:space:]]*$' THEN
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
SELECT contract.channel, contract.schema, contract.registered_at
FROM notify_json.contract JOIN notify_json.channel ON channel.name = contract.channel
WHERE notify_json.sees(channel.name, channel.id, true);

COMMENT ON VIEW notify_json.contracts IS
'The contracts of the channels on which the reader may publish or consume.';
