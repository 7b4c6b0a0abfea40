//! Rows on the topics of the site's templates: several messages for each.

use tidegate_config::{PayloadForm, TopicTemplate};

use tidegate_north::SentSoFar;

use crate::scene::{Broker, Client, NOW, Plant, options, start_after, start_on};

/// A message for each tag, and one for each row.
fn two() -> Vec<TopicTemplate> {
    let template = |name: &str, topic| TopicTemplate::new(name.parse().unwrap(), topic).unwrap();
    vec![template("uns", "uns/{device}/{tag}"), template("rows", "rows/{device}")]
}

/// The next message: its topic, its packet id and what it says.
async fn next(client: &mut Client) -> (String, u16, String) {
    let publish = client.publish().await;
    (publish.topic, publish.pkid, String::from_utf8_lossy(&publish.payload).into_owned())
}

#[tokio::test]
async fn a_row_has_arrived_when_all_its_messages_have() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    for text in ["one", "two", "three"] {
        plant.row(NOW + 1_000, text);
    }
    let target = start_on(&options(broker.port()), plant.cursor().await, two());
    let mut client = broker.client().await;
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        for wanted in ["uns/meter/note", "rows/meter"] {
            let (topic, id, said) = next(&mut client).await;
            assert!(topic == wanted && said.contains(text), "{topic}: {said}");
            ids.push(id);
        }
    }
    // The last of the first row is missing, and the first of the second.
    for at in [5, 0, 3, 4] {
        client.acknowledge(ids[at]).await;
    }
    let status = target.until("one row acknowledged", |status| status.acknowledged == 1).await;
    assert_eq!(status.sent, 3, "a row is counted once");
    drop(client);
    let mut client = broker.client().await;
    for (wanted, text) in
        [("uns/meter/note", "one"), ("rows/meter", "one"), ("uns/meter/note", "two"), ("rows/meter", "two")]
    {
        let (topic, id, said) = next(&mut client).await;
        assert!(topic == wanted && said.contains(text), "all of a row comes again: {topic}: {said}");
        client.acknowledge(id).await;
    }
    target.until("all acknowledged", |status| status.acknowledged == 3).await;
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
    plant.live_rows(1);
    assert_eq!(plant.unacknowledged(4).await, [4]);
}

#[tokio::test]
async fn a_row_of_which_there_is_nothing_to_say_is_not_waited_for() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let [tags, _] = two().try_into().unwrap();
    let values = TopicTemplate { payload: PayloadForm::Value, ..tags };
    (0..300).for_each(|_| plant.row(NOW - 1_000, "then"));
    let target = start_on(&options(broker.port()), plant.cursor().await, vec![values]);
    let mut client = broker.client().await;
    target.until("the backlog to be over", |status| status.acknowledged == 300).await;
    plant.live_rows(1);
    let (topic, id, said) = next(&mut client).await;
    assert_eq!((topic.as_str(), said.as_str()), ("uns/meter/note", "live"), "a value alone is not told when it is old");
    client.acknowledge(id).await;
    target.until("all acknowledged", |status| status.acknowledged == 301).await;
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
    plant.live_rows(1);
    assert_eq!(plant.unacknowledged(302).await, [302]);
}

#[tokio::test]
async fn what_is_kept_is_the_newest_although_it_goes_first() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let [tags, _] = two().try_into().unwrap();
    (0..30).for_each(|_| plant.row(NOW - 1_000, "then"));
    let target = start_on(&options(broker.port()), plant.cursor().await, vec![TopicTemplate { retain: true, ..tags }]);
    let mut client = broker.client().await;
    let (mut ids, mut kept, mut there) = (Vec::new(), Vec::new(), false);
    for seen in 0..31 {
        let publish = client.publish().await;
        let said = String::from_utf8_lossy(&publish.payload).into_owned();
        ids.push(publish.pkid);
        if seen == 0 {
            plant.live_rows(1);
        }
        let is_live = said.contains("live");
        kept.extend(publish.retain.then_some(said));
        // The backlog stands still until there is the live row.
        there = there || is_live;
        for id in ids.drain(..if there { ids.len() } else { 0 }) {
            client.acknowledge(id).await;
        }
    }
    assert!(kept.last().is_some_and(|last| last.contains("live")), "{kept:?}");
    assert!((1..31).contains(&kept.len()), "what came after it is not kept, what came before it is: {kept:?}");
    target.until("all acknowledged", |status| status.acknowledged == 31).await;
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn a_backlog_does_not_take_the_place_of_what_is_kept_although_the_target_is_started_anew() {
    let (mut plant, broker, sent) = (Plant::new().await, Broker::new().await, SentSoFar::default());
    let [tags, _] = two().try_into().unwrap();
    let templates = || vec![TopicTemplate { retain: true, ..tags.clone() }];
    (0..30).for_each(|_| plant.row(NOW - 1_000, "then"));
    let target = start_after(&sent, &options(broker.port()), plant.cursor().await, templates());
    let mut client = broker.client().await;
    plant.live_rows(1);
    loop {
        let (_, id, said) = next(&mut client).await;
        if said.contains("live") {
            client.acknowledge(id).await;
            break;
        }
    }
    target.until("the live row acknowledged", |status| status.acknowledged == 1).await;
    target.stop();
    drop(client);
    target.stopped().await;
    let target = start_after(&sent, &options(broker.port()), plant.cursor().await, templates());
    let mut client = broker.client().await;
    for _ in 0..30 {
        let publish = client.publish().await;
        assert!(!publish.retain && String::from_utf8_lossy(&publish.payload).contains("then"));
        client.acknowledge(publish.pkid).await;
    }
    target.until("all acknowledged", |status| status.acknowledged == 30).await;
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn a_broker_that_closes_the_connection_over_one_of_the_messages_gets_a_gap_and_the_rest() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    for text in ["one", "two", "three"] {
        plant.row(NOW + 1_000, text);
    }
    let target = start_on(&options(broker.port()), plant.cursor().await, two());
    let (mut of_three, mut gap) = (0, None);
    let client = 'connections: loop {
        let mut client = broker.client().await;
        loop {
            let (topic, id, said) = next(&mut client).await;
            if topic == "rows/meter" && said.contains("two") {
                break;
            }
            client.acknowledge(id).await;
            of_three += usize::from(said.contains("three"));
            if topic == "plant/line3/meter/gap/fast" {
                gap = Some(said);
            }
            if of_three == 2 {
                break 'connections client;
            }
        }
    };
    assert_eq!(gap.as_deref(), Some(r#"{"gap":{"from":2,"to":2,"reason":"refused"}}"#));
    target.until("all acknowledged", |status| (status.acknowledged, status.left_out) == (3, 1)).await;
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
    plant.live_rows(1);
    assert_eq!(plant.unacknowledged(4).await, [4]);
}
