//! Typed, transactional events from PostgreSQL, of any size.
//!
//! The `notify_json` extension sends JSON with the commit of a transaction; a [`Listener`]
//! receives it on a connection of its own and hands it out as a [`Stream`](futures_util::Stream)
//! of serde types.
//!
//! ```no_run
//! use notify_json_client::{Event, Listener};
//!
//! #[derive(Debug, serde::Deserialize)]
//! struct Order {
//!     id: u64,
//! }
//!
//! # async fn run() -> Result<(), notify_json_client::Error> {
//! let listener = Listener::connect("postgres://localhost/shop").await?;
//! let mut orders = listener.subscribe::<Order>("orders").await?;
//! while let Some(event) = orders.recv().await {
//!     match event? {
//!         Event::Message(order) => println!("{order:?}"),
//!         Event::Gap(gap) => println!("orders may be missing: {gap}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`publish`] sends from Rust, in the caller's own transaction.

mod attempt;
mod backoff;
mod buffer;
mod change;
mod channel;
mod config;
mod connect;
#[cfg(feature = "schema")]
mod contract;
mod counters;
mod error;
mod event;
mod health;
mod listener;
mod log;
mod message;
mod publish;
mod router;
mod session;
mod state;
mod subscription;

pub use change::{Change, Changes, Origin};
pub use config::{Bounds, ListenerConfig, Overflow};
pub use connect::connect;
#[cfg(feature = "schema")]
pub use contract::{Contract, Incompatible, Registered, check_compatible, register};
pub use counters::Counts;
pub use error::{Error, ErrorKind};
pub use event::{Event, Gap};
pub use listener::Listener;
pub use log::{Consumer, Delivery, LogState, LogStream, Position, Receipt, Replay, Since, Stored};
pub use message::{FromMessage, Message};
pub use publish::{publish, publish_json};
pub use state::State;
pub use subscription::Subscription;
/// The version whose clients and transactions this crate takes.
pub use tokio_postgres;

#[cfg(all(doctest, feature = "schema"))]
#[doc = include_str!("../../README.md")]
struct Readme;
