//! A plant's own certificate authority.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// An authority and what it has signed, in a folder of its own: its certificate is in `ca.pem`.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// Makes one. The folder is made too.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn new(folder: impl Into<PathBuf>) -> anyhow::Result<Authority> {
        let folder = folder.into();
        let mut params = CertificateParams::new(Vec::new())?;
        // OpenSSL takes a certificate whose subject is its issuer's for signed by itself: each has a name of its own.
        params.distinguished_name.push(DnType::CommonName, format!("authority of {}", folder.display()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        fs::write(folder.join("ca.pem"), issuer.pem()).context("failed to write ca.pem")?;
        Ok(Authority { issuer, folder })
    }

    /// Signs a certificate for `name`, in `<name>.pem` and `<name>.key`.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn sign(&self, name: &str) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(self.file(&format!("{name}.pem")), certificate.pem()).context("failed to write a certificate")?;
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).context("failed to write a key")
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// One of its files (`ca.pem`).
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Lines for a mosquitto on loopback that shows a certificate of this authority, for `127.0.0.1`, and wants one from its clients.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn mosquitto(&self) -> anyhow::Result<String> {
        self.sign("127.0.0.1")?;
        let folder = self.folder.display();
        Ok(format!(
            "allow_anonymous true\ncafile {folder}/ca.pem\ncertfile {folder}/127.0.0.1.pem\n\
             keyfile {folder}/127.0.0.1.key\nrequire_certificate true\n"
        ))
    }
}
