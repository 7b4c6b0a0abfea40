//! How long a command takes under full polling: from its publish on the local broker to the reply, confirmed by the device.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

/// Time between two commands.
const PAUSE: Duration = Duration::from_millis(20);
/// A reply that takes longer is a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes the tag `setpoint` of these devices in turn, `count` times, and returns how long each took, in microseconds.
pub(crate) fn measure(port: u16, devices: &[String], count: usize) -> anyhow::Result<Vec<u32>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut options = MqttOptions::new("bench-commands", "127.0.0.1", port);
        options.set_clean_session(true);
        let (client, mut events) = AsyncClient::new(options, 16);
        client.subscribe("tidegate/bench/+/set/reply", QoS::AtMostOnce).await?;
        wait_for(&mut events, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await?;
        let mut times = Vec::with_capacity(count);
        for (index, device) in devices.iter().cycle().take(count).enumerate() {
            let command = serde_json::json!({ "id": index, "values": { "setpoint": index % 1000 } });
            let started = Instant::now();
            client.publish(format!("tidegate/bench/{device}/set"), QoS::AtMostOnce, false, command.to_string()).await?;
            let reply = wait_for(&mut events, |packet| reply(packet, index)).await?;
            if reply.get("ok") != Some(&true.into()) {
                bail!("a command was not carried out: {reply}");
            }
            times.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
            rest(&mut events).await?;
        }
        Ok(times)
    })
}

/// The reply with this id.
fn reply(packet: &Packet, id: usize) -> Option<serde_json::Value> {
    let Packet::Publish(publish) = packet else { return None };
    let reply: serde_json::Value = serde_json::from_slice(&publish.payload).ok()?;
    (reply.get("id") == Some(&id.into())).then_some(reply)
}

/// Polls the connection until a packet is what is waited for.
async fn wait_for<T>(events: &mut EventLoop, found: impl Fn(&Packet) -> Option<T>) -> anyhow::Result<T> {
    let waiting = async {
        loop {
            if let Event::Incoming(packet) = events.poll().await?
                && let Some(answer) = found(&packet)
            {
                return anyhow::Ok(answer);
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.context("no reply to a command within 10 s")?
}

/// Keeps the connection alive for the pause between two commands.
async fn rest(events: &mut EventLoop) -> anyhow::Result<()> {
    let until = tokio::time::Instant::now() + PAUSE;
    while let Ok(event) = tokio::time::timeout_at(until, events.poll()).await {
        event?;
    }
    Ok(())
}
