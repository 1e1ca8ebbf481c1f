//! Prints what images cost.

use std::fmt::Write;

use answers::costs::CostReport;
use domain::costs::{Amount, CopyKind, KindCost};

use super::{HEADING, Print, QUIET, answer, filled, styled, table, time};

/// Repositories in the table; JSON has more.
const MOST_REPOSITORIES: usize = 20;

impl Print for CostReport {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = answer::basis(&self.basis, width);
        let listed = self.basis.registries.values().filter_map(|known| known.listed_at).min();
        let listed = listed.map_or_else(|| "never listed".to_owned(), |at| format!("listed {} or later", time(at)));
        let unpulled = self.unpulled_since.map(|at| format!("; only copies without a pull since {}", time(at)));
        let line = format!("{listed}{}", unpulled.unwrap_or_default());
        _ = writeln!(text, "{}\n", filled(&styled(QUIET, line), ["", "  "], width));
        text.push_str(&stored(self, width));
        if !self.costs.repositories.is_empty() {
            text.push_str(&by_repository(self, width));
        }
        if !self.costs.transfers.is_empty() {
            text.push_str(&transferred(self, width));
        }
        for note in &self.notes {
            _ = writeln!(text, "{}", filled(note, ["", "  "], width));
        }
        text
    }
}

fn stored(report: &CostReport, width: Option<u16>) -> String {
    let mut rows = table(width, &["REGISTRY", "KIND", "COPIES", "       GB", "USD/MONTH"], &[0, 1, 2, 3, 4]);
    for registry in &report.costs.registries {
        for (number, kind) in registry.kinds.iter().enumerate() {
            let name = if number == 0 { registry.registry.to_string() } else { String::new() };
            rows.add_row(cells(name, kind_text(kind), &kind.amount));
        }
    }
    for (number, kind) in report.costs.kinds.iter().enumerate() {
        let name = if number == 0 { "all registries" } else { "" };
        rows.add_row(cells(name.to_owned(), kind_text(kind), &kind.amount));
    }
    rows.add_row(cells("total".to_owned(), String::new(), &report.costs.total));
    format!("{rows}\n\n")
}

fn by_repository(report: &CostReport, width: Option<u16>) -> String {
    let mut rows = table(width, &["COPIES", "       GB", "USD/MONTH", "REPOSITORY"], &[0, 1, 2]);
    for repository in report.costs.repositories.iter().take(MOST_REPOSITORIES) {
        let [copies, size, usd] = figures(&repository.amount);
        rows.add_row([copies, size, usd, repository.repository.to_string()]);
    }
    let all = report.costs.repositories.len() + report.repositories_omitted;
    let more = match all.saturating_sub(MOST_REPOSITORIES) {
        0 => String::new(),
        more => format!("{more} more repositories, each cheaper\n"),
    };
    format!("{rows}\n{more}\n")
}

fn transferred(report: &CostReport, width: Option<u16>) -> String {
    let heading = styled(HEADING, format!("Replicated since {}", time(report.transferred_since)));
    let mut rows = table(width, &["COPIES", "       GB", "      USD", "SOURCE → DESTINATION"], &[0, 1, 2]);
    for transfer in &report.costs.transfers {
        let [copies, size, usd] = figures(&transfer.amount);
        rows.add_row([copies, size, usd, format!("{} → {}", transfer.source, transfer.destination)]);
    }
    format!("{heading}\n{rows}\n\n")
}

fn kind_text(cost: &KindCost) -> String {
    let kind = match cost.kind {
        CopyKind::Unknown => "origin unknown",
        kind => kind.as_str(),
    };
    if cost.archived { format!("{kind}, archived") } else { kind.to_owned() }
}

fn cells(name: String, kind: String, amount: &Amount) -> [String; 5] {
    let [copies, size, usd] = figures(amount);
    [name, kind, copies, size, usd]
}

/// The number of copies, their size and their cost, in columns of equal width.
fn figures(amount: &Amount) -> [String; 3] {
    let Amount { copies, bytes, usd, unpriced_bytes } = *amount;
    #[expect(clippy::cast_precision_loss, reason = "exact up to 9 petabytes")]
    let gigabytes = bytes as f64 / 1e9;
    let usd = match unpriced_bytes {
        0 => format!("{usd:>9.2}"),
        unpriced if unpriced == bytes => format!("{:>9}", "unknown"),
        _ => format!("{usd:>9.2} and more"),
    };
    [format!("{copies:>6}"), format!("{gigabytes:>9.2}"), usd]
}
