//! Where the foreign peers are.

use std::path::{Path, PathBuf};

use anyhow::bail;

/// The programs that `cargo xtask peers` has installed.
#[derive(Debug, Clone)]
pub struct Peers {
    folder: PathBuf,
}

impl Peers {
    /// The peers in `TIDEGATE_PEERS`, or in the workspace's `target/peers` when that is not set. `None`, with a line
    /// that says so, when they are not installed: the test then has nothing to do.
    ///
    /// # Errors
    ///
    /// When they are not installed and `TIDEGATE_REQUIRE_PEERS` is set, as `cargo xtask test` does.
    pub fn find() -> anyhow::Result<Option<Peers>> {
        let folder = std::env::var_os("TIDEGATE_PEERS").map_or_else(|| workspace().join("target/peers"), PathBuf::from);
        let peers = Peers { folder };
        let needed = ["mosquitto", "mosquitto_sub", "mbpoll", "postgres", "node"].map(|name| peers.program(name));
        let needed = [peers.python(), peers.node_modules().join("node-opcua-server")]
            .into_iter()
            .chain(needed)
            .collect::<Vec<PathBuf>>();
        let Some(missing) = needed.iter().find(|file| !file.exists()) else { return Ok(Some(peers)) };
        let reason =
            format!("the foreign peers are not installed ({} is missing): run `cargo xtask peers`", missing.display());
        if std::env::var_os("TIDEGATE_REQUIRE_PEERS").is_some() {
            bail!(reason);
        }
        println!("skipped: {reason}");
        Ok(None)
    }

    /// One of the programs from Debian packages.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// The Python with pymodbus and asyncua.
    pub fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    /// The packages from npm, for the variable `NODE_PATH`.
    pub fn node_modules(&self) -> PathBuf {
        self.folder.join("node/node_modules")
    }

    /// One of our own scripts in `tests/peers/`, to be run by [`Peers::python`] or `node`.
    pub fn script(&self, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
    }
}

/// The folder with the workspace's `Cargo.toml`.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
