//! Reads the report that cargo-nextest leaves, for the counts and for what tests said they skipped.

/// What a report says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Tests that ran.
    pub(crate) tests: u64,
    /// Tests that failed, by an assertion or otherwise.
    pub(crate) failed: u64,
    /// Tests that failed and passed when they ran once more.
    pub(crate) shaky: Vec<String>,
    /// What follows `skipped: ` on a line of any test's output.
    pub(crate) skips: Vec<String>,
}

impl Report {
    /// Reads a report; `None` when it has no head with counts.
    pub(crate) fn parse(xml: &str) -> Option<Report> {
        let head = xml.split_once("<testsuites")?.1.split_once('>')?.0;
        let count = |name: &str| head.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.parse::<u64>().ok();
        let failed = count(" failures")?.checked_add(count(" errors")?)?;
        Some(Report { tests: count(" tests")?, failed, shaky: shaky(xml), skips: skips(xml) })
    }
}

/// The names of tests that passed the second time.
fn shaky(xml: &str) -> Vec<String> {
    let cases = xml.split("<testcase ").skip(1).map(|rest| rest.split("</testcase>").next().unwrap_or(rest));
    cases
        .filter(|case| case.contains("<flakyFailure") || case.contains("<flakyError"))
        .filter_map(|case| Some(plain(case.split_once("name=\"")?.1.split_once('"')?.0)))
        .collect()
}

/// What follows `skipped: ` at the beginning of a line, or of an output.
pub(crate) fn skips(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let line =
                line.rsplit_once("<system-out>").or(line.rsplit_once("<system-err>")).map_or(line, |(_, rest)| rest);
            let reason = line.trim_start().strip_prefix("skipped: ")?;
            Some(plain(reason.split("</system-").next().unwrap_or(reason)))
        })
        .collect()
}

/// The text without the five escapes of XML.
fn plain(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_skips_come_out_of_a_report() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" failures="1" errors="1" uuid="x" time="0.1">
  <testsuite name="a" tests="3" disabled="0" errors="1" failures="1">
    <testcase name="b"><system-out>skipped: no &lt;mosquitto&gt; here</system-out></testcase>
    <testcase name="c"><system-err>
skipped: not root
</system-err></testcase>
  </testsuite>
</testsuites>"#;
        let report = Report::parse(xml).expect("a report");
        assert_eq!((report.tests, report.failed), (3, 2));
        assert_eq!(report.skips, ["no <mosquitto> here", "not root"]);
    }

    #[test]
    fn a_test_that_passed_the_second_time_is_named() {
        let xml = r#"<testsuites name="nextest-run" tests="3" failures="0" errors="0">
  <testsuite name="a" tests="3" disabled="0" errors="0" failures="0">
    <testcase name="steady" classname="a" time="0.1"/>
    <testcase name="shaky::one" classname="a" time="0.1">
      <flakyFailure type="test failure with exit code 101"><system-out>left &lt; right</system-out></flakyFailure>
    </testcase>
    <testcase name="another" classname="a"><system-out>&lt;flakyFailure</system-out></testcase>
  </testsuite>
</testsuites>"#;
        let report = Report::parse(xml).expect("a report");
        assert_eq!((report.failed, report.shaky), (0, vec!["shaky::one".to_owned()]));
    }

    #[test]
    fn half_a_report_is_none() {
        assert_eq!(Report::parse("<testsuites name=\"x\""), None);
        assert_eq!(Report::parse("<testsuites name=\"x\" tests=\"1\">"), None);
    }
}
