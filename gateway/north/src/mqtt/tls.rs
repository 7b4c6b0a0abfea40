//! The certificates of a target. They are read for each connection, so that renewed ones are used without a restart.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tidegate_config::Tls;

use crate::TargetError;

/// What rustls needs for a connection. Reads files: not for a task that must not block.
///
/// # Errors
///
/// [`TargetError`], each kind, with the file that it is about.
pub(crate) fn client_config(options: &Tls) -> Result<Arc<ClientConfig>, TargetError> {
    // The provider is passed and not installed: which one the process uses otherwise is not ours to say.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities(options.ca.as_deref())?);
    let config = match &options.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
            builder.with_client_auth_cert(chain, secret).map_err(|source| TargetError::ClientCertificate {
                certificate: certificate.clone(),
                key: key.clone(),
                source,
            })?
        }
    };
    Ok(Arc::new(config))
}

fn authorities(ca: Option<&Path>) -> Result<RootCertStore, TargetError> {
    let mut store = RootCertStore::empty();
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        // The system's list may have certificates of a shape that rustls does not know: the others count.
        let (added, _) = store.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = found.errors.first().map_or_else(|| "none is installed".to_owned(), ToString::to_string);
            return Err(TargetError::NoAuthorities { why });
        }
        return Ok(store);
    };
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| TargetError::Pem { path: path.to_owned(), why: error.to_string() })?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TargetError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, &error))?;
    if found.is_empty() {
        return Err(TargetError::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}

fn unreadable(path: &Path, error: &rustls_pki_types::pem::Error) -> TargetError {
    use rustls_pki_types::pem::Error;
    let why = match error {
        Error::NoItemsFound => "there is no private key in it".to_owned(),
        Error::Io(error) => error.to_string(),
        other => format!("it is no PEM file ({other})"),
    };
    TargetError::Pem { path: path.to_owned(), why }
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
        client_config(options).unwrap_err().to_string()
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
        assert!(client_config(&Tls { ca: ca.clone(), client: Some((certificate.clone(), own_key)) }).is_ok());
        let text = refusal(&Tls { ca, client: Some((certificate.clone(), certificate)) });
        assert!(text.contains("there is no private key in it"), "{text}");
    }
}
