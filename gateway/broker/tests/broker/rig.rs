//! Brokers for the tests, each on a port of its own.

use tidegate_broker::{Broker, BrokerStatus, Limits};
use tidegate_config::{self as config, BrokerUser};
use tokio::net::TcpSocket;

/// A name, a password, and the topic filters of publishing and subscribing.
pub(crate) type User<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str]);

pub(crate) fn options(users: &[User<'_>]) -> config::Broker {
    let user =
        |(name, password, publish, subscribe): &User<'_>| BrokerUser::literal(name, password, publish, subscribe);
    config::Broker::on_loopback().with_users(users.iter().map(user).collect())
}

/// A broker for everybody, on a port of its own.
pub(crate) async fn broker() -> Broker {
    Broker::start(&options(&[])).await.unwrap()
}

pub(crate) async fn broker_with(limits: Limits) -> Broker {
    Broker::start_with(&options(&[]), limits).await.unwrap()
}

/// A port for a test that needs it more than once. Nobody listens on it, but as long as the socket lives the system gives it to
/// nobody who asks for a free one; a broker that is told its number can listen beside it, as both may share their address.
pub(crate) fn held_port() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    socket
}

/// Waits until the broker's status is as wanted.
pub(crate) async fn until(broker: &Broker, wanted: impl Fn(&BrokerStatus) -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while !wanted(&broker.status()) {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", broker.status());
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}
