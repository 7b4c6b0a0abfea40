//! The broker's certificate and what it makes of those of clients.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tidegate_config::{BrokerIdentity, CertificateName, ClientCertificates};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// Why certificates cannot be used. Each text completes "failed to …" and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {path}, which `{key}` in [broker.tls] names: {why}", path = path.display())]
    Unreadable {
        /// The key in the site.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key belongs to another certificate, or is of no kind that can be used.
    #[error(
        "use the certificate {certificate} with the key {key}: {why}; check that `certificate` and `key` in [broker.tls] belong together",
        certificate = certificate.display(), key = key.display()
    )]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The authorities of clients cannot be used.
    #[error("use {path} to check the certificates of clients: {why}; check `client_ca` in [broker.tls]", path = path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// A certificate that is read again on a reload.
#[derive(Debug)]
pub(crate) struct Certificates {
    identity: BrokerIdentity,
    used: RwLock<Used>,
}

/// What connections made now get.
#[derive(Debug, Clone)]
struct Used {
    config: Arc<ServerConfig>,
    until: Option<Duration>,
}

/// A certificate that the broker shows to its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// The section of the site whose listener shows it, the first of several: `broker.tls`.
    pub section: &'static str,
    /// The file it was read from.
    pub path: PathBuf,
    /// When the first certificate of its chain expires, as the time since the beginning of 1970.
    pub until: Duration,
}

impl Certificates {
    /// Reads the files.
    pub(crate) fn read(identity: &BrokerIdentity) -> Result<Certificates, TlsError> {
        let used = Used::read(identity)?;
        Ok(Certificates { identity: identity.clone(), used: RwLock::new(used) })
    }

    /// Reads the files again: connections made from now on use what is in them. With an error the old ones stay in use.
    pub(crate) fn read_again(&self) -> Result<(), TlsError> {
        let used = Used::read(&self.identity)?;
        *self.used.write().unwrap_or_else(PoisonError::into_inner) = used;
        Ok(())
    }

    fn used(&self) -> Used {
        self.used.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the listener of this section shows; `None` when nobody can say when it expires.
    pub(crate) fn shown(&self, section: &'static str) -> Option<ShownCertificate> {
        Some(ShownCertificate { section, path: self.identity.certificate.clone(), until: self.used().until? })
    }

    /// Begins TLS on a connection. Returns it with the name in the client's certificate, if it has shown one.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<(TlsStream<TcpStream>, Option<String>)> {
        let stream = TlsAcceptor::from(self.used().config).accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let name = shown.zip(self.identity.clients.as_ref()).and_then(|(shown, clients)| name_in(shown, clients.name));
        Ok((stream, name))
    }
}

impl Used {
    fn read(identity: &BrokerIdentity) -> Result<Used, TlsError> {
        let chain = certificates("certificate", &identity.certificate)?;
        let until = chain.iter().filter_map(|certificate| valid_until(certificate)).min();
        Ok(Used { config: server_config(identity, chain)?, until })
    }
}

fn valid_until(certificate: &[u8]) -> Option<Duration> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.validity.not_after.to_unix_duration())
}

fn server_config(
    identity: &BrokerIdentity,
    chain: Vec<CertificateDer<'static>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    // The provider is passed and not installed: which one the process uses otherwise is not ours to say.
    let provider = Arc::new(ring::default_provider());
    let pair =
        |why: String| TlsError::Pair { certificate: identity.certificate.clone(), key: identity.key.clone(), why };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| pair(error.to_string()))?;
    let builder = match &identity.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities(clients)?.into(), provider);
            let verifier = if clients.required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier
                .build()
                .map_err(|error| TlsError::Authorities { path: clients.ca.clone(), why: error.to_string() })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|error| unreadable("key", &identity.key, &error))?;
    builder.with_single_cert(chain, key).map(Arc::new).map_err(|error| pair(error.to_string()))
}

fn authorities(clients: &ClientCertificates) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("client_ca", &clients.ca)? {
        store
            .add(certificate)
            .map_err(|error| TlsError::Authorities { path: clients.ca.clone(), why: error.to_string() })?;
    }
    Ok(store)
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(key, path, &error))?;
    if found.is_empty() {
        let why = "there is no certificate in it".to_owned();
        return Err(TlsError::Unreadable { key, path: path.to_owned(), why });
    }
    Ok(found)
}

fn unreadable(key: &'static str, path: &Path, error: &rustls_pki_types::pem::Error) -> TlsError {
    use rustls_pki_types::pem::Error;
    let why = match error {
        Error::NoItemsFound => "there is no private key in it".to_owned(),
        Error::Io(error) => error.to_string(),
        other => format!("it is no PEM file ({other})"),
    };
    TlsError::Unreadable { key, path: path.to_owned(), why }
}

/// The user's name in a certificate. The certificate has been checked; its names have not, and are only looked up.
fn name_in(certificate: &[u8], place: CertificateName) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let found = match place {
        CertificateName::CommonName => common_name(&certificate),
        CertificateName::AlternativeName => alternative_name(&certificate),
    };
    found.filter(|name| !name.is_empty() && !name.chars().any(char::is_control))
}

/// The last common name of the subject, which is the most specific one.
fn common_name(certificate: &Certificate) -> Option<String> {
    use x509_cert::der::asn1::{PrintableStringRef, TeletexStringRef, Utf8StringRef};
    /// `id-at-commonName` (X.520).
    const COMMON_NAME: &str = "2.5.4.3";
    let names = certificate.tbs_certificate.subject.0.iter().flat_map(|names| names.0.iter());
    let mut names = names.filter(|name| name.oid.to_string() == COMMON_NAME);
    let value = &names.next_back()?.value;
    let utf8 = value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str().to_owned());
    utf8.or_else(|| value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.as_str().to_owned()))
        .or_else(|| value.decode_as::<TeletexStringRef<'_>>().ok().map(|text| text.as_str().to_owned()))
}

/// The first DNS name, mail address or URI.
fn alternative_name(certificate: &Certificate) -> Option<String> {
    let (_, names) = certificate.tbs_certificate.get::<SubjectAltName>().ok()??;
    names.0.into_iter().find_map(|name| match name {
        GeneralName::DnsName(text) | GeneralName::Rfc822Name(text) | GeneralName::UniformResourceIdentifier(text) => {
            Some(text.as_str().to_owned())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn der(common_names: &[&str], alternative: &[SanType]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.subject_alt_names = alternative.to_vec();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_name_of_a_client_is_where_the_site_says() {
        let names = [SanType::IpAddress([10, 0, 0, 1].into()), SanType::DnsName("press.plant".try_into().unwrap())];
        let both = der(&["press-7"], &names);
        assert_eq!(name_in(&both, CertificateName::CommonName).as_deref(), Some("press-7"));
        assert_eq!(name_in(&both, CertificateName::AlternativeName).as_deref(), Some("press.plant"));
        assert_eq!(name_in(&der(&["é"], &[]), CertificateName::CommonName).as_deref(), Some("é"));
        assert_eq!(name_in(&der(&[], &names), CertificateName::CommonName), None);
        assert_eq!(name_in(&der(&["press-7"], &[]), CertificateName::AlternativeName), None);
        assert_eq!(name_in(&der(&[""], &[]), CertificateName::CommonName), None);
        assert_eq!(name_in(b"no certificate", CertificateName::CommonName), None);
    }

    fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let one = rcgen::generate_simple_self_signed(vec!["one".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
        let certificate = written(folder.path(), "one.pem", &one.cert.pem());
        let key = written(folder.path(), "one.key", &one.signing_key.serialize_pem());
        let other_key = written(folder.path(), "other.key", &other.signing_key.serialize_pem());
        let empty = written(folder.path(), "empty.pem", "hello\n");
        let good = BrokerIdentity { certificate, key, clients: None };
        assert!(Certificates::read(&good).is_ok());
        let told = |identity: BrokerIdentity| Certificates::read(&identity).unwrap_err().to_string();
        let text = told(BrokerIdentity { key: other_key, ..good.clone() });
        assert!(text.starts_with("use the certificate") && text.contains("other.key"), "{text}");
        let text = told(BrokerIdentity { key: good.certificate.clone(), ..good.clone() });
        assert!(text.contains("`key`") && text.contains("there is no private key in it"), "{text}");
        let text = told(BrokerIdentity { certificate: "/nowhere.pem".into(), ..good.clone() });
        assert!(text.contains("/nowhere.pem") && text.contains("`certificate`"), "{text}");
        let clients = Some(ClientCertificates { ca: empty, required: true, name: CertificateName::CommonName });
        let text = told(BrokerIdentity { clients, ..good });
        assert!(text.contains("`client_ca`") && text.contains("no certificate in it"), "{text}");
    }

    #[test]
    fn renewed_files_are_used_and_spoiled_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let one = rcgen::generate_simple_self_signed(vec!["one".to_owned()]).unwrap();
        let certificate = written(folder.path(), "one.pem", &one.cert.pem());
        let key = written(folder.path(), "one.key", &one.signing_key.serialize_pem());
        let certificates = Certificates::read(&BrokerIdentity { certificate, key, clients: None }).unwrap();
        let used = || Arc::as_ptr(&certificates.used().config);
        let first = used();
        written(folder.path(), "one.key", "spoiled");
        assert!(certificates.read_again().is_err());
        assert_eq!(used(), first, "the old ones stay in use");
        let two = rcgen::generate_simple_self_signed(vec!["two".to_owned()]).unwrap();
        written(folder.path(), "one.pem", &two.cert.pem());
        written(folder.path(), "one.key", &two.signing_key.serialize_pem());
        certificates.read_again().unwrap();
        assert_ne!(used(), first);
    }

    #[test]
    fn a_chain_is_shown_until_its_first_certificate_expires() {
        let folder = tempfile::tempdir().unwrap();
        let signed = |year: i32| {
            let mut params = CertificateParams::new(vec!["broker".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let ((first, key), (second, _)) = (signed(2030), signed(2029));
        let certificate = written(folder.path(), "broker.pem", &format!("{first}{second}"));
        let key = written(folder.path(), "broker.key", &key);
        let shown = |certificate: &Path| {
            let identity = BrokerIdentity { certificate: certificate.to_owned(), key: key.clone(), clients: None };
            Certificates::read(&identity).unwrap().shown("broker.tls").unwrap()
        };
        // The beginnings of 2029 and 2030.
        let until = Duration::from_secs(1_861_920_000);
        assert_eq!(shown(&certificate), ShownCertificate { section: "broker.tls", path: certificate, until });
        let alone = written(folder.path(), "alone.pem", &first);
        assert_eq!(shown(&alone).until, Duration::from_secs(1_893_456_000));
    }
}
