//! Makes an invoice of every order that is paid, each once, whatever happens to this process.
//!
//! An event is acknowledged in the transaction that holds the invoice, so both are there or neither.
//! Whatever else fails ends the program: whoever supervises it starts it again, and it goes on with
//! the first event that is not acknowledged.

mod stop;

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use notify_json_client::tokio_postgres::Client;
use notify_json_client::{Change, Delivery, Event, ListenerConfig, connect};
use serde::Deserialize;

/// What `watch()` sends of an order on this channel.
#[derive(Deserialize)]
struct Order {
    id: i64,
    total_cents: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("DATABASE_URL").unwrap_or_default();
    let (mut client, connection) = connect(&url).await?;
    tokio::spawn(connection);
    // If this process dies, the next one may go on after as long.
    let config = url.parse::<ListenerConfig>()?.lease(Duration::from_secs(2));
    let listener = config.connect().await?;
    let mut orders = listener.consume::<Change<Order>>("paid_orders", "billing").await?;
    let mut stopped = pin!(stop::asked_to_stop()?);
    loop {
        let event = tokio::select! {
            event = orders.recv() => event,
            () = &mut stopped => break,
        };
        match event {
            Some(Ok(Event::Message(change))) => bill(&mut client, change).await?,
            Some(Ok(Event::Gap(gap))) => {
                eprintln!("billing: {gap}");
                bill_the_rest(&client).await?;
            }
            Some(Err(error)) => match error.receipt() {
                // It will never be an order, and the others must not wait for it.
                Some(receipt) => {
                    eprintln!("billing: event {} passed over: {error}", receipt.id());
                    receipt.ack(&client).await?;
                }
                // It is tried again.
                None => eprintln!("billing: {error}"),
            },
            None => break,
        }
    }
    // Another process may go on at once.
    orders.close().await;
    listener.shutdown().await;
    Ok(())
}

async fn bill(client: &mut Client, change: Delivery<Change<Order>>) -> Result<(), Box<dyn Error>> {
    let transaction = client.transaction().await?;
    if let Change::Insert { new: order, .. } | Change::Update { new: order, .. } = &change.payload {
        let sql = "INSERT INTO invoice (order_id, total_cents) VALUES ($1, $2) \
                   ON CONFLICT (order_id) DO NOTHING";
        let billed = transaction.execute(sql, &[&order.id, &order.total_cents]).await?;
        let news = if billed == 1 { "an invoice" } else { "billed before" };
        println!("billing: order {}: {news}", order.id);
    }
    change.ack_in(&transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// After a gap, which on a durable channel means that events have grown older than its retention.
async fn bill_the_rest(client: &Client) -> Result<(), Box<dyn Error>> {
    let sql = "INSERT INTO invoice (order_id, total_cents) \
               SELECT id, total_cents FROM orders WHERE status IN ('paid', 'shipped') \
               ON CONFLICT (order_id) DO NOTHING";
    let billed = client.execute(sql, &[]).await?;
    println!("billing: invoices for {billed} orders that were paid meanwhile");
    Ok(())
}
