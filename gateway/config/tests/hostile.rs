//! Whatever stands in the files: a report, never a panic, and soon.

#![expect(clippy::unwrap_used, reason = "a test that cannot write its own files has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tidegate_config::{Profiles, load};

const PLANT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sites/plant");

/// A copy of the plant whose files can be spoiled.
struct Plant {
    folder: TempDir,
}

impl Plant {
    fn new() -> Plant {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("profiles/eastron")).unwrap();
        fs::create_dir_all(folder.path().join("devices")).unwrap();
        let plant = Plant { folder };
        for file in ["tidegate.toml", "devices/meters.toml", "profiles/eastron/sdm630.toml", "cloud.password"] {
            plant.write(file, &plant.original(file));
        }
        plant
    }

    fn original(&self, file: &str) -> Vec<u8> {
        fs::read(Path::new(PLANT).join(file)).unwrap()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.path(file), bytes).unwrap();
    }

    /// The report as text, and how long it took.
    fn check(&self) -> (String, Duration) {
        let started = Instant::now();
        let secret = ("SCADA_PASSWORD".to_owned(), "x".to_owned());
        let (_, report) = load(&self.path("tidegate.toml"), [secret], Profiles::All);
        let text = report.render();
        report.render_effective();
        (text, started.elapsed())
    }
}

#[test]
fn a_file_that_ends_early_never_panics() {
    let plant = Plant::new();
    for file in ["tidegate.toml", "profiles/eastron/sdm630.toml"] {
        let whole = plant.original(file);
        for length in 0..whole.len() {
            plant.write(file, &whole[..length]);
            plant.check();
        }
        plant.write(file, &whole);
    }
    assert_eq!(plant.check().0, "", "the whole files are right");
}

#[test]
fn spoiled_bytes_never_panic() {
    let plant = Plant::new();
    // A linear congruence: the same bytes on each run.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let alphabet = b"[]{}=\"'.,#\n\r\t \\0aZ-_+\xff\xc3\x00\x1b";
    for round in 0..1500 {
        let file = ["tidegate.toml", "devices/meters.toml", "profiles/eastron/sdm630.toml"][round % 3];
        let mut bytes = plant.original(file);
        for _ in 0..=random(8) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = alphabet[random(alphabet.len())],
                1 => bytes.insert(at, alphabet[random(alphabet.len())]),
                _ => drop(bytes.remove(at)),
            }
        }
        plant.write(file, &bytes);
        plant.check();
        plant.write(file, &plant.original(file));
    }
}

#[test]
fn nesting_without_end_is_a_mistake() {
    let plant = Plant::new();
    let keys = vec!["a"; 78].join(".");
    let tables = format!("[{keys}]\n{}", format!("{keys} = {{ ").repeat(78));
    for text in [
        format!("x = {}", "[".repeat(200_000)),
        format!("x = {}", "{ a = ".repeat(200_000)),
        format!("{}b = 1", "a.".repeat(200_000)),
        format!("[{}b]", "a.".repeat(200_000)),
        format!("{tables}{}", "}".repeat(78)),
        tables,
    ] {
        plant.write("tidegate.toml", text.as_bytes());
        let (report, took) = plant.check();
        assert!(report.contains("mistake"), "{}", &text[..40]);
        assert!(took < Duration::from_secs(20), "{took:?} for {}", &text[..40]);
    }
}

#[test]
fn more_of_everything_than_anybody_needs_is_bounded() {
    let plant = Plant::new();
    let keys: String = (0..100_000).map(|number| format!("key{number} = 1\n")).collect();
    let items: String = (0..50_000).map(|_| "[[link]]\nnmae = 1\n").collect();
    for text in [keys, items, format!("x = \"{}\"", "y".repeat(1 << 20)), format!("{}=1", "k".repeat(1 << 20))] {
        plant.write("tidegate.toml", text.as_bytes());
        let (report, took) = plant.check();
        assert!(report.contains("mistake") && report.len() < 1 << 20, "{} bytes", report.len());
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
}

#[test]
fn a_thousand_includes_are_enough() {
    let plant = Plant::new();
    for number in 0..1005 {
        plant.write(&format!("devices/{number}.toml"), b"");
    }
    assert!(plant.check().0.contains("more than 1000 files are included"));
}

#[test]
fn a_file_beyond_16_mib_is_not_read() {
    let plant = Plant::new();
    plant.write("tidegate.toml", &vec![b'\n'; (16 << 20) + 1]);
    assert!(plant.check().0.contains("longer than 16 MiB"));
}

#[test]
fn a_folder_in_place_of_a_file_is_a_mistake() {
    let plant = Plant::new();
    fs::remove_file(plant.path("tidegate.toml")).unwrap();
    fs::create_dir(plant.path("tidegate.toml")).unwrap();
    assert!(plant.check().0.contains("it is a folder"));
}

#[test]
fn a_thousand_devices_of_a_thousand_tags_load_soon_and_report_a_mistake_of_their_profile_once() {
    let plant = Plant::new();
    let mut site = "[gateway]\nid = \"line3\"\n[[link]]\nname = \"press\"\ndriver = \"modbus-tcp\"\n".to_owned();
    for number in 0..1000 {
        site += &format!("[[device]]\nname = \"d{number}\"\nlink = \"press\"\nprofile = \"big\"\nunit = 1\n");
    }
    plant.write("tidegate.toml", site.as_bytes());
    let mut profile = "[profile]\nmanufacturer = \"x\"\nmodel = \"y\"\ndriver = \"modbus\"\n\
        [defaults]\ntable = \"input\"\ntype = \"f32\"\nrange = { low = 2, high = 1 }\n\
        [[group]]\nname = \"fast\"\ninterval = \"1s\"\n"
        .to_owned();
    for number in 0..1000 {
        profile += &format!("[[tag]]\nname = \"t{number}\"\ngroup = \"fast\"\naddress = {number}\nunit = \"V\"\n");
    }
    plant.write("profiles/big.toml", profile.as_bytes());
    let (report, took) = plant.check();
    assert!(report.ends_with("1 mistake in 1 file\n"), "{report}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}
