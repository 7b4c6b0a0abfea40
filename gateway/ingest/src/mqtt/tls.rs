//! The certificates of the connection. They are read for each, so that renewed ones are used without a restart.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::{Broker, IngestError};

/// What rustls needs for a connection. Reads files: not for a task that must not block.
///
/// # Errors
///
/// [`IngestError::Pem`] with the file that it is about, and [`IngestError::Tls`].
pub(crate) fn client_config(broker: &Broker) -> Result<Arc<ClientConfig>, IngestError> {
    // The provider is passed and not installed: which one the process uses otherwise is not ours to say.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities(broker.ca.as_deref())?);
    let config = match &broker.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
            builder.with_client_auth_cert(certificates(certificate)?, secret)?
        }
    };
    Ok(Arc::new(config))
}

fn authorities(ca: Option<&Path>) -> Result<RootCertStore, IngestError> {
    let mut store = RootCertStore::empty();
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        // The system's list may have certificates of a shape that rustls does not know: the others count.
        let (added, _) = store.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = found.errors.first().map_or_else(|| "none is installed".to_owned(), ToString::to_string);
            let why = format!("no authorities of the system were found ({why}); name one with --ca FILE");
            return Err(IngestError::Option { option: "--from mqtts://", why });
        }
        return Ok(store);
    };
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| IngestError::Pem { path: path.to_owned(), why: error.to_string() })?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IngestError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, &error))?;
    if found.is_empty() {
        return Err(IngestError::Pem { path: path.to_owned(), why: "there is no certificate in it".to_owned() });
    }
    Ok(found)
}

fn unreadable(path: &Path, error: &rustls_pki_types::pem::Error) -> IngestError {
    use rustls_pki_types::pem::Error;
    let why = match error {
        Error::NoItemsFound => "there is no private key in it".to_owned(),
        Error::Io(error) => error.to_string(),
        other => format!("it is no PEM file ({other})"),
    };
    IngestError::Pem { path: path.to_owned(), why }
}
