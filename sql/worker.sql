CREATE FUNCTION notify_json.workers() RETURNS TABLE (
    database oid, pid integer, state text, started_at timestamptz,
    rounds bigint, doorbells bigint, failures bigint, last_round_at timestamptz
)
LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'workers_wrapper';

COMMENT ON FUNCTION notify_json.workers() IS
'The doorbell workers of this server; none if it was started without the library.';

CREATE VIEW notify_json.worker AS
SELECT pg_database.datname AS database, worker.pid, worker.state, worker.started_at,
    worker.rounds, worker.doorbells, worker.failures, worker.last_round_at
FROM notify_json.workers() AS worker
JOIN pg_database ON pg_database.oid = worker.database;

COMMENT ON VIEW notify_json.worker IS
'The doorbell workers of this server. Where a database has none that is serving, its transactions '
'ring the doorbell themselves. Counts are since started_at.';
