//! Clients that come, subscribe to what nobody has subscribed to before, and go.

use std::net::SocketAddr;

use anyhow::ensure;
use tidegate_tests::{Gateway, PATIENCE, wait_until};

use crate::{
    places::site,
    process::{memory_kib, open_files},
    talk::{Client, subscribe},
};

const CLIENTS: u32 = 6_000;
/// What the first of them may take for good: buffers of the allocator, and places in tables.
const WARM_UP: u32 = 1_500;
/// A broker that forgets nothing would keep a filter and an id of each: 300 bytes for 6,000 are 1.8 MB.
const GROWTH_KIB: u64 = 1_536;

fn visit(address: SocketAddr, number: u32) -> anyhow::Result<()> {
    let mut client = Client::connect(address, &format!("visitor-{number:08}-{}", "x".repeat(100)))?;
    client.send(&subscribe(&format!("visit/{number:08}/{}/#", "level/".repeat(15)), 1))?;
    let granted = client.packet()?;
    ensure!(granted == [0x90, 3, 0, 1, 1], "{granted:02x?}");
    // Every other one goes without a goodbye.
    if number.is_multiple_of(2) { client.send(&[0xE0, 0]) } else { Ok(()) }
}

#[test]
fn six_thousand_visitors_with_filters_of_their_own_leave_nothing_behind() -> anyhow::Result<()> {
    let site = site()?;
    // They come one after the other, as fast as they are let in.
    site.write("visited", "[broker.limits]\nconnect_rate = 0\n")?;
    let gateway = Gateway::start(&site)?;
    let process = gateway.child().id();
    let files = open_files(process)?;
    // What somebody holds who has gone without the broker having seen it yet is not left behind.
    let memory = || {
        wait_until(PATIENCE, "the end of all visits", || open_files(process).ok().filter(|now| *now <= files + 4))?;
        memory_kib(process)
    };
    for number in 0..WARM_UP {
        visit(site.broker_address(), number)?;
    }
    let before = memory()?;
    for number in WARM_UP..WARM_UP + CLIENTS {
        visit(site.broker_address(), number)?;
    }
    let grown = memory()?.saturating_sub(before);
    println!("after {CLIENTS} visitors the resident memory has grown by {grown} KiB");
    assert!(grown < GROWTH_KIB, "the resident memory has grown by {grown} KiB");
    Ok(())
}
