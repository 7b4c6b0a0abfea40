//! The proxy does what it says.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener as Listener, TcpStream as Stream},
    time::Instant,
};

use super::*;

const SHORT: Duration = Duration::from_millis(100);

/// A link, the side that has connected, and the server's side.
struct Ends {
    proxy: FaultProxy,
    listener: Listener,
    client: Stream,
    server: Stream,
}

impl Ends {
    fn open() -> anyhow::Result<Ends> {
        let listener = Listener::bind("127.0.0.1:0")?;
        let proxy = FaultProxy::start(listener.local_addr()?, 7)?;
        let (client, server) = connect(&proxy, &listener)?;
        Ok(Ends { proxy, listener, client, server })
    }
}

fn connect(proxy: &FaultProxy, listener: &Listener) -> anyhow::Result<(Stream, Stream)> {
    let client = Stream::connect(proxy.address())?;
    let server = listener.accept()?.0;
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((client, server))
}

fn arrives(from: &mut Stream, to: &mut Stream, bytes: &[u8]) -> anyhow::Result<()> {
    from.write_all(bytes)?;
    let mut got = vec![0; bytes.len()];
    to.read_exact(&mut got)?;
    assert_eq!(got, bytes);
    Ok(())
}

/// Whether nothing comes, not even an end.
fn is_silent(socket: &mut Stream) -> anyhow::Result<bool> {
    socket.set_read_timeout(Some(SHORT))?;
    let read = socket.read(&mut [0; 1]);
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)))
}

#[test]
fn a_good_link_carries_bytes_and_ends_both_ways() -> anyhow::Result<()> {
    let Ends { proxy, mut client, mut server, .. } = Ends::open()?;
    arrives(&mut client, &mut server, b"ebb")?;
    arrives(&mut server, &mut client, b"flow")?;
    assert_eq!((proxy.carried(Way::There), proxy.carried(Way::Back), proxy.open()), (3, 4, 1));
    drop(client);
    assert_eq!(server.read(&mut [0; 1])?, 0, "an orderly end");
    drop(server);
    wait_until(PATIENCE, "the end of the connection", || (proxy.open() == 0).then_some(()))
}

#[test]
fn what_a_silent_link_holds_back_comes_later_with_the_end() -> anyhow::Result<()> {
    let Ends { proxy, listener, mut client, mut server } = Ends::open()?;
    proxy.fault(Fault::Silent)?;
    client.write_all(b"ebb")?;
    drop(client);
    let late = Stream::connect(proxy.address())?;
    assert!(is_silent(&mut server)?);
    proxy.heal()?;
    let mut text = String::new();
    server.read_to_string(&mut text)?;
    assert_eq!(text, "ebb");
    listener.accept()?;
    drop(late);
    Ok(())
}

#[test]
fn a_half_open_link_works_in_one_direction() -> anyhow::Result<()> {
    let Ends { proxy, mut client, mut server, .. } = Ends::open()?;
    proxy.fault(Fault::HalfOpen(Way::There))?;
    client.write_all(b"ebb")?;
    assert!(is_silent(&mut server)?);
    arrives(&mut server, &mut client, b"flow")?;
    proxy.fault(Fault::HalfOpen(Way::Back))?;
    let mut held = [0; 3];
    server.read_exact(&mut held)?;
    assert_eq!(&held, b"ebb");
    server.write_all(b"flow")?;
    assert!(is_silent(&mut client)?);
    Ok(())
}

#[test]
fn a_refusing_link_resets_what_is_open_and_lets_nobody_in_until_it_is_healed() -> anyhow::Result<()> {
    let Ends { proxy, listener, mut client, mut server } = Ends::open()?;
    proxy.fault(Fault::Refused)?;
    for socket in [&mut client, &mut server] {
        let error = socket.read(&mut [0; 1]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let error = Stream::connect(proxy.address()).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    proxy.heal()?;
    let (mut client, mut server) = connect(&proxy, &listener)?;
    arrives(&mut client, &mut server, b"ebb")
}

#[test]
fn a_slow_link_takes_its_time() -> anyhow::Result<()> {
    let Ends { proxy, mut client, mut server, .. } = Ends::open()?;
    proxy.fault(Fault::Slow(10_000))?;
    let started = Instant::now();
    arrives(&mut client, &mut server, &[7; 3_000])?;
    assert!(started.elapsed() > Duration::from_millis(200), "{:?}", started.elapsed());
    Ok(())
}

#[test]
fn a_link_resets_in_the_middle_of_a_message() -> anyhow::Result<()> {
    let Ends { proxy, listener, mut client, mut server } = Ends::open()?;
    proxy.fault(Fault::Reset(1_000))?;
    for _ in 0..3 {
        client.write_all(&[7; 1_000])?;
        let mut got = Vec::new();
        let error = server.read_to_end(&mut got).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(got.len() < 1_000);
        (client, server) = connect(&proxy, &listener)?;
    }
    proxy.heal()?;
    arrives(&mut client, &mut server, &[7; 3_000])
}

#[test]
fn a_cut_ends_what_is_open_and_leaves_the_link_as_it_is() -> anyhow::Result<()> {
    let Ends { proxy, listener, mut client, server } = Ends::open()?;
    proxy.cut(Cut::Closed);
    assert_eq!(client.read(&mut [0; 1])?, 0);
    drop(server);
    let (mut client, mut server) = connect(&proxy, &listener)?;
    arrives(&mut client, &mut server, b"ebb")?;
    proxy.cut(Cut::Reset);
    assert!(client.read(&mut [0; 1]).is_err());
    Ok(())
}
