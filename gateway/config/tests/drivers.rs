//! Links and profiles have to name drivers that are there and fit each other.

use std::fs;

use tidegate_config::{Profiles, load};

const SITE: &str = r#"
[gateway]
id = "line3"
[[link]]
name = "press"
driver = "modbus-tpc"
[[link]]
name = "oven"
driver = "opcua"
[[device]]
name = "meter-1"
link = "oven"
profile = "sdm630"
[[device]]
name = "plc-1"
link = "oven"
profile = "plc"
"#;

fn profile(driver: &str) -> String {
    format!(
        "[profile]\nmanufacturer = \"x\"\nmodel = \"y\"\ndriver = \"{driver}\"\n\
         [[group]]\nname = \"fast\"\ninterval = \"1s\"\n[[tag]]\nname = \"a\"\ngroup = \"fast\"\n"
    )
}

#[test]
fn unknown_drivers_unknown_families_and_unfit_profiles_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("profiles")).unwrap();
    fs::write(folder.path().join("tidegate.toml"), SITE).unwrap();
    fs::write(folder.path().join("profiles/sdm630.toml"), profile("modbus")).unwrap();
    fs::write(folder.path().join("profiles/plc.toml"), profile("opc-ua")).unwrap();
    let (site, mut report) = load(&folder.path().join("tidegate.toml"), [], Profiles::Used);
    assert_eq!(report.render(), "");
    let drivers = [("modbus-tcp", "modbus"), ("modbus-rtu", "modbus"), ("opcua", "opcua")];
    site.unwrap().check_drivers(&drivers, &mut report);
    let text = report.render().replace(&format!("{}/", folder.path().display()), "");
    insta::assert_snapshot!(text);
}
