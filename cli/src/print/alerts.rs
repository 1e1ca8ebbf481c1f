//! Prints alerts and lag.

use std::fmt::Write;

use anstyle::AnsiColor;
use answers::{
    alerts::{Alerts, LagReport, LaneReport, OpenIncident},
    responses::WasAnswered,
};
use domain::{
    alert::{Alert, AlertState, Incident, Severity},
    lag::Distribution,
};

use super::{HEADING, Print, answer::basis, coloured, csv, duration, filled, styled, table, time};

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

impl Print for WasAnswered {
    fn table(&self, width: Option<u16>) -> String {
        format!("{}\n", filled(&self.summary, ["", "  "], width))
    }
}

impl Print for Alerts {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = basis(&self.basis, width);
        let (snoozed, open): (Vec<_>, Vec<_>) = self.open.iter().partition(|open| open.is_snoozed);
        for OpenIncident { short_id, incident, kind_text, severity: how_soon, responses, .. } in open {
            let since = format!("open since {}", time(incident.opened_at));
            let severity = severity(*how_soon, AlertState::Open);
            let count = if incident.open == 1 { "1 image".to_owned() } else { format!("{} images", incident.open) };
            let place = styled(HEADING, format!("{} to {}", incident.source, incident.destination));
            _ = writeln!(text, "\n{place}  {severity}  {kind_text}  {count}, {since}  ID {short_id}");
            for line in std::iter::once(&incident.why).chain(responses) {
                _ = writeln!(text, "{}", filled(line, ["  ", "  "], width));
            }
        }
        if !snoozed.is_empty() {
            _ = writeln!(text, "\n{}", styled(HEADING, "Snoozed:"));
        }
        for OpenIncident { short_id, incident, kind_text, responses, .. } in snoozed {
            let Incident { source, destination, .. } = incident;
            let said = responses.join("; ");
            let line = format!("{short_id}  {kind_text} from {source} to {destination}: {said}");
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
        }
        match (self.open.len(), self.open_omitted) {
            (0, 0) => _ = writeln!(text, "\n{}", coloured(AnsiColor::Green, "● No open alerts.")),
            (0, omitted) => {
                let what = format!(
                    "No open alert is selected; {omitted} {} open.",
                    if omitted == 1 { "other is" } else { "others are" }
                );
                _ = writeln!(text, "\n{}", filled(&what, ["", "  "], width));
            }
            _ => {}
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

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::ALERTS)
    }
}

/// The cells of a distribution of lags.
fn lags(repository: &str, lags: &Distribution) -> [String; 8] {
    let seconds = |seconds: Option<u32>| seconds.map(|seconds| duration(seconds.into())).unwrap_or_default();
    [
        repository.to_owned(),
        lags.count.to_string(),
        lags.not_arrived.to_string(),
        seconds(lags.p50_seconds),
        seconds(lags.p90_seconds),
        seconds(lags.p99_seconds),
        seconds(lags.worst_seconds),
        // Rounded down: 100 % means all of them.
        format!("{:.1} %", (lags.within * 1_000.0).floor() / 10.0),
    ]
}

impl Print for LagReport {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = basis(&self.basis, width);
        let within = format!("WITHIN {} MIN", self.threshold_seconds / 60);
        for route in &self.routes {
            let headings = ["REPOSITORY", "ARRIVED", "LATE", "P50", "P90", "P99", "WORST", &within];
            let mut list = table(width, &headings, &[1, 2, 3, 4, 5, 6, 7]);
            list.add_row(lags("all", &route.lags));
            let of_route = |report: &&LaneReport| {
                (&report.lane.source, &report.lane.destination) == (&route.source, &route.destination)
            };
            for report in self.lanes.iter().filter(of_route) {
                list.add_row(lags(report.lane.repository.as_str(), &report.lags));
            }
            let heading = styled(HEADING, format!("{} to {}", route.source, route.destination));
            _ = writeln!(text, "\n{heading}\n{list}");
        }
        if self.routes.is_empty() {
            let until = self.until.map_or_else(|| "now".to_owned(), time);
            _ = writeln!(text, "\nNo replica whose push is recorded arrived from {} to {until}.", time(self.since));
        }
        if self.late.is_empty() && self.late_before == 0 {
            _ = writeln!(text, "\n{}", coloured(AnsiColor::Green, "● No replica is late."));
            return text;
        }
        _ = writeln!(text, "\n{}", styled(HEADING, "Not replicated:"));
        for late in &self.late {
            let line = format!("{}  {}", time(late.pushed_at), coloured(AnsiColor::Red, format!("! {}", late.why)));
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
        }
        if self.late_before > 0 {
            let more = if self.late.is_empty() { "" } else { "more " };
            let before = format!("! {} {more}of pushes before {}", self.late_before, time(self.since));
            _ = writeln!(text, "{}", filled(&coloured(AnsiColor::Red, before), ["  ", "    "], width));
        }
        text
    }

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::LAG)
    }
}
