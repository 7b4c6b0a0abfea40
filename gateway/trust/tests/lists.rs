//! Certificates as a person and the library meet them: files in folders.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, iter, os::unix::fs::PermissionsExt, path::Path, sync::OnceLock, thread, time::Duration};

use opcua::crypto::{CertificateStore, PrivateKey, SecurityPolicy, X509};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use tempfile::TempDir;
use tidegate_model::Timestamp;
use tidegate_trust::{Certificate, State, Trust, TrustError, Unfit, Verdict};

/// 2026-11-23T09:15:00Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_425_300_000);
const DAY: i64 = 24 * 60 * 60 * 1000;

fn folder() -> (TempDir, Trust) {
    let dir = TempDir::new().unwrap();
    let trust = Trust::open(&dir.path().join("opcua"), "line3").unwrap();
    (dir, trust)
}

/// A certificate of another application; all have one key, which costs the most.
fn stranger(name: &str) -> Vec<u8> {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    let key = KEY.get_or_init(|| PrivateKey::new(2048).unwrap().to_der().unwrap().as_bytes().to_vec());
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names.push(SanType::URI(format!("urn:{name}").try_into().unwrap()));
    params.subject_alt_names.push(SanType::DnsName("Press.example".try_into().unwrap()));
    params.subject_alt_names.push(SanType::IpAddress("10.0.0.7".parse().unwrap()));
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params.self_signed(&KeyPair::try_from(key.as_slice()).unwrap()).unwrap().der().to_vec()
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + 1000 * seconds)
}

fn states(trust: &Trust) -> Vec<(String, State)> {
    trust.list().unwrap().iter().map(|e| (e.certificate.uri().unwrap().to_owned(), e.state)).collect()
}

#[test]
fn a_stranger_waits_until_somebody_accepts_it() {
    let (_dir, trust) = folder();
    let der = stranger("press");
    let judged = trust.judge(&der, "link press, opc.tcp://10.0.0.7:4840", NOW).unwrap();
    assert_eq!(judged.verdict, Verdict::Waiting { new: true });
    assert_eq!(trust.judge(&der, "elsewhere", later(5)).unwrap().verdict, Verdict::Waiting { new: false });
    let [entry] = trust.list().unwrap().try_into().unwrap();
    assert_eq!(entry.certificate, judged.certificate);
    assert!(entry.certificate.subject().contains("CN=press"), "{}", entry.certificate.subject());
    assert_eq!(entry.certificate.hosts(), ["Press.example", "10.0.0.7"]);
    assert_eq!(entry.seen, Some((NOW, "link press, opc.tcp://10.0.0.7:4840".to_owned())));

    let prefix = &judged.certificate.fingerprint().to_string()[..6].to_uppercase();
    assert_eq!(trust.accept(prefix).unwrap().state, State::Trusted);
    assert_eq!(trust.judge(&der, "", NOW).unwrap().verdict, Verdict::Trusted);
    assert_eq!(states(&trust), [("urn:press".to_owned(), State::Trusted)]);
    assert!(trust.list().unwrap()[0].seen.is_some());
}

#[test]
fn what_is_refused_stays_refused_until_it_is_accepted() {
    let (_dir, trust) = folder();
    let der = stranger("press");
    let fingerprint = trust.judge(&der, "a", NOW).unwrap().certificate.fingerprint().to_string();
    trust.accept(&fingerprint).unwrap();
    trust.refuse(&fingerprint).unwrap();
    assert_eq!(trust.judge(&der, "a", NOW).unwrap().verdict, Verdict::Refused);
    assert_eq!(Trust::open(trust.root(), "line3").unwrap().judge(&der, "a", NOW).unwrap().verdict, Verdict::Refused);
    trust.accept(&fingerprint).unwrap();
    assert_eq!(trust.judge(&der, "a", NOW).unwrap().verdict, Verdict::Trusted);
}

#[test]
fn the_waiting_list_keeps_the_newest_hundred() {
    let (_dir, trust) = folder();
    for n in 0..105 {
        trust.judge(&stranger(&format!("s{n}")), "flood", later(n)).unwrap();
    }
    let list = trust.list().unwrap();
    assert_eq!(list.len(), 100);
    assert_eq!(list[0].certificate.uri(), Some("urn:s104"));
    assert_eq!(list[99].certificate.uri(), Some("urn:s5"));
    assert_eq!(fs::read_dir(trust.root().join("seen")).unwrap().count(), 100);
}

#[test]
fn a_fingerprint_must_be_enough_to_tell_which() {
    let (_dir, trust) = folder();
    let all: Vec<String> = (0..40)
        .map(|n| trust.judge(&stranger(&format!("s{n}")), "", NOW).unwrap().certificate.fingerprint().to_string())
        .collect();
    assert!(matches!(trust.accept("abc"), Err(TrustError::NoFingerprint(_))));
    assert!(matches!(trust.accept("../../x"), Err(TrustError::NoFingerprint(_))));
    let free = (0..=u16::MAX).map(|n| format!("{n:04x}")).find(|p| !all.iter().any(|f| f.starts_with(p))).unwrap();
    assert!(matches!(trust.refuse(&free), Err(TrustError::Unknown(_))));
    for fingerprint in &all {
        trust.accept(fingerprint).unwrap();
    }
    assert!(states(&trust).iter().all(|(_, state)| *state == State::Trusted));
}

#[test]
fn two_that_begin_alike_are_told_apart_or_not_touched() {
    let (_dir, trust) = folder();
    // Among a few hundred, two begin with the same four digits.
    let mut by_prefix = std::collections::HashMap::new();
    let (prefix, pair) = (0..)
        .find_map(|n| {
            let der = stranger(&format!("s{n}"));
            let prefix = Certificate::from_der(&der).unwrap().fingerprint().to_string()[..4].to_owned();
            by_prefix.insert(prefix.clone(), der.clone()).map(|other| (prefix, [der, other]))
        })
        .unwrap();
    let whole = pair.map(|der| trust.judge(&der, "", NOW).unwrap().certificate.fingerprint().to_string());
    assert!(matches!(trust.accept(&prefix), Err(TrustError::Ambiguous { count: 2, .. })));
    assert!(states(&trust).iter().all(|(_, state)| *state == State::Waiting));
    trust.accept(&whole[1]).unwrap();
    assert_eq!(states(&trust).iter().filter(|(_, state)| *state == State::Trusted).count(), 1);
}

/// Puts the only certificate that waits into another list as well.
fn double(trust: &Trust, list: &str) {
    let waiting = fs::read_dir(trust.root().join("waiting")).unwrap().next().unwrap().unwrap();
    fs::copy(waiting.path(), trust.root().join(list).join(waiting.file_name())).unwrap();
}

#[test]
fn a_certificate_in_two_lists_can_be_judged() {
    for others in [&["refused"][..], &["trusted"], &["trusted", "refused"]] {
        for state in [State::Trusted, State::Refused] {
            let (_dir, trust) = folder();
            let der = stranger("press");
            let fingerprint = trust.judge(&der, "", NOW).unwrap().certificate.fingerprint().to_string();
            others.iter().for_each(|list| double(&trust, list));
            let entry = if state == State::Trusted { trust.accept(&fingerprint) } else { trust.refuse(&fingerprint) };
            assert_eq!(entry.unwrap().state, state);
            assert_eq!(states(&trust), [("urn:press".to_owned(), state)], "{others:?}");
        }
    }
}

#[test]
fn of_two_lists_the_stricter_counts_and_the_other_forgets() {
    for (lists, state) in [(&["trusted", "refused"][..], State::Refused), (&["trusted"], State::Trusted)] {
        for by_opening in [true, false] {
            let (_dir, trust) = folder();
            trust.judge(&stranger("press"), "", NOW).unwrap();
            lists.iter().for_each(|list| double(&trust, list));
            match by_opening {
                true => drop(Trust::open(trust.root(), "line3").unwrap()),
                false => drop(trust.collect("", NOW).unwrap()),
            }
            assert_eq!(states(&trust), [("urn:press".to_owned(), state)], "{lists:?}");
        }
    }
}

#[test]
fn what_could_not_be_filed_leaves_no_note() {
    let (_dir, trust) = folder();
    let notes = || fs::read_dir(trust.root().join("seen")).unwrap().count();
    fs::remove_dir(trust.root().join("waiting")).unwrap();
    fs::write(trust.root().join("waiting"), "in the way").unwrap();
    assert!(matches!(trust.judge(&stranger("press"), "a", NOW), Err(TrustError::File { .. })));
    assert_eq!(notes(), 0);
    // Nor does one whose certificate somebody has removed.
    fs::remove_file(trust.root().join("waiting")).unwrap();
    fs::create_dir(trust.root().join("waiting")).unwrap();
    trust.judge(&stranger("press"), "a", NOW).unwrap();
    trust.judge(&stranger("saw"), "a", NOW).unwrap();
    let removed = fs::read_dir(trust.root().join("waiting")).unwrap().next().unwrap().unwrap();
    fs::remove_file(removed.path()).unwrap();
    Trust::open(trust.root(), "line3").unwrap();
    assert_eq!((notes(), trust.list().unwrap().len()), (1, 1));
}

#[test]
fn what_the_library_has_put_aside_is_collected() {
    let (_dir, trust) = folder();
    let store = CertificateStore::new(trust.root());
    let (new, refused) = (stranger("new"), stranger("refused"));
    let fingerprint = trust.judge(&refused, "", NOW).unwrap().certificate.fingerprint().to_string();
    trust.refuse(&fingerprint).unwrap();
    for der in [&new, &refused] {
        store.store_rejected_cert(&X509::from_der(der).unwrap()).unwrap();
    }
    fs::write(trust.root().join("rejected/junk.der"), b"junk").unwrap();
    let collected = trust.collect("a client of target scada", NOW).unwrap();
    assert_eq!(collected.iter().map(|c| c.uri().unwrap()).collect::<Vec<_>>(), ["urn:new"]);
    assert_eq!(fs::read_dir(trust.root().join("rejected")).unwrap().count(), 0);
    let expected = [("urn:new".to_owned(), State::Waiting), ("urn:refused".to_owned(), State::Refused)];
    assert_eq!(states(&trust), expected);
}

#[test]
fn nothing_is_lost_while_somebody_looks_at_the_lists() {
    let (_dir, trust) = folder();
    let store = CertificateStore::new(trust.root());
    let shown = |number: u32| {
        let (left, right) = (stranger(&format!("left{number}")), stranger(&format!("right{number}")));
        store.store_rejected_cert(&X509::from_der(&left).unwrap()).unwrap();
        // Two links meet the same server while a server of the gateway's own meets a client.
        let mut verdicts = thread::scope(|links| {
            let links = [(); 2].map(|()| links.spawn(|| trust.judge(&right, "a", NOW).unwrap().verdict));
            assert_eq!(trust.collect("b", NOW).unwrap().len(), 1);
            links.map(|link| link.join().unwrap())
        });
        verdicts.sort_by_key(|verdict| *verdict == Verdict::Waiting { new: true });
        assert_eq!(verdicts, [false, true].map(|new| Verdict::Waiting { new }), "one of them says so");
    };
    thread::scope(|scope| {
        let shown = scope.spawn(|| (0..40).for_each(shown));
        while !shown.is_finished() {
            Trust::open(trust.root(), "line3").unwrap().list().unwrap();
        }
    });
    let entries = trust.list().unwrap();
    assert_eq!((entries.len(), entries.iter().filter(|entry| entry.seen.is_some()).count()), (80, 80));
}

/// How often somebody else comes to the lists while certificates of strangers are filed.
fn looks_beside_a_flood() -> usize {
    let (_dir, trust) = folder();
    let store = CertificateStore::new(trust.root());
    for number in 0..120 {
        store.store_rejected_cert(&X509::from_der(&stranger(&format!("stranger{number}"))).unwrap()).unwrap();
    }
    thread::scope(|scope| {
        let collecting = scope.spawn(|| assert_eq!(trust.collect("a client", NOW).unwrap().len(), 120));
        let looks = iter::from_fn(|| {
            thread::park_timeout(Duration::from_millis(10));
            Trust::open(trust.root(), "line3").unwrap();
            (!collecting.is_finished()).then_some(())
        });
        looks.count()
    })
}

#[test]
fn strangers_without_end_do_not_keep_a_link_from_the_lists() {
    // The machine may stop whoever looks, so that it comes late; not three times.
    assert!((0..3).any(|_| looks_beside_a_flood() > 5));
}

#[test]
fn certificates_that_cannot_be_filed_are_kept_but_not_without_end() {
    let (_dir, trust) = folder();
    let (store, rejected) = (CertificateStore::new(trust.root()), trust.root().join("rejected"));
    for number in 0..120 {
        store.store_rejected_cert(&X509::from_der(&stranger(&format!("stranger{number}"))).unwrap()).unwrap();
    }
    fs::remove_dir(trust.root().join("waiting")).unwrap();
    fs::write(trust.root().join("waiting"), "in the way").unwrap();
    assert!(matches!(trust.collect("", NOW), Err(TrustError::File { .. })));
    assert_eq!(fs::read_dir(rejected).unwrap().count(), 100);
}

#[test]
fn a_certificate_that_cannot_be_filed_is_filed_later() {
    let (_dir, trust) = folder();
    CertificateStore::new(trust.root()).store_rejected_cert(&X509::from_der(&stranger("new")).unwrap()).unwrap();
    let (waiting, aside) = (trust.root().join("waiting"), trust.root().join("aside"));
    fs::rename(&waiting, &aside).unwrap();
    fs::write(&waiting, "in the way").unwrap();
    assert!(matches!(trust.collect("", NOW), Err(TrustError::File { .. })));
    fs::remove_file(&waiting).unwrap();
    fs::rename(&aside, &waiting).unwrap();
    assert_eq!(trust.collect("", NOW).unwrap().len(), 1);
}

#[test]
fn a_certificate_that_is_only_being_written_is_not_thrown_away() {
    let (_dir, trust) = folder();
    let (der, file) = (stranger("new"), trust.root().join("rejected/new.der"));
    for cut in [0, der.len() / 2] {
        fs::write(&file, &der[..cut]).unwrap();
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        let written = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let now = Timestamp::from_millis(i64::try_from(written).unwrap() + 250);
        assert_eq!(trust.collect("", now).unwrap(), []);
        assert!(file.exists(), "{cut} bytes of it");
    }
    fs::write(&file, &der).unwrap();
    assert_eq!(trust.collect("", NOW).unwrap().len(), 1);
    assert!(!file.exists());
}

#[test]
fn the_library_takes_what_is_trusted_and_nothing_else() {
    let (_dir, trust) = folder();
    let mut store = CertificateStore::new(trust.root());
    // The certificates of this test are judged at any time.
    store.set_check_time(false);
    let der = stranger("press");
    let library = X509::from_der(&der).unwrap();
    let valid =
        || store.validate_or_reject_application_instance_cert(&library, SecurityPolicy::Basic256Sha256, None, None);
    assert!(valid().is_err());
    let fingerprint = trust.collect("", NOW).unwrap()[0].fingerprint().to_string();
    assert!(valid().is_err());
    trust.collect("", NOW).unwrap();
    trust.accept(&fingerprint).unwrap();
    valid().unwrap();
    trust.refuse(&fingerprint).unwrap();
    assert!(valid().is_err());
}

#[test]
fn a_certificate_put_there_by_hand_counts_whatever_its_file_is_called() {
    let (dir, trust) = folder();
    let (der, pem) = (stranger("der"), stranger("pem"));
    fs::write(trust.root().join("trusted/machine.crt"), &der).unwrap();
    fs::write(trust.root().join("trusted/other.pem"), pem_of(&pem)).unwrap();
    fs::write(trust.root().join("trusted/readme.txt"), "not one").unwrap();
    let trust = Trust::open(&dir.path().join("opcua"), "line3").unwrap();
    for der in [der, pem] {
        assert_eq!(trust.judge(&der, "", NOW).unwrap().verdict, Verdict::Trusted);
    }
    assert_eq!(trust.list().unwrap().len(), 2);
}

fn pem_of(der: &[u8]) -> String {
    use x509_cert::der::{Decode, EncodePem, pem::LineEnding};
    x509_cert::Certificate::from_der(der).unwrap().to_pem(LineEnding::LF).unwrap()
}

#[test]
fn junk_is_no_certificate() {
    let (_dir, trust) = folder();
    let whole = stranger("press");
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        assert!(matches!(trust.judge(&whole[..cut], "", NOW), Err(TrustError::NotACertificate(_))));
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(matches!(trust.judge(&longer, "", NOW), Err(TrustError::NotACertificate(_))));
    assert!(matches!(trust.judge(&vec![0x30; 17 * 1024], "", NOW), Err(TrustError::NotACertificate(_))));
    assert_eq!(trust.list().unwrap(), []);
}

#[test]
fn a_certificate_is_for_its_time_its_hosts_and_its_application() {
    let (_dir, trust) = folder();
    let certificate = trust.judge(&stranger("press"), "", NOW).unwrap().certificate;
    assert_eq!(certificate.check(NOW, Some("press.EXAMPLE"), Some("urn:press")), Ok(()));
    assert_eq!(certificate.check(NOW, Some("10.0.0.7"), None), Ok(()));
    assert!(matches!(certificate.check(NOW, Some("10.0.0.8"), None), Err(Unfit::WrongHost(_))));
    assert!(matches!(certificate.check(NOW, None, Some("urn:other")), Err(Unfit::WrongUri(_))));
    let year = 366 * DAY / 1000;
    assert!(matches!(certificate.check(later(year), None, None), Err(Unfit::Expired(_))));
    assert!(matches!(certificate.check(later(-year), None, None), Err(Unfit::NotYetValid(_))));
}

#[test]
fn the_gateways_certificate_is_made_once_and_its_key_is_its_owners() {
    let (dir, trust) = folder();
    let own = trust.own(NOW).unwrap();
    let uri = own.uri().unwrap().to_owned();
    assert!(uri.starts_with("urn:") && uri.ends_with(":tidegate:line3"), "{uri}");
    assert_eq!(trust.application_uri(), uri);
    assert_eq!(own.check(NOW, Some("127.0.0.1"), Some(&uri)), Ok(()));
    assert!((3650..3655).contains(&own.days_left(NOW)), "{}", own.days_left(NOW));
    let key = trust.root().join("private/private.pem");
    assert_eq!(mode(&key), 0o600);
    assert_eq!(mode(key.parent().unwrap()), 0o700);
    let store = CertificateStore::new(trust.root());
    assert!(store.read_own_cert().unwrap().is_application_uri_valid(&uri).is_ok());
    store.read_own_pkey().unwrap();

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let again = Trust::open(&dir.path().join("opcua"), "line3").unwrap();
    assert_eq!(again.own(later(5)).unwrap(), own);
    assert_eq!(mode(&key), 0o600);

    // A renewal that a crash cut before the certificate was in place is forgotten, one after it is finished.
    let new = key.with_extension("pem.new");
    fs::write(&new, "half a key").unwrap();
    assert_eq!(again.own(NOW).unwrap(), own);
    assert!(!new.exists());
    fs::rename(&key, &new).unwrap();
    assert_eq!(again.own(NOW).unwrap(), own);
    assert!(key.exists());

    let renewed = again.renew(NOW).unwrap();
    assert_ne!(renewed.fingerprint(), own.fingerprint());
    assert_eq!(again.own(NOW).unwrap(), renewed);
    fs::remove_file(&key).unwrap();
    assert!(matches!(again.own(NOW), Err(TrustError::Mismatch { .. })));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_expires_within_sixty_days_is_named() {
    let (_dir, trust) = folder();
    for name in ["trusted", "refused"] {
        trust.judge(&stranger(name), "", NOW).unwrap();
    }
    for entry in trust.list().unwrap() {
        let fingerprint = entry.certificate.fingerprint().to_string();
        match entry.certificate.uri() {
            Some("urn:trusted") => trust.accept(&fingerprint).unwrap(),
            _ => trust.refuse(&fingerprint).unwrap(),
        };
    }
    let named =
        |now| trust.expiring(now).unwrap().iter().map(|e| e.certificate.uri().unwrap().to_owned()).collect::<Vec<_>>();
    let end = 1_798_761_600; // 2027-01-01T00:00:00Z
    assert_eq!(named(Timestamp::from_millis(1000 * end - 61 * DAY)), Vec::<String>::new());
    assert_eq!(named(Timestamp::from_millis(1000 * end - 59 * DAY)), ["urn:trusted"]);
    assert_eq!(named(Timestamp::from_millis(1000 * end + DAY)), ["urn:trusted"]);
}
