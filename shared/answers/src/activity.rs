//! Activity: what callers, lifecycle policies, ecr-lineage and operators did, across images.

use std::{cmp::Reverse, collections::BTreeSet};

use domain::{
    activity::{ActName, Activity, ActivityFilter, ActivityKind, OperatorAct},
    fact::{Cause, What},
    image::{Digest, Registry, RepositoryName, Tag},
    lineage,
};
use jiff::Timestamp;
use serde::Serialize;
use store::{ActivityBounds, ActivityPosition, Table};
use utoipa::ToSchema;

use crate::{basis::Basis, cursor::Cursor, error::Error};

/// The largest number of entries that are examined for a page.
const EXAMINED: usize = 10_000;

/// What was done, across images.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActivityReport {
    /// What the answer rests on.
    pub basis: Basis,
    /// The beginning of the period.
    pub since: Timestamp,
    /// The end of the period; absent if it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What was done, newest first. What several events reported is one entry, unless it is at the end of a page.
    pub activity: Vec<ActivityEntry>,
    /// The cursor for the next page; absent on the last page. A page examines 10,000 entries at most, so it may be empty and
    /// have a next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<ActivityPosition>>,
}

/// One thing that was done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ActivityEntry {
    /// When, in whole seconds.
    pub time: Timestamp,
    /// The kind.
    pub kind: ActivityKind,
    /// What an operator did; absent unless the kind is `operator`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<ActName>,
    /// The registry. For an operator's action on a deletion, that of the replica; on an incident, the destination; absent if
    /// an action is about every source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<Registry>,
    /// The repository, or the repositories that a hold names, as in `prod/*`; absent if it is about the whole registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The digest; absent if it is not about one image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The tags that were set, removed or meant, by name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
    /// Who did it: a caller's ARN, or else the most specific name that CloudTrail has; `lifecycle`, or `ecr-lineage`. Absent
    /// if no record of the call arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The cause of a deletion, an archiving or an attempt: `principal`, `lifecycle`, `repository`, `mirror` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// The ID of the incident that an operator acknowledged or snoozed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// When what an operator did expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The API action or the action of the lifecycle rule that was refused, or whose outcome is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The setting that was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<&'static str>,
    /// The error code of a refused call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why a call was refused, in AWS's words; or why an operator acted, in the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The ID of the event that reported it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// What was done, in one line.
    pub summary: String,
}

impl From<&Activity> for ActivityEntry {
    fn from(activity: &Activity) -> Self {
        let mut entry = Self {
            time: domain::time::whole_seconds(activity.time()),
            kind: activity.kind(),
            action: None,
            registry: activity.registry().cloned(),
            repository: activity.repository(),
            digest: activity.digest(),
            tags: activity.tags(),
            actor: activity.actor().map(str::to_owned),
            cause: activity.cause().map(Cause::as_str),
            incident: None,
            until: None,
            call: None,
            setting: None,
            code: None,
            reason: None,
            event_id: None,
            summary: activity.summary(),
        };
        match activity {
            Activity::Act(act) => {
                entry.action = Some(act.action);
                entry.reason.clone_from(&act.reason);
                entry.incident.clone_from(&act.incident);
                entry.until = act.until;
            }
            Activity::Fact(fact) => {
                entry.event_id = Some(fact.event_id.clone());
                match &fact.what {
                    What::Attempted { call, code, reason, .. } => {
                        entry.call = Some(call.clone());
                        (entry.code, entry.reason) = (code.clone(), reason.clone());
                    }
                    What::Changed { setting, .. } => entry.setting = Some(setting.as_str()),
                    _ => {}
                }
            }
        }
        entry
    }
}

/// The period and the part of the activity that is requested.
#[derive(Debug, Clone)]
pub struct ActivityRequest {
    /// What is selected.
    pub filter: ActivityFilter,
    /// The beginning of the period.
    pub since: Timestamp,
    /// The end of the period; now without one.
    pub until: Option<Timestamp>,
    /// Start at this position; without one, at the newest.
    pub from: Option<ActivityPosition>,
    /// The largest number of entries; without one, all.
    pub most: Option<usize>,
}

/// Answers `activity`.
///
/// # Errors
/// When the registry or the repository is not known, or the table cannot be read.
pub async fn activity(table: &Table, request: &ActivityRequest) -> Result<ActivityReport, Error> {
    let ActivityRequest { filter, since, until, from, most } = request;
    let basis = Basis::read(table, filter.registry.as_ref(), None).await?;
    let kinds = if filter.kinds.is_empty() { ActivityKind::ALL.into() } else { filter.kinds.clone() };
    let bounds = ActivityBounds {
        kinds: &kinds,
        since: *since,
        until: *until,
        after: from.as_ref(),
        most: most.unwrap_or(usize::MAX),
        examined: if most.is_some() { EXAMINED } else { usize::MAX },
    };
    let (found, next) = table.activity(bounds, |activity| filter.selects(activity)).await?;
    if found.is_empty()
        && next.is_none()
        && let Some(repository) = filter.repository.as_ref().map(ToString::to_string)
        && let Ok(repository) = repository.parse::<RepositoryName>()
    {
        // Of a repository that is not known, nothing can be said.
        Basis::read(table, None, Some(&repository)).await?;
    }
    let activity = merged(found).iter().map(Into::into).collect();
    Ok(ActivityReport { basis, since: *since, until: *until, activity, next_cursor: next.map(Cursor) })
}

/// The entries, newest first, each thing that happened only once.
fn merged(found: Vec<Activity>) -> Vec<Activity> {
    let (mut facts, mut acts) = (Vec::new(), Vec::new());
    for activity in found {
        match activity {
            Activity::Fact(fact) => facts.push(fact),
            Activity::Act(act) => acts.push(act),
        }
    }
    let facts = lineage::without_repeats(facts).into_iter().map(Activity::Fact);
    let mut all: Vec<_> = facts.chain(acts.into_iter().map(Activity::Act)).collect();
    all.sort_by_cached_key(|activity| {
        let event_id = if let Activity::Fact(fact) = activity { Some(fact.event_id.clone()) } else { None };
        let about = (activity.registry().cloned(), activity.repository(), activity.digest());
        (Reverse(activity.time()), activity.kind(), about, event_id)
    });
    all
}

/// Acts of an operator that took effect and could not be recorded as activity. An act goes on to its end: what it changed
/// says who did it, and stays.
#[derive(Debug, Default)]
pub(crate) struct Unrecorded(Option<store::Error>);

impl Unrecorded {
    /// Records an act, after it took effect.
    pub(crate) async fn record(self, table: &Table, act: OperatorAct) -> Self {
        let failed = table.put_act(&act).await.err();
        Self(self.0.or(failed))
    }

    /// The answer to an act, or an error that says what was done and is not recorded.
    pub(crate) fn or<T>(self, done: &str, answer: T) -> Result<T, Error> {
        match self.0 {
            None => Ok(answer),
            Some(source) => Err(Error::ActNotRecorded { done: done.to_owned(), source }),
        }
    }
}
