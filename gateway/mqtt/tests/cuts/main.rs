//! Connections that are cut two hundred times under load, by a broker that loses sessions in between.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "what a test cannot go on without may end it"
)]

mod broker;
mod sender;

use std::sync::atomic::Ordering::SeqCst;

use broker::Manners;

const MESSAGES: u32 = 40_000;
const CUTS: u64 = 200;

async fn nothing_is_lost(v5: bool) {
    let (address, seen) = broker::start(Manners { v5, cuts: CUTS, messages: 150 });
    let told = sender::send(address, v5, MESSAGES, 100, Some(50)).await;
    let got = seen.got.lock().unwrap();
    let acknowledged = seen.acknowledged.lock().unwrap();

    assert_eq!(seen.cuts.load(SeqCst), CUTS, "the connections were cut");
    assert!(seen.forgotten.load(SeqCst) >= CUTS, "and the sessions lost");
    assert_eq!(told.ended, CUTS, "no connection ended over anything else");
    let lost: Vec<&u32> = told.acknowledged.difference(&got).collect();
    assert!(lost.is_empty(), "told as acknowledged, and the broker had not got them: {lost:?}");
    let invented: Vec<&u32> = told.acknowledged.difference(&acknowledged).collect();
    assert!(invented.is_empty(), "told as acknowledged, and the broker had not acknowledged them: {invented:?}");
    assert_eq!(got.len(), usize::try_from(MESSAGES).unwrap(), "everything arrived");
    let again = told.sent - u64::from(MESSAGES);
    assert!(told.refused >= u64::from(MESSAGES / 50), "what is too large is refused at once: {}", told.refused);
    assert_eq!(seen.too_large.load(SeqCst), 0, "and never sent");
    println!("{CUTS} cuts, {again} messages sent again, {} refused as too large", told.refused);
}

#[tokio::test]
async fn connections_cut_two_hundred_times_lose_nothing_that_was_acknowledged() {
    nothing_is_lost(false).await;
}

#[tokio::test]
async fn connections_cut_two_hundred_times_lose_nothing_that_was_acknowledged_with_mqtt_5() {
    nothing_is_lost(true).await;
}
