//! Brokers for the tests, each on a port of its own.

use tidegate_broker::{Broker, BrokerStatus, Limits};
use tidegate_config::{self as config, BrokerUser, Secret};

/// A name, a password, and the topic filters of publishing and subscribing.
pub(crate) type User<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str]);

pub(crate) fn options(users: &[User<'_>]) -> config::Broker {
    let owned = |filters: &[&str]| filters.iter().map(|filter| (*filter).to_owned()).collect();
    let users = users
        .iter()
        .map(|(name, password, publish, subscribe)| BrokerUser {
            name: (*name).to_owned(),
            password: Secret::literal(*password),
            publish: owned(publish),
            subscribe: owned(subscribe),
        })
        .collect();
    let listen = ([127, 0, 0, 1], 0).into();
    config::Broker { listen, topic_root: "tidegate".to_owned(), tag_topics: false, users }
}

/// A broker for everybody, on a port of its own.
pub(crate) async fn broker() -> Broker {
    Broker::start(&options(&[])).await.unwrap()
}

pub(crate) async fn broker_with(limits: Limits) -> Broker {
    Broker::start_with(&options(&[]), limits).await.unwrap()
}

/// Waits until the broker's status is as wanted.
pub(crate) async fn until(broker: &Broker, wanted: impl Fn(&BrokerStatus) -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while !wanted(&broker.status()) {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", broker.status());
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}
