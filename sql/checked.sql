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
