-- A shop whose orders are changed by SQL, from wherever, and followed by two services.
CREATE EXTENSION IF NOT EXISTS notify_json;

CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    total_cents bigint NOT NULL,
    status text NOT NULL DEFAULT 'open',
    card text NOT NULL
);

-- The key is what bills an order once, however often it is paid.
CREATE TABLE invoice (
    order_id bigint PRIMARY KEY,
    total_cents bigint NOT NULL,
    billed_at timestamptz NOT NULL DEFAULT now()
);

-- The dashboard shows what is, and what it misses it reads from the table: a live channel. The
-- number of the card is in no list of columns, so it never leaves the table.
SELECT notify_json.watch('orders', 'order_board', columns => '{id,customer,total_cents,status}');

-- Billing must miss nothing, so its channel is durable; and it is told only of orders that are paid.
SELECT notify_json.create_channel('paid_orders', retention => '30 days');
SELECT notify_json.watch('orders', 'paid_orders',
    operations => '{insert,update}',
    columns => '{id,total_cents,status}',
    only_if_changed => true,
    condition => 'NEW.status = ''paid''');
