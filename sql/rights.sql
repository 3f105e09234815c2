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
    notify_json.may_publish, notify_json.may_consume, notify_json.sees, notify_json.running_since,
    notify_json.watch, notify_json.unwatch, notify_json.row_changed, notify_json.check_name,
    notify_json.check_watch, notify_json.check_publisher, notify_json.create_trigger,
    notify_json.trigger_condition, notify_json.is_one_statement
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
-- For pg_dump, and to restore what it has written.
GRANT SELECT, UPDATE ON SEQUENCE notify_json.channel_id_seq TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA notify_json TO @extowner@ WITH GRANT OPTION;

-- What follows names nothing but types, which are looked for in pg_catalog first.
SET LOCAL search_path = @extschema@, pg_temp;
