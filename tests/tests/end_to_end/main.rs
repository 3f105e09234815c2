//! The whole way: SQL in a real server, real commits, real connections, typed events in Rust.

mod certificates;
mod command_line;
mod connections;
mod documents;
mod durable;
mod encodings;
mod faults;
mod hostile;
mod load;
mod memory;
mod payloads;
mod publishing;
mod schema;
mod sql_errors;
mod subscriptions;
mod transactions;
