COMMENT ON FUNCTION notify_json(text, jsonb) IS
'Sends a JSON value to the listeners of a channel when the transaction commits. Returns NULL.';

COMMENT ON FUNCTION notify_json(text, json) IS
'Sends a JSON text, byte for byte, to the listeners of a channel when the transaction commits. Returns NULL.';

COMMENT ON FUNCTION notify_json(text, text) IS
'Checks that a text is JSON and sends it, byte for byte, to the listeners of a channel when the transaction commits. Returns NULL.';
