//! From an accepted socket to a client with a session.

use std::{net::SocketAddr, sync::Arc};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::{Duration, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::Connection,
    farewell::Left,
    hub::Hub,
    rights::Rights,
    session::Attached,
    stream::Stream,
    wire::{self, Accepted, Connect, Refusal, Version},
};

/// Topic aliases that a client may use.
pub(crate) const TOPIC_ALIASES: u16 = 16;
/// Bytes of the longest CONNECT; nobody has logged in yet, so it is less than other packets may have.
const LONGEST_CONNECT: usize = 128 * 1024;
/// How long a refused client may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves one client from its first byte to its last. Returns what is left to be done when it had a session.
pub(crate) async fn serve(
    hub: Arc<Hub>,
    mut stream: Stream,
    peer: SocketAddr,
    stop: &CancellationToken,
) -> Option<Left> {
    let mut input = BytesMut::with_capacity(1024);
    let first = tokio::select! {
        () = stop.cancelled() => return None,
        first = timeout(hub.limits.connect_timeout, first_packet(&hub, &mut stream, &mut input)) => first,
    };
    let connect = match first {
        Ok(Some(Ok(connect))) => connect,
        Ok(Some(Err((version, refusal)))) => {
            refuse(&hub, stream, peer, version, refusal).await;
            return None;
        }
        Ok(None) => {
            hub.counters.faults.increase();
            tracing::debug!(%peer, "a connection began with something else than an MQTT CONNECT packet");
            return None;
        }
        Err(_) => {
            tracing::debug!(%peer, "a connection sent no MQTT CONNECT packet in time");
            return None;
        }
    };
    match admit(&hub, &connect) {
        Ok(rights) => {
            let (connection, answer) = attach(hub, connect, rights, peer);
            Some(connection.run(stream, input, answer, stop).await)
        }
        Err(refusal) => {
            refuse(&hub, stream, peer, connect.version, refusal).await;
            None
        }
    }
}

/// Waits for CONNECT; `None` when the connection ends or sends something else.
async fn first_packet(
    hub: &Hub,
    stream: &mut Stream,
    input: &mut BytesMut,
) -> Option<Result<Connect, (Version, Refusal)>> {
    loop {
        match wire::next_frame(input, LONGEST_CONNECT.min(hub.limits.packet_bytes)) {
            Ok(Some(frame)) => return wire::connect(frame).ok(),
            Ok(None) => {}
            Err(_) => return None,
        }
        // Anything but a CONNECT is known by its first byte.
        if input.first().is_some_and(|first| *first != 0x10) || stream.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}

/// Whether the client may come in.
fn admit(hub: &Hub, connect: &Connect) -> Result<Rights, Refusal> {
    let login = connect.login.as_ref().map(|(name, password)| (name.as_str(), password.as_str()));
    let rights = hub.users.login(login).ok_or(Refusal::Login)?;
    if connect.client.is_empty() && connect.version == Version::V4 && !connect.clean {
        return Err(Refusal::ClientId);
    }
    match &connect.will {
        Some(will) if !rights.may_publish(&will.topic) => Err(Refusal::NotAuthorized),
        _ => Ok(rights),
    }
}

/// Gives an admitted client its session. Returns the connection and the CONNACK.
fn attach(hub: Arc<Hub>, connect: Connect, rights: Rights, peer: SocketAddr) -> (Connection, BytesMut) {
    let number = hub.number();
    let assigned = connect.client.is_empty().then(|| format!("auto-{number}-{:016x}", rand::random::<u64>()));
    let client = assigned.as_deref().unwrap_or(&connect.client);
    let attached = Attached {
        connection: number,
        wake: Arc::new(Notify::new()),
        kick: CancellationToken::new(),
        expiry: connect.expiry,
        window: hub.limits.in_flight.min(connect.receive_maximum.into()).max(1),
        overflow: false,
    };
    tracing::debug!(client, %peer, user = rights.user(), version = ?connect.version, "MQTT client connected");
    let (session, session_present) = hub.attach(client, rights, connect.clean, attached.clone());
    let mut out = BytesMut::with_capacity(256);
    let accepted = Accepted {
        session_present,
        assigned: assigned.as_deref(),
        topic_aliases: TOPIC_ALIASES,
        packet_bytes: u32::try_from(hub.limits.packet_bytes).unwrap_or(u32::MAX),
    };
    wire::accept(&mut out, connect.version, &accepted);
    (Connection::new(hub, session, attached, connect, peer), out)
}

/// Tells a client why it may not come in.
async fn refuse(hub: &Hub, mut stream: Stream, peer: SocketAddr, version: Version, refusal: Refusal) {
    hub.counters.refused_logins.increase();
    if hub.lines.refusals.is_due() {
        tracing::info!(%peer, reason = ?refusal, "MQTT client refused; the counter of refused logins tells about more");
    }
    let mut out = BytesMut::with_capacity(8);
    wire::refuse(&mut out, version, refusal);
    // The answer is lost when the socket is closed while bytes of the client are still unread, so they are read first.
    let farewell = async {
        stream.write_all(&out).await?;
        stream.shutdown().await?;
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(FAREWELL, farewell).await;
}
