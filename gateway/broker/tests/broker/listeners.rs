//! TLS and WebSocket beside plain TCP.

use std::{path::Path, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tidegate_broker::Broker;
use tidegate_config::{
    self as config, BrokerIdentity, BrokerLogin, BrokerTls, BrokerUser, BrokerWebSocket, CertificateName,
    ClientCertificates, TopicRights,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::raw::{Options, Raw};

const PATIENCE: Duration = Duration::from_secs(20);
const ANY: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// Certificates of one authority, in files.
struct Pki {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Pki {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let pki = Pki { folder, issuer: Issuer::new(params, key) };
        pki.issue("broker", "localhost");
        pki
    }

    /// Issues a certificate with that common name into `<file>.pem` and `<file>.key`.
    fn issue(&self, file: &str, name: &str) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn identity(&self, clients: Option<bool>) -> BrokerIdentity {
        let clients = clients.map(|required| ClientCertificates {
            ca: self.path("ca.pem"),
            required,
            name: CertificateName::CommonName,
        });
        BrokerIdentity { certificate: self.path("broker.pem"), key: self.path("broker.key"), clients }
    }

    /// TLS to a broker, with the client certificate in these files.
    async fn connect(&self, broker: &Broker, client: Option<&str>) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(pem(&self.path("ca.pem"))).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match client {
            None => config.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                config.with_client_auth_cert(vec![pem(&self.path(&format!("{name}.pem")))], key).unwrap()
            }
        };
        let socket = TcpStream::connect(broker.address_of("broker.tls").unwrap()).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket).await
    }
}

fn pem(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

fn with_tls(pki: &Pki, clients: Option<bool>, users: Vec<BrokerUser>) -> config::Broker {
    let tls = BrokerTls { listen: ANY.into(), max_connections: 10, identity: pki.identity(clients) };
    config::Broker { tls: Some(tls), ..config::Broker::on_loopback().with_users(users) }
}

fn with_websocket() -> config::Broker {
    let websocket = BrokerWebSocket {
        listen: ANY.into(),
        max_connections: 10,
        path: "/mqtt".to_owned(),
        origins: Vec::new(),
        tls: None,
    };
    config::Broker { websocket: Some(websocket), ..config::Broker::on_loopback() }
}

/// Sends CONNECT and returns the code of the answer; `None` when the connection ends.
async fn login(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), options: Options<'_>) -> Option<u8> {
    stream.write_all(&options.packet()).await.ok()?;
    let mut answer = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer or the end").ok()?;
    assert_eq!(answer[0], 0x20);
    Some(answer[3])
}

fn certified(name: &str) -> BrokerUser {
    BrokerUser { name: name.to_owned(), login: BrokerLogin::Certificate, rights: TopicRights::default() }
}

#[tokio::test]
async fn tls_and_plain_clients_of_both_versions_meet() {
    let pki = Pki::new();
    let broker = Broker::start(&with_tls(&pki, None, Vec::new())).await.unwrap();
    let mut plain = Raw::connect(broker.address(), Options::new(5, "plain")).await;
    plain.subscribe(&[("a", 1)]).await;
    for version in [4, 5] {
        let mut tls = pki.connect(&broker, None).await.unwrap();
        assert_eq!(login(&mut tls, Options::new(version, "tls")).await, Some(0));
        let payload = vec![version; 100_000];
        let mut body = vec![0, 1, b'a'];
        body.extend_from_slice(if version == 5 { &[0] } else { &[] });
        body.extend_from_slice(&payload);
        tls.write_all(&crate::raw::packet(0x30, &body)).await.unwrap();
        tls.flush().await.unwrap();
        assert_eq!(plain.published().await.payload, payload);
    }
}

#[tokio::test]
async fn whoever_says_nothing_holds_up_nobody() {
    let pki = Pki::new();
    let options = config::Broker { websocket: with_websocket().websocket, ..with_tls(&pki, None, Vec::new()) };
    let broker = Broker::start(&options).await.unwrap();
    let mut silent = Vec::new();
    for section in ["broker", "broker.tls", "broker.websocket"] {
        for _ in 0..5 {
            silent.push(TcpStream::connect(broker.address_of(section).unwrap()).await.unwrap());
        }
    }
    let mut tls = pki.connect(&broker, None).await.unwrap();
    assert_eq!(login(&mut tls, Options::new(4, "tls")).await, Some(0));
    let found = broker.listeners();
    let counts: Vec<_> = found.iter().map(|listener| (listener.section, listener.connections)).collect();
    assert_eq!(counts, [("broker", 5), ("broker.tls", 6), ("broker.websocket", 5)]);
}

#[tokio::test]
async fn each_listener_has_a_limit_of_its_own() {
    let pki = Pki::new();
    let mut options = with_tls(&pki, None, Vec::new());
    options.max_connections = 1;
    let broker = Broker::start(&options).await.unwrap();
    let _first = Raw::connect(broker.address(), Options::new(4, "first")).await;
    assert_eq!(Raw::open(broker.address()).await.ended().await, None, "one more is closed at once");
    let mut tls = pki.connect(&broker, None).await.unwrap();
    assert_eq!(login(&mut tls, Options::new(4, "tls")).await, Some(0));
    let plain = &broker.listeners()[0];
    assert_eq!((plain.connections, plain.most_connections, plain.refused), (1, 1, 1));
}

#[tokio::test]
async fn a_client_certificate_names_the_user() {
    let pki = Pki::new();
    pki.issue("press", "press-7");
    pki.issue("stranger", "stranger");
    let users = || vec![certified("press-7"), BrokerUser::literal("scada", "secret", &[], &[])];
    let broker = Broker::start(&with_tls(&pki, Some(true), users())).await.unwrap();
    let mut press = pki.connect(&broker, Some("press")).await.unwrap();
    assert_eq!(login(&mut press, Options::new(4, "press")).await, Some(0));
    let mut stranger = pki.connect(&broker, Some("stranger")).await.unwrap();
    assert_eq!(login(&mut stranger, Options::new(4, "stranger")).await, Some(4), "there is no such user");
    // TLS 1.3: a client learns that its certificate is missing when it reads.
    let refused = match pki.connect(&broker, None).await {
        Ok(mut stream) => login(&mut stream, Options::new(4, "nobody")).await.is_none(),
        Err(_) => true,
    };
    assert!(refused, "a certificate is required");
    let broker = Broker::start(&with_tls(&pki, Some(false), users())).await.unwrap();
    let mut scada = pki.connect(&broker, None).await.unwrap();
    let with_password = Options { login: Some(("scada", "secret")), ..Options::new(4, "scada") };
    assert_eq!(login(&mut scada, with_password).await, Some(0), "without one a password will do");
    let other = Pki::new();
    other.issue("press", "press-7");
    std::fs::copy(other.path("press.pem"), pki.path("forged.pem")).unwrap();
    std::fs::copy(other.path("press.key"), pki.path("forged.key")).unwrap();
    let refused = match pki.connect(&broker, Some("forged")).await {
        Ok(mut stream) => login(&mut stream, Options::new(4, "forged")).await.is_none(),
        Err(_) => true,
    };
    assert!(refused, "a certificate of another authority is none");
}

#[tokio::test]
async fn renewed_certificates_are_used_after_a_reload() {
    let pki = Pki::new();
    let options = with_tls(&pki, None, Vec::new());
    let broker = Broker::start(&options).await.unwrap();
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let before = shown(&pki.connect(&broker, None).await.unwrap());
    pki.issue("broker", "localhost");
    assert_eq!(shown(&pki.connect(&broker, None).await.unwrap()), before, "nothing changes without a reload");
    broker.reload(&options);
    assert_ne!(shown(&pki.connect(&broker, None).await.unwrap()), before);
    std::fs::write(pki.path("broker.key"), "spoiled").unwrap();
    broker.reload(&options);
    pki.connect(&broker, None).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_starts_nothing() {
    let pki = Pki::new();
    std::fs::write(pki.path("broker.key"), "spoiled").unwrap();
    let error = Broker::start(&with_tls(&pki, None, Vec::new())).await.unwrap_err().to_string();
    assert!(error.contains("broker.key") && error.contains("[broker.tls]"), "{error}");
}

#[tokio::test]
async fn packets_come_over_a_websocket_however_they_are_cut() {
    let broker = Broker::start(&with_websocket()).await.unwrap();
    let mut plain = Raw::connect(broker.address(), Options::new(4, "plain")).await;
    plain.subscribe(&[("a", 0)]).await;
    for size in [1, 7, 100] {
        let mut socket = TcpStream::connect(broker.address_of("broker.websocket").unwrap()).await.unwrap();
        let request = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, socket.read_u8()).await.unwrap().unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        let packets = [&Options::new(4, "web").packet()[..], &crate::raw::packet(0x30, b"\0\x01ahello")].concat();
        for piece in packets.chunks(size) {
            let length = 0x80 | u8::try_from(piece.len()).unwrap();
            socket.write_all(&[&[0x82, length, 0, 0, 0, 0], piece].concat()).await.unwrap();
        }
        assert_eq!(plain.published().await.payload, b"hello");
        let mut answer = [0; 6];
        timeout(PATIENCE, socket.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, [0x82, 4, 0x20, 2, 0, 0], "CONNACK in a binary frame");
    }
}
