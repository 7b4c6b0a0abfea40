//! The figures as tables in Markdown.

use std::fmt::Write;

use crate::{Line, ROWS, data::Set, packing::Measured};

/// The table of one set.
pub(crate) fn of(set: &Set, lines: &[Line]) -> String {
    let (rows, tags) = (set.rows(), set.columns.len());
    let mut text = format!("\n{}: {rows} rows of {tags} tags, {} values\n\n", set.name, rows * tags);
    let [few, many] = ROWS;
    let _ = write!(
        text,
        "| packed as | B/value, {few} rows | {many} rows | encodes, M values/s | {many} rows | decodes, M values/s | {many} rows | a block saves, {few} rows | {many} rows |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for line in lines {
        let cells = |figure: fn(&Measured) -> f64| {
            let figures: Vec<f64> = line.measured.iter().map(figure).collect();
            figures.iter().map(|figure| format!(" {} |", digits(*figure))).collect::<String>()
        };
        let figures = [cells(|m| m.bytes), cells(|m| m.pack), cells(|m| m.unpack)].concat();
        let _ = writeln!(text, "| {} |{figures}{}", line.name, savings(lines, line, 1));
    }
    text
}

/// The sizes of all sets together, as geometric means, and what the blocks save of each other way.
pub(crate) fn together(sets: &[Vec<Line>]) -> String {
    let Some(first) = sets.first() else { return String::new() };
    let [few, many] = ROWS;
    let mut text = format!(
        "\nall {} sets, geometric means\n\n\
         | packed as | B/value, {few} rows | {many} rows | a block saves, {few} rows | {many} rows |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
        sets.len()
    );
    let means: Vec<Line> = (first.iter().enumerate())
        .map(|(index, line)| Line {
            name: line.name,
            measured: (0..ROWS.len())
                .map(|at| mean(sets, |lines| lines.get(index)?.measured.get(at).copied()))
                .collect(),
        })
        .collect();
    for line in &means {
        let sizes: String = line.measured.iter().map(|measured| format!(" {} |", digits(measured.bytes))).collect();
        let _ = writeln!(text, "| {} |{sizes}{}", line.name, savings(&means, line, 1));
    }
    text
}

/// The geometric mean of what `of` finds in each set.
fn mean(sets: &[Vec<Line>], of: impl Fn(&Vec<Line>) -> Option<Measured>) -> Measured {
    let found: Vec<Measured> = sets.iter().filter_map(of).collect();
    let count = crate::packing::number(found.len());
    let mean = |figure: fn(&Measured) -> f64| (found.iter().map(|m| figure(m).ln()).sum::<f64>() / count).exp();
    Measured { bytes: mean(|m| m.bytes), pack: mean(|m| m.pack), unpack: mean(|m| m.unpack) }
}

/// What the first way saves of this one, in percent of this one's bytes.
fn savings(lines: &[Line], line: &Line, decimals: usize) -> String {
    if lines.first().is_some_and(|own| own.name == line.name) {
        return " | |".to_owned();
    }
    let own = lines.first().map(|line| line.measured.as_slice()).unwrap_or_default();
    let saved = own.iter().zip(&line.measured).map(|(own, other)| 100.0 * (1.0 - own.bytes / other.bytes));
    saved.map(|percent| format!(" {percent:.decimals$} % |")).collect()
}

/// Three digits, as many as the figures are worth.
fn digits(figure: f64) -> String {
    match figure {
        _ if figure < 10.0 => format!("{figure:.2}"),
        _ if figure < 100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}
