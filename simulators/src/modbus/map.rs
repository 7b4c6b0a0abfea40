//! A profile as a device: all its tags, and the four tables they lie in.

use std::collections::HashMap;

use tidegate_config::{Profile, Report};
use tidegate_driver_modbus::{Points, PrimaryTable, Quirks};

use super::{
    cell::{Cell, Style},
    layout::{Fill, Layout, Placed},
    operation::{Exception, Operation},
};

/// What all devices of a simulator have in common.
#[derive(Debug)]
pub(crate) struct Map {
    cells: Box<[Cell]>,
    by_name: HashMap<String, usize>,
    tables: [Layout; 4],
    quirks: Quirks,
}

impl Map {
    /// The map of a profile. What is wrong with the profile goes into `report`.
    pub(crate) fn new(profile: &Profile, fill: Fill, style: Style, report: &mut Report) -> Option<Map> {
        let points = Points::parse(profile, report)?;
        let mut cells = Vec::new();
        for (group, points) in profile.groups.iter().zip(&points.groups) {
            for (column, (tag, point)) in group.tags.iter().zip(points).enumerate() {
                let clock = group.device_time.filter(|(of, _)| *of == column).map(|(_, unit)| unit);
                if let Some(point) = point {
                    cells.push(Cell::new(tag, *point, clock, style));
                }
            }
        }
        let quirks = points.quirks;
        let layout = |(_, table): (&str, PrimaryTable)| {
            let of_table = cells.iter().enumerate().filter(|(_, cell)| cell.point.table() == table);
            let placed = of_table.map(|(index, cell)| {
                let first = u32::from(cell.point.address().get());
                let span = first..first + u32::from(cell.point.addresses());
                Placed { span, cell: index, writable: cell.point.write().is_some() }
            });
            Layout::new(placed.collect(), fill, if table.is_bits() { quirks.max_coil_gap } else { quirks.max_gap })
        };
        Some(Map {
            tables: PrimaryTable::CHOICES.map(layout),
            by_name: cells.iter().enumerate().map(|(index, cell)| (cell.name.to_string(), index)).collect(),
            cells: cells.into(),
            quirks,
        })
    }

    /// All tags that the device holds.
    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The tag of this name, and its index.
    pub(crate) fn cell(&self, name: &str) -> Option<(usize, &Cell)> {
        let index = *self.by_name.get(name)?;
        self.cells.get(index).map(|cell| (index, cell))
    }

    /// One of the tables.
    pub(crate) fn table(&self, table: PrimaryTable) -> &Layout {
        let [coils, discretes, inputs, holdings] = &self.tables;
        match table {
            PrimaryTable::Coil => coils,
            PrimaryTable::Discrete => discretes,
            PrimaryTable::Input => inputs,
            PrimaryTable::Holding => holdings,
        }
    }

    /// Refuses what the profile says that the model cannot do, and addresses that it has not got.
    pub(crate) fn check(&self, function: u8, operation: &Operation<'_>) -> Result<(), Exception> {
        let quirks = &self.quirks;
        let limit = |count: u16, most: u16| if count > most { Err(Exception::IllegalValue) } else { Ok(()) };
        let read_limit = |table: PrimaryTable| if table.is_bits() { quirks.max_coils } else { quirks.max_registers };
        match operation {
            Operation::Read(read) => {
                limit(read.count, read_limit(read.table))?;
                self.table(read.table).check_readable(*read)
            }
            _ if matches!(function, 5 | 6) && !quirks.single_writes => Err(Exception::IllegalFunction),
            Operation::WriteCoils(write, _) => {
                limit(write.count, quirks.max_write_coils)?;
                self.table(write.table).check_writable(*write)
            }
            Operation::WriteRegisters(write, _) => {
                limit(write.count, quirks.max_write_registers)?;
                self.table(write.table).check_writable(*write)
            }
            Operation::Mask(write, ..) => self.table(write.table).check_writable(*write),
            Operation::Exchange(read, write, _) => {
                limit(read.count, quirks.max_registers)?;
                limit(write.count, quirks.max_write_registers)?;
                self.table(read.table).check_readable(*read)?;
                self.table(write.table).check_writable(*write)
            }
        }
    }
}
