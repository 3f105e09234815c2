CREATE VIEW notify_json.unacked AS
SELECT consumer.channel, consumer.name AS consumer, event.slot, event.id, event.published_at
FROM notify_json.consumer
JOIN notify_json.channel ON channel.name = consumer.channel
CROSS JOIN LATERAL (
    SELECT split_part("window", ';', 1)::pg_snapshot AS seen,
        split_part("window", ';', 2)::bigint AS floor,
        split_part("window", ';', 3)::pg_snapshot AS till
    OFFSET 0
) AS position
CROSS JOIN LATERAL (
    SELECT slot, xid, id, published_at FROM notify_json.event
    WHERE event.channel = channel.name AND event.channel_id = channel.id
        AND event.id > position.floor
        AND NOT pg_visible_in_snapshot(event.xid, position.seen)
    UNION ALL
    SELECT slot, event.xid, id, published_at
    FROM pg_snapshot_xip(position.seen) AS xip(xid)
    JOIN notify_json.event ON event.xid = xip.xid
    WHERE event.channel = channel.name AND event.channel_id = channel.id
        AND event.id <= position.floor
) AS event
WHERE NOT (event.id <= consumer.after AND pg_visible_in_snapshot(event.xid, position.till));

COMMENT ON VIEW notify_json.unacked IS 'The events that each consumer still has to ack.';

CREATE VIEW notify_json.consumers WITH (security_barrier) AS
SELECT consumer.channel, consumer.name AS consumer,
    lag.events AS lag_events,
    extract(epoch FROM clock_timestamp() - lag.oldest)::float8 AS lag_seconds,
    consumer.skipped - consumer.told AS skipped,
    holder.held_until > clock_timestamp() AND holder.server = running_since AS held,
    holder.held_until,
    consumer.acked_at,
    consumer.created_at
FROM notify_json.consumer
JOIN notify_json.channel ON channel.name = consumer.channel
JOIN notify_json.holder ON holder.channel = consumer.channel AND holder.name = consumer.name
CROSS JOIN notify_json.running_since()
CROSS JOIN LATERAL (
    SELECT count(*) AS events, min(published_at) AS oldest FROM notify_json.unacked
    WHERE unacked.channel = consumer.channel AND unacked.consumer = consumer.name
) AS lag
WHERE notify_json.sees(channel.name, channel.id, false);

COMMENT ON VIEW notify_json.consumers IS
'How far each consumer is behind, what it has missed, and whether a client holds it; of the channels '
'that the reader may consume.';

CREATE VIEW notify_json.channels WITH (security_barrier) AS
SELECT channel.name, channel.durable, channel.retention,
    oldest.published_at AS oldest_event_at,
    newest.published_at AS newest_event_at,
    (SELECT count(*) FROM notify_json.consumer WHERE consumer.channel = channel.name) AS consumers,
    channel.created_at,
    (SELECT rolname::text FROM pg_roles WHERE oid = channel.owner) AS owner,
    contract.registered_at AS contract_since
FROM notify_json.channel
LEFT JOIN notify_json.contract ON contract.channel = channel.name
LEFT JOIN LATERAL (
    SELECT published_at FROM notify_json.event
    WHERE event.channel = channel.name AND event.channel_id = channel.id ORDER BY id LIMIT 1
) AS oldest ON true
LEFT JOIN LATERAL (
    SELECT published_at FROM notify_json.event
    WHERE event.channel = channel.name AND event.channel_id = channel.id ORDER BY id DESC LIMIT 1
) AS newest ON true
WHERE notify_json.sees(channel.name, channel.id, true);

COMMENT ON VIEW notify_json.channels IS
'The channels that have a policy, and from when to when there are events of them; those on which the '
'reader may publish or consume. contract_since is NULL where events need not meet a schema.';
