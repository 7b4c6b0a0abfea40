//! What is said beside rows: states of devices, alarms, the gateway's own figures.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use tidegate_north::{Announcement, AnnouncementFeed};
use tokio::sync::mpsc;

use crate::scene::{Broker, Plant, options, start_announcing};

/// A feed whose news the test gives; each time it is asked what stands, it is this.
struct Feed {
    standing: Vec<Announcement>,
    news: mpsc::UnboundedReceiver<Option<Announcement>>,
}

impl AnnouncementFeed for Feed {
    fn standing(&mut self) -> Vec<Announcement> {
        self.standing.clone()
    }

    fn next<'a>(&'a mut self) -> Pin<Box<dyn Future<Output = Option<Announcement>> + Send + 'a>> {
        Box::pin(async {
            match self.news.recv().await {
                Some(news) => news,
                None => std::future::pending().await,
            }
        })
    }
}

fn said(topic: &str, payload: &'static str, retain: bool) -> Announcement {
    Announcement { topic: format!("plant/line3/{topic}"), payload: Bytes::from_static(payload.as_bytes()), retain }
}

fn feed(standing: Vec<Announcement>) -> (mpsc::UnboundedSender<Option<Announcement>>, Box<Feed>) {
    let (tell, news) = mpsc::unbounded_channel();
    (tell, Box::new(Feed { standing, news }))
}

#[tokio::test]
async fn what_stands_is_said_on_each_connection_and_what_is_said_later_as_it_is() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let (tell, feed) = feed(vec![said("meter/state", "degraded", true), said("sys/links", "{}", true)]);
    let target = start_announcing(&options(broker.port()), plant.cursor().await, feed);
    for _ in 0..2 {
        let mut client = broker.client().await;
        for wanted in [("plant/line3/meter/state", "degraded"), ("plant/line3/sys/links", "{}")] {
            let publish = client.publish().await;
            assert_eq!((publish.topic.as_str(), &publish.payload[..]), (wanted.0, wanted.1.as_bytes()));
            assert!(publish.retain);
            client.acknowledge(publish.pkid).await;
        }
        tell.send(Some(said("meter/alarm/hot", "over", false))).unwrap();
        tell.send(Some(said("meter/alarm/hot", "", true))).unwrap();
        for (payload, retain) in [("over", false), ("", true)] {
            let publish = client.publish().await;
            assert_eq!(
                (publish.topic.as_str(), &publish.payload[..]),
                ("plant/line3/meter/alarm/hot", payload.as_bytes())
            );
            assert_eq!(publish.retain, retain);
            client.acknowledge(publish.pkid).await;
        }
    }
    plant.live_rows(1);
    let mut client = broker.client().await;
    let (mut row, mut others) = (None, 0);
    while row.is_none() || others < 2 {
        let publish = client.publish().await;
        client.acknowledge(publish.pkid).await;
        if publish.topic.ends_with("/data/fast") { row = Some(publish) } else { others += 1 }
    }
    let snapshot = target.until("the row acknowledged", |status| status.acknowledged == 1).await;
    assert_eq!(snapshot.sent, 1, "announcements are no rows");
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn what_was_missed_is_said_from_what_stands() {
    let (plant, broker) = (Plant::new().await, Broker::new().await);
    let (tell, feed) = feed(vec![said("meter/state", "online", true)]);
    let target = start_announcing(&options(broker.port()), plant.cursor().await, feed);
    let mut client = broker.client().await;
    for _ in 0..3 {
        let publish = client.publish().await;
        assert_eq!(publish.topic, "plant/line3/meter/state");
        client.acknowledge(publish.pkid).await;
        tell.send(None).unwrap();
    }
    drop((client, broker));
    target.stopped().await;
}

#[tokio::test]
async fn a_broker_that_closes_the_connection_over_them_gets_rows_alone() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let (_tell, feed) = feed(vec![said("meter/state", "online", true)]);
    let target = start_announcing(&options(broker.port()), plant.cursor().await, feed);
    for _ in 0..2 {
        let mut client = broker.client().await;
        assert_eq!(client.publish().await.topic, "plant/line3/meter/state");
        drop(client);
    }
    plant.live_rows(3);
    let mut client = broker.client().await;
    assert_eq!(client.take_rows(3).await, [1, 2, 3]);
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}
