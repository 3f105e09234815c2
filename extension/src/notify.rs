//! `notify_json(channel, payload)`: the SQL function.

use std::cell::RefCell;
use std::ffi::CStr;
use std::io::Write;

use notify_json_wire::{Carrier, MAX_PAYLOAD_BYTES, Payload, SplitOptions, Splitter};
use pgrx::{check_for_interrupts, pg_extern, pg_sys};

use crate::argument::{Encoding, Json, Jsonb, Text, to_utf8};
use crate::channel::Channel;
use crate::contract::Contract;
use crate::error::Error;
use crate::event::Log;
use crate::permission::Publisher;
use crate::policy::Policy;
use crate::{doorbell, json, policy, queue, settings};

#[pg_extern(name = "notify_json", volatile, parallel_unsafe, requires = ["rights"])]
fn notify_json_jsonb(channel: Option<Text<'_>>, payload: Option<Jsonb<'_>>) -> Option<i64> {
    let payload = payload.map(|payload| Checked::ByServer(payload.bytes()));
    notify(channel, payload).unwrap_or_else(|error| error.raise())
}

#[pg_extern(name = "notify_json", volatile, parallel_unsafe, requires = ["rights"])]
fn notify_json_json(channel: Option<Text<'_>>, payload: Option<Json<'_>>) -> Option<i64> {
    let payload = payload.map(|payload| Checked::ByServer(payload.bytes()));
    notify(channel, payload).unwrap_or_else(|error| error.raise())
}

#[pg_extern(name = "notify_json", volatile, parallel_unsafe, requires = ["rights"])]
fn notify_json_text(channel: Option<Text<'_>>, payload: Option<Text<'_>>) -> Option<i64> {
    let payload = payload.map(|payload| Checked::NotYet(payload.bytes()));
    notify(channel, payload).unwrap_or_else(|error| error.raise())
}

/// A payload in the database's encoding, and whether it is known to be JSON.
#[derive(Clone, Copy)]
pub(crate) enum Checked<'a> {
    ByServer(&'a [u8]),
    NotYet(&'a [u8]),
}

fn notify(channel: Option<Text<'_>>, payload: Option<Checked<'_>>) -> Result<Option<i64>, Error> {
    let channel = Channel::new(channel)?;
    publish(&channel, payload.ok_or(Error::Null("payload"))?, Publisher::caller())
}

/// Publishes one event in somebody's name. On a durable channel it has an id.
pub(crate) fn publish(
    channel: &Channel,
    payload: Checked<'_>,
    publisher: Publisher,
) -> Result<Option<i64>, Error> {
    // SAFETY: reads shared memory that every backend is attached to.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return Err(Error::Standby);
    }
    // SAFETY: reads a variable of this backend.
    if unsafe { pg_sys::ParallelWorkerNumber } >= 0 {
        return Err(Error::ParallelWorker);
    }
    loop {
        let Policy { log, contract } = policy::of(channel, publisher)?;
        let Some(log) = log else {
            send(channel, payload, contract.as_deref())?;
            return Ok(None);
        };
        if let Some(id) = keep(channel, payload, contract.as_deref(), log)? {
            return Ok(Some(id));
        }
        // The extension was dropped, and perhaps created again, since this transaction began.
        policy::forget();
    }
}

impl Checked<'_> {
    /// Refuses a text, the payload's, that is not JSON or breaks the contract.
    fn check(self, text: &str, contract: Option<&Contract>) -> Result<(), Error> {
        match (contract, self) {
            (Some(contract), _) => contract.check(text),
            (None, Self::NotYet(_)) => Ok(json::check(text)?),
            (None, Self::ByServer(_)) => Ok(()),
        }
    }
}

/// Writes the event to the log, and rings for consumers that attend.
fn keep(
    channel: &Channel,
    json: Checked<'_>,
    contract: Option<&Contract>,
    (log, channel_id): (Log, i64),
) -> Result<Option<i64>, Error> {
    let (Checked::ByServer(bytes) | Checked::NotYet(bytes)) = json;
    let text = to_utf8(bytes, "payload")?;
    json.check(&text, contract)?;
    let id = log.append(channel, channel_id, bytes)?;
    if id.is_some() {
        doorbell::ring(channel);
    }
    Ok(id)
}

thread_local! {
    /// One for the life of the backend.
    static SENDER: RefCell<Option<Sender>> = const { RefCell::new(None) };
}

const BUFFER_BYTES: usize = MAX_PAYLOAD_BYTES + 1;

/// What sending needs again and again.
struct Sender {
    /// With its compression context.
    splitter: Splitter,
    /// Where payloads are written out, one after the other, each with a NUL.
    buffer: Vec<u8>,
}

/// Splits the text and queues its payloads, all or, when an error ends the transaction, none.
fn send(channel: &Channel, json: Checked<'_>, contract: Option<&Contract>) -> Result<(), Error> {
    let (Checked::ByServer(bytes) | Checked::NotYet(bytes)) = json;
    let text = to_utf8(bytes, "payload")?;
    let options = SplitOptions {
        max_message_bytes: settings::max_message_bytes(),
        compress_above_bytes: settings::compress_above_bytes(),
        carrier: match Encoding::of_database() {
            Encoding::Utf8 | Encoding::SqlAscii => Carrier::Utf8,
            Encoding::Other => Carrier::Other { text_bytes: bytes.len() },
        },
    };
    SENDER.with_borrow_mut(|sender| {
        let Sender { splitter, buffer } = match sender {
            Some(sender) => sender,
            None => {
                let length = text.len();
                let splitter = Splitter::new().map_err(|_| Error::Compress { length })?;
                sender.insert(Sender { splitter, buffer: Vec::with_capacity(BUFFER_BYTES) })
            }
        };
        let split = splitter.split(&text, &options)?;
        json.check(&text, contract)?;
        for payload in split.payloads() {
            check_for_interrupts!();
            buffer.clear();
            match payload {
                Payload::Bare(_) => buffer.extend_from_slice(bytes),
                payload => write!(buffer, "{payload}").expect("writing to memory"),
            }
            buffer.push(0);
            queue::add(
                channel.name(),
                CStr::from_bytes_with_nul(buffer).expect("text holds no NUL"),
            );
        }
        Ok(())
    })
}
