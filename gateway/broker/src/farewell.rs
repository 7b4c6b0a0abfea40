//! What is left of a client when its connection has ended: its will and its session.

use std::sync::Arc;

use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{Connection, End},
    disk::Away,
    hub::{Hub, Testament},
    session::{Gone, Session},
};

/// What is left of a connection.
pub(crate) struct Left {
    hub: Arc<Hub>,
    session: Arc<Session>,
    connection: u64,
    expiry: u32,
    will: Option<Arc<Testament>>,
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
    let will = will.filter(|will| {
        let is_taken_back = matches!(end, End::Disconnected { with_will: false });
        if is_taken_back {
            hub.forget_will(will.connection);
        }
        !is_taken_back
    });
    let detached = hub.detach(&session, connection, expiry);
    if matches!(end, End::Stopping) {
        // A will that is on the disk is published after the restart.
        return;
    }
    let Some(resumed) = detached else {
        // Another connection has the session. A delayed will belongs to the session, which goes on unless it was given
        // up.
        if let Some(will) = will {
            if will.will.delay == 0 || session.has_ended() {
                hub.publish_will(&will);
            }
            hub.forget_will(will.connection);
        }
        return;
    };
    let left = (expiry < u32::MAX).then(|| Duration::from_secs(expiry.into()));
    // MQTT 5.0 §3.1.3.2.2: the delay ends with the session.
    let will = will.map(|will| (Duration::from_secs(will.will.delay.min(expiry).into()), will));
    keep(hub, Away { session, resumed, left, will }, stop).await;
}

/// Keeps the session of a client that is away as long as it is to be kept, and publishes its will when it is due.
pub(crate) async fn keep(hub: Arc<Hub>, away: Away, stop: CancellationToken) {
    let Away { session, resumed, left, will } = away;
    let mut passed = Duration::ZERO;
    if let Some((delay, will)) = will {
        let back = tokio::select! {
            () = stop.cancelled() => return,
            () = resumed.cancelled(), if !delay.is_zero() => true,
            () = sleep(delay) => false,
        };
        if !back || session.has_ended() {
            hub.publish_will(&will);
        }
        hub.forget_will(will.connection);
        if back {
            return;
        }
        passed = delay;
    }
    let Some(left) = left else { return };
    tokio::select! {
        () = stop.cancelled() => {}
        () = resumed.cancelled() => {}
        () = sleep(left.saturating_sub(passed)) => hub.expire(&session),
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
