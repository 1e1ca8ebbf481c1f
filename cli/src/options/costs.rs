//! The options of `costs`.

use std::path::PathBuf;

use answers::time::{self, Moment};
use clap::Args;
use domain::image::{Registry, RepositoryPattern};
use jiff::SignedDuration;

use super::repositories;

/// The options of `costs`.
#[derive(Debug, Args)]
pub struct CostsOptions {
    /// Only what this registry stores, such as `111122223333/us-east-1`
    #[arg(long)]
    pub registry: Option<Registry>,

    /// Only in these repositories, such as `prod/api` or `prod/*`
    #[arg(long, value_name = "PATTERN", value_parser = repositories)]
    pub repository: Option<RepositoryPattern>,

    /// Only copies that are older than this, such as `90d`, and of which ECR recorded no pull for as long
    #[arg(long, value_name = "DURATION", value_parser = time::back)]
    pub not_pulled: Option<SignedDuration>,

    /// Transfers since this time, such as `30d`, `2026-10-01` (UTC) or `2026-10-01T06:00:00Z`
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub since: Moment,

    /// File with prices of your own, region by region, in the form of the built-in table (docs/cli.md)
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
}
