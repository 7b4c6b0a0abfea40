//! Whatever bytes come: the body of the fuzz target, and the same with spoiled messages as a test.

use std::time::{Duration, Instant};

use tidegate_model::Timestamp;

use crate::{Bounds, DataType, Host, HostOptions, NodeId, Now, decode, encode, from_wire, to_wire};

/// Reads the bytes as a message, every value in it as every type, and lets a host hear it as a birth and as data.
///
/// # Panics
///
/// When a message that was read is another one once it was written and read again, or a value that was taken cannot be given.
#[cfg_attr(test, allow(unreachable_pub, reason = "public for the fuzz target only"))]
pub fn any_bytes(bytes: &[u8]) {
    let bounds = Bounds { bytes: 64 * 1024, metrics: 256, parts: 4_096 };
    let now = Now { at: Instant::now(), time: Timestamp::from_millis(1_700_000_000_000) };
    let mut host = Host::new(HostOptions { bounds, ..HostOptions::default() });
    let mut events = Vec::new();
    for topic in
        ["spBv1.0/g/NBIRTH/n", "spBv1.0/g/DBIRTH/n/d", "spBv1.0/g/DDATA/n/d", "spBv1.0/STATE/h", "spBv1.0/g/NDEATH/n"]
    {
        host.heard(topic, bytes, now, &mut events);
        events.clear();
    }
    host.run(Now { at: now.at + Duration::from_secs(60), ..now }, &mut events);
    assert!(host.known(&NodeId::new("g", "n")).count() <= 257, "more is known than was taken");
    let Ok(payload) = decode(bytes, bounds) else { return };
    let written = encode(&payload);
    // By bytes: a NaN is not equal to itself.
    let again = decode(&written, Bounds::default()).map(|payload| encode(&payload));
    assert!(again.as_deref() == Ok(written.as_slice()), "a message is another one when it is read again");
    for value in payload.metrics.iter().filter_map(|metric| metric.value.as_ref()) {
        for datatype in DataType::ALL {
            let Ok(taken) = from_wire(value, datatype) else { continue };
            if datatype == DataType::DataSet {
                continue;
            }
            let given = to_wire(&taken, datatype);
            let negative_time = matches!(datatype, DataType::DateTime);
            let back = given.as_ref().ok().and_then(|given| from_wire(given, datatype).ok());
            assert!(negative_time || back.is_some_and(|back| back.same_as(&taken)), "{datatype:?} {taken:?} {given:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::wire::{
        DataSet, DataSetRow, DataSetValue, Metric, MetricValue, Payload, PlainValue, PropertyContent, PropertySet,
        Template,
    };

    fn message() -> Payload {
        let element = |number| DataSetValue { value: Some(PlainValue::Int(number)) };
        let table = DataSet {
            num_of_columns: Some(2),
            columns: vec!["a".into(), "b".into()],
            types: vec![1, 7],
            rows: vec![DataSetRow { elements: vec![element(1), element(2)] }],
        };
        let mut properties = PropertySet::default();
        properties.add("Quality", DataType::Int32, PropertyContent::Int(192));
        let metric = |name: &str, datatype: DataType, value| Metric {
            name: Some(name.to_owned()),
            alias: Some(7),
            timestamp: Some(5),
            datatype: Some(datatype.code()),
            properties: Some(properties.clone()),
            value: Some(value),
            ..Metric::default()
        };
        let inner = metric("inner", DataType::Int8, MetricValue::Int(255));
        let template = Template { metrics: vec![inner], is_definition: Some(false), ..Template::default() };
        Payload {
            timestamp: Some(1),
            seq: Some(0),
            metrics: vec![
                metric("bdSeq", DataType::Int64, MetricValue::Long(1)),
                metric("text", DataType::String, MetricValue::String("x".into())),
                metric("bits", DataType::BooleanArray, MetricValue::Bytes(vec![3, 0, 0, 0, 0xA0])),
                metric("table", DataType::DataSet, MetricValue::DataSet(table)),
                metric("structure", DataType::Template, MetricValue::Template(template)),
            ],
            ..Payload::default()
        }
    }

    #[test]
    fn whatever_bytes_come_nothing_panics() {
        let good = encode(&message());
        any_bytes(&good);
        let mut random = StdRng::seed_from_u64(20);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..random.random_range(1..6) {
                let place = random.random_range(0..bytes.len());
                match random.random_range(0..4) {
                    0 => bytes[place] = random.random(),
                    1 => bytes.truncate(place.max(1)),
                    2 => bytes.insert(place, random.random()),
                    _ => bytes[place] ^= 1 << random.random_range(0..8),
                }
            }
            any_bytes(&bytes);
        }
        for _ in 0..5_000 {
            let mut bytes = vec![0; random.random_range(0..64)];
            random.fill_bytes(&mut bytes);
            any_bytes(&bytes);
        }
    }
}
