//! The certificates of a connection. They are read for each, so that renewed ones are used without a restart.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// How a connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// PEM file of the authorities to trust; the system's own unless set.
    pub ca: Option<PathBuf>,
    /// PEM files of the client's certificate chain and key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What keeps certificates from being used. Each completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key file cannot be read, or is no PEM file.
    #[error("read {}: {why}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file was read and has no certificate in it.
    #[error("find a certificate in {}: it has none between BEGIN CERTIFICATE and END CERTIFICATE", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The system has no list of authorities.
    #[error(
        "find the system's certificate authorities ({why}); install the package ca-certificates, or name a file with {key}"
    )]
    NoAuthorities {
        /// What the search met.
        why: String,
        /// How the key for a file is called.
        key: &'static str,
    },
    /// The certificates are readable and do not work together.
    #[error("use the client certificate {} with the key {}: {source}", certificate.display(), key.display())]
    ClientCertificate {
        /// The file of the certificate chain.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// rustls does not accept its own defaults.
    #[error("set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// What rustls needs for a connection. Reads files: not for a task that must not block.
///
/// # Errors
///
/// [`TlsError`], each kind, with the file that it is about.
pub(crate) fn client_config(options: &Tls, ca_key: &'static str) -> Result<Arc<ClientConfig>, TlsError> {
    // The provider is passed and not installed: which one the process uses otherwise is not ours to say.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities(options.ca.as_deref(), ca_key)?);
    let config = match &options.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
            builder.with_client_auth_cert(chain, secret).map_err(|source| TlsError::ClientCertificate {
                certificate: certificate.clone(),
                key: key.clone(),
                source,
            })?
        }
    };
    Ok(Arc::new(config))
}

fn authorities(ca: Option<&Path>, key: &'static str) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        // The system's list may have certificates of a shape that rustls does not know: the others count.
        let (added, _) = store.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = found.errors.first().map_or_else(|| "none is installed".to_owned(), ToString::to_string);
            return Err(TlsError::NoAuthorities { why, key });
        }
        return Ok(store);
    };
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| TlsError::Pem { path: path.to_owned(), why: error.to_string() })?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, &error))?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}

fn unreadable(path: &Path, error: &rustls_pki_types::pem::Error) -> TlsError {
    use rustls_pki_types::pem::Error;
    let why = match error {
        Error::NoItemsFound => "there is no private key in it".to_owned(),
        Error::Io(error) => error.to_string(),
        other => format!("it is no PEM file ({other})"),
    };
    TlsError::Pem { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn refusal(options: &Tls) -> String {
        client_config(options, "`ca`").unwrap_err().to_string()
    }

    #[test]
    fn a_missing_ca_file_is_named() {
        let text = refusal(&Tls { ca: Some("/nowhere/ca.pem".into()), client: None });
        assert!(text.contains("/nowhere/ca.pem") && text.contains("No such file"), "{text}");
    }

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let (_dir, path) = written("ca.pem", "hello\n");
        let text = refusal(&Tls { ca: Some(path), client: None });
        assert!(text.starts_with("find a certificate in") && text.contains("ca.pem"), "{text}");
    }

    #[test]
    fn a_key_that_belongs_to_another_certificate_is_refused() {
        let one = rcgen::generate_simple_self_signed(vec!["one".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
        let (_a, certificate) = written("one.pem", &one.cert.pem());
        let (_b, key) = written("other.key", &other.signing_key.serialize_pem());
        let (_c, own_key) = written("one.key", &one.signing_key.serialize_pem());
        let ca = Some(certificate.clone());
        let text = refusal(&Tls { ca: ca.clone(), client: Some((certificate.clone(), key)) });
        assert!(text.starts_with("use the client certificate"), "{text}");
        assert!(client_config(&Tls { ca: ca.clone(), client: Some((certificate.clone(), own_key)) }, "`ca`").is_ok());
        let text = refusal(&Tls { ca, client: Some((certificate.clone(), certificate)) });
        assert!(text.contains("there is no private key in it"), "{text}");
    }
}
