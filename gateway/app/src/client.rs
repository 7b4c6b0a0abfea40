//! Talking to the running gateway of a site, over its web interface, with the token in its data folder.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, bail};
use serde_json::Value as Json;
use tidegate_web::TOKEN_FILE;

use crate::site;

/// Longer than any command may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// No answer of the gateway is larger.
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;

/// A client of one running gateway.
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    token: String,
}

/// What the gateway said: the HTTP status and the JSON.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Json,
}

impl Client {
    /// A client of the gateway that runs this site.
    pub(crate) fn of(config: &Path) -> anyhow::Result<Client> {
        let (_, site) = site::load(config)?;
        let path = site.gateway.data_dir.join(TOKEN_FILE);
        let token = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "no running gateway was found: {} cannot be read; is the gateway of this site running, and may you read its data folder?",
                path.display()
            )
        })?;
        let address = reachable(site.web.listen);
        let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build();
        Ok(Client { agent: agent.into(), base: format!("http://{address}"), token })
    }

    /// Asks for a path.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let request = self.agent.get(format!("{}{path}", self.base));
        self.answer(request.header("authorization", format!("Bearer {}", self.token)).call())
    }

    /// Sends JSON to a path.
    pub(crate) fn put(&self, path: &str, body: &Json) -> anyhow::Result<Answer> {
        let request = self.agent.put(format!("{}{path}", self.base)).header("content-type", "application/json");
        self.answer(request.header("authorization", format!("Bearer {}", self.token)).send(body.to_string()))
    }

    fn answer(&self, result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Answer> {
        let mut response =
            result.with_context(|| format!("the gateway at {} does not answer; is it running?", self.base))?;
        let status = response.status().as_u16();
        if status == 401 {
            bail!(
                "the gateway at {} does not know the token of this data folder; is it the gateway of this site?",
                self.base
            );
        }
        let text = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string()?;
        let body =
            serde_json::from_str(&text).with_context(|| format!("{} is no gateway: it answers {text:?}", self.base))?;
        Ok(Answer { status, body })
    }
}

/// Where a listener can be reached from the same machine: one that listens everywhere, on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let mut address = listen;
    if listen.ip().is_unspecified() {
        address.set_ip(match listen {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
