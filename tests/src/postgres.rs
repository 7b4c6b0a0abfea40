//! A PostgreSQL server, as the database of the cloud.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::{Child, PATIENCE, Peers, Port};

/// The user that owns everything in the server. The password keeps others on this machine out.
const USER: &str = "tide";
const PASSWORD: &str = "ebb-and-flow";

/// PostgreSQL refuses to run as root; of these accounts the first that there is takes root's place.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// A server on a port of its own, with one empty database, that writes to the disk what it has committed (`fsync` is
/// on). Killed when dropped.
#[derive(Debug)]
pub struct Postgres {
    programs: Programs,
    port: Port,
    folder: TempDir,
    child: Option<Child>,
}

/// Where the programs are and who runs them.
#[derive(Debug)]
struct Programs {
    initdb: PathBuf,
    postgres: PathBuf,
    psql: PathBuf,
    /// User and group id, when this is root.
    account: Option<(u32, u32)>,
}

impl Programs {
    fn find(peers: &Peers) -> anyhow::Result<Programs> {
        let [initdb, postgres, psql] = ["initdb", "postgres", "psql"].map(|name| peers.program(name));
        let account = if number(&["-u"])? == 0 { Some(unprivileged()?) } else { None };
        Ok(Programs { initdb, postgres, psql, account })
    }

    /// A command that does not run as root.
    fn command(&self, program: &Path) -> Command {
        let mut command = match self.account {
            None => Command::new(program),
            Some((user, group)) => {
                // It becomes the program itself: what kills it kills that.
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={group}")]);
                command.arg("--clear-groups").arg(program);
                command
            }
        };
        // Neither the language nor the settings of whoever runs the test.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
        // The folder of the test may be one that the account may not enter.
        command.current_dir("/");
        command
    }
}

/// One of the accounts that are not root's.
fn unprivileged() -> anyhow::Result<(u32, u32)> {
    for account in ACCOUNTS {
        if let (Ok(user), Ok(group)) = (number(&["-u", account]), number(&["-g", account])) {
            return Ok((user, group));
        }
    }
    bail!("PostgreSQL does not run as root, and there is no account {}", ACCOUNTS.join(" or "))
}

/// What `id` says.
fn number(arguments: &[&str]) -> anyhow::Result<u32> {
    let output = Command::new("id").args(arguments).output().context("failed to start `id`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("`id {}` gave no number", arguments.join(" ")))
}

impl Postgres {
    /// Makes a database and starts the server.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(peers: &Peers) -> anyhow::Result<Postgres> {
        let programs = Programs::find(peers)?;
        let folder = tempfile::tempdir().context("failed to make a folder for PostgreSQL")?;
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).context("failed to write the password of PostgreSQL")?;
        if let Some((user, group)) = programs.account {
            for path in [folder.path(), &password] {
                chown(path, Some(user), Some(group)).context("failed to give PostgreSQL its folder")?;
            }
        }
        let mut initdb = programs.command(&programs.initdb);
        initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username", USER]);
        initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(folder.path().join("data"));
        Child::start("initdb", &mut initdb)?.finish()?;
        let mut server = Postgres { programs, port: Port::reserve()?, folder, child: None };
        server.resume()?;
        server.query(&format!("create database {USER}"), "postgres")?;
        Ok(server)
    }

    /// Where it listens, also while it does not run.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// What a program connects to: `postgres://user:password@host:port/database`.
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// The same by way of another address: a proxy before the server.
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("postgres://{USER}:{PASSWORD}@{address}/{USER}")
    }

    /// Runs an SQL command with psql. Rows come as text, columns by `|`; a NULL is nothing.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses the command; the text is psql's.
    pub fn sql(&self, command: &str) -> anyhow::Result<Vec<String>> {
        self.query(command, USER)
    }

    /// Kills it with all its processes in the middle of whatever they do; what was committed is there when it is back.
    pub fn kill(&mut self) {
        // The postmaster's children notice by themselves that it is gone.
        self.child = None;
    }

    /// Stops it as an operator in a hurry would (`fast`): connections are cut, nothing is lost.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.signal("INT")?;
            child.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// Starts it again at the same address, with what it had committed, and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let child = self.postgres()?;
            let ready = child.wait_for(PATIENCE, "the word that it takes connections", |lines| {
                let said = |part: &str| lines.iter().any(|line| line.text.contains(part));
                said("is ready to accept connections")
                    .then_some(true)
                    // After a kill, what is left of the last one may need a moment to end.
                    .or_else(|| (said("is still in use") || said("already exists")).then_some(false))
            })?;
            if ready {
                self.child = Some(child);
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(child.complaint("is kept from starting by the processes of the last one"));
            }
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn postgres(&self) -> anyhow::Result<Child> {
        let mut command = self.programs.command(&self.programs.postgres);
        command.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
        command.args(["-h", "127.0.0.1", "-p", &self.port.number().to_string()]);
        for setting in ["fsync=on", "synchronous_commit=on", "max_connections=40", "shared_buffers=64MB"] {
            command.args(["-c", setting]);
        }
        Child::start("PostgreSQL", &mut command)
    }

    fn query(&self, command: &str, database: &str) -> anyhow::Result<Vec<String>> {
        let mut psql = self.programs.command(&self.programs.psql);
        psql.args(["-h", "127.0.0.1", "-p", &self.port.number().to_string(), "-U", USER, "-d", database]);
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "-c", command]);
        let output = psql.env("PGPASSWORD", PASSWORD).output().context("failed to start psql")?;
        if !output.status.success() {
            bail!("psql failed on `{command}`: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_outlives_a_kill() -> anyhow::Result<()> {
        let Some(peers) = Peers::find()? else { return Ok(()) };
        let mut server = Postgres::start(&peers)?;
        server.sql("create table tide (height integer); insert into tide values (3), (null)")?;
        server.kill();
        assert!(server.sql("select 1").is_err(), "nobody is there");
        server.resume()?;
        assert_eq!(server.sql("select height, 'm' from tide order by height")?, ["3|m", "|m"]);
        server.stop()?;
        server.resume()?;
        assert_eq!(server.sql("select count(*) from tide; show fsync")?, ["2", "on"]);
        let error = server.sql("select no_such").expect_err("no such column");
        assert!(error.to_string().contains("no_such"), "{error}");
        Ok(())
    }
}
