//! What ends a program that would go on for ever.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use crate::output;

const TIMED_OUT: u8 = 3;

/// Waits for the time to run out, a signal to arrive, or the reader of standard output to go away;
/// sets `hurry` then. A signal after that ends the program at once: the server may not answer.
pub(crate) async fn stopped(timeout: Option<Duration>, hurry: Arc<AtomicBool>) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let timed_out = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let code = tokio::select! {
        () = timed_out => TIMED_OUT.into(),
        () = output::reader_gone() => ExitCode::SUCCESS,
        _ = interrupt.recv() => ExitCode::SUCCESS,
        _ = terminate.recv() => ExitCode::SUCCESS,
    };
    hurry.store(true, Ordering::Relaxed);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(code)
}
