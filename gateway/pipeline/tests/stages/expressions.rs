//! Calculated tags.

use tidegate_config::{Report, ReportWhen, Tag};
use tidegate_model::{Reading, Reason, Slot, Value, ValueKind, ValueType};
use tidegate_pipeline::{Stages, State};

use crate::group::{NOW, Polled, TIMEOUT, calculated, constant, good_f64, group, ints, range, scaling, stages, tag};

/// The result of an expression over tags `a`, `b`, `c`, `flow-1` and `1st` with these values.
fn result(expression: &str, values: [f64; 5]) -> Slot {
    let names = ["a", "b", "c", "flow-1", "1st"];
    let mut tags: Vec<Tag> = names.iter().map(|name| tag(name)).collect();
    tags.push(calculated("result", expression));
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::F64);
    let readings: Vec<Reading> = values.map(|value| Reading::Value(Value::F64(value))).into();
    polled.poll(&readings).unwrap().pop().unwrap()
}

#[test]
fn expressions_follow_the_rules_of_mathematics() {
    let values = [2.0, 3.0, 4.0, 5.0, 6.0];
    for (expression, expected) in [
        ("a + b * c", 14.0),
        ("(a + b) * c", 20.0),
        ("a - b - c", -5.0),
        ("a - (b - c)", 3.0),
        ("c / a / a", 1.0),
        ("c / a * a", 4.0),
        ("-a^2", -4.0),
        ("(-a)^2", 4.0),
        ("a^b^a", 512.0),
        ("a^-1", 0.5),
        ("a--b", 5.0),
        ("- -a", 2.0),
        ("+a", 2.0),
        ("7 % c", 3.0),
        ("1.5e3 * a", 3000.0),
        ("1E-3*a", 0.002),
        (".5*a", 1.0),
        ("max(a, min(b, c))", 3.0),
        ("min(max(a, b), c, 2.5)", 2.5),
        ("max(a+b, c)*2", 10.0),
        ("abs(a - c)^2", 4.0),
        ("sqrt(b^2 + c^2)", 5.0),
        ("atan2(0, 1)", 0.0),
        ("round(2.5) + floor(2.5) + ceil(2.5) + trunc(-2.5)", 6.0),
        ("sign(-3) + sign(0) + sign(3)", 0.0),
        ("log10(1000) + log2(8) + ln(exp(1))", 7.0),
        ("{flow-1} - {1st}", -1.0),
        ("{a}+{ b }", 5.0),
        ("a\t+\n b", 5.0),
        ("42", 42.0),
    ] {
        assert_eq!(result(expression, values), good_f64(expected), "{expression}");
    }
}

#[test]
fn tags_may_be_called_like_functions_and_constants() {
    let tags =
        vec![tag("min"), tag("e"), tag("PI"), tag("negative"), calculated("x", "min + e*PI - negative + min(e, PI)")];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::Int);
    assert_eq!(polled.poll(&ints(&[1, 2, 3, 4])).unwrap()[4], good_f64(5.0));
}

#[test]
fn tags_with_dots_need_no_braces() {
    let tags = vec![tag("axis.position.x"), calculated("x2", "axis.position.x*2")];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::Int);
    assert_eq!(polled.poll(&ints(&[21])).unwrap()[1], good_f64(42.0));
}

#[test]
fn an_expression_takes_delivered_values_constants_and_other_expressions() {
    let tags = vec![
        calculated("total", "sum * factor"),
        calculated("sum", "p_l1 + p_l2"),
        Tag { scaling: scaling("0.1", "0"), ..tag("p_l1") },
        tag("p_l2"),
        constant("factor", Value::F64(1.5)),
    ];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::Int);
    let row = polled.poll(&ints(&[0, 0, 15, 2])).unwrap();
    assert_eq!((&row[0], &row[1]), (&good_f64(5.25), &good_f64(3.5)));
}

#[test]
fn bools_count_as_zero_and_one() {
    let group = group(ReportWhen::Always, vec![tag("running"), tag("power"), calculated("x", "running * power")]);
    let raw = [Some(ValueType::single(ValueKind::Bool)), Some(ValueType::single(ValueKind::Uint)), None];
    let stages = stages(&group, &raw);
    let mut readings = [Reading::Value(Value::Bool(true)), Reading::Value(Value::Uint(7)), Reading::Missing];
    let outcome = stages.run(&mut State::new(&stages), &mut readings, std::time::Duration::ZERO, NOW).unwrap();
    assert_eq!(outcome.slots[2], good_f64(7.0));
}

#[test]
fn the_quality_is_that_of_the_worst_input() {
    let doubtful = |name| Tag { range: range(0.0, 9.0), ..tag(name) };
    let tags = vec![doubtful("a"), doubtful("b"), calculated("x", "a + b")];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::Int);
    let last = |slots: Option<Vec<Slot>>| slots.unwrap().pop().unwrap();
    assert_eq!(last(polled.poll(&ints(&[1, 2]))), good_f64(3.0));
    assert_eq!(last(polled.poll(&ints(&[1, 10]))), Slot::Uncertain(Value::F64(11.0), Reason::OutOfRange));
    let failed = [Reading::Value(Value::Int(10)), Reading::Failed(Reason::Timeout)];
    assert_eq!(last(polled.poll(&failed)), TIMEOUT);
}

#[test]
fn what_has_no_result_is_bad() {
    let values = [0.0, -1.0, 4.0, 5.0, 6.0];
    for expression in ["c / a", "sqrt(b)", "ln(a)", "a / a", "10^6^c", "acos(c)", "c % a"] {
        assert_eq!(result(expression, values), Slot::Bad(Reason::NoResult), "{expression}");
    }
}

#[test]
fn a_device_that_says_infinity_is_calculated_with() {
    let values = [f64::INFINITY, 1.0, f64::NAN, 0.0, 0.0];
    assert_eq!(result("a + b", values), good_f64(f64::INFINITY));
    for expression in ["b + c", "max(b, c)", "min(c, b)"] {
        assert!(
            matches!(result(expression, values), Slot::Good(Value::F64(number)) if number.is_nan()),
            "{expression}"
        );
    }
}

#[test]
fn the_range_of_a_calculated_tag_is_checked_and_what_builds_on_it_is_uncertain_too() {
    let tags = vec![tag("a"), Tag { range: range(0.0, 10.0), ..calculated("x", "a * 2") }, calculated("y", "x + 1")];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::Int);
    let row = polled.poll(&ints(&[6])).unwrap();
    assert_eq!(row[1], Slot::Uncertain(Value::F64(12.0), Reason::OutOfRange));
    assert_eq!(row[2], Slot::Uncertain(Value::F64(13.0), Reason::OutOfRange));
}

/// A small deterministic source of numbers (SplitMix64), so that a failing case fails again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// How tightly an expression binds, from the loosest.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Binds {
    Sum,
    Product,
    Sign,
    Power,
    Atom,
}

/// A random expression with as few brackets as it needs, and its result as Rust calculates it.
fn random(dice: &mut Dice, depth: u32, values: &[f64; 5]) -> (String, f64, Binds) {
    let inner = |dice: &mut Dice| random(dice, depth - 1, values);
    let bracketed = |(text, result, binds): (String, f64, Binds), needed: Binds| {
        (if binds < needed { format!("({text})") } else { text }, result)
    };
    match if depth == 0 { dice.below(2) } else { dice.below(9) } {
        0 => {
            let at = dice.below(5);
            (["a", "{b}", "c", "{flow-1}", "{1st}"][at].to_owned(), values[at], Binds::Atom)
        }
        1 => {
            let (text, number) = dice.of(&[("2", 2.0), ("0.5", 0.5), ("1e3", 1000.0), ("7.25E-1", 0.725), ("0", 0.0)]);
            (text.to_owned(), number, Binds::Atom)
        }
        2 | 3 => {
            let (left, right) = (bracketed(inner(dice), Binds::Sum), bracketed(inner(dice), Binds::Product));
            let (operator, result) = dice.of(&[('+', left.1 + right.1), ('-', left.1 - right.1)]);
            (format!("{} {operator} {}", left.0, right.0), result, Binds::Sum)
        }
        4 | 5 => {
            let (left, right) = (bracketed(inner(dice), Binds::Product), bracketed(inner(dice), Binds::Sign));
            let results = [('*', left.1 * right.1), ('/', left.1 / right.1), ('%', left.1 % right.1)];
            let (operator, result) = dice.of(&results);
            (format!("{}{operator}{}", left.0, right.0), result, Binds::Product)
        }
        6 => {
            let (text, result) = bracketed(inner(dice), Binds::Sign);
            (format!("-{text}"), -result, Binds::Sign)
        }
        7 => {
            let (left, right) = (bracketed(inner(dice), Binds::Atom), bracketed(inner(dice), Binds::Sign));
            (format!("{}^{}", left.0, right.0), left.1.powf(right.1), Binds::Power)
        }
        _ => {
            let (left, right) = (bracketed(inner(dice), Binds::Sum), bracketed(inner(dice), Binds::Sum));
            let smaller = if left.1.is_nan() || right.1.is_nan() { f64::NAN } else { left.1.min(right.1) };
            match dice.below(3) {
                0 => (format!("min({}, {})", left.0, right.0), smaller, Binds::Atom),
                1 => (format!("abs({})", left.0), left.1.abs(), Binds::Atom),
                _ => (format!("sqrt({})", right.0), right.1.sqrt(), Binds::Atom),
            }
        }
    }
}

#[test]
fn random_expressions_have_the_result_that_rust_calculates() {
    let mut dice = Dice(2);
    let values = [2.0, -3.5, 0.0, 5.0, 1e-3];
    let mut finite = 0;
    for round in 0..3_000_u32 {
        let (text, expected, _) = random(&mut dice, 1 + round % 6, &values);
        if text.chars().count() > 1000 {
            continue;
        }
        match result(&text, values) {
            Slot::Good(Value::F64(number)) => {
                finite += 1;
                assert_eq!(number.to_bits(), expected.to_bits(), "{text} is {expected}");
            }
            other => assert!(
                other == Slot::Bad(Reason::NoResult) && !expected.is_finite(),
                "{text} is {expected}, not {other:?}"
            ),
        }
    }
    assert!(finite > 1_000, "only {finite} of the expressions have a result");
}

#[test]
fn whatever_stands_in_an_expression_nothing_panics() {
    const PIECES: [&str; 34] = [
        "a",
        "b",
        "{flow-1}",
        "{",
        "}",
        "(",
        ")",
        "(",
        ")",
        "+",
        "-",
        "*",
        "/",
        "^",
        "%",
        ",",
        ".",
        "1",
        "2.5",
        "1e",
        "e5",
        "sin",
        "max",
        "min(",
        "atan2(",
        "abs",
        "negative",
        "PI",
        "v0000",
        "{v0000}",
        " ",
        "ü",
        "\u{0}",
        "9999999999999999999",
    ];
    let mut dice = Dice(3);
    let mut compiled = 0;
    for _ in 0..20_000 {
        let text: String = (0..dice.below(12)).map(|_| dice.of(&PIECES)).collect();
        let tags = vec![tag("a"), tag("b"), tag("flow-1"), tag("v0000"), calculated("x", &text)];
        let group = group(ReportWhen::Always, tags);
        let raw = [Some(ValueType::single(ValueKind::F64)); 4];
        let mut report = Report::new();
        let Some(stages) = Stages::compile(&group, &raw, &mut report) else {
            assert!(report.has_errors(), "{text}");
            continue;
        };
        compiled += 1;
        let mut readings = [1.0, 2.0, 3.0, 4.0].map(|value| Reading::Value(Value::F64(value)));
        stages.run(&mut State::new(&stages), &mut readings, std::time::Duration::ZERO, NOW);
    }
    assert!(compiled > 100, "only {compiled} of the texts were expressions");
}

#[test]
fn the_longest_expression_is_calculated() {
    let values = [1.0, 3.0, 4.0, 5.0, 6.0];
    assert_eq!(result(&format!("a{}", "+1".repeat(499)), values), good_f64(500.0));
    assert_eq!(result(&format!("a{}", "*1-0".repeat(249)), values), good_f64(1.0));
    assert_eq!(result(&format!("{}a{}", "(1+".repeat(31), ")".repeat(31)), values), good_f64(32.0));
}
