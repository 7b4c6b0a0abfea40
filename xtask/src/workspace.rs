//! Where things are.

use std::path::PathBuf;

use anyhow::Context;

use crate::shell;

/// The workspace that this program was built from.
pub(crate) struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo where things are.
    ///
    /// # Errors
    ///
    /// When cargo cannot be asked or answers something else than it documents.
    pub(crate) fn find() -> anyhow::Result<Workspace> {
        let answer = shell::output(&mut shell::cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: serde_json::Value = serde_json::from_str(&answer).context("failed to read `cargo metadata`")?;
        let folder = |key: &str| {
            metadata
                .get(key)
                .and_then(serde_json::Value::as_str)
                .map(PathBuf::from)
                .with_context(|| format!("failed to find `{key}` in `cargo metadata`"))
        };
        Ok(Workspace { root: folder("workspace_root")?, target: folder("target_directory")? })
    }

    /// Where the foreign peers of the tests are installed.
    pub(crate) fn peers(&self) -> PathBuf {
        self.target.join("peers")
    }

    /// Where tools are installed that are no part of the product.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// A program of the workspace, built for development.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }
}
