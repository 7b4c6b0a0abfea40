use super::*;

#[test]
fn every_type_and_every_quality_has_its_spelling() {
    let text = text(Format::Csv, table(&columns()), &[(&columns(), &batch())]);
    let lines: Vec<&str> = text.split("\r\n").collect();
    let qualities = |word: &str| [word; 8].join(",");
    assert_eq!(
        lines,
        [
            "time,device_time,seq,running,count,energy,voltage,tag:time,mode,raw,curve,running:quality,count:quality,\
             energy:quality,voltage:quality,time:quality,mode:quality,raw:quality,curve:quality"
                .to_owned(),
            "2023-11-14T22:13:20.000Z,2023-11-14T22:13:19.995Z,40,true,-9223372036854775808,18446744073709551615,229.8,\
             0.30000000000000004,\"say \"\"a, b\"\"\",AP8=,\"[1,-2,3]\",,,,,,,,"
                .to_owned(),
            format!("2023-11-14T22:13:21.000Z,,41,,,,,,,,,{}", qualities("unchanged")),
            format!("2023-11-14T22:13:22.000Z,,42,,,,,,,,,{}", qualities("bad:timeout")),
            format!(
                "2023-11-14T22:13:23.000Z,,43,false,7,0,NaN,-Infinity,\"\",,[],{}",
                qualities("uncertain:out_of_range")
            ),
            String::new(),
        ]
    );
}

#[test]
fn a_table_takes_the_columns_it_has_and_says_which_are_absent() {
    let all = columns();
    let table = table(&[column("later", ValueKind::Bool), all[1].clone()]);
    let text = text(Format::Csv, table, &[(&all, &batch().slice(0..1))]);
    let line = "2023-11-14T22:13:20.000Z,2023-11-14T22:13:19.995Z,40,,-9223372036854775808,absent,\r\n";
    assert_eq!(text, format!("time,device_time,seq,later,count,later:quality,count:quality\r\n{line}"));
}

#[test]
fn a_value_of_another_type_stands_as_it_is() {
    let all = [column("count", ValueKind::Int)];
    let mut batch = Batch::new(&all);
    batch.push(1, Timestamp::from_millis(0), None, &[Slot::Good(Value::Text("x".into()))]).unwrap();
    assert!(text(Format::Csv, table(&all), &[(&all, &batch)]).ends_with("1970-01-01T00:00:00.000Z,,1,x,\r\n"));
}
