//! From an accepted socket to a client with a session.

use std::{net::SocketAddr, sync::Arc};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::{Duration, Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::Connection,
    farewell::Left,
    hub::{Guest, Hub},
    inside::MARK,
    rights::Rights,
    session::Attached,
    stream::Stream,
    users::{Denied, Visitor},
    wire::{self, Accepted, Connect, Refusal, Version},
};

/// Topic aliases that a client may use.
pub(crate) const TOPIC_ALIASES: u16 = 16;
/// Bytes of the longest CONNECT; nobody has logged in yet, so it is less than other packets may have.
const LONGEST_CONNECT: usize = 128 * 1024;
/// How long a refused client may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection over which MQTT may begin.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: Stream,
    pub(crate) peer: SocketAddr,
    /// The name in the client's certificate, which has been checked.
    pub(crate) certificate: Option<String>,
    /// Until when its CONNECT packet has to be there.
    pub(crate) deadline: Instant,
}

/// Serves one client from the first byte of MQTT to its last. Returns what is left to be done when it had a session.
pub(crate) async fn serve(hub: Arc<Hub>, arrival: Arrival, stop: &CancellationToken) -> Option<Left> {
    let Arrival { mut stream, peer, certificate, deadline } = arrival;
    let mut input = BytesMut::with_capacity(1024);
    let first = tokio::select! {
        () = stop.cancelled() => return None,
        first = timeout_at(deadline, first_packet(&hub, &mut stream, &mut input)) => first,
    };
    let connect = match first {
        Ok(Some(Ok(connect))) => connect,
        Ok(Some(Err((version, refusal)))) => {
            refuse(&hub, stream, (peer, None), version, refusal).await;
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
    let (version, users) = (connect.version, hub.users.generation());
    let who = (shown(&connect.client), connect.login.as_ref().map(|(name, _)| shown(name)));
    let admitted = tokio::select! {
        () = stop.cancelled() => return None,
        admitted = admit(&hub, &connect, certificate.as_deref(), peer) => admitted,
    };
    let attached = admitted.and_then(|(client, rights)| attach(&hub, connect, client, (rights, users), peer));
    match attached {
        Ok((connection, answer)) => Some(connection.run(stream, input, &answer, stop).await),
        Err(refusal) => {
            refuse(&hub, stream, (peer, Some(who)), version, refusal).await;
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
        match wire::frame(input, LONGEST_CONNECT.min(hub.limits.packet_bytes)) {
            Ok(Some(frame)) => {
                let (connect, length) = (wire::connect(&frame).ok()?, frame.length());
                input.advance(length);
                return Some(connect);
            }
            Ok(None) => {}
            Err(_) => return None,
        }
        // Anything but a CONNECT is known by its first byte.
        if input.first().is_some_and(|first| *first != 0x10) || stream.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}

/// Whether the client may come in. Returns its id, if the broker has chosen it, and its rights.
async fn admit(
    hub: &Hub,
    connect: &Connect,
    certificate: Option<&str>,
    peer: SocketAddr,
) -> Result<(Option<String>, Rights), Refusal> {
    let chosen = connect.client.is_empty().then(|| format!("auto-{}-{:016x}", hub.number(), rand::random::<u64>()));
    let visitor = Visitor {
        login: connect.login.as_ref().map(|(name, password)| (name.as_str(), password.as_str())),
        certificate,
        client: chosen.as_deref().unwrap_or(&connect.client),
        address: peer.ip(),
    };
    let rights = hub.users.login(visitor).await.map_err(|denied| match denied {
        Denied::Wrong | Denied::Later => Refusal::Login,
    })?;
    if connect.client.is_empty() && may_not_be_empty(connect) {
        return Err(Refusal::ClientId);
    }
    if connect.client.starts_with(MARK) && rights.inside().is_none() {
        // The sessions of the gateway's own bridges are nobody else's.
        return Err(Refusal::ClientId);
    }
    match &connect.will {
        Some(will) if !rights.may_publish(&will.topic) => Err(Refusal::NotAuthorized),
        _ => Ok((chosen, rights)),
    }
}

/// MQTT 3.1 knows no empty client id, and MQTT 3.1.1 none under which a session is to be kept (§3.1.3.1).
fn may_not_be_empty(connect: &Connect) -> bool {
    connect.version == Version::V3 || (connect.version == Version::V4 && !connect.clean)
}

/// Gives an admitted client its session, unless users are others than at its login. Returns the connection and the CONNACK.
fn attach(
    hub: &Arc<Hub>,
    connect: Connect,
    assigned: Option<String>,
    (rights, users): (Rights, u64),
    peer: SocketAddr,
) -> Result<(Connection, Vec<u8>), Refusal> {
    let number = hub.number();
    let client = assigned.as_deref().unwrap_or(&connect.client);
    let limits = &hub.limits;
    let expiry = connect.expiry.min(limits.session_expiry);
    let keep_alive = match (limits.longest_keep_alive, connect.keep_alive) {
        (longest, asked) if longest == 0 || connect.version != Version::V5 => asked,
        (longest, 0) => longest,
        (longest, asked) => asked.min(longest),
    };
    let attached = Attached {
        connection: number,
        wake: Arc::new(Notify::new()),
        kick: CancellationToken::new(),
        expiry,
        window: limits.in_flight.min(connect.receive_maximum.into()).max(1),
        window_bytes: limits.queue_bytes / 2,
        leave: None,
        ready: Arc::default(),
    };
    let mut accepted = Accepted {
        session_present: false,
        assigned: assigned.as_deref(),
        session_expiry: (expiry != connect.expiry).then_some(expiry),
        keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
        receive_maximum: limits.receive_maximum.max(1),
        topic_aliases: TOPIC_ALIASES,
        packet_bytes: u32::try_from(limits.packet_bytes).unwrap_or(u32::MAX),
    };
    let mut out = Vec::with_capacity(256);
    wire::accept(&mut out, connect.version, &accepted);
    if out.len() > usize::try_from(connect.packet_bytes).unwrap_or(usize::MAX) {
        return Err(Refusal::TakesTooLittle);
    }
    tracing::debug!(client, %peer, user = rights.user(), version = ?connect.version, "MQTT client connected");
    let guest = Guest { client, rights, clean: connect.clean, users };
    let (session, session_present) = hub.attach(guest, attached.clone()).ok_or(Refusal::UsersChanged)?;
    accepted.session_present = session_present;
    out.clear();
    wire::accept(&mut out, connect.version, &accepted);
    Ok((Connection::new(Arc::clone(hub), session, attached, connect, keep_alive, peer), out))
}

/// What a stranger calls itself, for the log.
fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

/// Tells a client why it may not come in; `who` is its client id and user name, as far as it has said them.
async fn refuse(
    hub: &Hub,
    mut stream: Stream,
    (peer, who): (SocketAddr, Option<(String, Option<String>)>),
    version: Version,
    refusal: Refusal,
) {
    hub.counters.refused_logins.increase();
    if hub.lines.refusals.is_due() {
        let (client, user) = who.unwrap_or_default();
        tracing::info!(
            %peer, client, user, reason = refusal.text(),
            "MQTT client refused; the counter of refused logins tells about more"
        );
    }
    let mut out = Vec::with_capacity(128);
    // MQTT 5.0 §3.1.2.11.4: who takes no packet of that size gets none.
    if refusal != Refusal::TakesTooLittle {
        wire::refuse(&mut out, version, refusal);
    }
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
