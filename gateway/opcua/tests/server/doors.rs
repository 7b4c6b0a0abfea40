//! Who gets in.

use opcua::{client::IdentityToken, crypto::SecurityPolicy, types::StatusCode};
use tidegate_config::{OpcUaServer, SecurityPolicy as Policy};
use tidegate_opcua::{Server, ServerError};
use tidegate_trust::State;

use crate::{
    client::{anybody, client, connect, plain_client},
    rig::{Rig, presses, until, users},
};

fn eye() -> IdentityToken {
    IdentityToken::new_user_name("eye", "eye word".to_owned())
}

#[tokio::test]
async fn a_client_with_an_unknown_certificate_waits_until_it_is_accepted() {
    let options = OpcUaServer { users: users(), anonymous: false, ..OpcUaServer::on_loopback(0) };
    let rig = Rig::start_with(&presses(&["press"]), options).await;
    let mut client = client(&rig.folder.path().join("client"));
    let refused = connect(&mut client, &rig, SecurityPolicy::Basic256Sha256, eye()).await.err();
    assert_eq!(refused, Some(StatusCode::BadCertificateUntrusted));
    let waiting = |state| rig.trust.list().unwrap().into_iter().find(|entry| entry.state == state);
    let entry = until("the certificate", || waiting(State::Waiting)).await;
    assert_eq!(entry.certificate.uri(), Some("urn:test"));
    assert_eq!(entry.seen.unwrap().1, "a client of target scada");
    let fingerprint = entry.certificate.fingerprint().to_string();
    rig.trust.accept(&fingerprint[..8]).unwrap();
    for policy in
        [SecurityPolicy::Basic256Sha256, SecurityPolicy::Aes128Sha256RsaOaep, SecurityPolicy::Aes256Sha256RsaPss]
    {
        let connected =
            connect(&mut client, &rig, policy, eye()).await.map_err(|status| format!("{policy}: {status}")).unwrap();
        assert!(connected.value("press.pressure").await.value.is_some(), "{policy}");
        connected.session.disconnect().await.unwrap();
    }
    rig.trust.refuse(&fingerprint).unwrap();
    assert!(connect(&mut client, &rig, SecurityPolicy::Basic256Sha256, eye()).await.is_err());
    until("the library's folder to be emptied", || {
        std::fs::read_dir(rig.trust.root().join("rejected")).unwrap().next().is_none().then_some(())
    })
    .await;
    assert!(waiting(State::Refused).is_some() && waiting(State::Waiting).is_none());
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_refused() {
    let options = OpcUaServer { users: users(), anonymous: false, ..OpcUaServer::on_loopback(0) };
    let rig = Rig::start_with(&presses(&["press"]), options).await;
    let mut client = plain_client(&rig.folder.path().join("client"));
    for token in [
        IdentityToken::new_user_name("eye", "hand word".to_owned()),
        IdentityToken::new_user_name("nobody", "eye word".to_owned()),
        IdentityToken::new_user_name("eye", String::new()),
    ] {
        let refused = connect(&mut client, &rig, SecurityPolicy::None, token).await.err();
        assert_eq!(refused, Some(StatusCode::BadUserAccessDenied));
    }
    assert!(connect(&mut client, &rig, SecurityPolicy::None, IdentityToken::Anonymous).await.is_err());
    connect(&mut client, &rig, SecurityPolicy::None, eye()).await.unwrap();
}

#[tokio::test]
async fn a_policy_that_is_not_offered_is_not_to_be_had() {
    let options = OpcUaServer { security: vec![Policy::Aes256Sha256RsaPss], ..OpcUaServer::on_loopback(0) };
    let rig = Rig::start_with(&presses(&["press"]), options).await;
    let plain = plain_client(&rig.folder.path().join("client"));
    let offered = plain.get_server_endpoints_from_url(rig.url()).await.unwrap();
    let offered: Vec<&str> = offered.iter().map(|endpoint| endpoint.security_policy_uri.as_ref()).collect();
    assert_eq!(offered, [SecurityPolicy::Aes256Sha256RsaPss.to_uri()]);
}

#[tokio::test]
async fn no_more_clients_are_let_in_than_the_site_says() {
    let rig =
        Rig::start_with(&presses(&["press"]), OpcUaServer { max_sessions: 1, ..OpcUaServer::on_loopback(0) }).await;
    let first = anybody(&rig).await;
    let mut second = plain_client(&rig.folder.path().join("client"));
    let refused = connect(&mut second, &rig, SecurityPolicy::None, IdentityToken::Anonymous).await.err();
    assert_eq!(refused, Some(StatusCode::BadTooManySessions));
    first.session.disconnect().await.unwrap();
    connect(&mut second, &rig, SecurityPolicy::None, IdentityToken::Anonymous).await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_told_and_a_stopped_server_frees_its_own() {
    let rig = Rig::start().await;
    let taken = OpcUaServer::on_loopback(rig.server.address().port());
    let refused = Server::start("second", &taken, rig.trust.clone(), rig.gateway.handle()).await;
    let Err(error @ ServerError::Listen { .. }) = refused else { panic!("two servers on one port") };
    assert!(error.to_string().contains("change `listen` of the target \"second\""), "{error}");
    // Whoever has asked for its status goes on asking.
    let probe = rig.server.probe();
    assert!(probe().running);
    rig.server.stop().await;
    assert!(!probe().running);
    let again = Server::start("second", &taken, rig.trust.clone(), rig.gateway.handle()).await.unwrap();
    again.stop().await;
}

/// A certificate of a person with its key, in files.
fn person(folder: &std::path::Path, name: &str, until: i32) -> (std::path::PathBuf, std::path::PathBuf) {
    let key = opcua::crypto::PrivateKey::new(2048).unwrap().to_der().unwrap();
    let pair = rcgen::KeyPair::try_from(key.as_bytes()).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let (file, key) = (folder.join(format!("{name}.der")), folder.join(format!("{name}.pem")));
    std::fs::write(&file, params.self_signed(&pair).unwrap().der()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    (file, key)
}

#[tokio::test]
async fn a_user_may_log_in_with_a_certificate_while_it_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let [hand, late, nobody] =
        [("hand", 2100), ("late", 2021), ("nobody", 2100)].map(|(name, until)| person(folder.path(), name, until));
    let user = |name: &str, file: &std::path::Path| tidegate_config::OpcUaUser {
        name: name.to_owned(),
        password: None,
        certificate: Some(file.to_owned()),
        role: tidegate_config::OpcUaRole::Operator,
    };
    let users = vec![user("hand", &hand.0), user("late", &late.0)];
    let options = OpcUaServer { users, anonymous: false, ..OpcUaServer::on_loopback(0) };
    let rig = Rig::start_with(&presses(&["press"]), options).await;
    let mut client = plain_client(&rig.folder.path().join("client"));
    let token =
        |(file, key): &(std::path::PathBuf, std::path::PathBuf)| IdentityToken::new_x509_path(file, key).unwrap();
    let connected = connect(&mut client, &rig, SecurityPolicy::None, token(&hand)).await.unwrap();
    assert_eq!(connected.write("press.setpoint", 12.5).await, StatusCode::Good);
    for refused in [&late, &nobody] {
        let refused = connect(&mut client, &rig, SecurityPolicy::None, token(refused)).await.err();
        assert_eq!(refused, Some(StatusCode::BadIdentityTokenRejected));
    }
    assert!(
        connect(&mut client, &rig, SecurityPolicy::None, eye()).await.is_err(),
        "without a password there is no login by one"
    );
}
