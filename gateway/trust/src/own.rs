//! The certificate of this gateway.

use std::{net::ToSocketAddrs, path::Path, sync::Mutex};

use opcua::crypto::PrivateKey;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use tidegate_model::Timestamp;
use tracing::{info, warn};

use crate::{
    Certificate, TrustError,
    files::{self, Readers},
};

/// The path of the gateway's certificate below the folder of certificates.
pub const OWN_CERTIFICATE: &str = "own/cert.der";
/// The path of its key below the folder of certificates.
pub const PRIVATE_KEY: &str = "private/private.pem";
/// Days before its end from which on a certificate is warned of.
pub const EXPIRY_WARNING_DAYS: i64 = 60;

/// The smallest key that every policy takes. A larger one makes each connection several times as expensive on a small
/// gateway and would be worth it only where a recorded session must stay secret beyond the life of the plant.
const KEY_BITS: u32 = 2048;
/// Years for which a certificate is made. Peers pin this very certificate, so a shorter life adds no security; what it adds
/// is a day on which the plant stands still.
const YEARS: i32 = 10;
const DAY: i64 = 24 * 60 * 60 * 1000;

/// Two parts of one gateway may want the certificate at the same moment; it is made once.
static MAKING: Mutex<()> = Mutex::new(());
/// Held while the certificate is looked for or made, also against the command line beside a gateway that runs.
const LOCK: &str = "own/.lock";

/// The certificate of the gateway, made when there is none.
pub(crate) fn ensure(root: &Path, gateway: &str, now: Timestamp) -> Result<Certificate, TrustError> {
    let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    files::folder(&root.join("own"), Readers::All)?;
    let _others = files::lock(&root.join(LOCK))?;
    finish_renewal(root)?;
    match read(root)? {
        Some(Pair { der, key }) => {
            if !belongs(&der, &key) {
                return Err(TrustError::Mismatch { path: root.join(OWN_CERTIFICATE) });
            }
            if files::close_to_others(&root.join(PRIVATE_KEY))? {
                warn!(path = %root.join(PRIVATE_KEY).display(), "others could read the private key; now its owner alone can");
            }
            Certificate::from_der(&der)
        }
        None => make(root, gateway, now),
    }
}

/// Makes a new key and certificate in the place of the old ones.
pub(crate) fn renew(root: &Path, gateway: &str, now: Timestamp) -> Result<Certificate, TrustError> {
    let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    files::folder(&root.join("own"), Readers::All)?;
    let _others = files::lock(&root.join(LOCK))?;
    make(root, gateway, now)
}

/// The certificate, when there is one.
pub(crate) fn certificate(root: &Path) -> Result<Option<Certificate>, TrustError> {
    files::read(&root.join(OWN_CERTIFICATE))?.map(|der| Certificate::from_der(&der)).transpose()
}

/// The name of this gateway among OPC UA applications.
pub(crate) fn application_uri(gateway: &str) -> String {
    format!("urn:{}:tidegate:{gateway}", host())
}

fn make(root: &Path, gateway: &str, now: Timestamp) -> Result<Certificate, TrustError> {
    let key = PrivateKey::new(KEY_BITS).map_err(|error| TrustError::Make(error.to_string()))?;
    let key = key.to_der().map_err(|error| TrustError::Make(error.to_string()))?;
    let pair = KeyPair::try_from(key.as_bytes()).map_err(|error| TrustError::Make(error.to_string()))?;
    let made = params(gateway, now)
        .and_then(|params| params.self_signed(&pair))
        .map_err(|error| TrustError::Make(error.to_string()))?;
    let (certificate, private) = (root.join(OWN_CERTIFICATE), root.join(PRIVATE_KEY));
    files::folder(&root.join("own"), Readers::All)?;
    files::folder(&root.join("private"), Readers::Owner)?;
    // The key waits beside the old one until its certificate is in place: a crash in between is mended by `finish_renewal`.
    files::write(&files::beside(&private, "new"), pair.serialize_pem().as_bytes(), Readers::Owner)?;
    files::write(&certificate, made.der(), Readers::All)?;
    finish_renewal(root)?;
    let read = Certificate::from_der(made.der())?;
    info!(fingerprint = %read.fingerprint(), uri = read.uri(), path = %certificate.display(),
        "made the certificate of this gateway; OPC UA applications that it talks to must be told to trust it");
    Ok(read)
}

/// Gives a new key its name when the certificate in place is the one it belongs to, else forgets it.
fn finish_renewal(root: &Path) -> Result<(), TrustError> {
    let waiting = files::beside(&root.join(PRIVATE_KEY), "new");
    let Some(key) = files::read(&waiting)? else {
        return Ok(());
    };
    match files::read(&root.join(OWN_CERTIFICATE))? {
        Some(der) if belongs(&der, &key) => files::rename(&waiting, &root.join(PRIVATE_KEY)),
        _ => files::remove(&waiting),
    }
}

/// The bytes of a certificate and, as PEM, of its key.
struct Pair {
    der: Vec<u8>,
    key: Vec<u8>,
}

/// The certificate and the key, when both are there.
fn read(root: &Path) -> Result<Option<Pair>, TrustError> {
    let (certificate, key) = (root.join(OWN_CERTIFICATE), root.join(PRIVATE_KEY));
    match (files::read(&certificate)?, files::read(&key)?) {
        (Some(der), Some(key)) => Ok(Some(Pair { der, key })),
        (None, None) => Ok(None),
        // One without the other was put there or taken away by hand: making a new pair would destroy what is left.
        _ => Err(TrustError::Mismatch { path: certificate }),
    }
}

fn belongs(der: &[u8], key: &[u8]) -> bool {
    let (Ok(certificate), Ok(key)) = (opcua::crypto::X509::from_der(der), PrivateKey::from_pem(key)) else {
        return false;
    };
    // What the key signs, the certificate verifies.
    let mut signature = vec![0; opcua::crypto::KeySize::size(&key)];
    let signed = key.sign_sha256(der, &mut signature).is_ok();
    signed && certificate.public_key().is_ok_and(|public| public.verify_sha256(der, &signature).unwrap_or(false))
}

fn params(gateway: &str, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Tidegate {gateway}"));
    params.distinguished_name.push(DnType::OrganizationName, "Tidegate");
    // A day ago: the clock of the other side may be behind.
    let (year, month, day) = date(now.as_millis().saturating_sub(DAY));
    params.not_before = rcgen::date_time_ymd(year, month, day);
    params.not_after = rcgen::date_time_ymd(year + YEARS, month, day);
    // The first name is the application URI (OPC UA Part 6 §6.2.2).
    params.subject_alt_names.push(SanType::URI(application_uri(gateway).try_into()?));
    for name in [host(), "localhost".to_owned()] {
        if let Ok(name) = name.try_into() {
            params.subject_alt_names.push(SanType::DnsName(name));
        }
    }
    params.subject_alt_names.extend(addresses().into_iter().map(SanType::IpAddress));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::ContentCommitment,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::DataEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// The name of this machine; `localhost` when it has none that can be written into a certificate.
fn host() -> String {
    let name = opcua::crypto::hostname().unwrap_or_default();
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if fits { name } else { "localhost".to_owned() }
}

/// Loopback, and the addresses that the name of this machine stands for.
fn addresses() -> Vec<std::net::IpAddr> {
    let mut addresses = vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
    let named = (host().as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect());
    for address in named.unwrap_or_else(|_| Vec::new()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// Year, month and day in UTC. No day beyond the 28th, so that it exists in every year.
fn date(millis: i64) -> (i32, u8, u8) {
    let text = Timestamp::from_millis(millis).rfc3339().to_string();
    let mut parts = text.split(['-', 'T']).map(str::parse::<i32>);
    let mut next = |least: i32| parts.next().and_then(Result::ok).unwrap_or(least);
    let (year, month, day) = (next(1970), next(1), next(1));
    (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1).min(28))
}
