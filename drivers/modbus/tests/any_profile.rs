//! Whatever tags a profile has: each gets what stands at its own addresses, and requests keep the limits of the model.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::collections::BTreeSet;

use rig::{Asked, Chance, Device, PATIENT, PROFILE, Reply, coil, compile, connect, link_to, poll, register};
use tidegate_driver_api::{
    Readings,
    model::{Reading, Value},
};

const TABLES: [(&str, u8); 4] = [("coil", 1), ("discrete", 2), ("holding", 3), ("input", 4)];

/// A tag: its table's function, its first address, registers or coils of one item, and items of an array.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    function: u8,
    address: u16,
    width: u16,
    items: Option<u16>,
}

impl Drawn {
    fn is_bits(self) -> bool {
        self.function <= 2
    }

    fn addresses(self) -> impl Iterator<Item = u16> {
        (0..self.width * self.items.unwrap_or(1)).map(move |place| self.address + place)
    }

    fn toml(self, column: usize) -> String {
        let Drawn { function, address, width, items } = self;
        let table = TABLES[usize::from(function) - 1].0;
        let kind = match (self.is_bits(), width) {
            (true, _) => "bool",
            (_, 1) => "u16",
            (_, 2) => "u32",
            _ => "u64",
        };
        let count = items.map_or(String::new(), |items| format!("count = {items}\n"));
        format!(
            "[[tag]]\nname = \"t{column}\"\ngroup = \"all\"\ntable = \"{table}\"\naddress = {address}\n\
             type = \"{kind}\"\n{count}"
        )
    }

    /// What the device holds there.
    fn value(self) -> Value {
        let single = |first: u16| {
            if self.is_bits() {
                return Value::Bool(coil(first));
            }
            let registers = (0..self.width).map(|place| u64::from(register(first + place)));
            Value::Uint(registers.fold(0, |number, register| number << 16 | register))
        };
        match self.items {
            None => single(self.address),
            Some(items) => Value::Array((0..items).map(|item| single(self.address + item * self.width)).collect()),
        }
    }
}

/// What the model can, drawn by chance.
#[derive(Debug)]
struct Limits {
    registers: u16,
    coils: u16,
    gap: u16,
    coil_gap: u16,
}

impl Limits {
    fn toml(&self) -> String {
        let Limits { registers, coils, gap, coil_gap } = self;
        format!(
            "[quirks]\nmax_registers = {registers}\nmax_coils = {coils}\nmax_gap = {gap}\nmax_coil_gap = {coil_gap}\n"
        )
    }
}

fn limits(chance: &mut Chance) -> Limits {
    Limits {
        registers: chance.of(&[4, 5, 20, 60, 125]),
        coils: chance.of(&[8, 9, 17, 100, 2000]),
        gap: chance.below(20),
        coil_gap: chance.below(200),
    }
}

/// A tag that one request can read, often at an end of its table.
fn tag(chance: &mut Chance, limits: &Limits) -> Drawn {
    let (_, function) = chance.of(&TABLES);
    let (width, most) = match function {
        1 | 2 => (1, limits.coils),
        _ => (chance.of(&[1, 2, 4]), limits.registers),
    };
    let items = (chance.below(3) == 0).then(|| 1 + chance.below((most / width).min(40)));
    let last = 65_535 - (width * items.unwrap_or(1) - 1);
    let address = match chance.below(4) {
        0 => chance.below(50),
        1 => last - chance.below(50),
        _ => last.min(1000 + chance.below(400)),
    };
    Drawn { function, address, width, items }
}

/// A request may be as long as the model bears, ends where a tag ends, and reads no wider gap along than it may.
fn judge(asked: &Asked, tags: &[Drawn], limits: &Limits) {
    let (function, first, count) = (asked.function(), asked.address(), asked.count());
    let (most, gap) = if function <= 2 { (limits.coils, limits.coil_gap) } else { (limits.registers, limits.gap) };
    assert!((1..=most).contains(&count), "{count} of {limits:?}");
    let wanted: BTreeSet<u16> =
        tags.iter().filter(|tag| tag.function == function).flat_map(|tag| tag.addresses()).collect();
    let last = first + (count - 1);
    assert!(wanted.contains(&first) && wanted.contains(&last), "{first} to {last} of {wanted:?}");
    let read: Vec<u16> = wanted.range(first..=last).copied().collect();
    let widest = read.windows(2).map(|pair| pair[1] - pair[0] - 1).max().unwrap_or(0);
    assert!(widest <= gap, "a gap of {widest} in {first} to {last}, {limits:?}");
}

#[tokio::test]
async fn every_tag_gets_what_stands_at_its_addresses_and_requests_keep_the_limits() {
    for seed in 0..150 {
        let mut chance = Chance::new(seed);
        let limits = limits(&mut chance);
        let tags: Vec<Drawn> = (0..=chance.below(60)).map(|_| tag(&mut chance, &limits)).collect();
        let profile = tags.iter().enumerate().map(|(column, tag)| tag.toml(column)).collect::<String>();
        let device = Device::start(|asked| Reply::Send(asked.right())).await;
        let mut compiled = compile(&link_to(device.address, &(limits.toml() + PROFILE + &profile)));
        let planned = compiled.devices[0].groups[0].requests;
        let mut session = connect(compiled.link.as_mut()).await;
        let mut out = Readings::new(tags.len());
        let requests = poll(session.as_mut(), PATIENT, &mut out).await.unwrap();
        assert_eq!(u32::try_from(requests), Ok(planned), "seed {seed}");
        for (column, tag) in tags.iter().enumerate() {
            assert_eq!(out.items()[column], Reading::Value(tag.value()), "seed {seed} column {column} {tag:?}");
        }
        device.asked().iter().for_each(|asked| judge(asked, &tags, &limits));
    }
}
