//! What a profile can get wrong, and how it is told.

use tidegate_config::{Access, At, Deadband, DeviceTimeUnit, Group, Report, ReportWhen, Tag, Threshold};
use tidegate_model::{Value, ValueKind, ValueType};
use tidegate_pipeline::Stages;

use crate::group::{at, calculated, constant, deadband, group, range, raw, scaling, tag, texts};

fn mistakes_of(group: &Group, raw: &[Option<ValueType>]) -> Report {
    let mut report = Report::new();
    let stages = Stages::compile(group, raw, &mut report);
    assert!(stages.is_none(), "no mistake was found");
    report
}

/// The messages of a group of these tags.
fn messages(kind: ValueKind, tags: Vec<Tag>) -> Vec<String> {
    let group = group(ReportWhen::Always, tags);
    let report = mistakes_of(&group, &raw(&group, kind));
    report.mistakes().iter().map(|mistake| mistake.message.clone()).collect()
}

/// The message and the help about an expression over tags `voltage_l1`, `flow-1` and the text `mode`.
fn about(expression: &str) -> (String, String) {
    let tags = vec![
        tag("voltage_l1"),
        tag("flow-1"),
        Tag { texts: texts(&[(0, "off")]), ..tag("mode") },
        Tag { access: Access::Write, ..tag("reset") },
        calculated("x", expression),
    ];
    let group = group(ReportWhen::Always, tags);
    let report = mistakes_of(&group, &raw(&group, ValueKind::Int));
    let [mistake] = report.mistakes() else { panic!("{}", report.render()) };
    (mistake.message.clone(), mistake.help.clone().unwrap_or_default())
}

#[test]
fn a_mistake_in_an_expression_is_shown_where_it_is() {
    let group = group(ReportWhen::Always, vec![tag("voltage_l1"), calculated("x", "2 * voltge_l1 + 1")]);
    let text = mistakes_of(&group, &raw(&group, ValueKind::Int)).render();
    assert!(text.contains("x.toml:1:13: unknown tag of this group \"voltge_l1\""), "{text}");
    assert!(text.contains("expr = \"2 * voltge_l1 + 1\""), "{text}");
    assert!(text.contains("            ^^^^^^^^^\n"), "{text}");
    assert!(text.contains("did you mean \"voltage_l1\"?"), "{text}");
}

#[test]
fn an_unknown_tag_brings_the_tags_of_the_group() {
    let (message, help) = about("pressure");
    assert_eq!(message, "unknown tag of this group \"pressure\"");
    assert!(help.contains("\"voltage_l1\"") && help.contains("\"flow-1\""), "{help}");
}

#[test]
fn a_name_with_a_dash_needs_braces() {
    let (message, help) = about("flow-1");
    assert_eq!(message, "unknown tag of this group \"flow\"");
    assert_eq!(help, "a tag with '-' in its name stands in braces: {flow-1}");
}

#[test]
fn texts_and_written_tags_are_nothing_to_calculate_with() {
    assert_eq!(about("mode + 1").0, "`mode` is text, and an expression calculates with numbers");
    assert_eq!(about("reset").0, "`reset` is only written, never read, and an expression calculates with numbers");
}

#[test]
fn broken_expressions_are_told_apart() {
    for (expression, expected) in [
        ("", "the expression ends where a number or a tag is expected"),
        ("  ", "the expression ends where a number or a tag is expected"),
        ("1 +", "the expression ends where a number or a tag is expected"),
        ("(1 + 2", "a bracket is not closed"),
        ("1 + 2)", "')' is not expected here"),
        ("1 2", "'2' is not expected here"),
        ("voltage_l1 voltage_l1", "'v' is not expected here"),
        ("* 2", "'*' is not expected here"),
        ("1 $ 2", "'$' is not expected here"),
        ("{flow-1", "a brace is not closed"),
        ("1.2.3", "1.2.3 is not a number"),
        ("1st", "1st is not a number"),
        ("1e999", "1e999 is not a number"),
        (".", ". is not a number"),
        ("sin()", "')' is not expected here"),
        ("sin(1, 2)", "sin takes one value, but gets 2"),
        ("atan2(1)", "atan2 takes two values, but gets 1"),
        ("max(1)", "max takes two values or more, but gets 1"),
        ("sinus(1)", "unknown function sinus"),
        ("voltage_l1 > 2", "'>' is not expected here"),
        ("größe", "'ö' is not expected here"),
        ("\u{0}", "'\\0' is not expected here"),
    ] {
        assert_eq!(about(expression).0, expected, "{expression}");
    }
    assert!(about("sinus(1)").1.starts_with("known are abs, acos"));
    assert!(about("voltage_l1 > 2").1.contains("does not compare"));
}

#[test]
fn an_endless_or_bottomless_expression_is_refused() {
    assert_eq!(about(&"1+".repeat(1000)).0, "an expression has at most 1000 characters");
    for nested in ["(".repeat(500), "-".repeat(999), "max(1,".repeat(150), "2^".repeat(450)] {
        assert_eq!(about(&nested).0, "the expression is nested too deeply");
    }
}

#[test]
fn tags_that_need_each_other_are_a_mistake() {
    let tags = vec![calculated("a", "b + 1"), calculated("b", "c"), calculated("c", "a"), calculated("d", "d")];
    assert_eq!(
        messages(ValueKind::Int, tags),
        ["`a` is calculated from itself: a needs b needs c needs a", "`d` is calculated from itself: d needs d"]
    );
}

#[test]
fn conversions_that_make_no_sense_are_mistakes() {
    let scaled = Tag { scaling: scaling("0.1", "0"), ..tag("a") };
    assert_eq!(messages(ValueKind::Bool, vec![scaled]), ["`a` is a bool and cannot be scaled"]);
    let scaled = Tag { scaling: scaling("0.1", "0"), ..tag("a") };
    assert_eq!(messages(ValueKind::Text, vec![scaled]), ["`a` is text and cannot be scaled"]);
    let zero = Tag { scaling: scaling("0.0", "5"), ..tag("a") };
    assert_eq!(messages(ValueKind::Int, vec![zero]), ["`scale` may not be 0"]);
    let both = Tag { scaling: scaling("0.1", "0"), texts: texts(&[(0, "off")]), ..tag("a") };
    assert_eq!(messages(ValueKind::Int, vec![both]), ["`a` has texts, so it has no scale, range or limits"]);
    let named = Tag { texts: texts(&[(0, "off")]), ..tag("a") };
    assert_eq!(
        messages(ValueKind::F32, vec![named]),
        ["0 has a text, but the tag is a 32-bit float, which is never 0"]
    );
}

#[test]
fn what_the_configuration_has_reported_is_not_reported_again() {
    let both = Tag { range: range(0.0, 1.0), texts: texts(&[(0, "off")]), ..tag("a") };
    let group = group(ReportWhen::Always, vec![both]);
    let mut report = Report::new();
    report.error(&tidegate_config::Origin::Default, "`range` does not go with `texts`", None);
    assert!(Stages::compile(&group, &raw(&group, ValueKind::Int), &mut report).is_none());
    assert_eq!(report.mistakes().len(), 1, "{}", report.render());
}

#[test]
fn limits_of_what_is_no_number_are_mistakes() {
    let ranged = Tag { range: range(0.0, 1.0), ..tag("a") };
    assert_eq!(messages(ValueKind::Bool, vec![ranged]), ["a range is for numbers, but `a` is a bool"]);
    let limited = Tag { minimum: Some(at(0.0)), access: Access::ReadWrite, ..tag("a") };
    assert_eq!(messages(ValueKind::Text, vec![limited]), ["`minimum` and `maximum` are for numbers, but `a` is text"]);
    let percent = Deadband { threshold: Threshold::PercentOfSpan(1.0), max_silence: None };
    let banded = Tag { deadband: Some(at(percent)), ..tag("a") };
    assert_eq!(messages(ValueKind::Int, vec![banded]), ["a deadband in percent is of the range, but the tag has none"]);
}

#[test]
fn constants_and_calculated_tags_take_no_conversion_and_no_write() {
    let scaled = Tag { scaling: scaling("0.1", "0"), ..calculated("a", "1") };
    assert_eq!(
        messages(ValueKind::Int, vec![scaled]),
        ["`scale` and `offset` are for what is read from the device, but `a` is an expression"]
    );
    let named = Tag { texts: texts(&[(1, "one")]), ..constant("a", Value::Int(1)) };
    assert_eq!(
        messages(ValueKind::Int, vec![named]),
        ["texts are for what is read from the device, but `a` is a constant"]
    );
    let written = Tag { access: Access::ReadWrite, ..constant("a", Value::Int(1)) };
    assert_eq!(messages(ValueKind::Int, vec![written]), ["`a` is a constant and cannot be written"]);
    let mixed = constant("a", Value::Array([Value::Int(1), Value::Bool(true)].into()));
    assert_eq!(messages(ValueKind::Int, vec![mixed]), ["the items of a constant array have to be of one kind"]);
}

#[test]
fn a_clock_that_is_no_number_is_a_mistake() {
    let clocked =
        |tag| Group { device_time: Some((0, DeviceTimeUnit::Seconds)), ..group(ReportWhen::Always, vec![tag]) };
    for (tag, kind) in [
        (tag("clock"), ValueKind::Text),
        (tag("clock"), ValueKind::Bool),
        (Tag { access: Access::Write, ..tag("clock") }, ValueKind::Int),
    ] {
        let group = clocked(tag);
        let report = mistakes_of(&group, &raw(&group, kind));
        assert!(
            report.mistakes()[0].message.starts_with("the device's time has to be a number"),
            "{}",
            report.render()
        );
    }
}

#[test]
fn a_tag_that_the_driver_does_not_read_is_a_mistake() {
    let group = group(ReportWhen::Always, vec![tag("a"), tag("b")]);
    let report = mistakes_of(&group, &[Some(ValueType::single(ValueKind::Int))]);
    assert_eq!(report.mistakes()[0].message, "the driver does not know how to read `b`");
}

#[test]
fn all_mistakes_of_a_group_come_out_at_once() {
    let tags = vec![
        Tag { scaling: scaling("x", "0"), ..tag("a") },
        Tag { deadband: deadband(-1.0, None), ..tag("b") },
        calculated("c", "a + nothing"),
        calculated("d", "d"),
    ];
    let found = messages(ValueKind::Int, tags);
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn an_expression_from_the_environment_is_named_as_a_whole() {
    let mut expression = calculated("x", "nothing");
    if let tidegate_config::TagSource::Expression(At { origin, .. }) = &mut expression.source {
        *origin = tidegate_config::Origin::Environment("TIDEGATE__X".to_owned());
    }
    let group = group(ReportWhen::Always, vec![expression]);
    let text = mistakes_of(&group, &[None]).render();
    assert!(text.contains("TIDEGATE__X"), "{text}");
}
