//! A bridge from the gateway to mosquitto: both directions, messages that must not be lost while either is away, certificates, and no echoes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use tidegate_tests::{
    Authority, Gateway, Mosquitto, PATIENCE, Peers, Site, Subscriber, SubscriberOptions, get, publish, publish_with,
    wait_until,
};

/// A site with nothing but this in it.
fn site_with(rest: &str) -> Site {
    let site = Site::new().unwrap();
    site.write_file("profiles/none.md", "There is nothing to poll.\n").unwrap();
    site.write("line3", rest).unwrap();
    site
}

fn site(mosquitto: &Mosquitto) -> Site {
    site_with(&format!(
        "[broker.persistence]\ncommit = \"20ms\"\n\n\
         [[bridge]]\nname = \"plant\"\nurl = \"mqtt://{}\"\ndurable = true\nretry_longest = \"1s\"\n\n\
         [[bridge.route]]\ndirection = \"out\"\nfilter = \"up/#\"\nremote_prefix = \"far/\"\n\n\
         [[bridge.route]]\ndirection = \"in\"\nfilter = \"down/#\"\nremote_prefix = \"far/\"\n",
        mosquitto.address()
    ))
}

/// Waits until the metrics of a gateway have this line.
fn until_metric(site: &Site, line: &str) {
    wait_until(PATIENCE, line, || get(site.web_address(), "/metrics").ok()?.body.contains(line).then_some(())).unwrap();
}

fn online(site: &Site) {
    until_metric(site, "tidegate_bridge_online{bridge=\"plant\"} 1");
}

/// Publishes until what was subscribed to by somebody who may not have been there at once has come.
fn arrives(subscriber: &Subscriber, payload: &str, publish: impl Fn()) {
    wait_until(PATIENCE, payload, || {
        publish();
        subscriber.messages().iter().any(|message| message.payload == payload).then_some(())
    })
    .unwrap();
}

/// Waits until a subscriber has all of these payloads, in whatever order and however often.
fn has_all(subscriber: &Subscriber, wanted: &BTreeSet<String>) {
    wait_until(PATIENCE, "all messages", || {
        let found: BTreeSet<String> = subscriber.messages().into_iter().map(|message| message.payload).collect();
        wanted.is_subset(&found).then_some(())
    })
    .unwrap();
}

#[test]
fn nothing_is_lost_while_mosquitto_restarts_and_the_gateway_is_killed() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let mut mosquitto = Mosquitto::start(&peers).unwrap();
    let site = site(&mosquitto);
    let gateway = Gateway::start(&site).unwrap();
    online(&site);
    let near = Subscriber::start(&peers, site.broker_address(), "down/#").unwrap();
    publish(&peers, mosquitto.address(), "far/down/x", "hello").unwrap();
    has_all(&near, &BTreeSet::from(["hello".to_owned()]));
    assert_eq!(near.messages()[0].topic, "down/x");

    // mosquitto keeps a session for the one who wants all of them.
    let kept = SubscriberOptions { session: Some("far".to_owned()), ..SubscriberOptions::default() };
    let far = Subscriber::start_with(&peers, mosquitto.address(), "far/up/#", &kept).unwrap();
    mosquitto.stop().unwrap();
    let payloads: Vec<String> = (0..20).map(|n| format!("message {n}")).collect();
    for payload in &payloads[..10] {
        publish(&peers, site.broker_address(), "up/x", payload).unwrap();
    }
    // What was acknowledged is on the disk an interval later.
    until_metric(&site, "tidegate_broker_disk_messages 10");
    gateway.kill();
    let gateway = Gateway::start(&site).unwrap();
    for payload in &payloads[10..] {
        publish(&peers, site.broker_address(), "up/x", payload).unwrap();
    }
    mosquitto.resume().unwrap();
    has_all(&far, &payloads.into_iter().collect());
    assert!(far.messages().iter().all(|message| message.topic == "far/up/x"));
    gateway.stop().unwrap();
}

#[test]
fn a_bridge_crosses_tls_with_a_certificate_of_its_own_and_says_what_is_wrong_with_others() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let files = tempfile::tempdir().unwrap();
    let ours = Authority::new(files.path().join("ours")).unwrap();
    let theirs = Authority::new(files.path().join("theirs")).unwrap();
    ours.sign("line3").unwrap();
    theirs.sign("line3").unwrap();
    let mosquitto = Mosquitto::start_with(&peers, &ours.mosquitto().unwrap()).unwrap();
    let bridge = |name: &str, ca: &Authority, client: Option<&Authority>| {
        let client = client.map(|it| {
            let (certificate, key) = (it.file("line3.pem"), it.file("line3.key"));
            format!("client_certificate = \"{}\"\nclient_key = \"{}\"\n", certificate.display(), key.display())
        });
        format!(
            "[[bridge]]\nname = \"{name}\"\nurl = \"mqtts://{}\"\nca = \"{}\"\nretry_longest = \"1s\"\n{}\n\
             [[bridge.route]]\ndirection = \"out\"\nfilter = \"up/#\"\nremote_prefix = \"{name}/\"\n\n\
             [[bridge.route]]\ndirection = \"in\"\nfilter = \"down/#\"\nremote_prefix = \"{name}/\"\n\n",
            mosquitto.address(),
            ca.file("ca.pem").display(),
            client.unwrap_or_default(),
        )
    };
    let site = site_with(
        &[
            bridge("wrong-authority", &theirs, Some(&ours)),
            bridge("no-certificate", &ours, None),
            bridge("foreign-certificate", &ours, Some(&theirs)),
            bridge("plant", &ours, Some(&ours)),
        ]
        .concat(),
    );
    let gateway = Gateway::start(&site).unwrap();
    online(&site);
    let (ca, certificate, key) = (ours.file("ca.pem"), ours.file("line3.pem"), ours.file("line3.key"));
    let arguments: Vec<String> = [("--cafile", ca), ("--cert", certificate), ("--key", key)]
        .iter()
        .flat_map(|(name, path)| [(*name).to_owned(), path.display().to_string()])
        .collect();
    let options = SubscriberOptions { arguments: arguments.clone(), ..SubscriberOptions::default() };
    let far = Subscriber::start_with(&peers, mosquitto.address(), "#", &options).unwrap();
    let near = Subscriber::start(&peers, site.broker_address(), "down/#").unwrap();
    arrives(&far, "to the plant", || publish(&peers, site.broker_address(), "up/x", "to the plant").unwrap());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arrives(&near, "from the plant", || {
        publish_with(&peers, mosquitto.address(), "plant/down/x", "from the plant", &arguments).unwrap();
    });
    for (name, told) in [
        ("wrong-authority", "is not signed by an authority that the bridge trusts; is `ca` the right file?"),
        ("no-certificate", "does not accept the bridge's client certificate"),
        ("foreign-certificate", "does not accept the bridge's client certificate"),
    ] {
        let said = |text: &str| text.contains(name) && text.contains(told);
        gateway
            .child()
            .wait_for(PATIENCE, told, |lines| lines.iter().any(|line| said(&line.text)).then_some(()))
            .unwrap();
        until_metric(&site, &format!("tidegate_bridge_online{{bridge=\"{name}\"}} 0"));
    }
    assert!(far.messages().iter().all(|message| message.topic.starts_with("plant/")), "something came over the others");
    gateway.stop().unwrap();
}

#[test]
fn what_mosquitto_sends_that_repeats_what_it_was_sent_is_not_taken_for_an_echo() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let mosquitto = Mosquitto::start(&peers).unwrap();
    let site = site_with(&format!(
        "[[bridge]]\nname = \"plant\"\nurl = \"mqtt://{}\"\nprotocol = \"3.1.1\"\n\n\
         [[bridge.route]]\ndirection = \"both\"\nfilter = \"#\"\nlocal_prefix = \"shared/\"\nremote_prefix = \"shared/\"\n",
        mosquitto.address()
    ));
    let gateway = Gateway::start(&site).unwrap();
    online(&site);
    let far = Subscriber::start(&peers, mosquitto.address(), "shared/#").unwrap();
    let near = Subscriber::start(&peers, site.broker_address(), "shared/#").unwrap();
    let there = |payload: &str| publish(&peers, site.broker_address(), "shared/there", payload).unwrap();
    let back = |payload: &str| publish(&peers, mosquitto.address(), "shared/back", payload).unwrap();
    arrives(&far, "ready", || there("ready"));
    arrives(&near, "steady", || back("steady"));
    publish(&peers, site.broker_address(), "shared/door", "open").unwrap();
    let doors = |subscriber: &Subscriber, wanted: usize| {
        subscriber
            .wait_for(PATIENCE, "the door", |messages| {
                let doors = messages.iter().filter(|message| message.topic == "shared/door").count();
                (doors == wanted).then_some(())
            })
            .unwrap();
    };
    doors(&far, 1);
    publish(&peers, mosquitto.address(), "shared/door", "open").unwrap();
    doors(&near, 2);
    // What comes after it shows that nothing is still on its way.
    arrives(&far, "end", || there("end"));
    arrives(&near, "the end", || back("the end"));
    doors(&far, 2);
    doors(&near, 2);
    until_metric(&site, "tidegate_bridge_looped_messages_total{bridge=\"plant\"} 0");
    gateway.stop().unwrap();
}
