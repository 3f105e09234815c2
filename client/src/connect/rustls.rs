//! TLS by rustls, with the trust that libpq's `sslmode` asks for.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Socket, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::{Roots, Tls, Trust};
use crate::{Error, ErrorKind};

pub(super) type Connector = MakeRustlsConnect;
pub(super) type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Reads the files, which may have changed since the last connection.
pub(super) fn connector(tls: &Tls) -> Result<Connector, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let anyone = Tls::with_anyone(tls.mode, tls.negotiation);
    let tls = if tls.mode == SslMode::Disable { &anyone } else { tls };
    let verifier = Verifier::new(&tls.trust, provider.signature_verification_algorithms)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| config_error("TLS is of no use", error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let text = format!("certificate {} is of no use", certificate.display());
            builder
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|error| config_error(&text, error))?
        }
    };
    // The server insists on it with sslnegotiation=direct.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

/// Whether an error is one of the handshake.
pub(super) fn is_handshake_error(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>()?.get_ref())
        .is_some_and(|error| error.is::<rustls::Error>())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = format!("cannot read certificates from {}", file.display());
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| config_error(&text, error))?;
    if certificates.is_empty() {
        return Err(Error::new(ErrorKind::Config, text + ": there are none"));
    }
    Ok(certificates)
}

/// Reads a private key. As with libpq, only its owner may have access, or root's group where root
/// owns it.
fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = format!("cannot read a private key from {}", file.display());
    let metadata = std::fs::metadata(file).map_err(|error| config_error(&text, error))?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & forbidden != 0 {
        let why = "group or others have access; make its mode 0600";
        return Err(Error::new(ErrorKind::Config, format!("{text}: {why}")));
    }
    PrivateKeyDer::from_pem_file(file).map_err(|error| config_error(&text, error))
}

fn config_error(text: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Config, text).caused_by(error)
}

/// Verifies as much of the server's certificate as was asked for, and always that the server has
/// its key.
#[derive(Debug)]
struct Verifier {
    roots: Option<RootCertStore>,
    /// The roots as they are: a server may use one of them itself.
    certificates: Vec<CertificateDer<'static>>,
    verifies_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(trust: &Trust, algorithms: WebPkiSupportedAlgorithms) -> Result<Self, Error> {
        let certificates = match trust {
            Trust::Anyone => Vec::new(),
            Trust::Signed(Roots::File(file)) | Trust::Named(Roots::File(file)) => {
                certificates(file)?
            }
            Trust::Signed(Roots::System) | Trust::Named(Roots::System) => {
                rustls_native_certs::load_native_certs().certs
            }
        };
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        if added == 0 && *trust != Trust::Anyone {
            let text = "no root certificate is of use, so no server could be trusted";
            return Err(Error::new(ErrorKind::Config, text));
        }
        Ok(Self {
            roots: (*trust != Trust::Anyone).then_some(roots),
            certificates,
            verifies_name: matches!(trust, Trust::Named(_)),
            algorithms,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        // A self-signed certificate that is trusted itself has nothing to be verified with.
        if !self.certificates.contains(end_entity) {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        if self.verifies_name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
