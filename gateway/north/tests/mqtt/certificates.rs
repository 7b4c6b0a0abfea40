//! TLS: whom the target trusts, and how it shows who it is.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tidegate_config::Tls;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::scene::{Broker, Client, LONG, Plant, options, start, within};

/// A certificate authority, and the files of whom it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { issuer, dir: tempfile::tempdir().unwrap() };
        std::fs::write(authority.ca(), authority.issuer.pem()).unwrap();
        authority
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Signs a certificate for `name`; its file and its key's.
    fn signed(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let paths = (self.dir.path().join(format!("{name}.pem")), self.dir.path().join(format!("{name}.key")));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    /// A broker's side: shows a certificate for `name`; `asks`: wants one of the client's, signed by this authority.
    fn acceptor(&self, name: &str, asks: bool) -> TlsAcceptor {
        let (certificate, key) = self.signed(name);
        let chain = certificates(&certificate);
        let key = PrivateKeyDer::from_pem_file(&key).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(certificates(&self.ca()).remove(0)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
    }
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

type TlsClient = Client<tokio_rustls::server::TlsStream<TcpStream>>;

/// The next connection, unless the handshake or the login fails.
async fn accepted(broker: &Broker, acceptor: &TlsAcceptor) -> Option<TlsClient> {
    let socket = match acceptor.accept(broker.socket().await).into_fallible().await {
        Ok(socket) => socket,
        Err((_, mut socket)) => {
            // Closed with something unread in it, the connection would be reset and the alert perhaps lost.
            within(LONG, tokio::io::copy(&mut socket, &mut tokio::io::sink())).await.ok()?;
            return None;
        }
    };
    let mut client = Client::of(socket).await?;
    client.log_in().await;
    Some(client)
}

/// Lets one handshake fail and returns what the target says about it.
async fn told(tls: Tls, acceptor: &TlsAcceptor) -> String {
    let (plant, broker) = (Plant::new().await, Broker::new().await);
    let mut options = options(broker.port());
    options.tls = Some(tls);
    let target = start(&options, plant.cursor().await);
    assert!(accepted(&broker, acceptor).await.is_none());
    let snapshot = target.until("the error", |status| status.last_error.is_some()).await;
    assert_eq!(snapshot.connect_failures, 1);
    target.stopped().await;
    snapshot.last_error.unwrap()
}

#[tokio::test]
async fn rows_travel_encrypted_to_a_broker_with_the_plants_own_authority_and_a_client_certificate() {
    let authority = Authority::new("plant");
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(200);
    let mut options = options(broker.port());
    options.tls = Some(Tls { ca: Some(authority.ca()), client: Some(authority.signed("line3")) });
    let target = start(&options, plant.cursor().await);
    let mut client = accepted(&broker, &authority.acceptor("127.0.0.1", true)).await.unwrap();
    assert_eq!(client.take_rows(200).await, (1..=200).collect::<Vec<_>>());
    target.until("all acknowledged", |status| status.acknowledged == 200).await;
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn a_broker_of_another_authority_is_refused_in_clear_words() {
    // Also when it only has the same name, as after the authority has been set up anew.
    for theirs in ["elsewhere", "plant"] {
        let (ours, theirs) = (Authority::new("plant"), Authority::new(theirs));
        let text = told(Tls { ca: Some(ours.ca()), client: None }, &theirs.acceptor("127.0.0.1", false)).await;
        assert!(text.contains("not signed by an authority that the gateway trusts; is `ca` the right file?"), "{text}");
    }
}

#[tokio::test]
async fn a_broker_with_a_certificate_for_another_name_is_refused_in_clear_words() {
    let authority = Authority::new("plant");
    let tls = Tls { ca: Some(authority.ca()), client: None };
    let text = told(tls, &authority.acceptor("elsewhere.example", false)).await;
    assert!(text.contains("is not for \"127.0.0.1\"; use the name that stands in it"), "{text}");
}

#[tokio::test]
async fn a_missing_or_foreign_client_certificate_is_told_in_clear_words() {
    let (ours, others) = (Authority::new("plant"), [Authority::new("elsewhere"), Authority::new("plant")]);
    let foreign = others.iter().map(|authority| Some(authority.signed("line3")));
    for client in foreign.chain([None]) {
        let text = told(Tls { ca: Some(ours.ca()), client }, &ours.acceptor("127.0.0.1", true)).await;
        assert!(text.contains("does not accept the gateway's client certificate"), "{text}");
    }
}

#[tokio::test]
async fn a_renewed_authority_is_used_without_a_restart() {
    let (old, new) = (Authority::new("plant"), Authority::new("plant"));
    let (plant, broker) = (Plant::new().await, Broker::new().await);
    let mut options = options(broker.port());
    options.tls = Some(Tls { ca: Some(old.ca()), client: None });
    let target = start(&options, plant.cursor().await);
    let acceptor = new.acceptor("127.0.0.1", false);
    assert!(accepted(&broker, &acceptor).await.is_none());
    std::fs::copy(new.ca(), old.ca()).unwrap();
    let client = loop {
        if let Some(client) = accepted(&broker, &acceptor).await {
            break client;
        }
    };
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}
