//! Debian packages: asks for the missing ones, as whoever may.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::shell;

/// One program of a Debian package, and the version that the tests were written with.
pub(crate) struct Program {
    /// The name of the program.
    pub(crate) name: &'static str,
    /// The package it is in.
    pub(crate) package: &'static str,
    /// The upstream version, without Debian's own part.
    pub(crate) version: &'static str,
    /// The folder it is in when the package keeps it off the search path.
    pub(crate) folder: Option<&'static str>,
}

impl Program {
    /// The full path of the program, if it is there.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        match self.folder {
            Some(folder) => Some(Path::new(folder).join(self.name)).filter(|file| file.is_file()),
            None => shell::find(self.name),
        }
    }
}

/// Where Debian's PostgreSQL looks what to do when a server is installed for the first time.
const CLUSTERS: &str = "/etc/postgresql-common/createcluster.d";

/// Read from [`CLUSTERS`] while the package is installed: no cluster is made, none is started.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/tidegate-tests.conf";

/// Installs the packages of those programs that are not there.
///
/// # Errors
///
/// When something is missing and there is no `apt-get`, no right to use it, or it fails.
pub(crate) fn install(programs: &[Program]) -> anyhow::Result<()> {
    let mut missing: Vec<&str> =
        programs.iter().filter(|program| program.find().is_none()).map(|program| program.package).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if shell::find("apt-get").is_none() {
        bail!(
            "the tests need {names} and there is no apt-get here; install what your system calls them and run this again"
        );
    }
    let prefix = administrator().with_context(|| {
        format!("the tests need {names}; run `sudo apt-get install {names}` once and then this again")
    })?;
    shell::must(&mut apt_get(prefix, &["update"]))?;
    let install = [&["install", "--yes", "--no-install-recommends"], missing.as_slice()].concat();
    if !missing.iter().any(|package| package.starts_with("postgresql")) {
        return shell::must(&mut apt_get(prefix, &install));
    }
    // The tests start servers of their own; a service on this machine is nobody's wish.
    let forbid = format!("mkdir -p {CLUSTERS} && echo 'create_main_cluster = false' > {NO_CLUSTER}");
    shell::must(&mut as_administrator(prefix, &["sh", "-c", &forbid]))?;
    let installed = shell::must(&mut apt_get(prefix, &install));
    shell::must(&mut as_administrator(prefix, &["rm", "-f", NO_CLUSTER]))?;
    installed
}

/// Says which version of each program is installed, and when it is another one than the tests were written with.
pub(crate) fn describe(programs: &[Program]) {
    let mut named: Vec<&str> = Vec::new();
    for program in programs {
        if named.contains(&program.package) {
            continue;
        }
        named.push(program.package);
        match installed(program.package) {
            Some(version) if upstream(&version) == program.version => println!("    {} {version}", program.package),
            Some(version) => {
                println!("    {} {version} (the tests were written with {})", program.package, program.version);
            }
            None => println!("    {}, not from a Debian package (written with {})", program.name, program.version),
        }
    }
}

/// What to put before a command so that it may install packages: nothing for root, `sudo` for who need not type a password.
fn administrator() -> anyhow::Result<&'static [&'static str]> {
    let user = shell::output(&mut shell::command("id", ["-u"]))?;
    if user.trim() == "0" {
        return Ok(&[]);
    }
    if shell::find("sudo").is_some() && shell::output(&mut shell::command("sudo", ["-n", "true"])).is_ok() {
        return Ok(&["sudo", "-n"]);
    }
    bail!("this is neither root nor somebody with a sudo that asks no password")
}

fn apt_get(prefix: &[&str], arguments: &[&str]) -> std::process::Command {
    // Another package manager that is at work is waited for; a broker of the tests is not to be started as a service.
    let settings = ["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"];
    as_administrator(prefix, &[&["env"], settings.as_slice(), arguments].concat())
}

/// A command with what [`administrator`] says before it.
fn as_administrator(prefix: &[&str], words: &[&str]) -> std::process::Command {
    let words = [prefix, words].concat();
    let (program, rest) = words.split_first().unwrap_or((&"env", &[]));
    shell::command(program, rest)
}

/// The version of a package that is installed.
fn installed(package: &str) -> Option<String> {
    let mut query = shell::command("dpkg-query", ["--show", "--showformat=${Version}", package]);
    shell::output(&mut query).ok().filter(|version| !version.is_empty())
}

/// A Debian version without its epoch, its revision and its repacking marks.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
    version.split(['+', '~']).next().unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_own_part_of_a_version_is_cut_off() {
        assert_eq!(upstream("2.0.11-1.2+deb12u2"), "2.0.11");
        assert_eq!(upstream("1.4.11+dfsg-2"), "1.4.11");
        assert_eq!(upstream("1:3.11.2-1+b1"), "3.11.2");
        assert_eq!(upstream("1.5"), "1.5");
    }
}
