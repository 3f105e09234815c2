//! Acknowledging what is printed.

use std::collections::VecDeque;

use anyhow::Result;
use notify_json_client::{Error, ErrorKind, Receipt};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::connection::connect;
use crate::output;

/// Acknowledgements to be sent, on a connection of their own.
pub(crate) struct Acks<'a> {
    connection: &'a str,
    client: Option<Client>,
    was_connected: bool,
    /// Of events printed, each with the number of bytes printed by the end of its line.
    printed: VecDeque<(u64, Receipt)>,
}

/// Printed events that may wait for their acknowledgement while there are more to print.
const MANY: usize = 1_000;

impl<'a> Acks<'a> {
    pub(crate) fn new(connection: &'a str) -> Self {
        Self { connection, client: None, was_connected: false, printed: VecDeque::new() }
    }

    /// Takes the receipt of an event that is written as soon as so many bytes are.
    pub(crate) fn add(&mut self, receipt: Receipt, end: u64) {
        // One that is told on standard error takes no bytes.
        self.printed.pop_back_if(|(previous, _)| *previous == end);
        self.printed.push_back((end, receipt));
    }

    /// Acknowledges what is written if that is worth a query.
    pub(crate) async fn send_if_many(&mut self, written: u64) -> Result<()> {
        if self.printed.len() >= MANY { self.send_for_now(written).await } else { Ok(()) }
    }

    /// Acknowledges all events within the bytes written. A server that was there before and cannot
    /// be reached, as during a restart, is no reason to end: the next call tries again.
    pub(crate) async fn send_for_now(&mut self, written: u64) -> Result<()> {
        match self.send(written).await {
            Err(error) if self.was_connected && self.client.is_none() => {
                output::complain(format_args!("not acknowledged yet: {error:#}"));
                Ok(())
            }
            sent => sent,
        }
    }

    /// Acknowledges all events within the bytes written.
    pub(crate) async fn send(&mut self, written: u64) -> Result<()> {
        let count = self.printed.partition_point(|(end, _)| *end <= written);
        let Some((_, receipt)) = self.printed.range(..count).next_back().cloned() else {
            return Ok(());
        };
        loop {
            let is_new = self.client.is_none();
            let client = match self.client.take() {
                Some(client) => client,
                None => connect(self.connection).await?.0,
            };
            self.was_connected = true;
            let acked = receipt.ack(&client).await;
            match acked {
                Err(error) if error.kind() == ErrorKind::Lost && is_new => return Err(error.into()),
                Err(error) if error.kind() == ErrorKind::Lost => continue,
                acked => {
                    self.client = Some(client);
                    acked.or_else(taken_over)?;
                }
            }
            self.printed.drain(..count);
            return Ok(());
        }
    }
}

/// Passes over the error of who has lost its place: the next one gets the event.
fn taken_over(error: Error) -> Result<(), Error> {
    if error.code() != Some(&SqlState::OBJECT_IN_USE) {
        return Err(error);
    }
    output::complain(format_args!("{error}: it comes again, here or elsewhere"));
    Ok(())
}
