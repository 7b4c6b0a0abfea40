//! `GET /api/v1/history`: the samples of one tag over time.

use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value as Json_, json};
use tidegate_model::{Name, Quality, TagName, Timestamp};
use tidegate_runtime::{Fill, History, HistoryError, HistoryQuery, Missing, Sample, Why};

use crate::{answer::problem, devices::value_json, query, server::Shared};

/// How many samples there are when nobody says.
const POINTS: usize = 1_000;
/// How few and how many can be asked for.
const FEWEST: usize = 10;
const MOST: usize = 20_000;

const KEYS: [&str; 6] = ["device", "tag", "from", "to", "max_points", "fill"];

pub(crate) async fn history(State(shared): State<Shared>, RawQuery(text): RawQuery) -> Response {
    let query = match parse(text.as_deref().unwrap_or_default()) {
        Ok(query) => query,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, &wrong),
    };
    match shared.handle.history(&query).await {
        Ok(history) => Json(history_json(&query, &history)).into_response(),
        Err(error) => {
            let status = match error {
                HistoryError::UnknownDevice(_) | HistoryError::UnknownTag { .. } => StatusCode::NOT_FOUND,
                HistoryError::TooSlow | HistoryError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            problem(status, &error.to_string())
        }
    }
}

/// What is asked for, or what is wrong with it.
fn parse(text: &str) -> Result<HistoryQuery, String> {
    let given = query::pairs(text)?;
    for (at, (key, _)) in given.iter().enumerate() {
        if !KEYS.contains(&key.as_str()) {
            return Err(format!("\"{key}\" is not known here; known are {}", KEYS.join(", ")));
        }
        if given.iter().skip(at + 1).any(|(other, _)| other == key) {
            return Err(format!("{key} is there more than once"));
        }
    }
    let find = |key: &str| given.iter().find(|(given, _)| given == key).map(|(_, value)| value.as_str());
    let needed =
        |key: &str| find(key).ok_or_else(|| format!("{key} is missing; ask for ?device=meter-1&tag=voltage_l1"));
    let device: Name = needed("device")?.parse().map_err(|error| format!("device: {error}"))?;
    let tag: TagName = needed("tag")?.parse().map_err(|error| format!("tag: {error}"))?;
    let time = |key: &str| match find(key) {
        Some(text) => text.parse::<Timestamp>().map(Some).map_err(|error| format!("{key}: {error}")),
        None => Ok(None),
    };
    let (from, to) = (time("from")?, time("to")?);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return Err(format!("from ({from}) is not before to ({to})"));
    }
    let range = || format!("max_points is a number from {FEWEST} to {MOST}");
    let max_points = match find("max_points") {
        Some(text) => text.parse().ok().filter(|points| (FEWEST..=MOST).contains(points)).ok_or_else(range)?,
        None => POINTS,
    };
    let fill = match find("fill") {
        None | Some("none") => Fill::Nothing,
        Some("line") => Fill::Lines,
        Some(_) => return Err("fill is none or line".to_owned()),
    };
    Ok(HistoryQuery { device, tag, from, to, max_points, fill })
}

fn history_json(query: &HistoryQuery, history: &History) -> Json_ {
    let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millis);
    json!({
        "device": query.device.as_str(),
        "tag": query.tag.as_str(),
        "unit": history.unit,
        "from": millis(query.from),
        "to": millis(query.to),
        "samples": history.samples.iter().map(sample_json).collect::<Vec<_>>(),
        "thinned": history.thinned,
        "total": history.total,
        "missing": history.missing.iter().map(missing_json).collect::<Vec<_>>(),
    })
}

/// `[time, value]`, and the quality and its reason behind it when it is not good; of what was drawn, that.
fn sample_json(sample: &Sample) -> Json_ {
    let (time, value) = (sample.time.as_millis(), sample.slot.value().map(value_json));
    match sample.slot.quality() {
        Some(Quality::Good) if sample.drawn => json!([time, value, "interpolated"]),
        Some(Quality::Good) => json!([time, value]),
        Some(Quality::Uncertain(reason)) => json!([time, value, "uncertain", reason.as_str()]),
        Some(Quality::Bad(reason)) => json!([time, Json_::Null, "bad", reason.as_str()]),
        // A history has no samples without news.
        None => json!([time, Json_::Null]),
    }
}

fn missing_json(missing: &Missing) -> Json_ {
    let (reason, detail) = match &missing.why {
        Why::Damaged(why) => ("damaged", Some(why)),
        Why::Dropped => ("dropped", None),
    };
    json!({
        "group": missing.group.as_str(), "first": missing.first, "last": missing.last, "reason": reason, "detail": detail,
    })
}

#[cfg(test)]
mod tests {
    use tidegate_model::{Reason, Slot, Value};

    use super::*;

    #[test]
    fn a_query_names_a_device_and_a_tag_and_the_rest_has_defaults() {
        let query = parse("device=meter-1&tag=voltage_l1").unwrap();
        assert_eq!((query.device.as_str(), query.tag.as_str(), query.max_points), ("meter-1", "voltage_l1", POINTS));
        assert_eq!((query.from, query.to, query.fill), (None, None, Fill::Nothing));
        assert_eq!(parse("device=m&tag=a&fill=line").unwrap().fill, Fill::Lines);
        let query =
            parse("tag=a.b&from=2026-11-23T10:15:00%2B01:00&device=m&to=1795425300001&max_points=20000").unwrap();
        assert_eq!(query.from, Some(Timestamp::from_millis(1_795_425_300_000)));
        assert_eq!((query.to, query.max_points), (Some(Timestamp::from_millis(1_795_425_300_001)), MOST));
        // A plus is a plus here: hardly anybody writes %2B.
        assert_eq!(parse("device=m&tag=a&from=2026-11-23T10:15:00+01:00").unwrap().from, query.from);
    }

    #[test]
    fn every_mistake_is_named() {
        for (text, named) in [
            ("", "device is missing"),
            ("device=m", "tag is missing"),
            ("device=a/b&tag=t", "device: "),
            ("device=m&tag=", "tag: "),
            ("device=m&tag=t&tag=u", "tag is there more than once"),
            ("device=m&tag=t&maxpoints=5", "\"maxpoints\" is not known"),
            ("device=m&tag=t&from=yesterday", "from: \"yesterday\" is no time"),
            ("device=m&tag=t&to=", "to: \"\" is no time"),
            ("device=m&tag=t&from=5&to=5", "from (5) is not before to (5)"),
            ("device=m&tag=t&max_points=9", "max_points is a number from 10 to 20000"),
            ("device=m&tag=t&max_points=20001", "max_points is a number"),
            ("device=m&tag=t&max_points=many", "max_points is a number"),
            ("device=m&tag=t&fill=linear", "fill is none or line"),
            ("device=m&tag=%zz", "%"),
            ("device=m&tag=%ff", "UTF-8"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.contains(named), "{text}: {wrong}");
        }
    }

    #[test]
    fn a_sample_says_its_quality_only_when_it_is_not_good() {
        let sample = |slot, drawn| sample_json(&Sample { time: Timestamp::from_millis(5), slot, drawn }).to_string();
        let json = |slot| sample(slot, false);
        assert_eq!(sample(Slot::Good(Value::F64(1.5)), true), r#"[5,1.5,"interpolated"]"#);
        assert_eq!(json(Slot::Good(Value::F32(0.1))), "[5,0.1]");
        assert_eq!(
            json(Slot::Uncertain(Value::Uint(u64::MAX), Reason::OutOfRange)),
            r#"[5,18446744073709551615,"uncertain","out_of_range"]"#
        );
        assert_eq!(json(Slot::Bad(Reason::Timeout)), r#"[5,null,"bad","timeout"]"#);
    }
}
