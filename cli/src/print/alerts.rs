//! Prints alerts and lag.

use std::fmt::Write;

use anstyle::AnsiColor;
use answers::alerts::{Alerts, LagReport, OpenIncident};
use domain::alert::{Alert, AlertState, Severity};

use super::{HEADING, Print, answer::basis, coloured, duration, filled, styled, table, time};

/// The severity with its sign, or that the incident is resolved.
fn severity(severity: Severity, state: AlertState) -> String {
    let (colour, sign, word) = match (state, severity) {
        (AlertState::Resolved, _) => (AnsiColor::Green, "●", state.as_str()),
        (_, Severity::Info) => (AnsiColor::Blue, "i", severity.as_str()),
        (_, Severity::Warning) => (AnsiColor::Yellow, "!", severity.as_str()),
        (_, Severity::Critical) => (AnsiColor::Red, "‼", severity.as_str()),
    };
    coloured(colour, format!("{sign} {word}"))
}

/// One alert in the event log of `local`.
pub(crate) fn alert(alert: &Alert) -> String {
    let (sign, kind) = (severity(alert.severity, alert.state), alert.kind.words());
    let next = match alert.state {
        AlertState::Resolved => String::new(),
        AlertState::Notice | AlertState::Opened | AlertState::Open => format!("    → {}\n", alert.remediation),
    };
    format!("  {}  {sign}  {kind}: {}\n{next}", time(alert.time), alert.message)
}

impl Print for Alerts {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = basis(&self.basis, width);
        for OpenIncident { incident, kind_text, .. } in &self.open {
            let since = format!("open since {}", time(incident.opened_at));
            let what = coloured(AnsiColor::Red, format!("! {kind_text}"));
            let count = if incident.open == 1 { "1 image".to_owned() } else { format!("{} images", incident.open) };
            let place = styled(HEADING, format!("{} to {}", incident.source, incident.destination));
            _ = writeln!(text, "\n{place}  {what}  {count}, {since}");
            _ = writeln!(text, "{}", filled(&incident.why, ["  ", "  "], width));
        }
        if self.open.is_empty() {
            _ = writeln!(text, "\n{}", coloured(AnsiColor::Green, "● No open alerts."));
        }
        if !self.alerts.is_empty() {
            let headings = ["TIME (UTC)", "SEVERITY", "ALERT", "SUMMARY / NEXT STEP"];
            let mut list = table(width, &headings, &[0, 1, 2]);
            for alert in &self.alerts {
                let next = match alert.state {
                    AlertState::Resolved => String::new(),
                    AlertState::Notice | AlertState::Opened | AlertState::Open => format!("\n→ {}", alert.remediation),
                };
                list.add_row([
                    time(alert.time),
                    severity(alert.severity, alert.state),
                    alert.kind.words(),
                    format!("{}{next}", alert.message),
                ]);
            }
            _ = writeln!(text, "\n{list}");
        }
        text
    }
}

impl Print for LagReport {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = basis(&self.basis, width);
        let threshold = self.threshold_seconds / 60;
        let within = format!("WITHIN {threshold} MIN");
        let headings = ["FROM", "TO", "REPOSITORY", "COPIES", "P50", "P90", "P99", "WORST", &within];
        let mut list = table(width, &headings, &[0, 1, 3, 4, 5, 6, 7, 8]);
        for report in &self.lanes {
            let (lane, lags) = (&report.lane, &report.lags);
            let seconds = |seconds: u32| duration(seconds.into());
            list.add_row([
                lane.source.to_string(),
                lane.destination.to_string(),
                lane.repository.to_string(),
                lags.count.to_string(),
                seconds(lags.p50_seconds),
                seconds(lags.p90_seconds),
                seconds(lags.p99_seconds),
                seconds(lags.worst_seconds),
                // Rounded down: 100 % means all of them.
                format!("{:.1} %", (lags.within * 1_000.0).floor() / 10.0),
            ]);
        }
        match self.lanes.is_empty() {
            true => text.push_str("No replica arrived in this period whose push is recorded.\n"),
            false => _ = writeln!(text, "\n{list}"),
        }
        if self.late.is_empty() {
            _ = writeln!(text, "\n{}", coloured(AnsiColor::Green, "● No replica is late."));
            return text;
        }
        _ = writeln!(text, "\n{}", styled(HEADING, "Not replicated:"));
        for late in &self.late {
            let line = format!("{}  {}", time(late.pushed_at), coloured(AnsiColor::Red, format!("! {}", late.why)));
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
        }
        text
    }
}
