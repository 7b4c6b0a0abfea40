//! Policies, users, and certificates that have to be trusted first.

use tidegate_tests::{
    Gateway, OpcuaServer, OpcuaServerOptions, PATIENCE, Peers, Site, Stack, Subscriber, tidegate, wait_until,
};

use crate::line::{Tags, items_profile, link, secret};

/// Name of the link, and its keys.
const LINKS: [(&str, &str); 5] = [
    ("none", "security = \"none\""),
    ("basic", "security = \"basic256sha256\""),
    ("aes128", "security = \"aes128_sha256_rsaoaep\"\nmode = \"sign\""),
    ("aes256", "security = \"aes256_sha256_rsapss\""),
    ("strongest", ""),
];

/// Runs a subcommand of `tidegate trust`.
pub(crate) fn trust(site: &Site, words: &[&str]) -> anyhow::Result<String> {
    let file = site.file().display().to_string();
    let arguments = [&["trust", "-c", file.as_str()], words].concat();
    let (code, text) = tidegate(arguments, &[])?;
    anyhow::ensure!(code == Some(0), "{words:?}: {text}");
    Ok(text)
}

/// The fingerprint of the only certificate that waits.
pub(crate) fn waiting(site: &Site) -> anyhow::Result<String> {
    wait_until(PATIENCE, "a certificate that waits to be judged", || {
        let list = trust(site, &["list"]).ok()?;
        let line = list.lines().find(|line| line.contains("waiting"))?.to_owned();
        let hexadecimal = |word: &&str| word.len() == 64 && word.bytes().all(|c| c.is_ascii_hexdigit());
        line.split_whitespace().find(hexadecimal).map(str::to_owned)
    })
}

fn policies(stack: Stack) -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let words = vec!["--no-anonymous".to_owned()];
    let server = OpcuaServer::start(&peers, stack, &OpcuaServerOptions { items: 5, padding: 0, words })?;
    let site = Site::new()?;
    site.write_file("profiles/acme/plant.toml", &items_profile(5))?;
    let links = |user: &str| -> String {
        LINKS
            .iter()
            .map(|(name, keys)| link(name, &server.url(), &format!("{keys}\n{user}\ncheck_host = false")))
            .collect()
    };
    site.write("line3", &links(&format!("username = \"op\"\npassword = {}", secret(&site, "secret")?)))?;
    let gateway = Gateway::start(&site)?;
    let said = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/#")?;
    // The one without security needs nobody's judgement; the others wait, and say why.
    said.wait_for(PATIENCE, "values without security", |messages| {
        (Tags::of("none", messages).good() == 5).then_some(())
    })?;
    let fingerprint = waiting(&site)?;
    assert_eq!(Tags::of("basic", &said.messages()).good(), 0, "nothing comes from a server that nobody trusts");
    trust(&site, &["accept", &fingerprint])?;
    for (name, _) in LINKS {
        said.wait_for(PATIENCE, &format!("values by {name}"), |messages| {
            (Tags::of(name, messages).good() == 5).then_some(())
        })?;
    }
    gateway.stop()?;

    // A wrong password is said to be one, and gets no values.
    site.write("line3", &links(&format!("username = \"op\"\npassword = {}", secret(&site, "wrong")?)))?;
    let gateway = Gateway::start(&site)?;
    // Rows of the first gateway may still be on their way to who listened to it.
    let said = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/#")?;
    gateway.child().wait_for(PATIENCE, "what is wrong with the password", |lines| {
        let refused = |line: &&tidegate_tests::Line| line.text.contains("password") && line.text.contains("aes256");
        lines.iter().find(refused).map(drop)
    })?;
    let after = said.messages();
    assert!(LINKS.iter().all(|(name, _)| Tags::of(name, &after).good() == 0));
    Ok(())
}

#[test]
fn all_policies_of_asyncua_work_once_its_certificate_is_trusted() -> anyhow::Result<()> {
    policies(Stack::Asyncua)
}

#[test]
fn all_policies_of_node_opcua_work_once_its_certificate_is_trusted() -> anyhow::Result<()> {
    policies(Stack::NodeOpcua)
}
