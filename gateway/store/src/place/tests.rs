//! Tests of [`Place`].

use super::*;

fn place() -> Place {
    Place::new(Acknowledged::before(10), true)
}

fn give(place: &mut Place, position: u64) -> Ticket {
    place.give(Range::new(position, position + 1), Timestamp::from_millis(0))
}

/// What is given from the oldest on, up to `end`.
fn rest(place: &mut Place, end: u64) -> Vec<u64> {
    let mut given = Vec::new();
    while place.next() < end {
        given.push(place.next());
        give(place, given[given.len() - 1]);
    }
    given
}

#[test]
fn the_base_is_the_first_that_is_not_acknowledged_in_any_order() {
    let mut place = place();
    let tickets: Vec<Ticket> = (10..14).map(|position| give(&mut place, position)).collect();
    assert!(place.acknowledge(tickets[1]) && place.acknowledge(tickets[3]));
    assert_eq!(place.base(), 10);
    assert!(place.acknowledge(tickets[0]));
    assert_eq!(place.base(), 12);
    assert!(place.acknowledge(tickets[2]));
    assert_eq!(place.base(), 14);
    assert!(!place.acknowledge(tickets[2]), "a second time is nothing new");
    assert_eq!(place.acknowledged, 4);
}

#[test]
fn after_a_rewind_only_what_is_not_acknowledged_is_given_again() {
    let mut place = place();
    let tickets: Vec<Ticket> = (10..14).map(|position| give(&mut place, position)).collect();
    place.acknowledge(tickets[0]);
    place.acknowledge(tickets[2]);
    place.rewind();
    assert_eq!((place.base(), place.next()), (11, 11));
    // A late answer from before still counts.
    place.acknowledge(tickets[3]);
    assert_eq!(rest(&mut place, 15), [11, 14]);
}

#[test]
fn a_late_answer_for_rows_that_have_been_moved_since_does_not_count() {
    let mut place = place();
    let tickets: Vec<Ticket> = (10..14).map(|position| give(&mut place, position)).collect();
    assert!(!place.hold(Range::new(10, 12)), "they are in flight");
    place.rewind();
    assert!(place.hold(Range::new(10, 12)));
    assert!(!place.acknowledge(tickets[0]));
    place.permuted(Range::new(10, 12), &[]);
    assert!(!place.acknowledge(tickets[1]));
    assert!(place.acknowledge(tickets[2]));
    assert_eq!(rest(&mut place, 14), [10, 11, 13]);
}

#[test]
fn with_two_lanes_each_row_is_given_in_one_of_them() {
    let mut place = place();
    place.split(20);
    let live = give(&mut place, 20);
    assert_eq!(rest(&mut place, 20), (10..20).collect::<Vec<u64>>());
    // The live lane leaves out what it could not keep up with.
    place.live = Some(Live { from: 25, next: 25 });
    assert_eq!(rest(&mut place, 25), (21..25).collect::<Vec<u64>>());
    assert!(place.acknowledge(live));
    assert_eq!((place.base(), place.done.ahead().positions()), (10, 1));
}

#[test]
fn a_gap_from_before_a_rewind_has_to_be_acknowledged_again() {
    let mut place = place();
    place.gaps = 1;
    let key = GapKey { position: 10, id: 1 };
    let before = place.give_gap(key);
    place.rewind();
    assert_eq!(place.next_gap, Some(0));
    let after = place.give_gap(key);
    assert!(!place.acknowledge(before));
    assert!(place.acknowledge(after));
    assert!(place.is_unsaved());
}

#[test]
fn what_has_left_the_log_is_passed_over() {
    let mut place = place();
    let tickets: Vec<Ticket> = (10..14).map(|position| give(&mut place, position)).collect();
    place.acknowledge(tickets[1]);
    place.skip_to(12);
    assert_eq!((place.base(), place.next()), (12, 14));
    assert!(!place.acknowledge(tickets[0]));
    place.skip_to(20);
    assert_eq!((place.base(), place.next()), (20, 20));
}

#[test]
fn rows_that_are_moved_keep_what_became_of_them() {
    let mut place = place();
    let first = give(&mut place, 10);
    place.acknowledge(first);
    assert!(place.hold(Range::new(10, 14)));
    assert!(place.is_held(Range::new(13, 14)));
    // The row that was at 10 is at 12 now.
    place.permuted(Range::new(10, 14), &[Range::new(12, 13)]);
    assert!(!place.is_held(Range::new(13, 14)));
    assert_eq!(rest(&mut place, 14), [10, 11, 13]);
}

#[test]
fn rows_that_are_moved_behind_the_beginning_of_the_live_lane_are_the_other_lane_s() {
    let mut place = place();
    place.split(20);
    // The live lane has given 20 to 29 and they are acknowledged; 10 to 19 wait.
    let live: Vec<Ticket> = (20..30).map(|position| give(&mut place, position)).collect();
    place.live = Some(Live { from: 20, next: 30 });
    live.into_iter().for_each(|ticket| assert!(place.acknowledge(ticket)));
    assert!(place.hold(Range::new(10, 25)));
    // What was acknowledged has come to stand first.
    place.permuted(Range::new(10, 25), &[Range::new(10, 15)]);
    let live = place.live.unwrap();
    assert_eq!((live.from, live.next), (25, 30));
    assert_eq!(rest(&mut place, live.from), (15..25).collect::<Vec<u64>>());
}

#[test]
fn rows_that_are_moved_before_the_live_lane_has_read_them_are_the_other_lane_s() {
    let mut place = place();
    place.split(10);
    assert!(place.hold(Range::new(10, 14)));
    place.permuted(Range::new(10, 14), &[]);
    let live = place.live.unwrap();
    assert_eq!((live.from, live.next), (14, 14));
    assert_eq!(rest(&mut place, live.from), [10, 11, 12, 13]);
}
