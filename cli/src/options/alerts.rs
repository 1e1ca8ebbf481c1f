//! The options of `alerts`, and of what operators say about them.

use answers::{
    alerts::AlertRequest,
    time::{Moment, Period},
};
use clap::Args;
use domain::{
    alert::{AlertFilter, AlertKind, Severity},
    image::{Registry, RepositoryPattern},
};
use jiff::Timestamp;

use super::repositories;

/// The options of `alerts`.
#[derive(Debug, Clone, Args)]
pub struct AlertsOptions {
    /// List open incidents only
    #[arg(long)]
    pub open: bool,

    /// Only about this registry, as source or destination, such as `111122223333/us-east-1`
    #[arg(long)]
    pub registry: Option<Registry>,

    /// Only about these repositories, such as `prod/api` or `prod/*`. An alert names 50 repositories at most; one that does
    /// may be about others, too, and is listed
    #[arg(long, value_name = "PATTERN", value_parser = repositories)]
    pub repository: Option<RepositoryPattern>,

    /// Only these kinds, separated by commas, such as `replication_late,replication_failed`
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub kind: Vec<AlertKind>,

    /// Only these severities, separated by commas: info, warning, critical. What is resolved counts by the severity that it
    /// had
    #[arg(long, value_name = "SEVERITY", value_delimiter = ',')]
    pub severity: Vec<Severity>,

    /// Alerts since this time, such as `12h`, `2026-10-01` (UTC) or `2026-10-01T06:00:00Z`
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub since: Moment,

    /// Alerts until this time; now if it is left out
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
}

impl AlertsOptions {
    /// The request.
    #[must_use]
    pub fn request(&self, now: Timestamp) -> AlertRequest {
        let Self { open, registry, repository, kind, severity, since, until } = self.clone();
        let (kinds, severities) = (kind.into_iter().collect(), severity.into_iter().collect());
        let period = Period { from: since.at(now), to: until.map(|until| until.at(now)) };
        AlertRequest {
            filter: AlertFilter { registry, repositories: repository, kinds, severities },
            period: (!open).then_some(period),
            after: None,
            most: usize::MAX,
        }
    }
}

/// The options of `acknowledge`.
#[derive(Debug, Clone, Args)]
pub struct AcknowledgeOptions {
    /// ID of an open incident, as `alerts` lists it, or of one of its alerts
    #[arg(value_name = "ALERT")]
    pub alert: String,

    /// Reason, shown to everybody
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// The options of `snooze`.
#[derive(Debug, Clone, Args)]
pub struct SnoozeOptions {
    /// ID of an open incident, as `alerts` lists it, or of one of its alerts
    #[arg(value_name = "ALERT")]
    pub alert: String,

    /// End of the snooze: `2027-01-31` (that day included), `2027-01-31T18:00:00Z`, or `12h` from now on
    #[arg(long, value_name = "TIME")]
    pub until: Moment,

    /// Reason, shown to everybody
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}
