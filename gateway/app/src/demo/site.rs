//! The site of the demo: written once, then left to the person; only what changes at each start is written anew.

use std::{
    fmt::Write,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::plant::{Plant, machines};

/// Holds what is another at each start: where the simulated machines and the cloud are.
const SIMULATED: &str = "simulated.toml";

/// Writes the profiles that are not there yet.
pub(crate) fn write_profiles(dir: &Path) -> anyhow::Result<()> {
    for machine in machines() {
        let file = dir.join("profiles").join(machine.profile).with_extension("toml");
        if !file.exists() {
            write_file(&file, machine.text)?;
        }
    }
    Ok(())
}

/// Writes the site and returns its file.
pub(crate) fn write(dir: &Path, plant: &Plant, cloud: SocketAddr) -> anyhow::Result<PathBuf> {
    write_file(&dir.join(SIMULATED), &simulated(plant, cloud)?)?;
    let file = dir.join("tidegate.toml");
    if !file.exists() {
        write_file(&file, &own(port(1883)?, port(8080)?))?;
    }
    Ok(file)
}

/// The part that belongs to the person.
fn own(mqtt: u16, web: u16) -> String {
    format!(
        "# The site of the demo. Change it as you like and send the gateway a SIGHUP, or start the demo again.\n\
         # Where the simulated machines and the cloud are is in {SIMULATED}, which each start writes anew.\n\n\
         [gateway]\nid = \"demo\"\ndata_dir = \"data\"\nprofiles = [\"profiles\"]\ninclude = [\"{SIMULATED}\"]\n\n\
         [broker]\nlisten = \"127.0.0.1:{mqtt}\"\n\n\
         [store]\ncommit = \"250ms\"\nmax_age = \"72h\"\nmax_size = \"1GiB\"\n\n\
         [web]\nlisten = \"127.0.0.1:{web}\"\n"
    )
}

/// The part that belongs to the demo.
fn simulated(plant: &Plant, cloud: SocketAddr) -> anyhow::Result<String> {
    let mut text = String::from("# Written anew at each start of the demo.\n");
    for (machine, address) in plant.addresses() {
        write!(
            text,
            "\n[[link]]\nname = \"{link}\"\ndriver = \"modbus-tcp\"\naddress = \"{address}\"\n\n\
             [[device]]\nname = \"{device}\"\nlink = \"{link}\"\nprofile = \"{profile}\"\nunit = 1\n",
            link = machine.link,
            device = machine.device,
            profile = machine.profile,
        )?;
    }
    write!(text, "\n[[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtt://{cloud}\"\nformat = \"json\"\n")?;
    Ok(text)
}

/// The port that a user expects, or a free one when it is taken.
fn port(expected: u16) -> anyhow::Result<u16> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, expected))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("failed to find a free port")?;
    Ok(bound.local_addr()?.port())
}

fn write_file(file: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
}
