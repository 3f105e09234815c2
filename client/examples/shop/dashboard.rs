//! Shows the orders as they are: on a terminal a picture, else a line for each change.
//!
//! It keeps nothing. When it starts, and after every gap, it reads the table; then it follows.

mod stop;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{IsTerminal, Write, stdout};
use std::pin::pin;

use notify_json_client::tokio_postgres::Row;
use notify_json_client::{Change, Event, Listener, connect};
use serde::Deserialize;

/// What `watch()` sends of an order on this channel.
#[derive(Deserialize)]
struct Order {
    id: i64,
    customer: String,
    total_cents: i64,
    status: String,
}

/// By their ids.
type Orders = BTreeMap<i64, Order>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("DATABASE_URL").unwrap_or_default();
    let listener = Listener::connect(&url).await?;
    // Before the table is read, so that nothing is missed between the two. A change that is in both
    // is applied again, which in the end leaves each order as its last change made it.
    let mut changes = listener.subscribe::<Change<Order>>("order_board").await?;
    let mut orders = load(&url).await?;
    let mut stopped = pin!(stop::asked_to_stop()?);
    show("read the table", &orders)?;
    loop {
        let event = tokio::select! {
            event = changes.recv() => event,
            () = &mut stopped => break,
        };
        let news = match event {
            Some(Ok(Event::Message(change))) => apply(change, &mut orders),
            Some(Ok(Event::Gap(gap))) => {
                orders = load(&url).await?;
                format!("read the table again: {gap}")
            }
            // One message is of no use; the next one may be.
            Some(Err(error)) => error.to_string(),
            None => break,
        };
        show(&news, &orders)?;
    }
    listener.shutdown().await;
    Ok(())
}

/// Reads the table. A connection kept for this would be lost when it is needed, after a gap.
async fn load(url: &str) -> Result<Orders, Box<dyn Error>> {
    let (client, connection) = connect(url).await?;
    tokio::spawn(connection);
    let sql = "SELECT id, customer, total_cents, status FROM orders";
    let order = |row: &Row| Order {
        id: row.get("id"),
        customer: row.get("customer"),
        total_cents: row.get("total_cents"),
        status: row.get("status"),
    };
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(order).map(|order| (order.id, order)).collect())
}

/// Does to the orders what was done to the table, and says what that was.
fn apply(change: Change<Order>, orders: &mut Orders) -> String {
    match change {
        Change::Insert { new, .. } | Change::Update { old: None, new, .. } => put(new, orders),
        // The old row comes along when its key has changed.
        Change::Update { old: Some(old), new, .. } => {
            orders.remove(&old.id);
            put(new, orders)
        }
        Change::Delete { old, .. } => {
            orders.remove(&old.id);
            format!("order {} has gone", old.id)
        }
        Change::Truncate { .. } => {
            orders.clear();
            "all orders have gone".to_owned()
        }
    }
}

fn put(order: Order, orders: &mut Orders) -> String {
    let news = format!("order {} is {}", order.id, order.status);
    orders.insert(order.id, order);
    news
}

fn show(news: &str, orders: &Orders) -> std::io::Result<()> {
    let count = |status| orders.values().filter(|order| order.status == status).count();
    let [open, paid, shipped] = ["open", "paid", "shipped"].map(count);
    let sums = format!("{open} open, {paid} paid, {shipped} shipped");
    let mut out = stdout().lock();
    if !out.is_terminal() {
        return writeln!(out, "dashboard: {news}; {sums}");
    }
    // Clears the screen, and begins at its top.
    writeln!(out, "\x1b[2J\x1b[HOrders: {sums}\n")?;
    for Order { id, customer, total_cents, status } in orders.values().rev().take(12) {
        let total = *total_cents as f64 / 100.0;
        writeln!(out, "{id:>6}  {customer:<8}{total:>10.2}  {status}")?;
    }
    writeln!(out, "\n{news}")
}
