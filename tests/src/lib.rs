//! Servers, databases and programs for the end-to-end tests and the demo.
//!
//! Everything is real: a server of the installed PostgreSQL in a folder of its own, on a free
//! port, with the extension as `make install` installs it. What is started here ends with the
//! process that started it, however that ends.

mod database;
mod installation;
mod persistent;
mod pgbouncer;
mod process;
mod proxy;
pub mod schema;
mod server;
mod server_user;
mod supervised;
pub mod texts;

pub use database::{Database, drain, next_message};
pub use installation::{make, notify_json, pg_dump, project, psql, shop, soak};
pub use persistent::PersistentServer;
pub use pgbouncer::PgBouncer;
pub use process::{Running, memory};
pub use proxy::{Fault, Proxy};
pub use server::{Server, ServerOptions};
pub use server_user::own;
