//! One JSON object a line: the payload of the topics, with the names that a topic would have said.

use std::{
    io::{self, Write},
    ops::Range,
};

use tidegate_codec::{block::Batch, json};
use tidegate_model::{Row, Slot, Timestamp};

use crate::{Places, Table};

/// Lines are handed on in pieces of about so many bytes.
const PIECE: usize = 64 * 1024;

/// Writes rows of any tables as lines to `to`:
///
/// `{"gateway":"line3","device":"meter-1","group":"fast","ts":1700000000000,"seq":7,"values":{"voltage_l1":229.8}}`
///
/// From `"ts"` on it is what is published on `…/data/<group>`. `"gateway"` is left out where the table does not know it.
///
/// # Errors
///
/// What `to` says.
pub fn write(to: &mut impl Write, table: &Table, batch: &Batch, rows: Range<usize>, places: &Places) -> io::Result<()> {
    let head = head(table);
    let (mut out, mut payload) = (Vec::new(), Vec::new());
    let slots = vec![Slot::Unchanged; table.columns().len()].into();
    let time = Timestamp::from_millis(0);
    let mut line = Row { stream: table.stream().clone(), seq: 0, time, device_time: None, slots };
    for row in rows {
        let (Some(seq), Some(time)) = (batch.seq(row), batch.time(row)) else { break };
        (line.seq, line.time, line.device_time) = (seq, time, batch.device_time(row));
        for (slot, place) in line.slots.iter_mut().zip(places.iter()) {
            *slot = place.and_then(|place| batch.slot(row, place)).unwrap_or(Slot::Unchanged);
        }
        payload.clear();
        json::row(&line, false, &mut payload);
        out.extend_from_slice(&head);
        // The payload's own opening brace is that of the head.
        out.extend_from_slice(payload.get(1..).unwrap_or_default());
        out.push(b'\n');
        if out.len() >= PIECE {
            to.write_all(&out)?;
            out.clear();
        }
    }
    to.write_all(&out)
}

/// `{"device":"meter-1","group":"fast",`. The alphabet of names needs no escapes.
fn head(table: &Table) -> Vec<u8> {
    let gateway = table.gateway().map(|name| format!("\"gateway\":\"{name}\",")).unwrap_or_default();
    format!("{{{gateway}\"device\":\"{}\",\"group\":\"{}\",", table.device(), table.group()).into_bytes()
}
