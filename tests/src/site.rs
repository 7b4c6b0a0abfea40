//! A site in a temporary folder.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tempfile::TempDir;

use crate::{Port, get};

/// A site in a folder of its own, gone when dropped. Its ports stay reserved, so that a gateway that is started again is
/// where its subscribers look for it.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    broker: Port,
    web: Port,
}

impl Site {
    /// A folder without a site.
    ///
    /// # Errors
    ///
    /// When no folder can be made or no port is free.
    pub fn new() -> anyhow::Result<Site> {
        let folder = tempfile::tempdir().context("failed to make a folder for a site")?;
        Ok(Site { folder, broker: Port::reserve()?, web: Port::reserve()? })
    }

    /// Writes `tidegate.toml`: gateway `id`, the site's own ports, `profiles/` and `data/` in its folder, and then
    /// `rest`, which begins with a table of its own (`[[link]]`). May be written again.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, id: &str, rest: &str) -> anyhow::Result<()> {
        let head = format!(
            "[gateway]\nid = \"{id}\"\ndata_dir = \"data\"\nprofiles = [\"profiles\"]\n\n\
             [broker]\nlisten = \"{}\"\n\n[web]\nlisten = \"{}\"\n\n",
            self.broker_address(),
            self.web_address(),
        );
        self.write_file("tidegate.toml", &(head + rest))
    }

    /// Writes a file of the site (`profiles/acme/pump.toml`).
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write_file(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let file = self.path().join(path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        }
        fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The site file.
    pub fn file(&self) -> PathBuf {
        self.path().join("tidegate.toml")
    }

    /// Where the gateway's own broker listens.
    pub fn broker_address(&self) -> SocketAddr {
        self.broker.address()
    }

    /// Where the gateway's page and metrics are.
    pub fn web_address(&self) -> SocketAddr {
        self.web.address()
    }

    /// A number that the gateway tells about itself in its metrics: of all that have this name and these labels (`link="hall"`), the
    /// sum. `None` while there is none, as before the gateway answers.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Option<u64> {
        let answer = get(self.web_address(), "/metrics").ok().filter(|answer| answer.status == 200)?;
        sum(&answer.body, name, labels)
    }
}

fn sum(metrics: &str, name: &str, labels: &[&str]) -> Option<u64> {
    let number = |line: &str| {
        let (has, number) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let has = if has.is_empty() { has } else { has.strip_prefix('{')?.strip_suffix('}')? };
        let is_wanted = labels.iter().all(|label| has.split(',').any(|has| has == *label));
        is_wanted.then(|| number.parse().ok())?
    };
    metrics.lines().filter_map(number).reduce(|sum: u64, number| sum + number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_of_what_has_its_name_and_its_labels() {
        let metrics = "# TYPE rows counter\nrows{link=\"a\",cause=\"x\"} 1\nrows{link=\"a\",cause=\"y\"} 2\nrows{link=\"ab\"} 4\nrows_all 8\n";
        assert_eq!(sum(metrics, "rows", &[]), Some(7));
        assert_eq!(sum(metrics, "rows", &["link=\"a\""]), Some(3));
        assert_eq!(sum(metrics, "rows", &["link=\"a\"", "cause=\"y\""]), Some(2));
        assert_eq!(sum(metrics, "rows_all", &[]), Some(8));
        assert_eq!((sum(metrics, "rows", &["link=\"b\""]), sum(metrics, "row", &[])), (None, None));
    }
}
