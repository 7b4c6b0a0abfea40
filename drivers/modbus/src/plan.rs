//! The requests of a poll, planned once for each profile and shared by all its devices.

use std::{ops::Range, sync::Arc};

use tidegate_driver_api::{
    GroupPlan, Readings,
    model::{Reading, Reason, Value},
};

use crate::{Format, Point, Points, PrimaryTable, Quirks, RegisterAddress, wire::Request};

/// Bytes of a read request on the wire.
const READ_REQUEST: u32 = 12;
/// Bytes around the data of an answer on the wire.
const READ_ANSWER: u32 = 9;

/// What all devices of a profile share.
#[derive(Debug)]
pub(crate) struct ProfilePlan {
    quirks: Quirks,
    groups: Box<[Requests]>,
    /// What the runtime is told about the groups.
    kinds: Arc<[GroupPlan]>,
}

impl ProfilePlan {
    /// Plans the requests of every group.
    pub(crate) fn new(points: Points) -> ProfilePlan {
        let Points { quirks, groups } = points;
        let requests: Box<[Requests]> = groups.iter().map(|group| Requests::plan(group, &quirks)).collect();
        let kinds = groups.iter().zip(&requests).map(|(group, requests)| requests.describe(group)).collect();
        ProfilePlan { quirks, groups: requests, kinds }
    }

    /// What the model cannot do.
    pub(crate) fn quirks(&self) -> &Quirks {
        &self.quirks
    }

    /// The requests of the group with that index.
    pub(crate) fn group(&self, index: usize) -> Option<&Requests> {
        self.groups.get(index)
    }

    /// Number of groups.
    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// What the runtime is told about the groups.
    pub(crate) fn kinds(&self) -> Arc<[GroupPlan]> {
        Arc::clone(&self.kinds)
    }
}

/// A tag that a request reads.
#[derive(Debug, Clone, Copy)]
struct Field {
    column: u32,
    point: Point,
}

impl Field {
    /// One behind its last address.
    fn end(&self) -> u32 {
        u32::from(self.point.address().get()) + u32::from(self.point.addresses())
    }
}

/// One request to read neighbouring addresses of one table, and the fields it brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    table: PrimaryTable,
    start: u16,
    count: u16,
    first: u32,
    last: u32,
}

impl Block {
    /// The request.
    pub(crate) fn request(&self) -> Request<'static> {
        Request::Read { table: self.table, address: RegisterAddress::from(self.start), count: self.count }
    }

    /// Indices of its fields.
    pub(crate) fn fields(&self) -> Range<usize> {
        index(self.first)..index(self.last)
    }

    /// One behind its last address.
    fn end(&self) -> u32 {
        u32::from(self.start) + u32::from(self.count)
    }

    /// This block and `next` as one, if `next` goes on where this one ends (no address between them that neither reads).
    pub(crate) fn joined(&self, next: &Block, quirks: &Quirks) -> Option<Block> {
        let adjacent = self.table == next.table && self.last == next.first && u32::from(next.start) <= self.end();
        let count = u16::try_from(self.end().max(next.end()) - u32::from(self.start)).ok()?;
        (adjacent && count <= most(self.table, quirks)).then_some(Block { count, last: next.last, ..*self })
    }
}

/// The requests of one group.
#[derive(Debug)]
pub(crate) struct Requests {
    /// The tags that are polled, by table and address.
    fields: Box<[Field]>,
    /// In the order of the fields; together they read each field once.
    blocks: Box<[Block]>,
    /// The tags that may be written, by column.
    writable: Box<[Field]>,
}

impl Requests {
    /// Plans the requests that read these points, by column.
    pub(crate) fn plan(points: &[Option<Point>], quirks: &Quirks) -> Requests {
        let all = || (0_u32..).zip(points).filter_map(|(column, point)| point.map(|point| Field { column, point }));
        let mut fields: Vec<Field> = all().filter(|field| field.point.is_polled()).collect();
        fields.sort_by_key(|field| (field.point.table(), field.point.address(), field.end(), field.column));
        let mut blocks: Vec<Block> = Vec::new();
        for (place, field) in (0_u32..).zip(&fields) {
            let widened = blocks.last().and_then(|block| widened(block, field, quirks));
            match (blocks.last_mut(), widened) {
                (Some(block), Some(widened)) => *block = widened,
                _ => blocks.push(Block {
                    table: field.point.table(),
                    start: field.point.address().get(),
                    count: field.point.addresses(),
                    first: place,
                    last: place + 1,
                }),
            }
        }
        let writable = all().filter(|field| field.point.write().is_some()).collect();
        Requests { fields: fields.into(), blocks: blocks.into(), writable }
    }

    /// The requests as planned, before a device has shown that some of its addresses do not exist.
    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The tag of that column, if it may be written.
    pub(crate) fn writable(&self, column: usize) -> Option<&Point> {
        let column = u32::try_from(column).ok()?;
        self.writable.iter().find(|field| field.column == column).map(|field| &field.point)
    }

    /// Notes what `data`, the bytes that answer the block's request, says about its fields.
    pub(crate) fn decode(&self, block: &Block, data: &[u8], out: &mut Readings) {
        for field in self.fields.get(block.fields()).unwrap_or_default() {
            let reading =
                decoded(&field.point, block.start, data).map_or(Reading::Failed(Reason::InvalidValue), Reading::Value);
            if let Some(item) = out.items_mut().get_mut(index(field.column)) {
                *item = reading;
            }
        }
    }

    /// Notes that the fields of the block have no value.
    pub(crate) fn fail(&self, block: &Block, reason: Reason, out: &mut Readings) {
        for field in self.fields.get(block.fields()).unwrap_or_default() {
            out.fail(index(field.column), reason);
        }
    }

    /// Gives all fields that have got nothing yet this reason.
    pub(crate) fn fail_missing(&self, reason: Reason, out: &mut Readings) {
        out.fail_missing(self.fields.iter().map(|field| index(field.column)), reason);
    }

    /// The block in two, between two of its fields near the middle; `None` when all its fields have the same addresses.
    pub(crate) fn halves(&self, block: &Block) -> Option<(Block, Block)> {
        let fields = self.fields.get(block.fields())?;
        // A cut between two fields that share no address is better than one between two that do.
        let clean = |at: &usize| {
            let (left, right) = fields.split_at_checked(*at).unwrap_or_default();
            let end = left.iter().map(Field::end).max().unwrap_or_default();
            right.first().is_some_and(|field| u32::from(field.point.address().get()) >= end)
        };
        let differs = |at: &usize| {
            let (left, right) = fields.split_at_checked(*at).unwrap_or_default();
            let same = |a: &Field, b: &Field| a.point.address() == b.point.address() && a.end() == b.end();
            left.last().zip(right.first()).is_some_and(|(left, right)| !same(left, right))
        };
        let middle = fields.len() / 2;
        let nearest = |at: &usize| at.abs_diff(middle);
        let cut = (1..fields.len()).filter(clean).min_by_key(nearest);
        let cut = cut.or_else(|| (1..fields.len()).filter(differs).min_by_key(nearest))?;
        let cut = block.first + u32::try_from(cut).ok()?;
        Some((self.part(block, block.first, cut)?, self.part(block, cut, block.last)?))
    }

    /// The block with only these fields.
    fn part(&self, block: &Block, first: u32, last: u32) -> Option<Block> {
        let fields = self.fields.get(index(first)..index(last))?;
        let start = fields.first()?.point.address().get();
        let end = fields.iter().map(Field::end).max()?;
        let count = u16::try_from(end - u32::from(start)).ok()?;
        Some(Block { table: block.table, start, count, first, last })
    }

    fn describe(&self, points: &[Option<Point>]) -> GroupPlan {
        let data = |block: &Block| match block.table.is_bits() {
            true => u32::from(block.count).div_ceil(8),
            false => u32::from(block.count) * 2,
        };
        GroupPlan {
            kinds: points.iter().map(|point| point.map(|point| point.value_type())).collect(),
            requests: u32::try_from(self.blocks.len()).unwrap_or(u32::MAX),
            bytes: self.blocks.iter().map(|block| READ_REQUEST + READ_ANSWER + data(block)).sum(),
            ..GroupPlan::default()
        }
    }
}

/// The block with one more field, if its request may become that long and the gap between is not too wide.
fn widened(block: &Block, field: &Field, quirks: &Quirks) -> Option<Block> {
    let table = field.point.table();
    let gap = u32::from(field.point.address().get()).saturating_sub(block.end());
    let widest = if table.is_bits() { quirks.max_coil_gap } else { quirks.max_gap };
    let count = u16::try_from(field.end().max(block.end()) - u32::from(block.start)).ok()?;
    (table == block.table && gap <= u32::from(widest) && count <= most(table, quirks)).then_some(Block {
        count,
        last: block.last + 1,
        ..*block
    })
}

/// Addresses that one request reads at most.
fn most(table: PrimaryTable, quirks: &Quirks) -> u16 {
    if table.is_bits() { quirks.max_coils } else { quirks.max_registers }
}

/// What the data of a block, which begins at address `start`, says about a point.
fn decoded(point: &Point, start: u16, data: &[u8]) -> Option<Value> {
    let offset = usize::from(point.address().get().checked_sub(start)?);
    match (point.format(), point.items()) {
        (Format::Coil, None) => coil(data, offset).map(Value::Bool),
        (Format::Coil, Some(items)) => {
            let coils: Option<Arc<[Value]>> =
                (0..usize::from(items)).map(|item| coil(data, offset + item).map(Value::Bool)).collect();
            coils.map(Value::Array)
        }
        (format, None) => format.decode(data.get(offset * 2..)?),
        (format, Some(items)) => format.decode_array(data.get(offset * 2..)?, items),
    }
}

/// Eight coils a byte, the first in the lowest bit.
fn coil(data: &[u8], offset: usize) -> Option<bool> {
    data.get(offset / 8).map(|byte| (byte >> (offset % 8)) & 1 == 1)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
