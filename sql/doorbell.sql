CREATE FUNCTION notify_json.attend(channel text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'attend_wrapper';

COMMENT ON FUNCTION notify_json.attend(text) IS
'To the end of this session, or to leave(), commits with events of the channel notify it: ~1 event.';

CREATE FUNCTION notify_json.leave(channel text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'leave_wrapper';

COMMENT ON FUNCTION notify_json.leave(text) IS
'Ends attend() of this session.';
