//! Prints a diagnosis.

use std::fmt::Write;

use anstyle::AnsiColor;

use super::{HEADING, Print, coloured, filled, styled};
use crate::doctor::{Diagnosis, Finding, Level};

impl Print for Diagnosis {
    fn table(&self, width: Option<u16>) -> String {
        let (mut text, mut place) = (String::new(), None);
        let mut findings = self.findings.iter().peekable();
        while let Some(finding) = findings.next() {
            if place != Some(&finding.place) {
                _ = writeln!(text, "\n{}", styled(HEADING, &finding.place));
                place = Some(&finding.place);
            }
            let line = match finding.level {
                Level::Good => format!("{} {}", coloured(AnsiColor::Green, "●"), finding.what),
                Level::Notice => coloured(AnsiColor::Yellow, format!("○ {}", finding.what)),
                Level::Unknown => coloured(AnsiColor::Yellow, format!("? {}", finding.what)),
                Level::Wrong => coloured(AnsiColor::Red, format!("! {}", finding.what)),
            };
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
            // If the next finding has the same fix, the fix is printed only there.
            let again = |next: &&Finding| next.place == finding.place && next.fix == finding.fix;
            if let Some(fix) = finding.fix.as_ref().filter(|_| !findings.peek().is_some_and(again)) {
                _ = writeln!(text, "{}", filled(&format!("→ {fix}"), ["    ", "      "], width));
            }
        }
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let (wrong, unknown) = (count(Level::Wrong), count(Level::Unknown));
        _ = writeln!(text, "\n{wrong} to fix, {unknown} not checked, {} to note", count(Level::Notice));
        text
    }
}
