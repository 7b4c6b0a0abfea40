//! What a certificate says.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use opcua::crypto::{CertificateStore, KeySize, X509};
use tidegate_model::Timestamp;
use x509_cert::{
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::{Fingerprint, TrustError};

/// Bytes that a certificate has at most. The largest in use, with a key of 4096 bits and dozens of names, have 4 KiB.
const LONGEST: usize = 16 * 1024;
/// Bytes of a file's name at most: a file system takes 255, and while it is written the file has a longer name.
const LONGEST_NAME: usize = 240;
/// Bits of an RSA key that every security policy takes.
const KEY_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A certificate of an OPC UA application, read from its DER bytes. Nothing in it has been verified: whoever shows a
/// certificate has written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    fingerprint: Fingerprint,
    subject: String,
    uri: Option<String>,
    hosts: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
    key_bits: usize,
    file: String,
}

/// Why a certificate cannot be used now, here, or by this application, although it may be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It begins to be valid later, at that time; or the clock of the gateway is wrong.
    NotYetValid(Timestamp),
    /// It was valid until that time.
    Expired(Timestamp),
    /// None of its host names and addresses is the one that was called; here are those it has.
    WrongHost(Vec<String>),
    /// The application URI in it is another than the application's; here is the one it has.
    WrongUri(Option<String>),
    /// Its key has that many bits; the security policies take 2048 to 4096.
    WrongKey(usize),
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// [`TrustError::NotACertificate`] for anything but one X.509 certificate with an RSA key of at most 16 KiB.
    pub fn from_der(der: &[u8]) -> Result<Certificate, TrustError> {
        if der.len() > LONGEST {
            return Err(TrustError::NotACertificate("it has more than 16 KiB"));
        }
        let parsed = x509_cert::Certificate::from_der(der)
            .map_err(|_| TrustError::NotACertificate("the bytes are no X.509 certificate"))?;
        let library =
            X509::from_der(der).map_err(|_| TrustError::NotACertificate("the OPC UA library does not take it"))?;
        let key = library.public_key().map_err(|_| TrustError::NotACertificate("it has no RSA key"))?;
        let file = CertificateStore::cert_file_name(&library);
        if file.len() > LONGEST_NAME || file.contains('\0') {
            return Err(TrustError::NotACertificate("its common name is too long or no text"));
        }
        let contents = &parsed.tbs_certificate;
        let names = match contents.get::<SubjectAltName>() {
            Ok(Some((_, names))) => names.0,
            Ok(None) | Err(_) => Vec::new(),
        };
        Ok(Certificate {
            fingerprint: Fingerprint::of(der),
            subject: printable(&contents.subject.to_string()),
            uri: names.iter().find_map(|name| match name {
                GeneralName::UniformResourceIdentifier(uri) => Some(printable(uri.as_str())),
                _ => None,
            }),
            hosts: names.iter().filter_map(host).collect(),
            not_before: time(contents.validity.not_before.to_unix_duration()),
            not_after: time(contents.validity.not_after.to_unix_duration()),
            key_bits: key.bit_length(),
            file,
        })
    }

    /// The SHA-256 of its bytes.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whose it says it is: `CN=Press 3,O=Example`. Control characters are replaced.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The application URI, where it has one.
    pub fn uri(&self) -> Option<&str> {
        self.uri.as_deref()
    }

    /// Its host names and addresses.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// From when on it is valid.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Until when it is valid.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whole days until it expires; negative when it has.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.not_after.millis_since(now).div_euclid(24 * 60 * 60 * 1000)
    }

    /// Bits of its RSA key.
    pub fn key_bits(&self) -> usize {
        self.key_bits
    }

    /// The name of its file, as the OPC UA library calls it.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Whether it can be used now, at that host, by an application with that URI. What is `None` is not looked at.
    ///
    /// # Errors
    ///
    /// The first of the [`Unfit`] reasons.
    pub fn check(&self, now: Timestamp, host: Option<&str>, uri: Option<&str>) -> Result<(), Unfit> {
        if !KEY_BITS.contains(&self.key_bits) {
            return Err(Unfit::WrongKey(self.key_bits));
        }
        if now < self.not_before {
            return Err(Unfit::NotYetValid(self.not_before));
        }
        if now > self.not_after {
            return Err(Unfit::Expired(self.not_after));
        }
        if host.is_some_and(|host| !self.hosts.iter().any(|known| same_host(known, host))) {
            return Err(Unfit::WrongHost(self.hosts.clone()));
        }
        if uri.is_some_and(|uri| self.uri.as_deref() != Some(uri)) {
            return Err(Unfit::WrongUri(self.uri.clone()));
        }
        Ok(())
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NotYetValid(from) => {
                write!(f, "the certificate is valid from {} on; is the clock of the gateway right?", from.rfc3339())
            }
            Unfit::Expired(until) => write!(f, "the certificate expired at {}", until.rfc3339()),
            Unfit::WrongHost(hosts) if hosts.is_empty() => f.write_str("the certificate names no host"),
            Unfit::WrongHost(hosts) => write!(f, "the certificate is for {} and no other host", hosts.join(", ")),
            Unfit::WrongUri(Some(uri)) => write!(f, "the certificate is that of another application, {uri}"),
            Unfit::WrongUri(None) => f.write_str("the certificate names no application"),
            Unfit::WrongKey(bits) => write!(f, "the key of the certificate has {bits} bits; it takes 2048 to 4096"),
        }
    }
}

/// Whether two names are those of one host: addresses by value, names without regard to case.
fn same_host(known: &str, called: &str) -> bool {
    match (known.parse::<IpAddr>(), called.parse::<IpAddr>()) {
        (Ok(known), Ok(called)) => known == called,
        _ => known.eq_ignore_ascii_case(called),
    }
}

fn host(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(printable(name.as_str())),
        GeneralName::IpAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes.as_bytes()).map(|bytes| Ipv4Addr::from(bytes).to_string());
            v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_bytes()).map(|bytes| Ipv6Addr::from(bytes).to_string())).ok()
        }
        _ => None,
    }
}

/// A text of a stranger, fit for a terminal and a line of a log.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn time(since_epoch: Duration) -> Timestamp {
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
