//! Installs the foreign peers of the tests: programs that others wrote, and that our own code has to agree with.
//!
//! Everything a test starts is reachable through `target/peers`: `bin/` holds links to the Debian programs, `venv/` the
//! Python packages of `tests/peers/requirements.txt`, `node/` the packages of `tests/peers/node`.

use std::{fs, path::Path};

use anyhow::Context;

use crate::{
    packages::{self, Program},
    shell,
    tally::Outcome,
    workspace::Workspace,
};

/// The programs that tests start, from Debian 12.
const PROGRAMS: [Program; 11] = [
    Program { name: "mosquitto", package: "mosquitto", version: "2.0.11", folder: None },
    Program { name: "mosquitto_sub", package: "mosquitto-clients", version: "2.0.11", folder: None },
    Program { name: "mosquitto_pub", package: "mosquitto-clients", version: "2.0.11", folder: None },
    Program { name: "mosquitto_rr", package: "mosquitto-clients", version: "2.0.11", folder: None },
    Program { name: "mosquitto_passwd", package: "mosquitto", version: "2.0.11", folder: None },
    Program { name: "mbpoll", package: "mbpoll", version: "1.4.11", folder: None },
    Program { name: "postgres", package: "postgresql-15", version: "15.18", folder: Some(POSTGRESQL) },
    Program { name: "initdb", package: "postgresql-15", version: "15.18", folder: Some(POSTGRESQL) },
    Program { name: "node", package: "nodejs", version: "20.20.2", folder: None },
    Program { name: "npm", package: "npm", version: "11.19.1", folder: None },
    Program { name: "psql", package: "postgresql-client-15", version: "15.18", folder: Some(POSTGRESQL) },
];

/// Debian keeps the programs of each PostgreSQL in a folder of its own.
const POSTGRESQL: &str = "/usr/lib/postgresql/15/bin";

/// `cargo xtask peers`.
///
/// # Errors
///
/// As [`install`].
pub(crate) fn run() -> anyhow::Result<Outcome> {
    let workspace = Workspace::find()?;
    install(&workspace)?;
    println!("\nfor `cargo test`: TIDEGATE_PEERS={}", workspace.peers().display());
    Ok(Outcome::Passed)
}

/// Installs what is missing. Quick when nothing is.
///
/// # Errors
///
/// When something cannot be installed; the text says what a person can do.
pub(crate) fn install(workspace: &Workspace) -> anyhow::Result<()> {
    println!("==> foreign peers");
    packages::install(&PROGRAMS)?;
    let bin = workspace.peers().join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("failed to make {}", bin.display()))?;
    for program in &PROGRAMS {
        let file = program
            .find()
            .with_context(|| format!("{} is not there although {} was installed", program.name, program.package))?;
        shell::point(&bin.join(program.name), &file)?;
    }
    packages::describe(&PROGRAMS);
    python(workspace)?;
    node(workspace)
}

/// Makes the virtual environment with exactly the packages of the requirements file, unless it is there already.
fn python(workspace: &Workspace) -> anyhow::Result<()> {
    let requirements = workspace.root.join("tests/peers/requirements.txt");
    let alone = workspace.root.join("tests/peers/requirements-alone.txt");
    let read = |file: &Path| fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()));
    let wanted = read(&requirements)? + &read(&alone)?;
    let venv = workspace.peers().join("venv");
    let stamp = venv.join("requirements.txt");
    let python = venv.join("bin/python");
    // The stamp is written last: a virtual environment that was interrupted half-way has none. One whose Python has
    // gone (an upgrade of the system) does not start any more.
    let works = || {
        shell::output(&mut shell::command(&python, ["-c", "import pymodbus, asyncua, paho.mqtt, pysparkplug"])).is_ok()
    };
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) && works() {
        print_packages(&wanted);
        return Ok(());
    }
    if venv.exists() {
        fs::remove_dir_all(&venv).with_context(|| format!("failed to remove {}", venv.display()))?;
    }
    make_venv(&venv)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"];
    shell::must(shell::command(&python, pip).arg("--requirement").arg(&requirements))?;
    shell::must(shell::command(&python, pip).arg("--no-deps").arg("--requirement").arg(&alone))?;
    fs::write(&stamp, &wanted).with_context(|| format!("failed to write {}", stamp.display()))?;
    print_packages(&wanted);
    Ok(())
}

/// Installs exactly the packages of the lock file, unless they are there already. No package's own scripts are run.
fn node(workspace: &Workspace) -> anyhow::Result<()> {
    let given = workspace.root.join("tests/peers/node");
    let folder = workspace.peers().join("node");
    let lock = given.join("package-lock.json");
    let wanted = fs::read_to_string(&lock).with_context(|| format!("failed to read {}", lock.display()))?;
    // Written last, as the stamp of the virtual environment is.
    let stamp = folder.join("installed.json");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    for name in ["package.json", "package-lock.json"] {
        let (from, to) = (given.join(name), folder.join(name));
        fs::copy(&from, &to).with_context(|| format!("failed to copy {} to {}", from.display(), to.display()))?;
    }
    let quietly = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let npm = workspace.peers().join("bin/npm");
    shell::must(shell::command(npm, ["ci"]).args(quietly).current_dir(&folder))?;
    fs::write(&stamp, &wanted).with_context(|| format!("failed to write {}", stamp.display()))
}

/// `python3 -m venv`; Debian keeps what it needs in a package of its own.
fn make_venv(venv: &Path) -> anyhow::Result<()> {
    let has_pip = shell::find("python3").is_some()
        && shell::output(&mut shell::command("python3", ["-c", "import ensurepip, venv"])).is_ok();
    if !has_pip {
        packages::install(&[Program {
            name: "python3-venv",
            package: "python3-venv",
            version: "3.11.2",
            folder: None,
        }])?;
    }
    shell::must(shell::command("python3", ["-m", "venv"]).arg(venv))
}

fn print_packages(requirements: &str) {
    for package in requirements.split_whitespace().filter(|word| word.contains("==")) {
        println!("    {}", package.replace("==", " "));
    }
}
