//! Who the gateway says it is, and whom it believes: users with certificates, host names, certificates that end soon or are refused
//! again, and a password that is wrong.

use std::time::{Duration, Instant};

use tidegate_tests::{
    FaultProxy, Gateway, OpcuaServer, OpcuaServerOptions, PATIENCE, Peers, Site, Stack, Subscriber, Way, wait_until,
};

use crate::{
    line::{RETRY, Tags, items_profile, link, secret},
    security::{trust, waiting},
};

/// A wrong password must not be tried again as soon as a network error is, which is after a second or two.
const NOT_SOON: Duration = Duration::from_secs(8);

/// The gateway has said a line with all of these words.
fn says(gateway: &Gateway, what: &str, words: &[&str]) -> anyhow::Result<()> {
    gateway.child().wait_for(PATIENCE, what, |lines| {
        lines.iter().find(|line| words.iter().all(|word| line.text.contains(word))).map(drop)
    })
}

#[test]
fn users_hosts_and_certificates_are_judged_and_said() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let words = ["--no-anonymous", "--days", "30"].map(str::to_owned).to_vec();
    let options = OpcuaServerOptions { items: 5, padding: 0, words };
    let mut server = OpcuaServer::start(&peers, Stack::Asyncua, &options)?;
    let way = FaultProxy::start(server.address(), 3)?;
    let site = Site::new()?;
    site.write_file("profiles/acme/plant.toml", &items_profile(5))?;
    let folder = site.path().join("data/opcua");
    let (certificate, key) = (folder.join("own/cert.der"), folder.join("private/private.pem"));
    let secure = "security = \"basic256sha256\"";
    let user = format!("username = \"op\"\npassword = {}", secret(&site, "secret")?);
    let wrong = format!("username = \"op\"\npassword = {}", secret(&site, "wrong")?);
    // The gateway's own certificate does for a user's too.
    let by_certificate = format!("user_certificate = {certificate:?}\nuser_key = {key:?}");
    let elsewhere = format!("opc.tcp://{}/plant", way.address());
    // After a refused login the longest pause comes, which nobody sees the end of here; after anything else a short one.
    let patient = "retry = { first = \"500ms\", longest = \"10m\" }";
    let unhurried =
        link("wrong", &elsewhere, &format!("{secure}\n{wrong}\ncheck_host = false")).replacen(RETRY, patient, 1);
    assert!(unhurried.contains(patient));
    site.write(
        "line3",
        &[
            link("host", &server.url(), &format!("{secure}\n{user}")),
            link("user", &server.url(), &format!("{secure}\n{by_certificate}\ncheck_host = false")),
            link("name", &server.url(), &format!("{secure}\n{user}\ncheck_host = false")),
            unhurried,
        ]
        .concat(),
    )?;
    let gateway = Gateway::start(&site)?;
    let said = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/#")?;
    let fingerprint = waiting(&site)?;
    trust(&site, &["accept", &fingerprint])?;
    for name in ["user", "name"] {
        said.wait_for(PATIENCE, &format!("values by {name}"), |messages| {
            (Tags::of(name, messages).good() == 5).then_some(())
        })?;
    }
    says(&gateway, "that the certificate is for another host", &["host", "localhost and no other host", "check_host"])?;
    says(&gateway, "that the certificate ends soon", &["of the server ends soon", "user"])?;
    says(&gateway, "what is wrong with the password", &["wrong", "check `username` and `password`"])?;
    wait_until(PATIENCE, "the end of the connection", || (way.open() == 0).then_some(()))?;
    let (tried, since) = (way.carried(Way::There), Instant::now());
    assert_eq!(Tags::of("host", &said.messages()).good() + Tags::of("wrong", &said.messages()).good(), 0);

    // What is refused later is not connected to again.
    trust(&site, &["refuse", &fingerprint])?;
    server.kill();
    said.wait_for(PATIENCE, "the loss", |messages| {
        (Tags::of("name", messages).bad("disconnected") == 5).then_some(())
    })?;
    server.start_again(&options)?;
    says(&gateway, "that it has been refused", &["has been refused", &fingerprint])?;
    wait_until(PATIENCE, "as long as nothing may be tried", || (since.elapsed() >= NOT_SOON).then_some(()))?;
    assert_eq!(way.carried(Way::There), tried, "a wrong password is no network error");
    assert_eq!(Tags::of("name", &said.messages()).good(), 0);
    trust(&site, &["accept", &fingerprint])?;
    said.wait_for(PATIENCE, "values once it is accepted again", |messages| {
        (Tags::of("name", messages).good() == 5).then_some(())
    })
}
