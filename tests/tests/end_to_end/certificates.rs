//! An authority that issues certificates for servers and clients of the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use notify_json_tests::own;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

pub(crate) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, unknown to any other. `ca.crt` is its certificate.
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("notify_json-certificates-").unwrap();
        own(folder.path());
        let issuer =
            CertifiedIssuer::self_signed(of_authority("authority"), KeyPair::generate().unwrap());
        let authority = Self { folder, issuer: issuer.unwrap() };
        fs::write(authority.file("ca.crt"), authority.issuer.pem()).unwrap();
        authority
    }

    /// The path of one of its files.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Makes `NAME.crt` and `NAME.key` for a host or a user of that name.
    pub(crate) fn issue(&self, name: &str) {
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        self.write(name, &certificate.pem(), &key);
    }

    /// Makes `NAME.crt` and `NAME.key` that vouch for themselves, as `openssl req -x509` does.
    pub(crate) fn issue_self_signed(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = of_authority(name).self_signed(&key).unwrap();
        self.write(name, &certificate.pem(), &key);
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) {
        fs::write(self.file(&format!("{name}.crt")), certificate).unwrap();
        let file = self.file(&format!("{name}.key"));
        fs::write(&file, key.serialize_pem()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn of_authority(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}
