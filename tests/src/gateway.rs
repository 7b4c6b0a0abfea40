//! `tidegate run` as a child process.

use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{Command, ExitStatus},
    sync::OnceLock,
};

use anyhow::{Context, bail};

use crate::{Child, PATIENCE, Site, get, peers::workspace, wait_until};

/// One of the workspace's own programs (`tidegate`, `tidegate-sim`): from the variable that `cargo xtask test` sets
/// (`TIDEGATE_BIN`, `TIDEGATE_SIM_BIN`), or built for development now.
///
/// # Errors
///
/// When it cannot be built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let variable = if name == "tidegate-sim" { "TIDEGATE_SIM_BIN" } else { "TIDEGATE_BIN" };
    if let Some(file) = std::env::var_os(variable) {
        return Ok(file.into());
    }
    // Once per process: cargo takes a moment even when there is nothing to do.
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    if let Err(error) = built {
        bail!("{error}");
    }
    // The test itself is in `debug/deps` of whatever target folder cargo was given.
    let test = std::env::current_exe().context("failed to find the path of the test")?;
    let folder = test.ancestors().nth(2).context("the test is in no folder of cargo's")?;
    Ok(folder.join(name))
}

fn build() -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).args([
        "build",
        "--quiet",
        "-p",
        "tidegate",
        "-p",
        "tidegate-simulators",
        "--bins",
    ]);
    let output = command.output().context("failed to start cargo")?;
    if !output.status.success() {
        bail!("failed to build the gateway:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Runs `tidegate` with these arguments to its end, and returns its exit code and what it wrote: standard output, then
/// standard error.
///
/// # Errors
///
/// When it cannot be built or started, or does not end in time.
pub fn tidegate<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    environment: &[(&str, &str)],
) -> anyhow::Result<(Option<i32>, String)> {
    // A command that hangs is ended from outside: nothing here can wait for it and read it at the same time.
    let mut command = Command::new("timeout");
    command.arg(PATIENCE.as_secs().to_string()).arg(program("tidegate")?).args(arguments);
    let output = command.envs(environment.iter().copied()).output().context("failed to start tidegate")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}

/// A running gateway. Killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
}

impl Gateway {
    /// Starts `tidegate run` on a site and waits until `/readyz` says that it is ready.
    ///
    /// # Errors
    ///
    /// When it is not ready after [`PATIENCE`], or has ended; with its last lines.
    pub fn start(site: &Site) -> anyhow::Result<Gateway> {
        let mut gateway = Gateway::start_unready(site)?;
        let ready = wait_until(PATIENCE, "/readyz of the gateway", || {
            if get(site.web_address(), "/readyz").is_ok_and(|answer| answer.status == 200) {
                return Some(true);
            }
            gateway.child.has_ended().then_some(false)
        });
        match ready {
            Ok(true) => Ok(gateway),
            Ok(false) => {
                gateway.child.end()?;
                Err(gateway.child.complaint("ended instead of getting ready"))
            }
            Err(_) => Err(gateway.child.complaint("did not get ready")),
        }
    }

    /// Starts `tidegate run` on a site and does not wait.
    ///
    /// # Errors
    ///
    /// When it cannot be built or started.
    pub fn start_unready(site: &Site) -> anyhow::Result<Gateway> {
        let mut command = Command::new(program("tidegate")?);
        command.current_dir(site.path()).arg("run").arg("-c").arg(site.file());
        Ok(Gateway { child: Child::start("the gateway", &mut command)? })
    }

    /// The process, for its log.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Ends it at once, without any chance to tidy up (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill();
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        self.child.terminate(PATIENCE)
    }

    /// Asks it to read its configuration again (SIGHUP).
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn reload(&self) -> anyhow::Result<()> {
        self.child.signal("HUP")
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn wait(mut self) -> anyhow::Result<ExitStatus> {
        self.child.wait(PATIENCE)
    }
}
