//! `costs`: what images cost.

use std::path::Path;

use answers::costs::{self, CostReport};
use domain::costs::{CostScope, PriceTable};
use jiff::{SignedDuration, Timestamp};
use store::Table;

use crate::{failure::CliError, options::CostsOptions};

/// Answers `costs`.
///
/// # Errors
/// When the file of prices cannot be used, the registry or the repository is not known, or the table cannot be read.
pub(crate) async fn costs(table: &Table, options: &CostsOptions, now: Timestamp) -> Result<CostReport, CliError> {
    let scope = CostScope {
        registry: options.registry.as_ref(),
        repositories: options.repository.as_ref(),
        unpulled_since: unpulled_since(options.not_pulled, now),
        transferred_since: options.since.at(now),
    };
    let prices = match &options.prices {
        Some(file) => PriceTable::of_aws().with(read_prices(file)?),
        None => PriceTable::of_aws(),
    };
    Ok(costs::costs(table, &scope, &prices).await?)
}

/// The time since when a copy was not pulled.
pub(crate) fn unpulled_since(not_pulled: Option<SignedDuration>, now: Timestamp) -> Option<Timestamp> {
    not_pulled.map(|duration| now.checked_sub(duration).unwrap_or(Timestamp::UNIX_EPOCH))
}

fn read_prices(file: &Path) -> Result<PriceTable, CliError> {
    let unreadable = |source| CliError::Unreadable { path: file.to_owned(), source };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    PriceTable::read(&text).map_err(|problem| CliError::Prices { path: file.to_owned(), problem })
}
