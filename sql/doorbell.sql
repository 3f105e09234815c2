CREATE FUNCTION notify_json.attend(channel text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'attend_wrapper';

COMMENT ON FUNCTION notify_json.attend(text) IS
'From now to the end of this session, or to leave(), publishers of the channel ring a doorbell: a notification ~1 event.';

CREATE FUNCTION notify_json.leave(channel text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'leave_wrapper';

COMMENT ON FUNCTION notify_json.leave(text) IS
'Ends attend() of this session.';
