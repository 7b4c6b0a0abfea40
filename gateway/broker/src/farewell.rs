//! What is left of a client when its connection has ended: its will and its session.

use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{Connection, End},
    disk::Away,
    hub::Hub,
    message::{Published, expires},
    session::{Gone, Session},
    total::Part,
    wire::Will,
};

/// What is left of a connection.
pub(crate) struct Left {
    hub: Arc<Hub>,
    session: Arc<Session>,
    connection: u64,
    expiry: u32,
    will: Option<Will>,
    end: End,
}

/// Counts and reports how a connection ended, and lets go of its socket and buffers.
pub(crate) fn leave(connection: Connection, end: End) -> Left {
    report(&connection, &end);
    let Connection { hub, session, attached, expiry, will, .. } = connection;
    // The session of a client that was too slow ends: messages are missing from it.
    let expiry = if matches!(end, End::Gone(gone) if gone.ends_session()) { 0 } else { expiry };
    Left { hub, session, connection: attached.connection, expiry, will, end }
}

/// Publishes the will of a lost client and forgets its session when its time is over.
pub(crate) async fn farewell(left: Left, stop: CancellationToken) {
    let Left { hub, session, connection, expiry, will, end } = left;
    let will = will.filter(|_| !matches!(end, End::Disconnected { with_will: false } | End::Stopping));
    let detached = hub.detach(&session, connection, expiry);
    if matches!(end, End::Stopping) {
        return;
    }
    let Some(resumed) = detached else {
        // Another connection has the session. A delayed will belongs to the session, which goes on unless it was given
        // up.
        if let Some(will) = will.filter(|will| will.delay == 0 || session.has_ended()) {
            publish(&hub, &session, will);
        }
        return;
    };
    // MQTT 5.0 §3.1.3.2.2: the delay ends with the session.
    let delay = will.as_ref().map_or(0, |will| will.delay.min(expiry));
    let back = tokio::select! {
        () = stop.cancelled() => return,
        () = resumed.cancelled(), if delay > 0 => true,
        () = sleep(Duration::from_secs(delay.into())) => false,
    };
    if let Some(will) = will.filter(|_| !back || session.has_ended()) {
        publish(&hub, &session, will);
    }
    if back || expiry == 0 || expiry == u32::MAX {
        return;
    }
    tokio::select! {
        () = stop.cancelled() => {}
        () = resumed.cancelled() => {}
        () = sleep(Duration::from_secs(expiry.saturating_sub(delay).into())) => hub.expire(&session),
    }
}

/// Keeps a session of before a restart as long as it is to be kept.
pub(crate) async fn keep(hub: Arc<Hub>, away: Away, stop: CancellationToken) {
    let Some(left) = away.left else { return };
    tokio::select! {
        () = stop.cancelled() => {}
        () = away.resumed.cancelled() => {}
        () = sleep(left) => hub.expire(&away.session),
    }
}

fn report(connection: &Connection, end: &End) {
    let (client, user, peer) = (&*connection.session.client, connection.session.rights.user(), connection.peer);
    match end {
        End::Fault(fault) => {
            connection.hub.counters.faults.increase();
            if connection.hub.lines.faults.is_due() {
                let (code, reason) = (fault.code, fault.text);
                tracing::info!(client, user, %peer, code, reason, "MQTT client broke the protocol; disconnected");
            }
        }
        End::Gone(Gone::TooSlow) => {
            connection.hub.counters.too_slow.increase();
            tracing::warn!(
                client,
                user,
                %peer,
                waiting = connection.hub.limits.queue_bytes,
                "MQTT client takes its QoS 1 and 2 messages too slowly; its session has ended, what waited is lost to it"
            );
        }
        End::Gone(Gone::GaveWay) => {
            connection.hub.counters.too_slow.increase();
            tracing::warn!(
                client,
                user,
                %peer,
                limit = connection.hub.limits.queue_bytes_total,
                "MQTT clients together hold more than `queue_bytes_total`, and this one was the slowest; its session has ended, what waited is lost to it"
            );
        }
        End::Lost(error) => tracing::debug!(client, user, %peer, %error, "connection to MQTT client lost"),
        end => tracing::debug!(client, user, %peer, ?end, "MQTT client disconnected"),
    }
}

/// Publishes a will, if the user may still publish it: users may have changed since the client has come.
fn publish(hub: &Hub, session: &Session, will: Will) {
    let rights = hub.users.rights(session.rights.user(), &session.client);
    let Some(rights) = rights.filter(|rights| rights.may_publish(&will.topic)) else {
        hub.counters.refused_publishes.increase();
        let (client, user, topic) = (&*session.client, session.rights.user(), &*will.topic);
        tracing::debug!(
            client,
            user,
            topic,
            "the will of an MQTT client goes where its user may not publish any more; refused and counted"
        );
        return;
    };
    let response = will.passed.response_topic();
    let may_be_answered = response.is_some_and(|topic| rights.may_be_answered_at(topic));
    hub.counters.received.increase();
    hub.counters.received_bytes.add(will.payload.len());
    hub.publish(Published {
        topic: will.topic.into(),
        payload: will.payload,
        qos: will.qos,
        retain: will.retain,
        expires: expires(will.message_expiry, Instant::now()),
        properties: will.passed,
        from: session.number,
        may_be_answered,
        part: Part::default(),
    });
}
