//! Brokers to be asked: the gateway as a user runs it, and mosquitto, both with the same listeners and users.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;
use tempfile::TempDir;
use tidegate_tests::{Gateway, Mosquitto, Peers, Port, Site};

use crate::certificates;

/// User, its password, and what it may publish and subscribe to; `rig.py` knows them too.
const USERS: [(&str, &str, &str); 2] = [("limited", "limited-word", "open/#"), ("watcher", "watcher-word", "#")];

/// Where a broker listens.
#[derive(Debug, Clone)]
pub(crate) struct Listeners {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) websocket: SocketAddr,
    pub(crate) tls_websocket: SocketAddr,
    /// Where users log in.
    pub(crate) users: SocketAddr,
    /// The authority of its certificate.
    pub(crate) ca: PathBuf,
}

/// The gateway's broker: one gateway that lets everybody in, and one with users.
pub(crate) struct Ours {
    pub(crate) listeners: Listeners,
    pub(crate) gateway: Gateway,
    _users: Gateway,
    _sites: [Site; 2],
    _ports: [Port; 4],
}

impl Ours {
    /// `limits` are lines of `[broker.limits]` of the first; what is not said is as a user has it.
    pub(crate) fn start(limits: &str) -> anyhow::Result<Ours> {
        let sites = [site()?, site()?];
        let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let [tls, websocket, other_tls, tls_websocket] = ports.each_ref().map(Port::address);
        certificates::write(sites[0].path())?;
        for file in ["broker.pem", "broker.key"] {
            fs::copy(sites[0].path().join(file), sites[1].path().join(file))?;
        }
        let encrypted = |address| {
            format!("[broker.tls]\nlisten = \"{address}\"\ncertificate = \"broker.pem\"\nkey = \"broker.key\"\n\n")
        };
        let plain = format!("[broker.websocket]\nlisten = \"{websocket}\"\n\n");
        sites[0].write("open", &(encrypted(tls) + &plain + "[broker.limits]\n" + limits))?;
        let both = format!("[broker.websocket]\nlisten = \"{tls_websocket}\"\ntls = true\n\n");
        sites[1].write("users", &(encrypted(other_tls) + &both + &users(&sites[1])?))?;
        let anonymous = "anonymous = true\nanonymous_publish = [\"#\"]\nanonymous_subscribe = [\"#\"]";
        let text = fs::read_to_string(sites[1].file())?.replace("[broker]\n", &format!("[broker]\n{anonymous}\n"));
        fs::write(sites[1].file(), text)?;
        let listeners = Listeners {
            plain: sites[0].broker_address(),
            tls,
            websocket,
            tls_websocket,
            users: sites[1].broker_address(),
            ca: sites[0].path().join("ca.pem"),
        };
        let (gateway, users) = (Gateway::start(&sites[0])?, Gateway::start(&sites[1])?);
        Ok(Ours { listeners, gateway, _users: users, _sites: sites, _ports: ports })
    }
}

/// A site of a gateway without devices.
pub(crate) fn site() -> anyhow::Result<Site> {
    let site = Site::new()?;
    fs::create_dir(site.path().join("profiles"))?;
    Ok(site)
}

/// `[[broker.user]]`s, whose passwords lie in files of the site.
fn users(site: &Site) -> anyhow::Result<String> {
    let mut text = String::new();
    for (name, password, filter) in USERS {
        site.write_file(name, password)?;
        let file = site.path().join(name);
        text += &format!(
            "[[broker.user]]\nname = \"{name}\"\npassword = \"file:{}\"\npublish = [\"{filter}\"]\nsubscribe = [\"{filter}\"]\n\n",
            file.display()
        );
    }
    Ok(text)
}

/// mosquitto, likewise.
pub(crate) struct Theirs {
    pub(crate) listeners: Listeners,
    _open: Mosquitto,
    _users: Mosquitto,
    _folder: TempDir,
    _ports: [Port; 3],
}

impl Theirs {
    pub(crate) fn start(peers: &Peers) -> anyhow::Result<Theirs> {
        let folder = tempfile::tempdir()?;
        certificates::write(folder.path())?;
        let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let [tls, websocket, tls_websocket] = ports.each_ref().map(Port::address);
        let file = |name: &str| folder.path().join(name).display().to_string();
        let sealed = format!("certfile {}\nkeyfile {}\n", file("broker.pem"), file("broker.key"));
        // With 0, which stands for no limit, 2.0.11 forgets messages.
        let open = format!(
            "allow_anonymous true\nmax_queued_messages 100000\n\
             listener {} 127.0.0.1\n{sealed}\
             listener {} 127.0.0.1\nprotocol websockets\n\
             listener {} 127.0.0.1\nprotocol websockets\n{sealed}",
            tls.port(),
            websocket.port(),
            tls_websocket.port()
        );
        passwords(peers, &folder.path().join("passwords"))?;
        let rights = USERS.map(|(name, _, filter)| format!("user {name}\ntopic readwrite {filter}\n")).concat();
        fs::write(folder.path().join("rights"), rights)?;
        let users = format!(
            "allow_anonymous false\nmax_queued_messages 100000\npassword_file {}\nacl_file {}\n",
            file("passwords"),
            file("rights")
        );
        let (open, users) = (Mosquitto::start_with(peers, &open)?, Mosquitto::start_with(peers, &users)?);
        let listeners = Listeners {
            plain: open.address(),
            tls,
            websocket,
            tls_websocket,
            users: users.address(),
            ca: folder.path().join("ca.pem"),
        };
        Ok(Theirs { listeners, _open: open, _users: users, _folder: folder, _ports: ports })
    }
}

fn passwords(peers: &Peers, file: &Path) -> anyhow::Result<()> {
    fs::write(file, USERS.map(|(name, password, _)| format!("{name}:{password}\n")).concat())?;
    let status = Command::new(peers.program("mosquitto_passwd")).arg("-U").arg(file).status()?;
    ensure!(status.success(), "mosquitto_passwd ended with {status}");
    Ok(())
}
