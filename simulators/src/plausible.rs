//! How a tag would move in a plant, guessed from its unit, its name, its range and its type.

use std::time::Duration;

use tidegate_config::{Access, Tag};
use tidegate_model::ValueKind;

use crate::{motion::Motion, scaling::Scale};

/// The usual course of a quantity with a unit.
#[derive(Debug, Clone, Copy)]
enum Usual {
    /// Wanders: middle, how far.
    Walk(f64, f64),
    /// Swings slowly: middle, how far.
    Sine(f64, f64),
    /// Grows: about where it begins, how much in an hour.
    Counter(f64, f64),
}

const USUAL: [(&[&str], Usual); 44] = [
    (&["V"], Usual::Walk(230.0, 5.0)),
    (&["kV"], Usual::Walk(20.0, 0.3)),
    (&["mV"], Usual::Walk(500.0, 100.0)),
    (&["A"], Usual::Walk(12.0, 6.0)),
    (&["mA"], Usual::Walk(12.0, 4.0)),
    (&["Hz"], Usual::Walk(50.0, 0.05)),
    (&["W"], Usual::Walk(2_500.0, 1_500.0)),
    (&["kW"], Usual::Walk(5.0, 3.0)),
    (&["MW"], Usual::Walk(1.2, 0.5)),
    (&["VA"], Usual::Walk(2_700.0, 1_500.0)),
    (&["kVA"], Usual::Walk(5.5, 3.0)),
    (&["var", "VAr"], Usual::Walk(400.0, 300.0)),
    (&["kvar", "kVAr"], Usual::Walk(0.8, 0.6)),
    (&["Wh"], Usual::Counter(4_000_000.0, 2_500.0)),
    (&["kWh"], Usual::Counter(12_000.0, 5.0)),
    (&["MWh"], Usual::Counter(800.0, 1.2)),
    (&["VAh"], Usual::Counter(4_200_000.0, 2_700.0)),
    (&["kVAh"], Usual::Counter(12_500.0, 5.5)),
    (&["varh", "VArh"], Usual::Counter(600_000.0, 400.0)),
    (&["kvarh", "kVArh"], Usual::Counter(1_500.0, 0.8)),
    (&["Ah"], Usual::Counter(9_000.0, 12.0)),
    (&["h"], Usual::Counter(6_000.0, 1.0)),
    (&["m3", "m³"], Usual::Counter(900.0, 3.0)),
    (&["pcs", "pieces", "pulses"], Usual::Counter(50_000.0, 1_800.0)),
    (&["°C", "degC", "C"], Usual::Sine(45.0, 15.0)),
    (&["°F", "degF"], Usual::Sine(110.0, 25.0)),
    (&["K"], Usual::Sine(318.0, 15.0)),
    (&["%"], Usual::Walk(55.0, 25.0)),
    (&["%RH", "%rH"], Usual::Sine(50.0, 15.0)),
    (&["bar"], Usual::Walk(6.0, 0.5)),
    (&["mbar", "hPa"], Usual::Walk(1_013.0, 8.0)),
    (&["kPa"], Usual::Walk(600.0, 50.0)),
    (&["Pa"], Usual::Walk(250.0, 60.0)),
    (&["m3/h", "m³/h"], Usual::Walk(3.0, 1.0)),
    (&["l/min", "L/min"], Usual::Walk(40.0, 12.0)),
    (&["l/s", "L/s"], Usual::Walk(0.8, 0.3)),
    (&["rpm", "1/min", "min-1"], Usual::Walk(1_480.0, 15.0)),
    (&["mm/s"], Usual::Walk(2.0, 1.0)),
    (&["m/s"], Usual::Walk(1.5, 0.5)),
    (&["mm", "m"], Usual::Sine(2.0, 1.0)),
    (&["W/m2", "W/m²"], Usual::Sine(550.0, 350.0)),
    (&["ppm"], Usual::Walk(600.0, 150.0)),
    (&["pH"], Usual::Walk(7.0, 0.3)),
    (&["kg", "t", "N"], Usual::Walk(250.0, 60.0)),
];

/// Words in the names of quantities that go another way than their unit, or have none: the word, the unit that they have
/// (any when `None`), and the course.
const NAMED: [(&str, Option<&str>, Usual); 13] = [
    ("power_factor", Some("%"), Usual::Walk(93.0, 5.0)),
    ("power_factor", None, Usual::Walk(0.93, 0.05)),
    ("cos_phi", None, Usual::Walk(0.93, 0.05)),
    ("thd", None, Usual::Walk(3.0, 1.0)),
    ("_l1_l2", Some("V"), Usual::Walk(400.0, 8.0)),
    ("_l2_l3", Some("V"), Usual::Walk(400.0, 8.0)),
    ("_l3_l1", Some("V"), Usual::Walk(400.0, 8.0)),
    ("_ll", Some("V"), Usual::Walk(400.0, 8.0)),
    ("voltage", Some(""), Usual::Walk(230.0, 5.0)),
    ("current", Some(""), Usual::Walk(12.0, 6.0)),
    ("frequency", Some(""), Usual::Walk(50.0, 0.05)),
    ("temperature", Some(""), Usual::Sine(45.0, 15.0)),
    ("energy", Some(""), Usual::Counter(12_000.0, 60.0)),
];

/// The course of a quantity that says nothing about itself.
const UNKNOWN: Usual = Usual::Walk(50.0, 20.0);
/// Time between two possible changes of a state.
const DWELL: Duration = Duration::from_secs(45);
/// Seconds of a slow swing.
const SWING: f64 = 900.0;
/// The ends of the names of exponents of ten for other tags, as SunSpec has them; an exponent stays 0.
const EXPONENTS: [&str; 3] = ["_scale", "_sf", "_scale_factor"];
/// Words in the names of numbers that never move, and of those that switch.
const FIXED: [&str; 7] = ["version", "serial", "model", "_id", "baud", "manufacturer", "firmware"];
const SWITCHING: [&str; 8] = ["state", "status", "alarm", "fault", "error", "mode", "event", "flags"];

/// What the device's type can hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holds {
    /// What it becomes in the gateway.
    pub(crate) kind: ValueKind,
    /// Its lowest number.
    pub(crate) low: f64,
    /// Its highest.
    pub(crate) high: f64,
}

/// How the tag moves, in its delivered unit; with texts, the device's numbers for them.
pub(crate) fn motion(tag: &Tag, holds: Holds, scale: Option<&Scale>, all_change: bool) -> Motion {
    let is_float = matches!(holds.kind, ValueKind::F32 | ValueKind::F64);
    let bounds = bounds(tag, holds, scale);
    if all_change && is_float {
        let (centre, spread) = match usual(tag) {
            Some(Usual::Walk(centre, spread) | Usual::Sine(centre, spread)) => (centre, spread),
            Some(Usual::Counter(..)) | None => of_bounds(tag),
        };
        return swinging(centre, spread, bounds, |centre, spread| Motion::Walk { centre, spread });
    }
    if let Some(texts) = &tag.texts {
        let states: Box<[f64]> = texts.iter().filter_map(|(number, _)| integer(*number)).collect();
        return states_of(tag, states);
    }
    if holds.kind == ValueKind::Bool {
        return states_of(tag, [0.0, 1.0].into());
    }
    let name = tag.name.as_str().to_ascii_lowercase();
    if tag.unit.is_none() && EXPONENTS.iter().any(|end| name.ends_with(end)) {
        return Motion::Constant(0.0);
    }
    if tag.access != Access::Read || FIXED.iter().any(|word| name.contains(word)) {
        return Motion::Constant(resting(tag, bounds));
    }
    match usual(tag) {
        Some(Usual::Walk(centre, spread)) => {
            swinging(centre, spread, bounds, |centre, spread| Motion::Walk { centre, spread })
        }
        Some(Usual::Sine(centre, spread)) => {
            swinging(centre, spread, bounds, |centre, spread| Motion::Sine { centre, spread, period: SWING })
        }
        Some(Usual::Counter(start, per_hour)) => counting(start, per_hour, bounds),
        None if !is_float && SWITCHING.iter().any(|word| name.contains(word)) => states_of(tag, [0.0, 1.0].into()),
        None => {
            let (centre, spread) = of_bounds(tag);
            swinging(centre, spread, bounds, |centre, spread| Motion::Walk { centre, spread })
        }
    }
}

/// Steps of one unit so that the spread of the motion has 1,000 to 10,000 of them.
pub(crate) fn rounding(motion: &Motion) -> f64 {
    let spread = match motion {
        Motion::Counter { per_hour, .. } => *per_hour,
        _ => motion.spread(),
    };
    if spread > 0.0 { 10_f64.powf((3.0 - spread.log10().floor()).clamp(-12.0, 12.0)) } else { 1_000.0 }
}

fn usual(tag: &Tag) -> Option<Usual> {
    let unit = tag.unit.as_deref().unwrap_or_default();
    let name = tag.name.as_str().to_ascii_lowercase();
    let named = NAMED.iter().find(|(word, of, _)| name.contains(word) && of.is_none_or(|of| of == unit));
    if let Some((_, _, usual)) = named {
        return Some(*usual);
    }
    USUAL.iter().find(|(names, _)| names.contains(&unit)).map(|(_, usual)| *usual)
}

fn integer(number: i64) -> Option<f64> {
    i32::try_from(number).ok().map(f64::from)
}

/// The lowest and highest delivered value that the tag's type and range allow.
fn bounds(tag: &Tag, holds: Holds, scale: Option<&Scale>) -> (f64, f64) {
    let (a, b) = (holds.low, holds.high);
    let (a, b) = scale.map_or((a, b), |scale| (scale.apply(a), scale.apply(b)));
    let (low, high) = (a.min(b), a.max(b));
    match &tag.range {
        Some(range) if range.low < range.high => (low.max(range.low), high.min(range.high)),
        _ => (low, high),
    }
}

/// A middle and a spread from the range alone.
fn of_bounds(tag: &Tag) -> (f64, f64) {
    match (&tag.range, UNKNOWN) {
        (Some(range), _) => (range.low.midpoint(range.high), (range.high - range.low) / 4.0),
        (None, Usual::Walk(middle, far) | Usual::Sine(middle, far) | Usual::Counter(middle, far)) => (middle, far),
    }
}

/// The motion within the bounds: as usual where that fits, else around their middle.
fn swinging(centre: f64, spread: f64, (low, high): (f64, f64), motion: impl Fn(f64, f64) -> Motion) -> Motion {
    if centre - spread >= low && centre + spread <= high {
        return motion(centre, spread);
    }
    // Halved before the difference: the span of all doubles is not a double.
    motion(low.midpoint(high), (high / 4.0 - low / 4.0).abs().min(spread.max(1.0)))
}

fn counting(start: f64, per_hour: f64, (_, high): (f64, f64)) -> Motion {
    // Half of the room is left to grow in.
    let start = start.min(high / 4.0).max(0.0);
    Motion::Counter { start, per_hour: per_hour.min(high / 10_000.0).max(0.0) }
}

/// One of the numbers; what may be written waits for that.
fn states_of(tag: &Tag, states: Box<[f64]>) -> Motion {
    match tag.access {
        Access::Read => Motion::State { states, dwell: u32::try_from(DWELL.as_millis()).unwrap_or(u32::MAX) },
        Access::ReadWrite | Access::Write => Motion::Constant(states.first().copied().unwrap_or_default()),
    }
}

/// Where a setpoint stands before anybody writes it.
fn resting(tag: &Tag, (low, high): (f64, f64)) -> f64 {
    let allowed = |bound: &Option<tidegate_config::At<f64>>| bound.as_ref().map(|bound| bound.value);
    let rest = match (allowed(&tag.minimum), allowed(&tag.maximum), usual(tag)) {
        (Some(minimum), Some(maximum), _) => minimum.midpoint(maximum),
        (Some(bound), None, _) | (None, Some(bound), _) => bound,
        (None, None, Some(Usual::Walk(centre, _) | Usual::Sine(centre, _))) => centre,
        (None, None, _) => tag.range.as_ref().map_or(1.0, |range| range.low.midpoint(range.high)),
    };
    rest.clamp(low, high.max(low))
}
