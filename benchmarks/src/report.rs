//! The rows of a benchmark, as a table and as JSON.

use comfy_table::{Table, presets};
use serde::Serialize;

/// The units of rows that are the same on every machine.
const COUNTS: [&str; 6] = ["bytes", "calls", "read units", "units", "USD", "write units"];

/// All rows, in the order in which they were measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

/// One measured value, with its limit and the baseline's value where there is one.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    what: String,
    unit: &'static str,
    ours: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
    met: bool,
}

impl Report {
    /// Adds a value and the baseline's. The limit of ours is `baseline / part`.
    pub(crate) fn beside(&mut self, what: &str, unit: &'static str, ours: f64, baseline: f64, part: f64) {
        let at_most = Some(baseline / part);
        let met = ours <= baseline / part;
        self.rows.push(Row { what: what.into(), unit, ours, baseline: Some(baseline), at_most, met });
    }

    /// Adds a value, the baseline's, and a limit that does not depend on it.
    pub(crate) fn within(&mut self, what: &str, unit: &'static str, ours: f64, baseline: f64, limit: f64) {
        let met = ours <= limit;
        self.rows.push(Row { what: what.into(), unit, ours, baseline: Some(baseline), at_most: Some(limit), met });
    }

    /// Adds a value without a baseline, with or without a limit.
    pub(crate) fn alone(&mut self, what: impl Into<String>, unit: &'static str, ours: f64, at_most: Option<f64>) {
        let met = at_most.is_none_or(|limit| ours <= limit);
        self.rows.push(Row { what: what.into(), unit, ours, baseline: None, at_most, met });
    }

    /// The rows that are the same on every machine, one per line.
    pub(crate) fn counts(&self) -> String {
        let counts = self.rows.iter().filter(|row| COUNTS.contains(&row.unit));
        counts.map(|row| format!("{}\t{}\t{:.4}\n", row.what, row.unit, row.ours)).collect()
    }

    pub(crate) fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.met)
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["what", "unit", "ours", "baseline", "ratio", "at most", "met"]);
        let rounded = |value: f64| {
            let decimals = if value > 0.0 && value < 0.1 { 4 } else { 2 };
            format!("{value:.decimals$}")
        };
        let figure = |value: Option<f64>| value.map(rounded).unwrap_or_default();
        for row in &self.rows {
            let ratio = row.baseline.map(|baseline| format!("1/{:.1}", baseline / row.ours)).unwrap_or_default();
            let met = if row.at_most.is_none() {
                ""
            } else if row.met {
                "yes"
            } else {
                "NO"
            };
            let cells = [figure(Some(row.ours)), figure(row.baseline), ratio, figure(row.at_most), met.to_owned()];
            table.add_row([row.what.clone(), row.unit.to_owned()].into_iter().chain(cells));
        }
        table
    }
}
