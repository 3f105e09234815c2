//! Reading the log of a durable channel.

mod entry;
mod inbox;
mod missed;
mod position;
mod queries;
mod reader;
mod receipt;
mod settings;
mod state;
mod stream;

pub use entry::{Delivery, Stored};
pub use position::{Position, Since};
pub use receipt::Receipt;
pub(crate) use settings::Settings;
pub use state::LogState;
pub use stream::{Consumer, LogStream, Replay};
