//! Throwaway certificates.

use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::error::{Context, Error};

const CA_FILE: &str = "ca.crt";
const SERVER_CERT_FILE: &str = "server.crt";
const SERVER_KEY_FILE: &str = "server.key";
const CLIENT_CERT_FILE: &str = "client.crt";
const CLIENT_KEY_FILE: &str = "client.key";

/// The names under which the servers are reached.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];

/// How the servers of a deployment prove who they are. The certificates are made when they start,
/// by an authority that nobody else trusts and that signs no others afterwards.
///
/// The defaults are what a client should accept; the other settings are for tests of one that
/// must not.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Tls {
    client_certificates: bool,
    name: Option<String>,
    is_expired: bool,
}

impl Tls {
    /// Certificates for 127.0.0.1 and localhost, and none asked of clients.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether clients must show a certificate of the same authority. Default: false.
    pub fn client_certificates(mut self, client_certificates: bool) -> Self {
        self.client_certificates = client_certificates;
        self
    }

    /// The only name that the servers' certificates are for. Default: 127.0.0.1 and localhost.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Lets the servers' certificates have ended years ago. Default: they last.
    pub fn expired(mut self) -> Self {
        self.is_expired = true;
        self
    }
}

/// Where the files are that a client needs to reach servers with TLS. They last as long as the
/// servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// The certificate of the authority that signed the servers' (PEM).
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join(CA_FILE)
    }

    /// A certificate for a client, signed by the same authority (PEM).
    #[must_use]
    pub fn client_cert_file(&self) -> PathBuf {
        self.folder.join(CLIENT_CERT_FILE)
    }

    /// The key of the client's certificate (PEM, PKCS #8).
    #[must_use]
    pub fn client_key_file(&self) -> PathBuf {
        self.folder.join(CLIENT_KEY_FILE)
    }

    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }
}

/// The directives that name the files in a server's folder.
pub(crate) const DIRECTIVES: [(&str, &str); 3] = [
    ("tls-ca-cert-file", CA_FILE),
    ("tls-cert-file", SERVER_CERT_FILE),
    ("tls-key-file", SERVER_KEY_FILE),
];

/// The certificates of one deployment. Its `Debug` does not show them.
#[derive(Clone)]
pub(crate) struct Issued {
    files: [(&'static str, String); 5],
    client_certificates: bool,
}

impl Issued {
    /// Makes an authority and what it signs.
    pub(crate) fn new(settings: &Tls) -> Result<Self, Error> {
        Self::make(settings).map_err(|error| Error::Certificate {
            detail: error.to_string(),
        })
    }

    fn make(settings: &Tls) -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "redis-modules, thrown away");
        let key = KeyPair::generate()?;
        let ca = authority.self_signed(&key)?;
        let issuer = Issuer::new(authority, key);

        let names = settings
            .name
            .clone()
            .map_or_else(|| NAMES.map(str::to_owned).to_vec(), |name| vec![name]);
        let mut server = leaf(names, "server")?;
        // A replica and a node of a cluster are clients too.
        server.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        if settings.is_expired {
            server.not_after = date_time_ymd(2020, 1, 1);
        }
        let server_key = KeyPair::generate()?;
        let server = server.signed_by(&server_key, &issuer)?;

        let mut client = leaf(Vec::new(), "client")?;
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client_key = KeyPair::generate()?;
        let client = client.signed_by(&client_key, &issuer)?;
        Ok(Self {
            files: [
                (CA_FILE, ca.pem()),
                (SERVER_CERT_FILE, server.pem()),
                (SERVER_KEY_FILE, server_key.serialize_pem()),
                (CLIENT_CERT_FILE, client.pem()),
                (CLIENT_KEY_FILE, client_key.serialize_pem()),
            ],
            client_certificates: settings.client_certificates,
        })
    }

    /// Writes the files into the folder of a server.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        for (name, text) in &self.files {
            let path = folder.join(name);
            fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .on("write", &path)?;
        }
        Ok(())
    }

    /// What a server asks its clients for, as the argument of `tls-auth-clients`.
    pub(crate) fn asks_clients(&self) -> &'static str {
        if self.client_certificates {
            "yes"
        } else {
            "no"
        }
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issued")
    }
}

fn leaf(names: Vec<String>, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}
