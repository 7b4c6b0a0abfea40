use super::*;

#[test]
fn a_line_is_the_payload_of_the_topic_with_the_names_before_it() {
    let text = text(Format::JsonLines, table(&columns()), &[(&columns(), &batch())]);
    let lines: Vec<&str> = text.lines().collect();
    let head = r#"{"gateway":"line3","device":"meter-1","group":"fast","#;
    assert_eq!(lines[1], format!("{head}\"ts\":1700000001000,\"seq\":41,\"values\":{{}}}}"));
    for line in &lines {
        assert!(line.starts_with(head), "{line}");
    }
    let first: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(first["device_ts"], START - 5);
    assert_eq!(first["values"]["energy"], u64::MAX);
    assert_eq!(first["values"]["curve"], serde_json::json!([1, -2, 3]));
    let bad: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
    assert_eq!((&bad["bad"]["mode"], bad["values"].get("mode")), (&"timeout".into(), None));
    let doubtful: serde_json::Value = serde_json::from_str(lines[3]).unwrap();
    assert_eq!(
        (&doubtful["values"]["voltage"], &doubtful["uncertain"]["voltage"]),
        (&"NaN".into(), &"out_of_range".into())
    );
}

#[test]
fn only_the_rows_that_were_asked_for_are_written() {
    let (all, batch) = (columns(), batch());
    let mut writer = Writer::new(Format::JsonLines, Vec::new(), table(&all[..1])).unwrap();
    let places = writer.places(&all).unwrap();
    writer.write(&batch, 3..9, &places).unwrap();
    let Finished { to, rows, .. } = writer.finish().unwrap();
    let line = r#""ts":1700000003000,"seq":43,"values":{"running":false},"uncertain":{"running":"out_of_range"}}"#;
    assert!(String::from_utf8(to).unwrap().ends_with(&format!("{line}\n")));
    assert_eq!(rows, 1);
}
