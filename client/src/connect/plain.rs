//! What stands in for TLS without the cargo feature `tls`.

use tokio_postgres::NoTls;
use tokio_postgres::tls::NoTlsStream;

use super::tls::Tls;
use crate::Error;

pub(super) type Connector = NoTls;
pub(super) type Stream = NoTlsStream;

pub(super) fn connector(_tls: &Tls) -> Result<Connector, Error> {
    Ok(NoTls)
}

pub(super) fn is_handshake_error(_error: &tokio_postgres::Error) -> bool {
    false
}
