//! Counts what passed, failed and was skipped.

use std::fmt;

/// Whether a run was good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing failed.
    Passed,
    /// Something failed; it was said what.
    Failed,
}

/// What has passed, failed and was skipped so far: tests one by one, other checks one each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    shaky: Vec<String>,
    skips: Vec<String>,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Tally {
        Tally::default()
    }

    /// Notes a check by its name.
    pub(crate) fn check(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures.push(name.to_owned());
        }
    }

    /// Notes many tests of a run by its name.
    pub(crate) fn tests(&mut self, name: &str, passed: u64, failed: u64) {
        self.passed += passed;
        self.failed += failed;
        if failed > 0 {
            self.failures.push(format!("{failed} of {name}"));
        }
    }

    /// Notes a test that failed and passed when it ran once more: a mistake in the test, or a rare one of the product.
    pub(crate) fn shaky(&mut self, name: impl Into<String>) {
        self.shaky.push(name.into());
    }

    /// Notes something that could not be done here, and why.
    pub(crate) fn skip(&mut self, what: impl Into<String>) {
        self.skips.push(what.into());
    }

    /// Whether anything has failed so far.
    pub(crate) fn outcome(&self) -> Outcome {
        if self.failed == 0 { Outcome::Passed } else { Outcome::Failed }
    }
}

/// What failed, what was skipped, and the closing line.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "failed: {failure}")?;
        }
        for name in &self.shaky {
            writeln!(f, "passed the second time, find out why: {name}")?;
        }
        for skip in &self.skips {
            writeln!(f, "skipped: {skip}")?;
        }
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skips.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_and_what_was_shaky_or_skipped_stands_before_the_closing_line() {
        let mut tally = Tally::new();
        tally.check("format", true);
        tally.check("clippy", false);
        tally.tests("tests", 40, 2);
        tally.shaky("shaky::one");
        tally.skip("advisories: no way to the database");
        assert_eq!(
            tally.to_string(),
            "failed: clippy\nfailed: 2 of tests\npassed the second time, find out why: shaky::one\nskipped: advisories: no way to the database\n\
             41 passed, 3 failed, 1 skipped"
        );
        assert_eq!(tally.outcome(), Outcome::Failed);
    }

    #[test]
    fn a_skip_is_no_failure() {
        let mut tally = Tally::new();
        tally.skip("something");
        assert_eq!(tally.outcome(), Outcome::Passed);
    }
}
