//! The bodies of the fuzz targets, with files and messages that are spoiled in the same way in every run.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and what is included is public for the fuzz targets"
)]

#[path = "../../fuzz/src/lib.rs"]
mod bodies;

use std::{fs, path::Path};

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

const SITE: &str = "[gateway]\nid = \"line3\"\nprofiles = [\"profiles\"]\n\n[broker]\nlisten = \"127.0.0.1:1883\"\n\n\
    [store]\ncommit = \"250ms\"\nmax_age = \"72h\"\nmax_size = \"4GiB\"\n\n[[link]]\nname = \"press\"\ndriver = \"modbus-tcp\"\n\
    address = \"192.168.1.10:502\"\ntimeout = \"1s\"\nretry = { first = \"1s\", longest = \"60s\" }\n\n[[device]]\nname = \"meter-1\"\n\
    link = \"press\"\nprofile = \"model\"\nunit = 1\n\n[[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtts://example.org\"\n\
    username = \"me\"\npassword = { env = \"PASSWORD\" }\n";

/// What may be written in the place of a word.
const WORDS: [&str; 24] = [
    "0",
    "-1",
    "1e308",
    "nan",
    "inf",
    "9223372036854775807",
    "\"\"",
    "\"x\"",
    "[]",
    "{}",
    "true",
    "1979-05-27",
    "[[tag]]",
    "\"expr\"",
    "expr = \"a + b\"",
    "texts",
    "\"bytes\"",
    "length = 65535",
    "count = 65535",
    "scale = 1e-22",
    "rounding = { error = 1e15 }",
    "swinging_door = { error = 1e-15 }",
    "deadband = { percent = 100 }",
    "report = \"on_change\"",
];

fn dice() -> StdRng {
    StdRng::seed_from_u64(3)
}

/// The text with some words, lines or characters replaced, moved or cut off.
fn spoiled(text: &str, dice: &mut StdRng) -> String {
    let mut words: Vec<&str> = text.split_inclusive([' ', '\n']).collect();
    for _ in 0..dice.random_range(0..4) {
        let (at, other) = (dice.random_range(0..words.len()), dice.random_range(0..words.len()));
        match dice.random_range(0..5) {
            0 => words[at] = WORDS[dice.random_range(0..WORDS.len())],
            1 => words.swap(at, other),
            2 => words.truncate(at.max(1)),
            3 => words.insert(at, WORDS[dice.random_range(0..WORDS.len())]),
            _ => {
                words.remove(at);
                words.push("\n");
            }
        }
    }
    words.concat()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn whatever_stands_in_a_site_file_is_reported() {
    let mut dice = dice();
    for _ in 0..400 {
        bodies::site::any_bytes(spoiled(SITE, &mut dice).as_bytes());
    }
    bodies::site::any_bytes(&[0xFF, 0xFE, 0]);
}

#[test]
fn whatever_stands_in_a_profile_is_reported_or_can_be_polled() {
    let page = fs::read_to_string(root().join("docs/reference/profile.md")).expect("the page about profiles");
    let profile = page.split("```toml profile\n").nth(1).and_then(|rest| rest.split("```").next());
    let profile = profile.expect("the page has a whole profile");
    let mut dice = dice();
    for _ in 0..1_500 {
        bodies::profile::any_bytes(spoiled(profile, &mut dice).as_bytes());
    }
}

#[test]
fn whatever_a_device_sends_is_taken_only_when_it_is_the_answer() {
    let mut dice = dice();
    for _ in 0..100_000 {
        let mut bytes = vec![0; dice.random_range(0..48)];
        dice.fill_bytes(&mut bytes);
        // Like an answer, more often than chance would have it.
        if let [_, _, _, _, protocol_high, protocol_low, high, low, _, function, count, ..] = bytes.as_mut_slice()
            && dice.random_bool(0.9)
        {
            (*protocol_high, *protocol_low, *high) = (0, 0, 0);
            *low = dice.random_range(0..48);
            *function = dice.random_range(1..23);
            *count = low.saturating_sub(3);
        }
        bodies::modbus::any_bytes(&bytes);
    }
}

#[test]
fn whatever_comes_as_a_block_is_refused_or_is_rows_that_can_be_packed_again() {
    let mut dice = dice();
    let golden = ["block-1-range.tgb", "block-1-planes.tgb", "block-1-parts.tgb"]
        .map(|name| fs::read(root().join("gateway/codec/tests/golden").join(name)).expect("a golden file"));
    for turn in 0..150 {
        let mut file = golden[turn % 3].clone();
        for _ in 0..dice.random_range(0..6) {
            let at = dice.random_range(0..file.len());
            file[at] ^= 1 << dice.random_range(0..8);
        }
        let (from, to) = (dice.random_range(0..file.len()), dice.random_range(0..=file.len()));
        bodies::block::any_message(file.get(from..to).unwrap_or(&file));
    }
    for turn in 0..4_000 {
        let mut bytes = vec![0; dice.random_range(0..200)];
        dice.fill_bytes(&mut bytes);
        // Few rows, and descriptions that begin like those of an encoder, more often than chance would have it.
        if let [choice, rows, body @ ..] = bytes.as_mut_slice() {
            *choice &= if turn % 4 == 0 { 0xff } else { 0x47 };
            *rows &= 0x3f;
            if let [content, length, description @ ..] = body
                && turn % 3 > 0
            {
                (*content, *length) = (0, *length % 20);
                for byte in description.iter_mut().take(20) {
                    *byte &= 7;
                }
            }
        }
        bodies::block::any_planes(&bytes);
        bodies::block::any_range(&bytes);
        bodies::block::any_parts(&bytes);
    }
}

#[test]
fn whatever_rows_there_are_come_back_from_a_block() {
    let mut dice = dice();
    for turn in 0..400 {
        let mut bytes = vec![0; dice.random_range(0..600)];
        dice.fill_bytes(&mut bytes);
        if turn % 2 == 0 {
            // Mostly good.
            for byte in bytes.iter_mut().skip(20).step_by(2) {
                *byte &= 0x0f;
            }
        }
        bodies::block::any_rows(&bytes);
    }
}
