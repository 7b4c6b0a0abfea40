//! The keys of a tag: where it is in the device, what it is, and how it is written.

use tidegate_driver_api::{
    config::{Access, At, Report, Table, Tag},
    model::ValueType,
};

use crate::{Format, PrimaryTable, Quirks, RegisterAddress, address::WrittenAddress, invalid, kind};

/// Most registers that one request of function 23 can write (Modbus Application Protocol 1.1b3 §6.17).
const MOST_READ_AND_WRITTEN: u16 = 121;

/// Which request writes a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteWith {
    /// Function 5 or 6: one coil or one register.
    Single,
    /// Function 15 or 16: several coils or registers.
    Multiple,
    /// Function 22: some bits of one register, the others stay.
    Mask,
    /// Function 23: registers are written and read back in one request.
    ReadWrite,
}

/// One tag of a profile as the device sees it. 14 bytes; shared by all devices of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    table: PrimaryTable,
    address: RegisterAddress,
    format: Format,
    items: Option<u16>,
    polled: bool,
    write: Option<WriteWith>,
}

impl Point {
    /// The table it is in.
    pub fn table(&self) -> PrimaryTable {
        self.table
    }

    /// Its first address.
    pub fn address(&self) -> RegisterAddress {
        self.address
    }

    /// Addresses it takes, all items together: registers, or coils. At least 1; the last one is at most 65535.
    pub fn addresses(&self) -> u16 {
        self.format.addresses().saturating_mul(self.items.unwrap_or(1))
    }

    /// What one value of it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Number of items when it is an array.
    pub fn items(&self) -> Option<u16> {
        self.items
    }

    /// The type of the delivered values, before scale and offset.
    pub fn value_type(&self) -> ValueType {
        ValueType { kind: self.format.kind(), items: self.items.map(u32::from) }
    }

    /// Whether it is read at every poll.
    pub fn is_polled(&self) -> bool {
        self.polled
    }

    /// The request that writes it; `None` when it may not be written.
    pub fn write(&self) -> Option<WriteWith> {
        self.write
    }

    /// Takes the keys of one tag. Every mistake goes into `report`; the answer is `None` when there was one.
    pub(crate) fn parse(tag: &Tag, keys: &Table, quirks: &Quirks, report: &mut Report) -> Option<Point> {
        // All keys are taken before anything is given up, so that all mistakes come out at once.
        let place = place(tag, keys, report);
        let format = kind::format(tag, keys, place.as_ref().map(|(table, _)| *table), report);
        let items: Option<At<u16>> = keys.take("count", report);
        let written = keys.choice("write", &WRITES, report);
        keys.finish(report);

        let (table, address) = place?;
        let format = format?;
        let mut point = Point {
            table,
            address: address.value,
            format,
            items: items.as_ref().map(|items| items.value),
            polled: tag.access != Access::Write,
            write: None,
        };
        let numbers = invalid::check(tag, format, report);
        point.check_items(items.as_ref(), report)?;
        point.check_size(tag, &address, quirks, report)?;
        if tag.access != Access::Read {
            point.write = Some(write(&point, tag, keys, written, quirks, report)?);
        }
        numbers.map(|()| point)
    }

    fn check_items(&self, items: Option<&At<u16>>, report: &mut Report) -> Option<()> {
        let items = match items {
            None => return Some(()),
            Some(items) => items,
        };
        if items.value == 0 {
            report.error(&items.origin, "an array needs at least one item", None);
            return None;
        }
        if self.format.is_part() || matches!(self.format, Format::Text { .. } | Format::Bytes { .. }) {
            let message = "an array of bits, bytes or texts is not possible";
            report.error(&items.origin, message, Some("give each of them a tag of its own".to_owned()));
            return None;
        }
        Some(())
    }

    /// Checks that the tag ends within its table and, when it is read, fits into one request.
    fn check_size(&self, tag: &Tag, address: &At<RegisterAddress>, quirks: &Quirks, report: &mut Report) -> Option<()> {
        let noun = self.table.noun();
        let size = u32::from(self.format.addresses()) * u32::from(self.items.unwrap_or(1));
        if u32::from(address.get()) + size > 65_536 {
            let message = format!("the tag takes {size} {noun}s from {}, but the last one is 65535", address.get());
            report.error(&address.origin, message, None);
            return None;
        }
        let (limit, key) = match self.table.is_bits() {
            true => (quirks.max_coils, "max_coils"),
            false => (quirks.max_registers, "max_registers"),
        };
        if self.polled && size > u32::from(limit) {
            let message = format!("the tag takes {size} {noun}s, but one request reads at most {limit}");
            let help =
                format!("a tag is never cut in two; make it shorter, or raise `{key}` in [quirks] if the device can");
            report.error(&tag.origin, message, Some(help));
            return None;
        }
        Some(())
    }
}

/// Takes `table` and `address`, which may say the table too.
fn place(tag: &Tag, keys: &Table, report: &mut Report) -> Option<(PrimaryTable, At<RegisterAddress>)> {
    let table = keys.choice("table", &PrimaryTable::CHOICES, report);
    let address: At<WrittenAddress> = keys.require("address", "0", report)?;
    let named = address.table;
    let table = match (table, named) {
        (Some(table), Some(named)) if table.value != named => {
            let message =
                format!("the number is that of {}, but `table` is \"{}\"", named.a_noun(), table.value.as_str());
            let help = format!("write `table = \"{}\"`, or the zero-based address as an integer", named.as_str());
            report.error(&address.origin, message, Some(help));
            return None;
        }
        (Some(table), _) => table.value,
        // A word that is no table has been reported already.
        (None, _) if keys.has("table") => return None,
        (None, Some(named)) => named,
        (None, None) => {
            let help = "add `table = \"holding\"` (or coil, discrete, input) to the tag or to [defaults]";
            report.error(&tag.origin, "`table` is missing", Some(help.to_owned()));
            return None;
        }
    };
    Some((table, address.map(|written| written.address)))
}

/// The words of the key `write`; `None` is `auto`.
const WRITES: [(&str, Option<WriteWith>); 5] = [
    ("auto", None),
    ("single", Some(WriteWith::Single)),
    ("multiple", Some(WriteWith::Multiple)),
    ("mask", Some(WriteWith::Mask)),
    ("read_write", Some(WriteWith::ReadWrite)),
];

/// The request that writes the tag, checked against what the protocol and the device can.
fn write(
    point: &Point,
    tag: &Tag,
    keys: &Table,
    wanted: Option<At<Option<WriteWith>>>,
    quirks: &Quirks,
    report: &mut Report,
) -> Option<WriteWith> {
    if !point.table.is_writable() {
        let access = if keys.has("access") { keys.origin_of("access") } else { &tag.origin };
        let message = format!("{} cannot be written, the protocol has no request for it", point.table.a_noun());
        report.error(access, message, Some("write `access = \"read\"`, or use a coil or holding register".to_owned()));
        return None;
    }
    let origin = wanted.as_ref().map_or(&tag.origin, |wanted| &wanted.origin);
    let with = match wanted.as_ref().and_then(|wanted| wanted.value) {
        Some(with) => with,
        None if point.format.is_part() => WriteWith::Mask,
        None if point.addresses() == 1 && point.items.is_none() && quirks.single_writes => WriteWith::Single,
        None => WriteWith::Multiple,
    };
    if let Some(message) = unfit(point, with) {
        report.error(origin, message, Some("\"auto\" chooses the request that fits".to_owned()));
        return None;
    }
    let (limit, size, noun) = (most_written(point, with, quirks), point.addresses(), point.table.noun());
    if size > limit {
        let message = format!("the tag takes {size} {noun}s, but one request writes at most {limit}");
        let help = "make the tag shorter: a value is never written in two requests".to_owned();
        report.error(origin, message, Some(help));
        return None;
    }
    Some(with)
}

/// Why this request cannot write the tag, if it cannot.
fn unfit(point: &Point, with: WriteWith) -> Option<String> {
    let is_part = point.format.is_part();
    match with {
        WriteWith::Mask if !is_part => {
            Some("\"mask\" writes a bit or a byte of a register, this tag is neither".to_owned())
        }
        WriteWith::Single | WriteWith::Multiple | WriteWith::ReadWrite if is_part => Some(
            "this request would overwrite the rest of the register; reading it first and writing it back is not safe"
                .to_owned(),
        ),
        WriteWith::Single if point.addresses() > 1 => {
            Some(format!("\"single\" writes one {}, this tag has {}", point.table.noun(), point.addresses()))
        }
        WriteWith::ReadWrite if point.table == PrimaryTable::Coil => {
            Some("\"read_write\" is a request for registers, this tag is a coil".to_owned())
        }
        _ => None,
    }
}

/// Addresses that one such request writes at most.
fn most_written(point: &Point, with: WriteWith, quirks: &Quirks) -> u16 {
    match with {
        WriteWith::Single | WriteWith::Mask => 1,
        // What is written is read back too.
        WriteWith::ReadWrite => quirks.max_write_registers.min(quirks.max_registers).min(MOST_READ_AND_WRITTEN),
        WriteWith::Multiple if point.table.is_bits() => quirks.max_write_coils,
        WriteWith::Multiple => quirks.max_write_registers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_takes_14_bytes() {
        assert_eq!(size_of::<Point>(), 14);
    }
}
