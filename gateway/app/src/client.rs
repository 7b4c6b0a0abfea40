//! Talking to the running gateway of a site, over its web interface, with the token in its data folder.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use serde_json::Value as Json;
use tidegate_web::{ADDRESS_FILE, TOKEN_FILE};

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
        let data_dir = site::data_dir(config)?;
        let read = |name: &str| {
            let path = data_dir.join(name);
            std::fs::read_to_string(&path).with_context(|| {
                format!(
                    "no running gateway was found: {} cannot be read; is the gateway of this site running, and may you read its data folder?",
                    path.display()
                )
            })
        };
        let (address, token) = (read(ADDRESS_FILE)?, read(TOKEN_FILE)?);
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
