-- Whoever creates the extension decides who may use it.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA notify_json FROM PUBLIC;
-- The view of consumers asks it in the name of whoever reads the view.
GRANT EXECUTE ON FUNCTION notify_json.running_since() TO PUBLIC;
GRANT USAGE ON SCHEMA notify_json TO @extowner@ WITH GRANT OPTION;
GRANT SELECT ON ALL TABLES IN SCHEMA notify_json TO @extowner@ WITH GRANT OPTION;
GRANT INSERT, UPDATE, DELETE ON notify_json.channel TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA notify_json TO @extowner@ WITH GRANT OPTION;

-- Whoever may call watch() and unwatch() needs these too; they tell what pg_trigger tells everybody,
-- and do what the caller may do without them.
GRANT SELECT ON notify_json.watch_trigger, notify_json.watched TO PUBLIC;
GRANT EXECUTE ON FUNCTION notify_json.trigger_channel(bytea), notify_json.trigger_options(bytea),
    notify_json.trigger_condition(oid), notify_json.check_name(text, text),
    notify_json.check_watch(regclass, text[], text[], text, text),
    notify_json.create_trigger(regclass, text, text, text, text, text, boolean) TO PUBLIC;

-- What follows names nothing but types, which are looked for in pg_catalog first.
SET LOCAL search_path = @extschema@, pg_temp;
