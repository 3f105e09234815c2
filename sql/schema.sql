CREATE SCHEMA notify_json;

COMMENT ON SCHEMA notify_json IS 'Durable channels: their events, their consumers, and how to read.';
