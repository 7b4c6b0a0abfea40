//! The site of a load: links, devices, one target, and ports that are free.

use std::{
    fmt::Write,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// The ports of one measurement.
pub(crate) struct Ports {
    pub(crate) mqtt: u16,
    pub(crate) web: u16,
    pub(crate) cloud: u16,
}

impl Ports {
    /// Three free ports. They are free again when this returns; nobody else takes ports on this machine meanwhile.
    pub(crate) fn find() -> anyhow::Result<Ports> {
        let listen = || TcpListener::bind("127.0.0.1:0").context("failed to find a free port");
        let listeners = [listen()?, listen()?, listen()?];
        let [mqtt, web, cloud] = listeners.map(|listener| listener.local_addr().map(|address| address.port()));
        Ok(Ports { mqtt: mqtt?, web: web?, cloud: cloud? })
    }
}

/// Writes a site with these links (`host:port` each) of `units` devices each, and returns its file.
pub(crate) fn write(folder: &Path, ports: &Ports, links: &[String], units: usize) -> anyhow::Result<PathBuf> {
    let mut text = format!(
        "[gateway]\nid = \"bench\"\ndata_dir = \"data\"\nprofiles = [\"profiles\"]\n\n\
         [broker]\nlisten = \"127.0.0.1:{}\"\n\n[web]\nlisten = \"127.0.0.1:{}\"\n\n\
         [[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\nformat = \"json\"\n",
        ports.mqtt, ports.web, ports.cloud
    );
    for (index, address) in links.iter().enumerate() {
        write!(text, "\n[[link]]\nname = \"link-{index}\"\ndriver = \"modbus-tcp\"\naddress = \"{address}\"\n")?;
        for unit in 1..=units {
            write!(
                text,
                "\n[[device]]\nname = \"{}\"\nlink = \"link-{index}\"\nprofile = \"bench\"\nunit = {unit}\n",
                device(index, unit)
            )?;
        }
    }
    let file = folder.join("tidegate.toml");
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(file)
}

/// The name of a device.
pub(crate) fn device(link: usize, unit: usize) -> String {
    format!("device-{link}-{unit}")
}
