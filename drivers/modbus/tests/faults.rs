//! What is not exactly the answer to the question never becomes a value: it ends the session, and the next one is right.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use rig::{
    ALL, Asked, Device, Reply, SHORT, compile, connect, link_to, poll_with,
    thirty::{COLUMNS, check, profile, values},
    until, within,
};
use tidegate_driver_api::{Cause, Lost, Readings};

/// The timeout of what is answered, or noticed without it; who waits for it has taken longer than half of it.
const LONG: Duration = Duration::from_secs(40);

/// Polls a device whose `request`-th answer of the first connection is spoilt, until a poll succeeds. Returns why the
/// sessions before were lost, and how many values the first poll brought all the same.
async fn play(name: &str, request: usize, spoil: impl FnMut(&Asked) -> Reply + Send + 'static) -> (Vec<Lost>, usize) {
    play_with(name, None, request, spoil).await
}

/// The same, where no answer comes to the spoilt one.
async fn play_silent(
    name: &str,
    request: usize,
    spoil: impl FnMut(&Asked) -> Reply + Send + 'static,
) -> (Vec<Lost>, usize) {
    play_with(name, Some(request), request, spoil).await
}

async fn play_with(
    name: &str,
    silent: Option<usize>,
    request: usize,
    mut spoil: impl FnMut(&Asked) -> Reply + Send + 'static,
) -> (Vec<Lost>, usize) {
    let device = Device::start(move |asked| match (asked.connection, asked.number) {
        (0, number) if number == request => spoil(asked),
        _ => Reply::Send(asked.right()),
    })
    .await;
    until_good(name, silent, &device).await
}

/// Polls until a poll succeeds. `silent`: the request of the first connection that gets no answer. All others have time.
async fn until_good(name: &str, mut silent: Option<usize>, device: &Device) -> (Vec<Lost>, usize) {
    let mut compiled = compile(&link_to(device.address, &profile()));
    let mut lost = Vec::new();
    let mut first = None;
    let mut out = Readings::new(COLUMNS);
    while lost.len() < 10 {
        let mut session = connect(compiled.link.as_mut()).await;
        let (silent, made) = (silent.take(), AtomicUsize::new(0));
        let context = || within(if silent == Some(made.fetch_add(1, Ordering::SeqCst)) { SHORT } else { LONG });
        // Two polls over the session: a fault may show only in the second.
        for _ in 0..2 {
            out.reset(COLUMNS);
            let result = poll_with(session.as_mut(), ALL, &context, &mut out).await;
            check(name, &out);
            first.get_or_insert(values(&out));
            match result {
                Ok(_) if values(&out) == COLUMNS => {}
                Ok(_) => panic!("{name}: a poll without a fault lacks values: {:?}", out.items()),
                Err(why) => {
                    lost.push(why);
                    // What was given up has reached the device before what is asked over the next connection does.
                    until("a request", || !device.asked().is_empty()).await;
                    break;
                }
            }
        }
        if values(&out) == COLUMNS {
            return (lost, first.unwrap());
        }
    }
    panic!("{name}: no good poll after {lost:?}");
}

/// One spoilt answer, the loss it leads to, and the words that the text must have.
type Case = (&'static str, fn(&Asked) -> Reply, Cause, &'static str);

fn changed(asked: &Asked, at: usize, byte: u8) -> Reply {
    let mut bytes = asked.right();
    bytes[at] = byte;
    Reply::Send(bytes)
}

const SPOILT: &[Case] = &[
    ("foreign transaction", |asked| changed(asked, 1, !asked.frame[1]), Cause::Mismatch, "it answers request "),
    ("foreign unit", |asked| changed(asked, 6, 18), Cause::Mismatch, "it is from unit 18"),
    ("foreign function", |asked| changed(asked, 7, 4), Cause::Mismatch, "it answers function 4, not 3"),
    ("foreign function's exception", |asked| changed(asked, 7, 0x84), Cause::Mismatch, "it answers function 4, not 3"),
    ("byte count too small", |asked| changed(asked, 8, 18), Cause::Mismatch, "it brings 18 bytes of data, not 20"),
    ("byte count odd", |asked| changed(asked, 8, 19), Cause::Mismatch, "it brings 19 bytes of data, not 20"),
    ("byte count too large", |asked| changed(asked, 8, 22), Cause::Mismatch, "it brings 22 bytes of data, not 20"),
    ("wrong protocol", |asked| changed(asked, 3, 1), Cause::Malformed, "this is not Modbus TCP"),
    ("huge length", |asked| changed(asked, 4, 0xFF), Cause::Malformed, "the header states 65303 bytes"),
    ("no length", |asked| changed(asked, 5, 0), Cause::Malformed, "the header states 0 bytes"),
    (
        "fewer registers, consistently",
        |asked| Reply::Send(asked.answer(&[3, 2, 0x12, 0x34])),
        Cause::Mismatch,
        "it brings 2 bytes of data, not 20",
    ),
    (
        "more registers, consistently",
        |asked| Reply::Send(asked.answer(&[&[3, 22][..], &[0x55; 22]].concat())),
        Cause::Mismatch,
        "it brings 22 bytes of data, not 20",
    ),
    (
        "bytes behind the data",
        |asked| Reply::Send(asked.answer(&[&asked.right()[7..], &[0, 0]].concat())),
        Cause::Malformed,
        "it has 24 bytes, but what it says needs 22",
    ),
    (
        "less data than the byte count says",
        |asked| Reply::Send(asked.answer(&asked.right()[7..27])),
        Cause::Malformed,
        "it has 20 bytes, but what it says needs 22",
    ),
    (
        "function without anything",
        |asked| Reply::Send(asked.answer(&[3])),
        Cause::Malformed,
        "the header states 2 bytes",
    ),
    (
        "exception with more behind",
        |asked| Reply::Send(asked.answer(&[0x83, 2, 0])),
        Cause::Malformed,
        "it has 3 bytes, but what it says needs 2",
    ),
    (
        "answer to a write",
        |asked| Reply::Send(asked.answer(&[6, 0, 0, 0, 1])),
        Cause::Mismatch,
        "it answers function 6, not 3",
    ),
    ("garbage", |_| Reply::Send(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), Cause::Malformed, "not Modbus TCP"),
    ("ones", |_| Reply::Send(vec![0xFF; 300]), Cause::Malformed, "not Modbus TCP"),
    ("close without a word", |_| Reply::SendAndClose(Vec::new()), Cause::Closed, "the connection was closed"),
];

#[tokio::test]
async fn a_spoilt_answer_ends_the_session_at_once_and_says_why() {
    for (name, spoil, cause, words) in SPOILT {
        let begun = Instant::now();
        let (lost, kept) = play(name, 2, spoil).await;
        assert_eq!(lost.len(), 1, "{name}: {lost:?}");
        assert_eq!(lost[0].cause, *cause, "{name}: {lost:?}");
        assert!(lost[0].detail.contains(words), "{name}: {}", lost[0].detail);
        assert!(lost[0].detail.contains("meter-1 (unit 17)"), "{name}: {}", lost[0].detail);
        assert!(lost[0].detail.contains("10 holding registers from 200"), "{name}: {}", lost[0].detail);
        assert_eq!(kept, 20, "{name}: what the requests before brought counts");
        assert!(begun.elapsed() < LONG / 2, "{name}: it was waited for");
    }
}

#[tokio::test]
async fn a_short_coil_answer_brings_no_coil() {
    let (lost, kept) = play("short coils", 0, |asked| Reply::Send(asked.answer(&[2, 1, 0xFF]))).await;
    assert_eq!(lost[0].cause, Cause::Mismatch);
    assert!(lost[0].detail.contains("it brings 1 bytes of data, not 2"), "{}", lost[0].detail);
    assert!(lost[0].detail.contains("10 discrete inputs from 5"), "{}", lost[0].detail);
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn a_silent_device_is_lost_within_the_timeout() {
    let begun = Instant::now();
    let (lost, kept) = play_silent("silence", 2, |_| Reply::Nothing).await;
    assert_eq!(
        lost,
        [Lost::new(
            Cause::Timeout,
            "meter-1 (unit 17) did not answer a read of 10 holding registers from 200 within 400 ms"
        )]
    );
    assert_eq!(kept, 20);
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < LONG / 2);
}

#[tokio::test]
async fn a_frame_cut_at_any_byte_is_closed_or_silent_but_never_a_value() {
    let whole = 29;
    let closed = (0..whole).map(|end| async move {
        let cut = move |asked: &Asked| Reply::SendAndClose(asked.right()[..end].to_vec());
        (end, play("cut and closed", 1, cut).await)
    });
    for (end, (lost, kept)) in join(closed).await {
        assert_eq!(lost[0].cause, Cause::Closed, "cut at {end}: {lost:?}");
        assert_eq!((lost.len(), kept), (1, 10), "cut at {end}");
    }
    let silent = (0..whole).map(|end| async move {
        let cut = move |asked: &Asked| Reply::Send(asked.right()[..end].to_vec());
        (end, play_silent("cut and silent", 1, cut).await)
    });
    for (end, (lost, kept)) in join(silent).await {
        assert_eq!(lost[0].cause, Cause::Timeout, "cut at {end}: {lost:?}");
        assert_eq!((lost.len(), kept), (1, 10), "cut at {end}");
    }
}

/// Runs all at the same time.
async fn join<T: Send + 'static>(work: impl Iterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = work.map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_is_an_answer() {
    let (lost, kept) = play("byte by byte", 1, |asked| Reply::Dribble(asked.right())).await;
    assert_eq!((lost, kept), (vec![], COLUMNS));
}

#[tokio::test]
async fn a_late_answer_is_never_the_answer_to_the_next_question() {
    // The device answers each request only when it gets the next one, on whatever connection that comes.
    let mut held: Option<Vec<u8>> = None;
    let device = Device::start(move |asked| {
        if asked.connection > 2 {
            return Reply::Send(asked.right());
        }
        held.replace(asked.right()).map_or(Reply::Nothing, Reply::Send)
    })
    .await;
    let (lost, kept) = until_good("late", Some(0), &device).await;
    let causes: Vec<Cause> = lost.iter().map(|lost| lost.cause).collect();
    assert_eq!(causes, [Cause::Timeout, Cause::Mismatch, Cause::Mismatch], "{lost:?}");
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn an_answer_to_a_request_of_the_last_connection_is_not_taken() {
    // As some gateways to serial lines do: what the line answers late goes to whoever is connected now.
    let mut first: Option<Vec<u8>> = None;
    let device = Device::start(move |asked| match (asked.connection, asked.number) {
        (0, 0) => {
            first = Some(asked.answer(&[&[3, 20][..], &[0xAB; 20]].concat()));
            Reply::Nothing
        }
        (1, 0) => Reply::Send(first.clone().unwrap()),
        _ => Reply::Send(asked.right()),
    })
    .await;
    let (lost, _) = until_good("after reconnect", Some(0), &device).await;
    let causes: Vec<Cause> = lost.iter().map(|lost| lost.cause).collect();
    assert_eq!(causes, [Cause::Timeout, Cause::Mismatch], "{lost:?}");
}

#[tokio::test]
async fn two_frames_in_one_segment_bring_the_first_and_end_the_session() {
    for twice in [true, false] {
        let (lost, kept) = play("two frames", 1, move |asked| {
            let other = asked.answer(&[3, 2, 0x12, 0x34]);
            let second = if twice { asked.right() } else { other };
            Reply::Send([asked.right(), second].concat())
        })
        .await;
        assert_eq!(kept, 20, "the right answer counts");
        assert_eq!((lost.len(), lost[0].cause), (1, Cause::Mismatch));
        assert!(lost[0].detail.contains("bytes came that nobody had asked for"), "{}", lost[0].detail);
    }
}

#[tokio::test]
async fn a_flood_of_unasked_frames_brings_no_value() {
    // Answers to the requests that will come next.
    let flood = |asked: &Asked| -> Vec<u8> {
        let answer = asked.answer(&[&[3, 20][..], &[0xAB; 20]].concat());
        let frames = (1..50).map(|ahead| {
            let transaction = asked.number_at(0).wrapping_add(ahead).to_be_bytes();
            [&transaction[..], &answer[2..]].concat()
        });
        frames.flatten().collect()
    };
    let (lost, kept) = play("flood in place of an answer", 1, move |asked| Reply::Send(flood(asked))).await;
    assert_eq!((lost.len(), lost[0].cause, kept), (1, Cause::Mismatch, 10));
    let behind = move |asked: &Asked| Reply::Send([asked.right(), flood(asked)].concat());
    let (lost, kept) = play("flood behind an answer", 1, behind).await;
    assert_eq!((lost.len(), lost[0].cause, kept), (1, Cause::Mismatch, 20));
}
