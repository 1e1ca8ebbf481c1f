//! What will be deleted until a time, and what asks for approval or is stopped instead.

use std::collections::BTreeMap;

use domain::{
    deletion::{Deletion, DeletionStatus},
    image::Registry,
    plan::Mode,
    time::time_text,
};
use jiff::Timestamp;
use serde::Serialize;
use store::Table;
use utoipa::ToSchema;

use crate::{
    deletions::{self, DeletionTotal, TaggedDeletion},
    error::Error,
};

/// What will be deleted until a time, as far as is recorded now: `mirror` reads everything afresh before it deletes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Schedule {
    /// The time.
    pub until: Timestamp,
    /// The deletions that are due until then and that nothing stops, in the order of their times: the next one first.
    pub deletions: Vec<TaggedDeletion>,
    /// The number of deletions that await an operator's approval, or will when they are due.
    pub awaiting_approval: usize,
    /// The number of deletions that a breaker or a hold has put on hold.
    pub on_hold: usize,
    /// The number of deletions that are due until then, and that a pause, a hold or an open breaker stops.
    pub stopped: usize,
    /// The deletions in one line: how many, where and how much.
    pub summary: String,
    /// What is not deleted, and why: one line each, in the order in which to read them.
    pub exceptions: Vec<String>,
}

/// Answers `deletions --until`.
///
/// # Errors
/// When the source is unknown, or the table cannot be read.
pub async fn schedule(
    table: &Table,
    source: Option<&Registry>,
    until: Timestamp,
    now: Timestamp,
) -> Result<Schedule, Error> {
    let statuses =
        [DeletionStatus::Pending, DeletionStatus::Executing, DeletionStatus::AwaitingApproval, DeletionStatus::Held];
    let all = deletions::all(table, &statuses, source).await?;
    let count = |status| all.iter().filter(|deletion| deletion.status == status).count();
    let (mut awaiting_approval, on_hold) = (count(DeletionStatus::AwaitingApproval), count(DeletionStatus::Held));
    let (controls, mut open) = (table.controls().await?, BTreeMap::new());
    let mode = table.mirror_settings().await?.map(|mirror| mirror.mode);
    let mut due: Vec<_> = all.into_iter().filter(|deletion| deletion.due.is_some_and(|due| due <= until)).collect();
    due.retain(|deletion| matches!(deletion.status, DeletionStatus::Pending | DeletionStatus::Executing));
    for deletion in &due {
        if !open.contains_key(&deletion.source) {
            let is_open = table.breaker(&deletion.source).await?.opened.is_some();
            open.insert(deletion.source.clone(), is_open);
        }
    }
    let stops = |deletion: &Deletion| {
        let at = deletion.due.map_or(now, |due| due.max(now));
        controls.paused(&deletion.source, at).is_some()
            || controls.held(&deletion.source, &deletion.image, at).is_some()
            || open.get(&deletion.source) == Some(&true)
    };
    let all_due = due.len();
    // Without an action, no policy is known to permit it.
    due.retain(|deletion| deletion.action.is_some() && !stops(deletion));
    let stopped = all_due - due.len();
    due.retain(|deletion| !deletion.will_ask());
    awaiting_approval += all_due - stopped - due.len();
    due.sort_by(|a, b| (a.due, a.replica_key()).cmp(&(b.due, b.replica_key())));
    let total = DeletionTotal::of(&due.iter().collect::<Vec<_>>());
    let summary = match total {
        Some(total) => format!("until {}: {}", time_text(until), total.summary()),
        None => format!("nothing is due until {} that will be deleted", time_text(until)),
    };
    let exceptions = exceptions(mode, awaiting_approval, on_hold, stopped);
    let deletions = TaggedDeletion::all(table, due).await?;
    Ok(Schedule { until, deletions, awaiting_approval, on_hold, stopped, summary, exceptions })
}

fn exceptions(mode: Option<Mode>, awaiting_approval: usize, on_hold: usize, stopped: usize) -> Vec<String> {
    let mode = match mode {
        Some(Mode::Observe) => Some("mirror runs in mode observe: it deletes nothing".to_owned()),
        Some(Mode::Enforce) => None,
        None => Some("mirror has not run with this table: whether it deletes is unknown".to_owned()),
    };
    let counted = [
        (awaiting_approval, "await approval, or will when they are due: `ecr-lineage approve` lets them run"),
        (on_hold, "are on hold"),
        (
            stopped,
            "are due and kept: a pause, a hold or an open breaker stops them, or no policy is known to permit them",
        ),
    ];
    let counted = counted.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    mode.into_iter().chain(counted).collect()
}
