//! When a service is to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits until the process is asked to end: by Ctrl-C, or by whoever supervises it.
pub(crate) fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
