//! One JSON object a line: the payload of the topics, with the names that a topic would have said.

use std::{
    io::{self, Write},
    ops::Range,
};

use tidegate_codec::{block::Batch, json};
use tidegate_model::{Row, Slot, Timestamp};

use crate::{Filled, Places, Table, fill::Drawn};

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
    write_drawn(to, table, batch, Drawn::NONE, rows, places)
}

/// The same for rows some values of which were drawn: `"interpolated":["voltage_l1"]` at the end of a line names their tags.
///
/// # Errors
///
/// What `to` says.
pub fn write_filled(to: &mut impl Write, table: &Table, filled: &Filled, places: &Places) -> io::Result<()> {
    write_drawn(to, table, &filled.batch, Drawn::of(filled), 0..filled.batch.len(), places)
}

pub(crate) fn write_drawn(
    to: &mut impl Write,
    table: &Table,
    batch: &Batch,
    drawn: Drawn<'_>,
    rows: Range<usize>,
    places: &Places,
) -> io::Result<()> {
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
        put_interpolated(table, places, drawn, row, &mut out);
        out.push(b'\n');
        if out.len() >= PIECE {
            to.write_all(&out)?;
            out.clear();
        }
    }
    to.write_all(&out)
}

/// The tags that were drawn, in the place of the closing brace and with it.
fn put_interpolated(table: &Table, places: &Places, drawn: Drawn<'_>, row: usize, out: &mut Vec<u8>) {
    let columns = table.columns().iter().zip(places.iter());
    let names: Vec<String> =
        columns.filter(|(_, place)| drawn.has(row, *place)).map(|(column, _)| format!("\"{}\"", column.name)).collect();
    if !names.is_empty() {
        out.pop();
        out.extend_from_slice(format!(",\"interpolated\":[{}]}}", names.join(",")).as_bytes());
    }
}

/// `{"device":"meter-1","group":"fast",`. The alphabet of names needs no escapes.
fn head(table: &Table) -> Vec<u8> {
    let gateway = table.gateway().map(|name| format!("\"gateway\":\"{name}\",")).unwrap_or_default();
    format!("{{{gateway}\"device\":\"{}\",\"group\":\"{}\",", table.device(), table.group()).into_bytes()
}
