//! What ends a session and what does not: exceptions, calls that were dropped, connections that were closed or refused.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::time::Duration;

use rig::{
    Device, PATIENT, Reply, at, compile, connect, link_to, poll,
    thirty::{COLUMNS, check, profile, values},
    until,
};
use tidegate_driver_api::{
    Cause, Readings,
    model::{Reading, Reason},
};

#[tokio::test]
async fn an_exception_fails_its_own_request_and_the_session_goes_on() {
    for code in [1, 4, 5, 6, 7, 8, 0x20, 0xFF] {
        let device = Device::start(move |asked| match asked.number {
            1 => Reply::Send(asked.exception(code)),
            _ => Reply::Send(asked.right()),
        })
        .await;
        let mut compiled = compile(&link_to(device.address, &profile()));
        let mut session = connect(compiled.link.as_mut()).await;
        let mut out = Readings::new(COLUMNS);
        assert_eq!(poll(session.as_mut(), PATIENT, &mut out).await, Ok(3));
        check("exception", &out);
        assert_eq!(values(&out), 20, "exception {code}");
        assert!(out.items()[..10].iter().all(|reading| *reading == Reading::Failed(Reason::DeviceFault)));
        out.reset(COLUMNS);
        assert_eq!(poll(session.as_mut(), PATIENT, &mut out).await, Ok(3));
        assert_eq!(values(&out), COLUMNS, "exception {code}");
    }
}

#[tokio::test]
async fn a_unit_that_its_gateway_cannot_reach_is_silent_and_the_session_goes_on() {
    for code in [0x0A, 0x0B] {
        let device = Device::start(move |asked| match asked.number {
            1 => Reply::Send(asked.exception(code)),
            _ => Reply::Send(asked.right()),
        })
        .await;
        let mut compiled = compile(&link_to(device.address, &profile()));
        let mut session = connect(compiled.link.as_mut()).await;
        let mut out = Readings::new(COLUMNS);
        assert_eq!(poll(session.as_mut(), PATIENT, &mut out).await, Ok(2), "the third request is not sent");
        assert_eq!(values(&out), 10);
        assert!(out.items()[..20].iter().all(|reading| *reading == Reading::Failed(Reason::Timeout)));
        out.reset(COLUMNS);
        assert_eq!(poll(session.as_mut(), PATIENT, &mut out).await, Ok(3));
        assert_eq!(values(&out), COLUMNS);
    }
}

#[tokio::test]
async fn a_call_that_was_dropped_half_way_takes_the_session_with_it() {
    let device = Device::start(|asked| match asked.number {
        0 => Reply::Nothing,
        _ => Reply::Send(asked.right()),
    })
    .await;
    let mut compiled = compile(&link_to(device.address, &profile()));
    let mut session = connect(compiled.link.as_mut()).await;
    let mut out = Readings::new(COLUMNS);
    tokio::select! {
        result = poll(session.as_mut(), PATIENT, &mut out) => panic!("nobody has answered: {result:?}"),
        () = until("the request", || device.asked().len() == 1) => {}
    }
    let lost = poll(session.as_mut(), PATIENT, &mut out).await.unwrap_err();
    assert_eq!((lost.cause, values(&out)), (Cause::Mismatch, 0), "{lost}");
    assert_eq!(device.asked().len(), 1);
}

#[tokio::test]
async fn a_connection_closed_between_two_polls_is_noticed_before_anything_is_sent() {
    let device = Device::start(|asked| match asked.number {
        2 => Reply::SendAndClose(asked.right()),
        _ => Reply::Send(asked.right()),
    })
    .await;
    let mut compiled = compile(&link_to(device.address, &profile()));
    let mut session = connect(compiled.link.as_mut()).await;
    let mut out = Readings::new(COLUMNS);
    assert_eq!(poll(session.as_mut(), PATIENT, &mut out).await, Ok(3));
    until("the end of the connection", || device.open_connections() == 0).await;
    // Loopback delivers at once, but the runtime has to be told: it looks while nobody has anything to do.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let lost = poll(session.as_mut(), PATIENT, &mut out).await.unwrap_err();
    assert_eq!(lost.cause, Cause::Closed, "{lost}");
    assert_eq!(device.asked().len(), 3);
}

#[tokio::test]
async fn a_name_is_good_when_one_of_its_addresses_is() {
    // Where this machine also calls its IPv6 address localhost, nobody listens there.
    let device = Device::start(|asked| Reply::Send(asked.right())).await;
    let link = at(link_to(device.address, &profile()), format!("localhost:{}", device.address.port()));
    let mut compiled = compile(&link);
    let mut session = connect(compiled.link.as_mut()).await;
    assert_eq!(poll(session.as_mut(), PATIENT, &mut Readings::new(COLUMNS)).await, Ok(3));
}

#[tokio::test]
async fn a_refused_connection_says_what_to_look_at() {
    // The port is taken, but nobody listens.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut compiled = compile(&link_to(socket.local_addr().unwrap(), &profile()));
    let Err(fault) = compiled.link.connect(&rig::within(PATIENT)).await else { panic!("nobody listens") };
    assert_eq!(fault.cause, Cause::Closed);
    assert!(fault.detail.contains("refused the connection: check the port"), "{fault}");
    assert!(fault.retry_soon);
}

#[tokio::test]
async fn what_a_device_says_before_it_is_asked_is_no_answer() {
    let greeting: Vec<u8> = [0, 1, 0, 0, 0, 23, 17, 3, 20].into_iter().chain([0xAB; 20]).collect();
    let device = Device::greeting(greeting, |asked| Reply::Send(asked.right())).await;
    let mut compiled = compile(&link_to(device.address, &profile()));
    let mut session = connect(compiled.link.as_mut()).await;
    until("the greeting", || device.open_connections() == 1).await;
    // Loopback delivers at once, but the runtime has to be told: it looks while nobody has anything to do.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut out = Readings::new(COLUMNS);
    let lost = poll(session.as_mut(), PATIENT, &mut out).await.unwrap_err();
    assert_eq!((lost.cause, values(&out)), (Cause::Mismatch, 0), "{lost}");
    assert!(device.asked().is_empty(), "nothing is sent over a connection that is not silent");
}
