-- Whoever creates the extension decides who may use it.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA notify_json FROM PUBLIC;
-- The view of consumers asks it in the name of whoever reads the view.
GRANT EXECUTE ON FUNCTION notify_json.running_since() TO PUBLIC;
GRANT USAGE ON SCHEMA notify_json TO @extowner@ WITH GRANT OPTION;
GRANT SELECT ON ALL TABLES IN SCHEMA notify_json TO @extowner@ WITH GRANT OPTION;
GRANT INSERT, UPDATE, DELETE ON notify_json.channel TO @extowner@ WITH GRANT OPTION;
-- To restore a dump.
GRANT INSERT, UPDATE, DELETE ON notify_json.contract TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA notify_json TO @extowner@ WITH GRANT OPTION;

-- What follows names nothing but types, which are looked for in pg_catalog first.
SET LOCAL search_path = @extschema@, pg_temp;
