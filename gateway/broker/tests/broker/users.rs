//! Users as they change, and clients that do not say who they are.

use tidegate_broker::{Broker, password_hash};
use tidegate_config::{self as config, Anonymous, BrokerLogin, BrokerUser, Secret, TopicRights};

use crate::raw::{Options, Raw, acknowledgements};

fn site(users: Vec<BrokerUser>) -> config::Broker {
    config::Broker::on_loopback().with_users(users)
}

fn login<'a>(version: u8, id: &'a str, name: &'a str, password: &'a str) -> Options<'a> {
    Options { login: Some((name, password)), ..Options::new(version, id) }
}

#[tokio::test]
async fn rights_that_change_on_a_reload_count_for_clients_that_are_connected() {
    let user = |publish, subscribe| BrokerUser::literal("scada", "x", publish, subscribe);
    let broker = Broker::start(&site(vec![user(&["a"], &["a", "b/#"])])).await.unwrap();
    let mut client = Raw::connect(broker.address(), login(5, "client", "scada", "x")).await;
    assert_eq!(client.subscribe(&[("a", 0), ("b/c", 0)]).await, [0, 0]);
    broker.reload(&site(vec![user(&["c"], &["b/#", "c"])]));
    broker.publisher().publish("a", "no more".into(), false);
    broker.publisher().publish("b/c", "still".into(), false);
    assert_eq!(client.published().await.payload, b"still");
    client.publish(0b010, "a", 1, &[], b"no more").await;
    client.publish(0b010, "c", 2, &[], b"now").await;
    let codes: Vec<u8> = acknowledgements(&client.ping().await).into_iter().map(|(_, _, code)| code).collect();
    assert_eq!((codes[0], codes[1] < 0x80), (0x87, true), "{codes:02x?}");
    assert_eq!(client.subscribe(&[("a", 0), ("c", 0)]).await, [0x87, 0]);
}

#[tokio::test]
async fn who_is_no_user_any_more_or_has_another_password_is_disconnected() {
    let user = |name, password| BrokerUser::literal(name, password, &["#"], &["#"]);
    let broker = Broker::start(&site(vec![user("gone", "x"), user("changed", "x"), user("same", "x")])).await.unwrap();
    let mut gone = Raw::connect(broker.address(), login(5, "1", "gone", "x")).await;
    let mut changed = Raw::connect(broker.address(), login(5, "2", "changed", "x")).await;
    let mut same = Raw::connect(broker.address(), login(5, "3", "same", "x")).await;
    broker.reload(&site(vec![user("changed", "y"), user("same", "x")]));
    assert!(gone.goodbye().await.is_some());
    assert_eq!(changed.goodbye().await, Some(0x98));
    same.quiet().await;
    Raw::connect(broker.address(), login(5, "2", "changed", "y")).await;
}

#[tokio::test]
async fn a_hash_in_the_site_lets_its_user_in() {
    let hash = BrokerLogin::Hash(Secret::literal(password_hash("tide").unwrap()));
    let user = BrokerUser { login: hash, ..BrokerUser::literal("scada", "", &["#"], &["#"]) };
    let broker = Broker::start(&site(vec![user])).await.unwrap();
    for version in [4, 5] {
        Raw::connect(broker.address(), login(version, "client", "scada", "tide")).await;
    }
    let (_raw, answer) = Raw::try_connect(broker.address(), login(4, "client", "scada", "ebb")).await;
    assert_eq!(answer, [0x20, 2, 0, 4]);
}

#[tokio::test]
async fn a_client_id_with_wildcards_gets_no_more_than_others() {
    let user = BrokerUser::literal("scada", "x", &["in/%c", "%u/#"], &["out/%c/#"]);
    let broker = Broker::start(&site(vec![user])).await.unwrap();
    for id in ["#", "+", "a/b", "+/#"] {
        let mut client = Raw::connect(broker.address(), login(5, id, "scada", "x")).await;
        let filters = [("out/#", 0), ("out/+/x", 0), ("out/a/b/x", 0), ("#", 0)];
        assert_eq!(client.subscribe(&filters).await, [0x87; 4], "{id}");
        client.publish(0b010, "in/x", 1, &[], b"x").await;
        client.publish(0b010, "scada/x", 2, &[], b"x").await;
        let packets = client.ping().await;
        assert_eq!(
            (packets[0][4], packets[1].get(4).copied().unwrap_or(0) < 0x80),
            (0x87, true),
            "{id}: {packets:02x?}"
        );
    }
    let mut client = Raw::connect(broker.address(), login(5, "panel-1", "scada", "x")).await;
    assert_eq!(client.subscribe(&[("out/panel-1/+", 0), ("$share/group/out/panel-1/x", 0)]).await, [0, 0]);
    assert_eq!(client.subscribe(&[("out/panel-2/+", 0), ("$share/out/out/panel-2/x", 0)]).await, [0x87, 0x87]);
}

#[tokio::test]
async fn without_a_login_there_are_the_rights_for_everybody_where_the_site_says_so() {
    let rights = TopicRights { publish: vec!["in/%c".to_owned()], subscribe: vec!["out/#".to_owned()] };
    let options = config::Broker {
        anonymous: Anonymous::Rights(rights),
        ..site(vec![BrokerUser::literal("scada", "x", &["#"], &["#"])])
    };
    let broker = Broker::start(&options).await.unwrap();
    let mut anybody = Raw::connect(broker.address(), Options::new(4, "panel")).await;
    assert_eq!(anybody.subscribe(&[("out/a", 0), ("#", 0), ("in/panel", 0)]).await, [0, 0x80, 0x80]);
    let (_raw, answer) = Raw::try_connect(broker.address(), login(4, "panel", "scada", "y")).await;
    assert_eq!(answer, [0x20, 2, 0, 4], "a wrong login is not taken for none");
    let will = Some(("out/state", "offline"));
    let (_raw, answer) = Raw::try_connect(broker.address(), Options { will, ..Options::new(4, "other") }).await;
    assert_eq!(answer, [0x20, 2, 0, 5]);
    // Nobody may take a retained message away who may not publish there.
    let mut scada = Raw::connect(broker.address(), login(4, "scada", "scada", "x")).await;
    scada.publish(0b011, "out/kept", 1, &[], b"x").await;
    scada.ping().await;
    anybody.publish(0b001, "out/kept", 0, &[], b"").await;
    anybody.ping().await;
    let mut reader = Raw::connect(broker.address(), Options::new(4, "reader")).await;
    reader.subscribe(&[("out/#", 0)]).await;
    assert_eq!(reader.published().await.topic, "out/kept");
}
