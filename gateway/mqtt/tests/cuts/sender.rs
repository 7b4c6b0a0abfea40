//! Somebody who has numbered messages and sends each until it is acknowledged.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use tidegate_mqtt::{ConnectOptions, Connection, Connector, Event, Message, Outcome, Protocol, Refused, Words};

use crate::broker::LARGEST;

const WORDS: Words =
    Words { us: "the test", address: "url", ca: "ca", client_certificate: "certificate", client_id: "id" };

/// What was told to the sender.
#[derive(Default)]
pub struct Told {
    /// Numbers that were acknowledged.
    pub acknowledged: BTreeSet<u32>,
    /// Connections that ended.
    pub ended: u64,
    /// Messages that were refused before they were sent.
    pub refused: u64,
    /// Messages sent, those sent again too.
    pub sent: u64,
}

/// Sends the numbers below `count` with so many bytes each, and after every `oversized`th one that is too large.
pub async fn send(broker: SocketAddr, v5: bool, count: u32, bytes: usize, oversized: Option<u32>) -> Told {
    let mut options = ConnectOptions::new(broker.ip().to_string(), broker.port(), "sender", WORDS);
    options.protocol = if v5 { Protocol::V5 } else { Protocol::V311 };
    if !v5 {
        // MQTT 5 tells it by itself.
        options.largest_outgoing = LARGEST;
    }
    let connector = Connector::new(options).unwrap();
    let mut told = Told::default();
    let mut waiting: VecDeque<u32> = (0..count).collect();
    while told.acknowledged.len() < usize::try_from(count).unwrap() {
        let Ok(mut connection) = connector.connect().await else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        let mut line = VecDeque::new();
        let done = one_connection(&mut connection, &mut waiting, &mut line, bytes, oversized, &mut told).await;
        // What has no outcome is lost: it is sent again, before the others.
        for number in line.into_iter().flatten().rev() {
            waiting.push_front(number);
        }
        if done {
            connection.disconnect(Duration::from_secs(5)).await;
        } else {
            told.ended += 1;
        }
    }
    told
}

/// One connection; true when nothing is left to be sent.
async fn one_connection(
    connection: &mut Connection,
    waiting: &mut VecDeque<u32>,
    line: &mut VecDeque<Option<u32>>,
    bytes: usize,
    oversized: Option<u32>,
    told: &mut Told,
) -> bool {
    let mut first = 0;
    loop {
        while connection.room() > 0
            && let Some(number) = waiting.pop_front()
        {
            if oversized.is_some_and(|every| number % every == 0) {
                let large = connection.publish(Message::new("plant/large", vec![0; 100_000]));
                assert!(matches!(large, Err(Refused::TooLarge { bytes: 100_001.., most: LARGEST })), "{large:?}");
                told.refused += 1;
            }
            let mut payload = vec![0; bytes.max(4)];
            payload[..4].copy_from_slice(&number.to_be_bytes());
            let id = connection.publish(Message::new("plant/line3/numbers", payload)).unwrap().unwrap();
            assert_eq!(id.0, first + u64::try_from(line.len()).unwrap(), "numbered in the order of publishing");
            line.push_back(Some(number));
            told.sent += 1;
        }
        if waiting.is_empty() && line.is_empty() {
            return true;
        }
        match connection.next().await {
            Ok(Event::Published(id, Outcome::Acknowledged { .. })) => {
                let place = usize::try_from(id.0 - first).unwrap();
                let number = line[place].take().expect("acknowledged once");
                assert!(told.acknowledged.insert(number));
            }
            Ok(_) => {}
            Err(_) => return false,
        }
        while line.pop_front_if(|number| number.is_none()).is_some() {
            first += 1;
        }
    }
}
