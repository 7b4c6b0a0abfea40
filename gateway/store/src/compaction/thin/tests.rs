//! Tests of what stays of a block, and what it says.

use tidegate_model::{Column, Reason, Timestamp, Value, ValueKind, ValueType};

use super::*;

#[test]
fn alarms_extremes_and_the_end_of_each_minute_stay() {
    let columns = [Column::new("a".parse().unwrap(), ValueType::single(ValueKind::Int))];
    let mut batch = Batch::new(&columns);
    for row in 0..120_u64 {
        let number = match row {
            7 => -5,
            33 => 900,
            70 => -9,
            _ => 20,
        };
        let slot = match row {
            90..95 => Slot::Bad(Reason::Timeout),
            100 => Slot::Uncertain(Value::Int(20), Reason::OutOfRange),
            _ => Slot::Good(Value::Int(number)),
        };
        let time = Timestamp::from_millis(i64::try_from(1_000 * row).unwrap());
        batch.push(row + 1, time, None, &[slot]).unwrap();
    }
    let rows: Vec<usize> = telling(&batch, &columns).into_iter().collect();
    assert_eq!(rows, [0, 7, 33, 59, 60, 70, 90, 95, 100, 101, 119]);
}

fn seconds(row: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(1_000 * row).unwrap())
}

fn good(number: i64) -> Slot {
    Slot::Good(Value::Int(number))
}

#[test]
fn a_value_that_still_held_when_its_row_went_is_said_by_the_next_row_that_stays() {
    let columns = [Column::new("a".parse().unwrap(), ValueType::single(ValueKind::Int))];
    let mut batch = Batch::new(&columns);
    for row in 0..180_u64 {
        let slot = match row {
            0 => good(10),
            20 => good(50),
            40 => good(30),
            _ => Slot::Unchanged,
        };
        batch.push(row + 5, seconds(row), None, &[slot]).unwrap();
    }
    let kept: Vec<usize> = telling(&batch, &columns).into_iter().collect();
    assert_eq!(kept, [0, 20, 59, 119, 179]);
    let rest = rest(&batch, &kept, &columns).unwrap();
    let said: Vec<Slot> = rest.slots(0).collect();
    assert_eq!(said, [good(10), good(50), good(30), Slot::Unchanged, Slot::Unchanged]);
    assert_eq!((rest.first_seq(), rest.time(2)), (Some(5), Some(seconds(59))));
}

#[test]
fn the_points_of_a_swinging_door_all_stay() {
    let column = Column::new("a".parse().unwrap(), ValueType::single(ValueKind::Int));
    let columns = [Column { loss: Some(Loss::SwingingDoor { error: "1".into(), max_silence: 900_000 }), ..column }];
    let mut batch = Batch::new(&columns);
    for row in 0..60_u64 {
        let slot = if row % 10 == 3 { good(20) } else { Slot::Unchanged };
        batch.push(row + 1, seconds(row), None, &[slot]).unwrap();
    }
    let kept: Vec<usize> = telling(&batch, &columns).into_iter().collect();
    assert_eq!(kept, [0, 3, 13, 23, 33, 43, 53, 59]);
    assert_eq!(rest(&batch, &kept, &columns).unwrap().slots(0).filter(|slot| *slot == good(20)).count(), 6);
}
