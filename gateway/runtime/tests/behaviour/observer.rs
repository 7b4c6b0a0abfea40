//! A client of the local broker that keeps what it gets.

use std::sync::{Arc, Mutex};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value as Json;
use tidegate_broker::Broker;
use tokio::task::JoinHandle;

use crate::plant::until;

/// A message that was received.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: String,
    /// Whether the broker had kept it from before the subscription.
    pub(crate) retained: bool,
}

impl Message {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.payload).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

/// A client that has subscribed.
pub(crate) struct Observer {
    pub(crate) client: AsyncClient,
    messages: Arc<Mutex<Vec<Message>>>,
    task: JoinHandle<()>,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Observer {
    /// Subscribes; from the moment this is done, nothing is missed.
    pub(crate) async fn start(broker: &Broker, filter: &str) -> Observer {
        let id = format!("observer-{}", rand::random::<u64>());
        let mut options = MqttOptions::new(id, "127.0.0.1", broker.address().port());
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::new(options, 1000);
        client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let (subscribed, granted) = tokio::sync::oneshot::channel();
        let (kept, mut subscribed) = (Arc::clone(&messages), Some(subscribed));
        let task = tokio::spawn(async move {
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::Publish(publish)) => kept.lock().unwrap().push(Message {
                        topic: publish.topic,
                        payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
                        retained: publish.retain,
                    }),
                    Event::Incoming(Packet::SubAck(_)) => drop(subscribed.take().map(|ready| ready.send(()))),
                    _ => {}
                }
            }
        });
        granted.await.unwrap();
        Observer { client, messages, task }
    }

    /// Everything received so far, in order.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.messages.lock().unwrap().clone()
    }

    /// What was received on one topic, in order.
    pub(crate) fn on(&self, topic: &str) -> Vec<Message> {
        self.messages().into_iter().filter(|message| message.topic == topic).collect()
    }

    /// The rows of a group of a device, in order.
    pub(crate) fn rows(&self, device: &str, group: &str) -> Vec<Json> {
        self.on(&format!("tidegate/line3/{device}/data/{group}")).iter().map(Message::json).collect()
    }

    /// The states of a device, in order, each with its reason.
    pub(crate) fn states(&self, device: &str) -> Vec<(String, Option<String>)> {
        let text = |json: &Json, key: &str| json[key].as_str().map(str::to_owned);
        let messages = self.on(&format!("tidegate/line3/{device}/state"));
        let states = messages.iter().filter(|message| !message.payload.is_empty()).map(Message::json);
        states.map(|json| (text(&json, "state").unwrap(), text(&json, "reason"))).collect()
    }

    /// Waits until what has been received is as wanted.
    pub(crate) async fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&Observer) -> Option<T>) -> T {
        until(what, || found(self), || format!("{:#?}", self.messages())).await
    }

    /// Waits for a row.
    pub(crate) async fn row(&self, device: &str, group: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        self.wait_for("a row", |observer| observer.rows(device, group).into_iter().find(|row| wanted(row))).await
    }

    /// Waits until the last known state of a device is this.
    pub(crate) async fn state(&self, device: &str, state: &str) {
        self.wait_for(state, |observer| observer.states(device).last().filter(|(last, _)| last == state).map(|_| ()))
            .await;
    }
}

/// Whether every tag of a row is good.
pub(crate) fn is_good(row: &Json) -> bool {
    row.get("bad").is_none()
}
