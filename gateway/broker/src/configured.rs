//! The limits as a site has them.

use std::time::Duration;

use tidegate_config::{Broker, ByteSize};

use crate::limits::Limits;

impl From<&Broker> for Limits {
    fn from(broker: &Broker) -> Limits {
        let limits = &broker.limits;
        Limits {
            connections: number(limits.connections),
            connect_rate: limits.connect_rate,
            connect_timeout: limits.connect_timeout,
            packet_bytes: bytes(limits.packet_bytes),
            topic_levels: number(limits.topic_levels),
            topic_bytes: bytes(limits.topic_bytes),
            subscriptions: number(limits.subscriptions),
            queue_bytes: bytes(limits.queue_bytes),
            queue_bytes_qos0: bytes(limits.queue_bytes_qos0),
            queue_bytes_offline: bytes(limits.queue_bytes_offline),
            queue_bytes_total: bytes(limits.queue_bytes_total),
            sessions_offline: number(limits.sessions_offline),
            session_expiry: match limits.session_expiry {
                Duration::ZERO => u32::MAX,
                most => u32::try_from(most.as_secs()).unwrap_or(u32::MAX).max(1),
            },
            in_flight: limits.in_flight.into(),
            receive_maximum: limits.receive_maximum,
            retained_bytes: bytes(limits.retained_bytes),
            retained_messages: number(limits.retained_messages),
            rate_messages: limits.rate_messages,
            rate_bytes: u32::try_from(limits.rate_bytes.0).unwrap_or(u32::MAX),
            longest_keep_alive: u16::try_from(limits.longest_keep_alive.as_secs()).unwrap_or(u16::MAX),
            sys_interval: broker.sys_interval.unwrap_or_default(),
        }
    }
}

fn number(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_that_says_nothing_has_the_default_limits() {
        assert_eq!(Limits::from(&Broker::on_loopback()), Limits::default());
    }
}
