//! Alerts: what people should know, deduplicated, repeated at growing intervals, and resolved.
//!
//! The same problem with many images is one [`Incident`]. It sends an alert when it opens, repeats it at growing
//! intervals while it lasts, and sends one when it is resolved. Events that do not last, such as a deletion, are
//! counted for [`WINDOW`] and reported in one alert. An [`Alert`] is immutable and has its own id.

mod channel_text;
mod filter;
mod page_address;
mod response;
mod severity_rules;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use channel_text::{ChannelText, EventDetail, PublishedEvent, short_id};
pub use filter::AlertFilter;
pub use page_address::PageAddress;
pub use response::{Acknowledgement, Response, Snooze};
pub use severity_rules::{SeverityRule, SeverityRuleError, SeverityRules};

use crate::{
    image::{Image, Registry, RepositoryName},
    named::named,
    time::whole_seconds,
};

/// The `source` of the EventBridge events of alerts.
pub const EVENT_SOURCE: &str = "ecr-lineage";

/// The shortest duration of an incident: a problem that disappears and returns within it is one incident. One-shot
/// occurrences are counted for the same time.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// How long after the first alert an open incident is repeated; each following interval is twice as long.
const REMIND: SignedDuration = SignedDuration::from_hours(1);

/// The longest interval between two alerts of an incident.
const REMIND_AT_MOST: SignedDuration = SignedDuration::from_hours(24);

/// Something that a person should know. Stored once, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alert {
    /// The id of the alert. It is the same if the alert is delivered more than once.
    pub id: String,
    /// The id of the incident: the same for every alert of one incident.
    pub incident: String,
    /// When the alert was created, in whole seconds.
    pub time: Timestamp,
    /// What the alert is about.
    pub kind: AlertKind,
    /// Whether the incident opened, is still open or is resolved; `notice` if there is no incident to resolve.
    pub state: AlertState,
    /// How soon a person should respond.
    pub severity: Severity,
    /// The severity until it was resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity_before: Option<Severity>,
    /// What it happened to: a registry, a registry and a repository, or a source and a destination.
    pub subject: String,
    /// The source registry, if the alert is about replication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Registry>,
    /// The destination registry, if the alert is about replication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Registry>,
    /// One of the affected images.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::image::PossibleImage))]
    pub image: Option<Image>,
    /// The repositories of affected images, if images are counted: at most 50, by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<RepositoryName>))]
    pub repositories: BTreeSet<RepositoryName>,
    /// The number of affected images since the incident opened, if images are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What happened, in one line.
    pub message: String,
    /// What to do next.
    pub remediation: String,
}

named! {
    /// What an alert is about.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum AlertKind {
        /// ECR has been replicating an image for longer than expected.
        ReplicationLate = "replication_late",
        /// ECR failed to replicate an image and does not retry.
        ReplicationFailed = "replication_failed",
        /// A replication rule requires a copy of an image, but ECR reports none.
        ReplicationMissing = "replication_missing",
        /// ECR replicated an image without its tag.
        ReplicaUntagged = "replica_untagged",
        /// A replica was deleted although its source has the image.
        ReplicaDeleted = "replica_deleted",
        /// A caller pushed an image to a registry that receives replicas.
        PushedToReplica = "pushed_to_replica",
        /// A repository that replication created lacks a setting that the source's repository has.
        RepositoryDiffers = "repository_differs",
        /// Reconciliation found images, tags or replicas that differ from what should be there.
        DriftFound = "drift_found",
        /// The number of orphans grew: replicas whose source no longer has the image.
        OrphansKept = "orphans_kept",
        /// ECR's own replication of deletions was enabled or disabled.
        NativeDeletesSwitched = "native_deletes_switched",
        /// The policy is invalid; no deletion is mirrored.
        PolicyInvalid = "policy_invalid",
        /// More images were deleted at a source than its circuit breaker allows.
        BreakerOpened = "breaker_opened",
        /// An operator reset a circuit breaker.
        BreakerReset = "breaker_reset",
        /// Deletions of replicas are planned for the end of their grace period.
        DeletionPlanned = "deletion_planned",
        /// Deletions were put on hold.
        DeletionHeld = "deletion_held",
        /// Deletions wait for an operator's approval.
        ApprovalWanted = "approval_wanted",
        /// Deletions were mirrored to replicas.
        DeletionDone = "deletion_done",
        /// ECR refused a deletion for a reason that a retry does not fix.
        DeletionFailed = "deletion_failed",
        /// No heartbeat of a registry arrives: its events do not arrive either.
        EventsMissing = "events_missing",
        /// A message was refused: its topic is not admitted, or spoke for another registry.
        EventRefused = "event_refused",
        /// A service or registry that ecr-lineage needs cannot be reached.
        PipelineUnhealthy = "pipeline_unhealthy",
    }
}

named! {
    /// The state of the incident that the alert belongs to.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum AlertState {
        /// It happened once; no further alert follows.
        Notice = "notice",
        /// The incident opened.
        Opened = "opened",
        /// The incident is still open; the alert is repeated.
        Open = "open",
        /// The incident is resolved.
        Resolved = "resolved",
    }
}

named! {
    /// How soon a person should respond.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum Severity {
        /// Respond when there is time.
        Info = "info",
        /// Respond within the day.
        Warning = "warning",
        /// Respond immediately.
        Critical = "critical",
    }
}

impl AlertKind {
    /// The kind in words.
    #[must_use]
    pub fn words(self) -> String {
        self.as_str().replace('_', " ")
    }

    /// Whether the kind is an occurrence that does not last. Such occurrences are counted.
    #[must_use]
    pub fn is_one_shot(self) -> bool {
        use AlertKind::{ApprovalWanted, DeletionDone, DeletionHeld, DeletionPlanned, ReplicaDeleted};
        matches!(self, ApprovalWanted | DeletionDone | DeletionHeld | DeletionPlanned | ReplicaDeleted)
    }

    /// Whether the kind lasts: a problem with copies, open until they arrive or are given up.
    #[must_use]
    pub fn is_ongoing(self) -> bool {
        use AlertKind::{ReplicaUntagged, ReplicationFailed, ReplicationLate, ReplicationMissing};
        matches!(self, ReplicationLate | ReplicationFailed | ReplicationMissing | ReplicaUntagged)
    }

    /// The EventBridge `detail-type` of alerts of this kind.
    #[must_use]
    pub fn detail_type(self) -> String {
        detail_type(self.as_str())
    }

    /// The severity while the incident is not resolved.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::BreakerReset
            | Self::PushedToReplica
            | Self::OrphansKept
            | Self::DeletionPlanned
            | Self::DeletionDone => Severity::Info,
            Self::RepositoryDiffers
            | Self::DriftFound
            | Self::DeletionHeld
            | Self::ReplicationLate
            | Self::ReplicaUntagged
            | Self::ReplicaDeleted
            | Self::ApprovalWanted
            | Self::NativeDeletesSwitched => Severity::Warning,
            Self::ReplicationFailed
            | Self::ReplicationMissing
            | Self::PolicyInvalid
            | Self::BreakerOpened
            | Self::DeletionFailed
            | Self::EventsMissing
            | Self::EventRefused
            | Self::PipelineUnhealthy => Severity::Critical,
        }
    }

    /// What to do next about a subject.
    #[must_use]
    pub fn remediation(self, subject: &str) -> String {
        match self {
            Self::ReplicationLate => "wait: ECR still copies; `ecr-lineage lag` shows what is late".to_owned(),
            Self::ReplicationFailed => {
                "fix the cause, then push again or run `ecr-lineage backfill SOURCE DESTINATION`: ECR does not retry".to_owned()
            }
            Self::ReplicationMissing => {
                "check the replication rules (`aws ecr describe-registry`): a rule applies only to images pushed after it".to_owned()
            }
            Self::ReplicaUntagged => {
                "check which image has the tag there (`ecr-lineage history REPO:TAG`): an immutable tag does not move".to_owned()
            }
            Self::ReplicaDeleted => {
                "if it was a mistake, `ecr-lineage restore IMAGE --registry REGISTRY` shows how to restore it".to_owned()
            }
            Self::PushedToReplica => "push to the source instead: ECR replicates from there".to_owned(),
            Self::RepositoryDiffers => {
                "apply the missing settings, or create a repository creation template (`aws ecr create-repository-creation-template`)".to_owned()
            }
            Self::DriftFound => {
                "`ecr-lineage drift` lists the images; `ecr-lineage backfill SOURCE DESTINATION` has ECR copy the missing ones".to_owned()
            }
            Self::OrphansKept => "`ecr-lineage orphans` lists them; a policy decides which are deleted".to_owned(),
            Self::NativeDeletesSwitched => {
                "`ecr-lineage audit native-deletes` shows what ECR would delete while it is enabled".to_owned()
            }
            Self::PolicyInvalid => {
                "fix the policy (`ecr-lineage policy check FILE`); until then no deletion is mirrored".to_owned()
            }
            Self::BreakerOpened => format!(
                "check `ecr-lineage breaker status`; if they were intended, `ecr-lineage breaker reset {subject} --allow N`"
            ),
            Self::BreakerReset => "none; the deletions that it put on hold are re-evaluated".to_owned(),
            Self::DeletionPlanned => {
                "none if intended; `ecr-lineage deletions --until TIME` lists them, `ecr-lineage hold IMAGE --reason TEXT` puts one on hold".to_owned()
            }
            Self::DeletionHeld => {
                "`ecr-lineage deletions --held` and `holds` list why; `ecr-lineage release ID` or `cancel IMAGE`".to_owned()
            }
            Self::DeletionDone => "none; `ecr-lineage deletions --done` lists them with their reasons".to_owned(),
            Self::ApprovalWanted => {
                "`ecr-lineage deletions --waiting` lists them; `ecr-lineage approve IMAGE` or `cancel IMAGE`".to_owned()
            }
            Self::DeletionFailed => "`ecr-lineage deletions --failed` lists them".to_owned(),
            Self::EventsMissing => {
                "`ecr-lineage doctor` checks the path from that registry, `reconcile` records what was missed; if it shall have no stack, `ecr-lineage registry forget {subject}`".replace("{subject}", subject)
            }
            Self::EventRefused => {
                "find out who sent it, and why: see docs/runbook.md; add an account to the hub's parameters only if it is yours".to_owned()
            }
            Self::PipelineUnhealthy => "fix what the message names; events are delayed meanwhile, not lost".to_owned(),
        }
    }
}

/// The EventBridge `detail-type` of a kind, such as `ECR Lineage Replication Late`.
fn detail_type(kind: &str) -> String {
    let capital = |word: &str| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
    let words: Vec<String> = kind.split('_').map(capital).collect();
    format!("ECR Lineage {}", words.join(" "))
}

impl Alert {
    /// An alert about something that happened; one per day, kind and subject. A breaker can open and be reset several times
    /// a day: each is an alert.
    #[must_use]
    pub fn notice(kind: AlertKind, subject: &str, message: String, now: Timestamp) -> Self {
        let each_time = matches!(kind, AlertKind::BreakerOpened | AlertKind::BreakerReset);
        let when = if each_time { whole_seconds(now).to_string() } else { day(now) };
        let id = format!("{when}/{}/{subject}", kind.as_str());
        Self {
            incident: id.clone(),
            id,
            time: whole_seconds(now),
            kind,
            state: AlertState::Notice,
            severity: kind.severity(),
            severity_before: None,
            subject: subject.to_owned(),
            source: None,
            destination: None,
            image: None,
            repositories: BTreeSet::new(),
            count: None,
            message,
            remediation: kind.remediation(subject),
        }
    }

    /// The same alert about a repository.
    #[must_use]
    pub fn about(self, repository: &RepositoryName) -> Self {
        Self { repositories: [repository.clone()].into(), ..self }
    }
}

impl Alert {
    /// An alert about missing heartbeats of a registry: in each state once a day, until the incident is resolved.
    #[must_use]
    pub fn events_missing(
        registry: &Registry,
        incident: &str,
        state: AlertState,
        message: String,
        now: Timestamp,
    ) -> Self {
        let notice = Self::notice(AlertKind::EventsMissing, &registry.to_string(), message, now);
        let (id, incident) = (format!("{}/{incident}", day(now)), incident.to_owned());
        match state {
            AlertState::Resolved => Self {
                id: format!("{id}/resolved"),
                incident,
                state,
                severity: Severity::Info,
                severity_before: Some(notice.severity),
                remediation: "nothing".to_owned(),
                ..notice
            },
            AlertState::Notice | AlertState::Opened | AlertState::Open => Self { id, incident, state, ..notice },
        }
    }
}

/// The date of a time in UTC, such as `2026-11-02`.
#[must_use]
pub fn day(time: Timestamp) -> String {
    time.to_string().split('T').next().unwrap_or_default().to_owned()
}

/// Something that happened to an image of one registry in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// What happened.
    pub kind: AlertKind,
    /// The source registry.
    pub source: Registry,
    /// The destination registry, where it happened.
    pub destination: Registry,
    /// The repository and the digest.
    pub image: Image,
    /// What happened, in one line.
    pub why: String,
}

/// The most repositories that an incident and its alerts name: enough for a rule on repositories, and the item stays
/// small.
pub const MOST_REPOSITORIES: usize = 50;

/// Occurrences, grouped by kind, source and destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occurrences(BTreeMap<(AlertKind, Registry, Registry), OccurrenceGroup>);

/// The occurrences of one kind between two registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OccurrenceGroup {
    /// The one with the smallest image: choosing it makes the result independent of order.
    pub first: Occurrence,
    /// The number of occurrences.
    pub count: u64,
    /// The repositories of their images, at most [`MOST_REPOSITORIES`].
    pub repositories: BTreeSet<RepositoryName>,
}

impl From<Occurrence> for OccurrenceGroup {
    fn from(first: Occurrence) -> Self {
        Self { repositories: [first.image.repository.clone()].into(), first, count: 1 }
    }
}

impl Occurrences {
    /// Adds one occurrence.
    pub fn note(&mut self, occurrence: Occurrence) {
        let key = (occurrence.kind, occurrence.source.clone(), occurrence.destination.clone());
        let Some(group) = self.0.get_mut(&key) else {
            self.0.insert(key, occurrence.into());
            return;
        };
        group.count += 1;
        if group.repositories.len() < MOST_REPOSITORIES {
            group.repositories.insert(occurrence.image.repository.clone());
        }
        if occurrence.image < group.first.image {
            group.first = occurrence;
        }
    }

    /// Returns all groups and leaves none.
    pub fn take(&mut self) -> Vec<OccurrenceGroup> {
        std::mem::take(&mut self.0).into_values().collect()
    }
}

/// The same problem with images that are replicated from one registry to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Incident {
    /// The kind of problem.
    pub kind: AlertKind,
    /// The source registry.
    pub source: Registry,
    /// The destination registry.
    pub destination: Registry,
    /// When the first image was affected.
    pub opened_at: Timestamp,
    /// The number of images affected since the incident opened.
    pub count: u64,
    /// The number of images affected now.
    #[serde(default)]
    pub open: u64,
    /// The number of affected images that arrived late.
    #[serde(default)]
    pub arrived: u64,
    /// The number of affected images whose tag moved to a newer image, which arrived.
    #[serde(default)]
    pub superseded: u64,
    /// The first affected image.
    pub image: Image,
    /// The repositories of affected images, at most 50, by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<RepositoryName>))]
    pub repositories: BTreeSet<RepositoryName>,
    /// What is wrong with the first image, in one line.
    pub why: String,
    /// The number of alerts that were sent.
    #[serde(default)]
    pub notified: u32,
    /// When the last alert was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notified_at: Option<Timestamp>,
    /// The severity of the last alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

impl Incident {
    /// The alert that is due, if one is, with the severity that these rules give it. After the alert that resolves it, the
    /// incident is deleted. What operators said silences only repetitions.
    #[must_use]
    pub fn due(&self, rules: &SeverityRules, response: &Response, now: Timestamp) -> Option<Alert> {
        let age = now.duration_since(self.opened_at);
        let severity = rules.severity(self.kind, self.repositories.iter().chain([&self.image.repository]));
        // It is worse than the last alert said.
        let worse = self.severity.is_some_and(|last| severity > last);
        let state = match self.notified_at {
            _ if self.kind.is_one_shot() && age < WINDOW => return None,
            _ if self.kind.is_one_shot() => AlertState::Notice,
            None => AlertState::Opened,
            Some(_) if self.open == 0 && age >= WINDOW => AlertState::Resolved,
            Some(_) if self.open > 0 && worse => AlertState::Open,
            Some(_) if self.open > 0 && response.silences(severity, now) => return None,
            Some(at) if self.open > 0 && now.duration_since(at) >= self.pause() => AlertState::Open,
            Some(_) => return None,
        };
        Some(self.alert(state, severity, now))
    }

    /// Adds repositories of affected images. Returns those that are new, as many as the incident may name.
    pub fn add_repositories(&mut self, more: &BTreeSet<RepositoryName>) -> BTreeSet<RepositoryName> {
        let left = MOST_REPOSITORIES.saturating_sub(self.repositories.len());
        let new: BTreeSet<_> = more.difference(&self.repositories).take(left).cloned().collect();
        self.repositories.extend(new.iter().cloned());
        new
    }

    fn subject(&self) -> String {
        format!("{} to {}", self.source, self.destination)
    }

    /// The ID of the incident, which each of its alerts names, and with which their IDs begin.
    #[must_use]
    pub fn id(&self) -> String {
        let Self { kind, source, destination, .. } = self;
        let opened = self.opened_at.strftime("%Y-%m-%dT%H:%M:%SZ");
        format!("{opened}/{}/{source}/{destination}", kind.as_str())
    }

    /// What to do next.
    #[must_use]
    pub fn remediation(&self) -> String {
        self.kind.remediation(&self.subject())
    }

    /// The time between the last alert and the next one.
    fn pause(&self) -> SignedDuration {
        let doubled = 1_i32.checked_shl(self.notified.saturating_sub(1)).and_then(|times| REMIND.checked_mul(times));
        doubled.filter(SignedDuration::is_positive).map_or(REMIND_AT_MOST, |pause| pause.min(REMIND_AT_MOST))
    }

    fn alert(&self, state: AlertState, severity: Severity, now: Timestamp) -> Alert {
        let Self { kind, source, destination, .. } = self;
        let (subject, incident) = (self.subject(), self.id());
        let (message, remediation) = match state {
            AlertState::Resolved => (self.summary(), "nothing".to_owned()),
            AlertState::Notice | AlertState::Opened | AlertState::Open => (self.message(), self.remediation()),
        };
        Alert {
            id: format!("{incident}/{}", self.notified.saturating_add(1)),
            incident,
            time: whole_seconds(now),
            kind: *kind,
            state,
            severity: if state == AlertState::Resolved { Severity::Info } else { severity },
            severity_before: (state == AlertState::Resolved).then(|| self.severity.unwrap_or(severity)),
            subject,
            source: Some(source.clone()),
            destination: Some(destination.clone()),
            image: Some(self.image.clone()),
            repositories: self.repositories.iter().chain([&self.image.repository]).cloned().collect(),
            count: Some(self.count),
            message,
            remediation,
        }
    }

    fn message(&self) -> String {
        let (all, one, many) = match self.kind {
            AlertKind::ReplicaDeleted | AlertKind::DeletionDone => (self.count, "so was", "so were"),
            kind if kind.is_one_shot() => (self.count, "so is", "so are"),
            _ => (self.open, "so is", "so are"),
        };
        match all.saturating_sub(1) {
            0 => self.why.clone(),
            1 => format!("{}; {one} 1 more", self.why),
            more => format!("{}; {many} {more} more", self.why),
        }
    }

    fn summary(&self) -> String {
        let what = match self.kind {
            AlertKind::ReplicationLate => "late",
            AlertKind::ReplicationFailed => "not replicated: the copy failed",
            AlertKind::ReplicationMissing => "not replicated: ECR began no copy",
            _ => "without a tag",
        };
        let Self { count, arrived, superseded, .. } = *self;
        let newer = "the tag moved to a newer image, which arrived";
        let end = match (arrived, superseded, count.saturating_sub(arrived).saturating_sub(superseded)) {
            (_, 0, 0) => "all have arrived".to_owned(),
            (0, 1, 0) => format!("superseded: {newer}"),
            (0, _, 0) => format!("all are superseded: {newer}"),
            (arrived, superseded, 0) => format!("{arrived} recovered, {superseded} superseded: {newer}"),
            (0, 0, _) => "none arrived, and none is expected any more".to_owned(),
            (arrived, 0, rest) => format!("{arrived} recovered, {rest} did not"),
            (arrived, superseded, rest) => {
                format!("{arrived} recovered, {rest} did not, {superseded} superseded: {newer}")
            }
        };
        let were = if count == 1 { "image was" } else { "images were" };
        format!("{count} {were} {what} from {} to {}; {end}", self.source, self.destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(repository: usize) -> Occurrence {
        Occurrence {
            kind: AlertKind::DeletionPlanned,
            source: "111122223333/eu-west-1".parse().unwrap(),
            destination: "111122223333/us-east-1".parse().unwrap(),
            image: format!("team/r{repository}@sha256:{}", "a".repeat(64)).parse().unwrap(),
            why: String::new(),
        }
    }

    #[test]
    fn occurrences_name_some_repositories_and_count_all() {
        let mut occurrences = Occurrences::default();
        (0..60).rev().chain(0..60).for_each(|repository| occurrences.note(occurrence(repository)));
        let groups = occurrences.take();
        let [group] = &*groups else { panic!("{groups:?}") };
        assert_eq!((group.count, group.repositories.len()), (120, MOST_REPOSITORIES));
        assert_eq!(group.first.image.repository.as_str(), "team/r0");
        assert_eq!(occurrences, Occurrences::default());
    }
}
