//! What a reload of the site means for what waits.

use tidegate_broker::Broker;
use tidegate_config::{self as config, ByteSize};

use crate::{held_port, kept, start, stopped, to_nobody, until};

fn publish(local: &Broker, messages: u32) {
    for _ in 0..messages {
        local.publisher().publish("data", vec![b'x'; 1_000].into(), false);
    }
}

#[tokio::test]
async fn a_durable_bridge_that_the_site_has_no_more_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (_held, nobody) = held_port();
    let options = to_nobody(nobody, 1 << 20);
    let local = kept(folder.path()).await;
    let bridge = start(&options, &local);
    until(&bridge, |status, _| status.connect_failures > 0).await;
    publish(&local, 10);
    until(&bridge, |_, waiting| waiting.messages == 10).await;
    bridge.stop().await;
    stopped(local, folder.path(), |disk| disk.messages == 10).await;
    let local = kept(folder.path()).await;
    local.let_out_all_but(&["plant", "other"]);
    assert_eq!(local.let_in("plant", 1 << 20).waiting().messages, 10);
    local.let_out_all_but(&["plan", "other"]);
    publish(&local, 10);
    assert_eq!(local.let_in("plant", 1 << 20).waiting().messages, 0);
    assert_eq!((local.status().sessions_offline, local.status().subscriptions), (0, 0));
    stopped(local, folder.path(), |disk| disk.sessions == 0).await;
    let local = kept(folder.path()).await;
    assert_eq!(local.status().sessions_offline, 0, "nor on disk");
    local.stop().await;
}

#[tokio::test]
async fn a_durable_bridge_goes_on_with_another_limit() {
    let local = crate::broker().await;
    let (_held, nobody) = held_port();
    let narrow = to_nobody(nobody, 64 << 10);
    let wide = config::Bridge { max_queue: ByteSize(1 << 20), ..narrow.clone() };
    let bridge = start(&narrow, &local);
    until(&bridge, |status, _| status.connect_failures > 0).await;
    publish(&local, 100);
    until(&bridge, |_, waiting| waiting.messages + waiting.dropped == 100).await;
    let before = bridge.probe()().1;
    assert!(before.dropped > 0);
    bridge.stop().await;
    let bridge = start(&narrow, &local);
    assert_eq!(bridge.probe()().1, before, "the same limit");
    bridge.stop().await;
    let bridge = start(&wide, &local);
    publish(&local, 100);
    until(&bridge, |_, waiting| waiting.messages == before.messages + 100).await;
    let now = bridge.probe()().1;
    assert!(now.dropped == 0 && now.bytes_high > 64 << 10, "{now:?}");
    bridge.stop().await;
    let bridge = start(&narrow, &local);
    publish(&local, 10);
    until(&bridge, |_, waiting| waiting.dropped == 10).await;
    assert_eq!(bridge.probe()().1.messages, now.messages, "what waits is not taken away");
    bridge.stop().await;
}
