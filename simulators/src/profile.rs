//! Profiles of any size, for benches.

use std::{fmt::Write, time::Duration};

/// A type of the tags of a generated profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BenchType {
    /// One register, unsigned.
    U16,
    /// One register, signed.
    I16,
    /// Two registers, unsigned.
    U32,
    /// Two registers, signed.
    I32,
    /// Two registers, single precision.
    #[default]
    F32,
    /// Four registers, double precision.
    F64,
}

impl BenchType {
    /// The word of the key `type`.
    pub fn as_str(self) -> &'static str {
        self.word_and_registers().0
    }

    fn word_and_registers(self) -> (&'static str, u32) {
        match self {
            BenchType::U16 => ("u16", 1),
            BenchType::I16 => ("i16", 1),
            BenchType::U32 => ("u32", 2),
            BenchType::I32 => ("i32", 2),
            BenchType::F32 => ("f32", 2),
            BenchType::F64 => ("f64", 4),
        }
    }
}

/// The namespace of the tags of a generated profile for OPC UA.
const BENCH_NAMESPACE: &str = "urn:tidegate:bench";

/// A profile with many tags of one type, for Modbus one behind the other in the input registers from address 0, in one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BenchProfile {
    /// Number of tags. More than the 65,536 registers have room for are left out.
    pub tags: u32,
    /// Type of all tags.
    pub tag_type: BenchType,
    /// Interval of the group, in whole milliseconds.
    pub interval: Duration,
    /// Registers that one request reads at most, 1 to 125.
    pub max_registers: u16,
}

impl BenchProfile {
    /// The text of the profile's file.
    pub fn to_toml(self) -> String {
        let (word, registers) = self.tag_type.word_and_registers();
        let mut text = format!(
            "[profile]\nmanufacturer = \"Tidegate\"\nmodel = \"bench-{}-{word}\"\ndriver = \"modbus\"\nversion = 1\n\n\
             [defaults]\ntable = \"input\"\ntype = \"{word}\"\n\n\
             [quirks]\nmax_registers = {}\n\n\
             [[group]]\nname = \"all\"\ninterval = \"{}ms\"\n",
            self.tags,
            self.max_registers,
            self.interval.as_millis(),
        );
        for tag in 0..self.tags.min(65_536 / registers) {
            let address = tag * registers;
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\n[[tag]]\nname = \"t{tag:04}\"\ngroup = \"all\"\naddress = {address}\n");
        }
        text
    }

    /// The text of a profile of the same tags behind an OPC UA server: `nsu=urn:tidegate:bench;s=t0000` and so on.
    pub fn to_opcua_toml(self) -> String {
        let word = self.tag_type.as_str();
        let mut text = format!(
            "[profile]\nmanufacturer = \"Tidegate\"\nmodel = \"bench-{}-{word}\"\ndriver = \"opcua\"\nversion = 1\n\n\
             [defaults]\ntype = \"{word}\"\n\n\
             [[group]]\nname = \"all\"\ninterval = \"{}ms\"\n",
            self.tags,
            self.interval.as_millis(),
        );
        for tag in 0..self.tags {
            let node = format!("nsu={BENCH_NAMESPACE};s=t{tag:04}");
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\n[[tag]]\nname = \"t{tag:04}\"\ngroup = \"all\"\nnode = \"{node}\"\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use tidegate_config::{Report, Source, parse_profile};
    use tidegate_driver_modbus::Points;

    use super::*;

    fn points(bench: BenchProfile) -> Vec<(u16, u16)> {
        let mut report = Report::new();
        let profile = parse_profile(&Source::new("bench", bench.to_toml()), &mut report);
        let points = Points::parse(&profile, &mut report);
        profile.finish(&mut report);
        assert!(report.mistakes().is_empty(), "{}", report.render());
        assert_eq!(profile.groups[0].interval, bench.interval);
        let groups = points.unwrap().groups;
        groups.into_iter().flatten().flatten().map(|point| (point.address().get(), point.addresses())).collect()
    }

    #[test]
    fn the_tags_lie_one_behind_the_other() {
        for tag_type in [BenchType::U16, BenchType::I16, BenchType::U32, BenchType::I32, BenchType::F32, BenchType::F64]
        {
            let bench = BenchProfile { tags: 1_000, tag_type, interval: Duration::from_secs(1), max_registers: 120 };
            let points = points(bench);
            assert_eq!(points.len(), 1_000);
            assert!(points.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0), "{tag_type:?}");
        }
    }

    #[test]
    fn no_tag_lies_behind_the_last_register() {
        let interval = Duration::from_millis(250);
        let bench = BenchProfile { tags: 40_000, tag_type: BenchType::F32, interval, max_registers: 125 };
        assert_eq!(points(bench).last(), Some(&(65_534, 2)));
    }
}
