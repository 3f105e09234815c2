COMMENT ON FUNCTION notify_json(text, jsonb) IS
'Publishes a JSON value on a channel when the transaction commits. '
'Returns the id of the event on a durable channel, NULL on a live one.';

COMMENT ON FUNCTION notify_json(text, json) IS
'Publishes a JSON text, byte for byte, on a channel when the transaction commits. '
'Returns the id of the event on a durable channel, NULL on a live one.';

COMMENT ON FUNCTION notify_json(text, text) IS
'Checks that a text is JSON and publishes it, byte for byte, on a channel when the transaction '
'commits. Returns the id of the event on a durable channel, NULL on a live one.';
