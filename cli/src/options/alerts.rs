//! The options of what operators say about alerts.

use answers::time::Moment;
use clap::Args;

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
