//! The drill that shows whether deleted replicas could be brought back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::time::time_text;

/// The result of a restore drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RestoreDrill {
    /// When the drill was made.
    pub at: Timestamp,
    /// Who made it: the caller's ARN, or another name.
    pub by: String,
    /// The number of deletions that were tried.
    pub tried: usize,
    /// The number of those whose image could be brought back.
    pub restorable: usize,
}

impl RestoreDrill {
    /// The result in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let Self { at, restorable, tried, .. } = self;
        format!("restore drill: {restorable} of {tried} could be brought back, {}", time_text(*at))
    }
}
