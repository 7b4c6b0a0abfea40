//! Users and what they may do.

use bytes::Bytes;
use tidegate_broker::Broker;

use crate::{
    raw::{Options, Raw, acknowledgements},
    rig::{User, options},
};

const USERS: &[User<'_>] =
    &[("scada", "secret", &["tidegate/line3/+/set", "scada/#"], &["tidegate/#"]), ("other", "word", &["#"], &["#"])];

fn scada(version: u8) -> Options<'static> {
    Options { login: Some(("scada", "secret")), ..Options::new(version, "client") }
}

async fn broker() -> Broker {
    Broker::start(&options(USERS)).await.unwrap()
}

#[tokio::test]
async fn a_wrong_login_is_refused_with_its_code_as_often_as_it_comes() {
    let broker = broker().await;
    for login in [None, Some(("scada", "word")), Some(("scada", "")), Some(("nobody", "secret")), Some(("", "secret"))]
    {
        let four = Options { login, ..Options::new(4, "client") };
        assert_eq!(Raw::try_connect(broker.address(), four).await.1, [0x20, 2, 0, 4]);
        let five = Options { login, ..Options::new(5, "client") };
        let (mut raw, answer) = Raw::try_connect(broker.address(), five).await;
        assert_eq!((answer[0], answer[2], answer[3]), (0x20, 0, 0x86));
        assert!(answer.ends_with(b"user name or password is wrong"));
        assert_eq!(raw.packet().await, None);
    }
    assert_eq!(broker.status().refused_logins, 10);
    Raw::connect(broker.address(), scada(4)).await.quiet().await;
}

#[tokio::test]
async fn a_forbidden_publish_is_acknowledged_and_dropped_or_refused() {
    let broker = broker().await;
    let all = Options { login: Some(("other", "word")), ..Options::new(4, "all") };
    let mut all = Raw::connect(broker.address(), all).await;
    all.subscribe(&[("#", 0)]).await;
    let mut four = Raw::connect(broker.address(), scada(4)).await;
    four.publish(0, "tidegate/line3/state", 0, &[], b"forged").await;
    four.publish(0b011, "tidegate/line3/press/state", 1, &[], b"forged").await;
    four.publish(0b100, "tidegate/line3/press/data/fast", 2, &[], b"forged").await;
    four.acknowledge(6, 2).await;
    assert_eq!(four.ping().await, [[0x40, 2, 0, 1], [0x50, 2, 0, 2], [0x70, 2, 0, 2]]);
    let mut five = Raw::connect(broker.address(), scada(5)).await;
    five.publish(0b010, "tidegate/line3/state", 1, &[], b"forged").await;
    five.publish(0b100, "tidegate/line3/state", 2, &[], b"forged").await;
    let refused = five.ping().await;
    assert_eq!(acknowledgements(&refused), [(4, 1, 0x87), (5, 2, 0x87)]);
    assert!(refused[0].ends_with(b"the user may not publish to this topic"));
    five.publish(0b010, "scada/note", 3, &[], b"fine").await;
    assert_eq!(five.ping().await, [[0x40, 2, 0, 3]]);
    assert_eq!(all.published().await.topic, "scada/note");
    all.quiet().await;
    assert_eq!(broker.status().refused_publishes, 5);
}

#[tokio::test]
async fn a_subscription_is_granted_if_one_filter_of_the_user_covers_it() {
    let broker = broker().await;
    let filters = [
        ("tidegate/#", 1),
        ("tidegate/line3/+/data/#", 0),
        ("tidegate", 2),
        ("#", 0),
        ("+/line3/state", 1),
        ("scada/#", 0),
        ("$SYS/#", 0),
    ];
    let mut four = Raw::connect(broker.address(), scada(4)).await;
    assert_eq!(four.subscribe(&filters).await, [1, 0, 2, 0x80, 0x80, 0x80, 0]);
    let mut five = Raw::connect(broker.address(), scada(5)).await;
    assert_eq!(five.subscribe(&filters).await, [1, 0, 2, 0x87, 0x87, 0x87, 0]);
    // What the broker tells about itself.
    assert!(!five.ping().await.is_empty());
    broker.publisher().publish("elsewhere", Bytes::from_static(b"x"), false);
    broker.publisher().publish("tidegate/line3/state", Bytes::from_static(b"x"), false);
    assert_eq!(five.published().await.topic, "tidegate/line3/state");
    five.quiet().await;
    assert_eq!(broker.status().refused_subscriptions, 6);
}

#[tokio::test]
async fn a_will_that_its_user_may_not_publish_is_refused_at_once() {
    let broker = broker().await;
    let will = Some(("tidegate/line3/state", "offline"));
    assert_eq!(Raw::try_connect(broker.address(), Options { will, ..scada(4) }).await.1, [0x20, 2, 0, 5]);
    let (_, answer) = Raw::try_connect(broker.address(), Options { will, ..scada(5) }).await;
    assert_eq!((answer[0], answer[3]), (0x20, 0x87));
    let will = Some(("scada/state", "offline"));
    Raw::connect(broker.address(), Options { will, ..scada(4) }).await.quiet().await;
}

#[tokio::test]
async fn a_session_is_not_inherited_by_another_user_with_the_same_client_id() {
    let broker = broker().await;
    let other = Options { login: Some(("other", "word")), clean: false, ..Options::new(4, "client") };
    let mut client = Raw::connect(broker.address(), other).await;
    client.subscribe(&[("#", 1)]).await;
    drop(client);
    let (mut client, answer) = Raw::try_connect(broker.address(), Options { clean: false, ..scada(4) }).await;
    assert_eq!(answer, [0x20, 2, 0, 0], "no session present");
    broker.publisher().publish("elsewhere", Bytes::from_static(b"x"), false);
    client.quiet().await;
}
