-- The script runs as a superuser, with functions and operators of whoever creates the extension in
-- its path. Until the end of rights.sql it must find PostgreSQL's own alone.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA notify_json;

COMMENT ON SCHEMA notify_json IS 'Durable channels: their events, their consumers, and how to read.';

CREATE SCHEMA notify_json_unchecked;

COMMENT ON SCHEMA notify_json_unchecked IS
'What the functions of the same names in schema notify_json do once they have checked the right.';
