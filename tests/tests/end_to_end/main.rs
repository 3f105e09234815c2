//! The whole way: SQL in a real server, real commits, real connections, typed events in Rust.

mod cancellation;
mod case;
mod certificates;
mod command_line;
mod command_line_durable;
mod connections;
mod consuming;
mod disconnected;
mod documents;
mod durable;
mod encodings;
mod failover;
mod faults;
mod first_connect;
mod hostile;
mod load;
mod memory;
mod overflow;
mod payloads;
mod pooler;
mod publishing;
mod schema;
mod soak;
mod sql_errors;
mod subscriptions;
mod transactions;
