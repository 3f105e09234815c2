//! A TCP proxy before a server that does to connections what networks do.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::database::Database;

/// What happens to connections, those there are and those to come, until it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// New ones are reset at once.
    Refuse,
    /// What the server sends arrives one byte at a time.
    Trickle,
    /// Every protocol message of the server arrives after this time.
    Delay(Duration),
    /// Nothing passes in the directions named, and nobody is told.
    BlackHole {
        /// From client to server.
        up: bool,
        /// From server to client.
        down: bool,
    },
    /// What a client sends is swallowed if it contains this.
    Swallow(&'static str),
    /// A connection closes when its client sends this.
    CloseAt(&'static str),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Close,
    Reset,
}

/// A proxy on a port of its own; its connections end when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    task: AbortHandle,
}

struct Control {
    fault: watch::Sender<Fault>,
    /// The number of the last command to end all connections, and how.
    end: watch::Sender<(u64, End)>,
    /// The number of the last command to cut all connections, and after how many bytes.
    cut: watch::Sender<(u64, usize)>,
    inject: Notify,
    /// Whether to swallow the server's answer to what was injected.
    swallow: AtomicBool,
}

impl Proxy {
    /// A proxy before the server on this port.
    pub async fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let control = Arc::new(Control {
            fault: watch::Sender::new(Fault::None),
            end: watch::Sender::new((0, End::Close)),
            cut: watch::Sender::new((0, 0)),
            inject: Notify::new(),
            swallow: AtomicBool::new(false),
        });
        let task = tokio::spawn(accept(listener, server_port, control.clone())).abort_handle();
        Self { address, control, task }
    }

    /// The connection string of a database through this proxy.
    pub fn url(&self, database: &Database) -> String {
        let (_, path) = database.url().rsplit_once('/').expect("it names a database");
        format!("postgres://postgres@{}/{path}?sslmode=disable", self.address)
    }

    /// Lets something happen to all connections from now on.
    pub fn set(&self, fault: Fault) {
        self.control.fault.send_replace(fault);
    }

    /// Closes all connections.
    pub fn close(&self) {
        self.end(End::Close);
    }

    /// Resets all connections.
    pub fn reset(&self) {
        self.end(End::Reset);
    }

    fn end(&self, end: End) {
        self.control.end.send_modify(|last| *last = (last.0 + 1, end));
    }

    /// Closes each connection after so many further bytes from the server.
    pub fn close_after(&self, bytes: usize) {
        self.control.cut.send_modify(|last| *last = (last.0 + 1, bytes));
    }

    /// Sends `UNLISTEN *` to the server in the client's name.
    pub fn inject_unlisten(&self) {
        self.control.inject.notify_one();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server_port: u16, control: Arc<Control>) {
    while let Ok((client, _)) = listener.accept().await {
        if *control.fault.borrow() == Fault::Refuse {
            let _ = client.set_zero_linger();
            continue;
        }
        let control = control.clone();
        tokio::spawn(async move {
            let mut end = control.end.subscribe();
            end.mark_unchanged();
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)).await else {
                return;
            };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (mut client, mut server) = (client, server);
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let ended = tokio::select! {
                _ = pass_up(from_client, to_server, &control) => End::Close,
                _ = pass_down(from_server, to_client, &control) => End::Close,
                _ = end.changed() => end.borrow().1,
            };
            if ended == End::Reset {
                let _ = (client.set_zero_linger(), server.set_zero_linger());
            }
        });
    }
}

/// Passes what the client sends, and what is injected in its name.
async fn pass_up(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    control: &Control,
) -> io::Result<()> {
    const UNLISTEN: &[u8] = b"Q\0\0\0\x0fUNLISTEN *\0";
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let bytes = tokio::select! {
            bytes = from.read(&mut buffer) => bytes?,
            () = control.inject.notified() => {
                control.swallow.store(true, Ordering::Relaxed);
                to.write_all(UNLISTEN).await?;
                continue;
            }
        };
        if bytes == 0 {
            return to.shutdown().await;
        }
        passable(control, |fault| matches!(fault, Fault::BlackHole { up: true, .. })).await;
        let contains =
            |text: &str| buffer[..bytes].windows(text.len()).any(|w| w == text.as_bytes());
        let fault = *control.fault.borrow();
        match fault {
            Fault::Swallow(text) if contains(text) => continue,
            Fault::CloseAt(text) if contains(text) => return Ok(()),
            _ => to.write_all(&buffer[..bytes]).await?,
        }
    }
}

/// Passes what the server sends, message by message.
async fn pass_down(from: ReadHalf<'_>, mut to: WriteHalf<'_>, control: &Control) -> io::Result<()> {
    let mut from = BufReader::new(from);
    let mut cut = control.cut.subscribe();
    let mut left = usize::MAX;
    loop {
        let mut message = vec![0; 5];
        from.read_exact(&mut message).await?;
        let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
        message.resize(length as usize + 1, 0);
        from.read_exact(&mut message[5..]).await?;
        if control.swallow.load(Ordering::Relaxed) {
            control.swallow.store(message[0] != b'Z', Ordering::Relaxed);
            continue;
        }
        passable(control, |fault| matches!(fault, Fault::BlackHole { down: true, .. })).await;
        let fault = *control.fault.borrow();
        if let Fault::Delay(time) = fault {
            tokio::time::sleep(time).await;
        }
        if cut.has_changed().unwrap_or(false) {
            left = cut.borrow_and_update().1;
        }
        if left < message.len() {
            return to.write_all(&message[..left]).await;
        }
        left -= message.len();
        if fault == Fault::Trickle {
            for byte in message {
                to.write_all(&[byte]).await?;
            }
        } else {
            to.write_all(&message).await?;
        }
    }
}

/// Waits while the fault stops the direction.
async fn passable(control: &Control, stops: impl FnMut(&Fault) -> bool) {
    let mut stops = stops;
    let _ = control.fault.subscribe().wait_for(|fault| !stops(fault)).await;
}
