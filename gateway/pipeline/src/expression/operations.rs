//! The operators and functions of expressions, for the library that calculates.

use exmex::{BinOp, MakeOperators, Operator};

/// How many values a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    One,
    Two,
    /// Two or more.
    Many,
}

/// The sign before a value, apart from the operator between two.
pub(super) const UNARY_MINUS: &str = "negative";

/// A function of one value and its name.
type Unary = (&'static str, fn(f64) -> f64);
/// A function of two values and its name.
type Binary = (&'static str, fn(f64, f64) -> f64);

const UNARY: [Unary; 17] = [
    ("abs", f64::abs),
    ("acos", f64::acos),
    ("asin", f64::asin),
    ("atan", f64::atan),
    ("ceil", f64::ceil),
    ("cos", f64::cos),
    ("exp", f64::exp),
    ("floor", f64::floor),
    ("ln", f64::ln),
    ("log10", f64::log10),
    ("log2", f64::log2),
    ("round", f64::round),
    ("sign", sign),
    ("sin", f64::sin),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("trunc", f64::trunc),
];

const BINARY: [Binary; 1] = [("atan2", f64::atan2)];

/// These take more values too, from the left.
const CHAINED: [Binary; 2] = [("max", max), ("min", min)];

const OPERATORS: [Binary; 6] = [
    ("+", |a, b| a + b),
    ("-", |a, b| a - b),
    ("*", |a, b| a * b),
    ("/", |a, b| a / b),
    ("%", |a, b| a % b),
    ("^", f64::powf),
];

/// The function of that name.
pub(super) fn function(name: &str) -> Option<Function> {
    if UNARY.iter().any(|(known, _)| *known == name) {
        Some(Function::One)
    } else if BINARY.iter().any(|(known, _)| *known == name) {
        Some(Function::Two)
    } else {
        CHAINED.iter().any(|(known, _)| *known == name).then_some(Function::Many)
    }
}

/// The names of all functions, sorted.
pub(super) fn names() -> Vec<&'static str> {
    let unary = UNARY.iter().map(|(name, _)| *name);
    let mut names: Vec<&str> = unary.chain(BINARY.iter().chain(&CHAINED).map(|(name, _)| *name)).collect();
    names.sort_unstable();
    names
}

/// -1, 0 or 1; 0 for both zeros, NaN for NaN.
fn sign(number: f64) -> f64 {
    if number == 0.0 { 0.0 } else { number.signum() }
}

/// The larger one; NaN when one is NaN, so that a missing number does not hide behind the other.
fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The smaller one; NaN when one is NaN.
fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// Hands the tables above to the library. Every operation stands in brackets, so all may have the same priority.
#[derive(Debug, Clone)]
pub(super) struct Operations;

impl MakeOperators<f64> for Operations {
    fn make<'a>() -> Vec<Operator<'a, f64>> {
        let unary = UNARY.iter().map(|(name, apply)| Operator::make_unary(name, *apply));
        let minus = std::iter::once(Operator::make_unary(UNARY_MINUS, |number: f64| -number));
        let binary = OPERATORS
            .iter()
            .chain(&BINARY)
            .chain(&CHAINED)
            .map(|(name, apply)| Operator::make_bin(name, BinOp { apply: *apply, prio: 1, is_commutative: false }));
        unary.chain(minus).chain(binary).collect()
    }
}
