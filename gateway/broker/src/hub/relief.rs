//! What gives way when all clients together hold more than they may.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Hub, State};
use crate::session::{Burden, Session};

impl Hub {
    /// When more waits than may: lets the slowest give way, one after the other, until an eighth of the limit is free again.
    pub(super) fn relieve(&self, state: &mut State, now: Instant) {
        let most = self.limits.queue_bytes_total;
        if self.total.bytes() <= most {
            return;
        }
        let enough = most - most / 8;
        let (mut leaving, mut slowest) = (0, Vec::new());
        for session in state.sessions.values() {
            match session.burden(now) {
                Burden::None => {}
                Burden::Leaving(bytes) => leaving += bytes,
                Burden::Holds(weight) => slowest.push((weight, Arc::clone(session))),
            }
        }
        slowest.sort_unstable_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        for (_, session) in slowest {
            // What a connection has made ready comes back when it has ended.
            while self.total.bytes().saturating_sub(leaving) > enough && self.give_way(state, &session) {
                if let Burden::Leaving(bytes) = session.burden(now) {
                    leaving += bytes;
                }
            }
        }
    }

    /// Takes something from a session: first the QoS 0 messages that wait, then everything with the session itself. Says whether there
    /// was anything to be taken.
    fn give_way(&self, state: &mut State, session: &Arc<Session>) -> bool {
        let (client, user) = (&*session.client, session.rights.user());
        let limit = self.limits.queue_bytes_total;
        let dropped = session.drop_qos_0();
        if dropped > 0 {
            self.counters.dropped.add(dropped);
            self.counters.gave_way.increase();
            if self.lines.relief.is_due() {
                tracing::warn!(
                    client,
                    user,
                    dropped,
                    limit,
                    "MQTT clients together hold more than `queue_bytes_total`; the slowest loses its QoS 0 messages that wait"
                );
            }
            return true;
        }
        match session.burden(Instant::now()) {
            Burden::None | Burden::Leaving(_) => return false,
            // It goes already, and holds what nobody is going to get.
            Burden::Holds(u128::MAX) => {}
            Burden::Holds(_) => self.counters.gave_way.increase(),
        }
        if session.offline_since().is_some() {
            let (messages, _) = session.all_waiting();
            self.counters.dropped.add(messages);
            self.give_up(state, session);
            if self.lines.relief.is_due() {
                tracing::warn!(
                    client,
                    user,
                    messages,
                    limit,
                    "MQTT clients together hold more than `queue_bytes_total`; the session of one that is away has ended, what waited is lost to it"
                );
            }
            return true;
        }
        session.give_way();
        self.hand_over(state, session);
        self.counters.dropped.add(session.forget_all());
        true
    }
}

#[cfg(test)]
mod tests {
    use tidegate_config::Broker;
    use tokio::time::{Duration, advance};

    use super::*;
    use crate::{
        hub::Guest,
        inside::Inside,
        limits::Limits,
        message::Published,
        routes::Wish,
        session::{Attached, Gone},
        users::Users,
        wire::Qos,
    };

    /// About so much a message counts with its place.
    const MESSAGE: usize = 1_500;

    fn hub(messages: usize) -> Hub {
        let limits = Limits { queue_bytes_total: messages * MESSAGE, ..Limits::default() };
        Hub::new(limits, Users::new(&Broker::on_loopback()))
    }

    /// A client that has subscribed to a topic.
    fn client(hub: &Hub, name: &str, topic: &str, qos: Qos) -> (Arc<Session>, u64) {
        let connection = hub.number();
        let rights = hub.users.rights(name.starts_with('$').then_some(name), name).unwrap();
        let guest = Guest { client: name, rights, clean: true, users: hub.users.generation() };
        let (session, _) = hub.attach(guest, Attached::for_test(connection, 100)).unwrap();
        hub.subscribe(&session, topic, Wish::of(qos));
        (session, connection)
    }

    fn publish(hub: &Hub, topic: &'static str) {
        hub.publish(Published::by_gateway(topic.into(), vec![0; MESSAGE - 256 - 96].into(), false));
    }

    /// Takes and acknowledges everything; says how many messages that were.
    fn take((session, connection): &(Arc<Session>, u64)) -> Result<usize, Gone> {
        let mut out = Vec::new();
        session.take(*connection, (usize::MAX, 1), Instant::now(), &mut out)?;
        for id in 1..=u16::MAX {
            if session.all_waiting().0 == 0 {
                break;
            }
            session.finished(*connection, id)?;
        }
        Ok(out.len())
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_gives_way_and_who_takes_what_it_gets_loses_nothing() {
        let hub = hub(100);
        let stuck = client(&hub, "stuck", "stuck", Qos::AtLeastOnce);
        let healthy = client(&hub, "healthy", "healthy", Qos::AtLeastOnce);
        let mut taken = 0;
        for round in 0..200 {
            advance(Duration::from_millis(10)).await;
            // The healthy one has at times more waiting than the stuck one ever gets.
            let many = if round % 10 == 0 { 60 } else { 1 };
            for _ in 0..many {
                publish(&hub, "healthy");
            }
            publish(&hub, "stuck");
            assert!(hub.total.bytes() <= hub.limits.queue_bytes_total);
            let got = take(&healthy).unwrap();
            assert_eq!(got, many);
            taken += got;
        }
        assert_eq!(taken, 20 * 60 + 180);
        assert_eq!(take(&stuck), Err(Gone::GaveWay));
        let status = hub.status();
        assert_eq!(status.gave_way, 1);
        assert_eq!(status.dropped, 200, "all that was for it, before and after");
    }

    #[tokio::test(start_paused = true)]
    async fn messages_with_qos_0_are_dropped_first_and_their_session_stays() {
        let hub = hub(100);
        let both = client(&hub, "both", "loose", Qos::AtMostOnce);
        let wish = Wish::of(Qos::AtLeastOnce);
        hub.subscribe(&both.0, "firm", wish);
        for _ in 0..40 {
            publish(&hub, "firm");
        }
        for _ in 0..100 {
            publish(&hub, "loose");
        }
        assert_eq!(hub.status().gave_way, 1);
        assert!(take(&both).unwrap() >= 40);
        assert_eq!(hub.total.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_just_being_written_to_the_disk_makes_nobody_else_give_way() {
        let hub = hub(100);
        let slow = client(&hub, "slow", "slow", Qos::AtLeastOnce);
        let slower = client(&hub, "slower", "slower", Qos::AtLeastOnce);
        for _ in 0..60 {
            publish(&hub, "slower");
        }
        advance(Duration::from_secs(5)).await;
        for _ in 0..30 {
            publish(&hub, "slow");
        }
        // As the writer has it while it writes.
        let written = [slow.0.to_save(0).unwrap(), slower.0.to_save(0).unwrap()];
        assert_eq!(written.each_ref().map(|saved| saved.new.len()), [30, 60]);
        for _ in 0..20 {
            publish(&hub, "slow");
        }
        assert!(slower.0.is_to_end() && !slow.0.is_to_end());
        assert_eq!((take(&slow), hub.status().gave_way), (Ok(50), 1));
        drop(slower);
        assert_eq!(written.each_ref().map(|saved| saved.new.len()), [30, 60]);
        assert_eq!(hub.total.bytes(), 0, "what is written does not count");
    }

    #[tokio::test(start_paused = true)]
    async fn what_expires_while_it_waits_does_not_count_any_more() {
        let hub = hub(1_000);
        let client = client(&hub, "client", "x", Qos::AtLeastOnce);
        let expires = Some(Instant::now() + Duration::from_secs(1));
        for _ in 0..500 {
            hub.publish(Published { expires, ..Published::by_gateway("x".into(), "short".into(), false) });
        }
        assert!(hub.total.bytes() > 500 * 96);
        advance(Duration::from_secs(2)).await;
        assert_eq!(take(&client), Ok(0));
        assert_eq!(hub.total.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_away_gives_way_after_who_is_stuck_and_before_who_takes_what_it_gets() {
        let hub = hub(100);
        let (away, connection) = client(&hub, "away", "away", Qos::AtLeastOnce);
        hub.detach(&away, connection, 100).unwrap();
        let stuck = client(&hub, "stuck", "stuck", Qos::AtLeastOnce);
        let healthy = client(&hub, "healthy", "healthy", Qos::AtLeastOnce);
        for _ in 0..50 {
            publish(&hub, "away");
            publish(&hub, "stuck");
        }
        advance(Duration::from_secs(5)).await;
        publish(&hub, "healthy");
        assert!(stuck.0.is_to_end() && !away.has_ended() && !healthy.0.is_to_end());
        take(&healthy).unwrap();
        for _ in 0..60 {
            publish(&hub, "healthy");
        }
        assert!(away.has_ended() && !healthy.0.is_to_end());
        assert_eq!(take(&healthy), Ok(60));
        assert_eq!((hub.status().gave_way, hub.status().sessions_offline), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_come_back_is_not_slow_because_it_was_away() {
        let hub = hub(100);
        let (back, connection) = client(&hub, "back", "back", Qos::AtLeastOnce);
        hub.detach(&back, connection, 100).unwrap();
        let stuck = client(&hub, "stuck", "stuck", Qos::AtLeastOnce);
        for _ in 0..60 {
            publish(&hub, "back");
        }
        advance(Duration::from_secs(3600)).await;
        publish(&hub, "stuck");
        advance(Duration::from_secs(5)).await;
        back.attach(Attached::for_test(connection, 100));
        for _ in 0..60 {
            publish(&hub, "stuck");
        }
        assert!(stuck.0.is_to_end() && !back.is_to_end());
        assert_eq!(take(&(back, connection)), Ok(60));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_to_log_in_again_and_gives_way_has_no_session_any_more() {
        let hub = hub(10);
        let client = client(&hub, "client", "x", Qos::AtLeastOnce);
        client.0.dismiss();
        for _ in 0..20 {
            publish(&hub, "x");
        }
        assert!(client.0.is_to_end());
        assert_eq!(take(&client), Err(Gone::GaveWay));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_counts_once_however_many_it_waits_for() {
        let hub = hub(1_000);
        let clients: Vec<_> =
            ["a", "b", "c", "d"].iter().map(|name| client(&hub, name, "x", Qos::AtLeastOnce)).collect();
        for _ in 0..100 {
            publish(&hub, "x");
        }
        let expected = 100 * (MESSAGE - 96) + 4 * 100 * 96;
        assert!(hub.total.bytes().abs_diff(expected) < 4 * 4_096 + 200, "{}", hub.total.bytes());
        for client in &clients {
            assert_eq!(take(client), Ok(100));
        }
        assert_eq!(hub.total.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_bridges_does_not_count_and_is_not_taken() {
        let hub = hub(10);
        hub.let_in("$bridge/b".to_owned(), Inside::new(&hub.limits, 1 << 30));
        let bridge = client(&hub, "$bridge/b", "#", Qos::AtLeastOnce);
        advance(Duration::from_secs(60)).await;
        for _ in 0..100 {
            publish(&hub, "x");
        }
        assert_eq!(hub.total.bytes(), 0);
        assert_eq!(take(&bridge), Ok(100));
    }

    #[tokio::test(start_paused = true)]
    async fn what_retained_messages_bring_counts_while_it_waits_and_not_while_it_is_kept() {
        let hub = hub(100);
        hub.publish(Published::by_gateway("x".into(), vec![0; 1_000].into(), true));
        assert_eq!(hub.total.bytes(), 0);
        let client = client(&hub, "client", "x", Qos::AtLeastOnce);
        let wish = Wish::of(Qos::AtLeastOnce);
        let mut replay = crate::hub::Replay::new("x", wish);
        while hub.replay(&client.0, &mut replay) {}
        assert!(hub.total.bytes() > 1_000);
        assert_eq!(take(&client), Ok(1));
        assert_eq!(hub.total.bytes(), 0);
    }
}
