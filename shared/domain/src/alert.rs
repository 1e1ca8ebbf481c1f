//! What a person should know: told once, counted, and told again when it is over.
//!
//! The same trouble with many images is one [`Incident`]: it is told when it opens, again at growing intervals while it
//! lasts, and once when it is over. What only happens, and does not last, is counted for [`WINDOW`] and told once. Each of
//! these is an [`Alert`], which never changes and has an id of its own.

mod channel_text;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use channel_text::ChannelText;

use crate::{
    image::{Image, Registry},
    time::whole_seconds,
};

/// An incident is over no sooner than this after it opened: trouble that comes and goes is one incident. What only happens is
/// counted for as long.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// How long after the first alert an incident that lasts is told again; then after twice as long, and so on.
const REMIND: SignedDuration = SignedDuration::from_hours(1);

/// No longer than this between two alerts of an incident.
const REMIND_AT_MOST: SignedDuration = SignedDuration::from_hours(24);

/// Something that a person should know. Stored once, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alert {
    /// The same whenever it is told.
    pub id: String,
    /// The same for every alert of one incident.
    pub incident: String,
    /// When.
    pub time: Timestamp,
    /// What happened.
    pub kind: AlertKind,
    /// Whether it begins, lasts or is over.
    pub state: AlertState,
    /// How soon a person should look.
    pub severity: Severity,
    /// To what: a registry, a registry and a repository, or a source and a destination.
    pub subject: String,
    /// The registry that is copied from, where it is about replication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Registry>,
    /// The registry that is copied to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Registry>,
    /// One of the images.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::image::PossibleImage))]
    pub image: Option<Image>,
    /// How many images since it began, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What happened, in one line.
    pub message: String,
    /// What to do next.
    pub remediation: String,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AlertKind {
    /// A copy is under way for longer than it should be.
    ReplicationLate,
    /// ECR gave up on a copy.
    ReplicationFailed,
    /// ECR knows of no copy where a rule asks for one.
    ReplicationMissing,
    /// A copy arrived without its tag.
    ReplicaUntagged,
    /// A replica was deleted while its source has the image.
    ReplicaDeleted,
    /// Somebody pushed where replicas go.
    PushedToReplica,
    /// Replication made a repository without something that its source has.
    RepositoryDiffers,
    /// Images, tags or copies are not where they should be.
    DriftFound,
    /// There are more replicas than before whose source has no such image.
    OrphansKept,
    /// ECR's own replication of deletions was switched on or off.
    NativeDeletesSwitched,
    /// The policy cannot be used: nothing is mirrored.
    PolicyInvalid,
    /// More was deleted at a source than its breaker lets through.
    BreakerOpened,
    /// A person closed a breaker.
    BreakerReset,
    /// Replicas may go when their time of grace is over.
    DeletionPlanned,
    /// Deletions are held.
    DeletionHeld,
    /// A deletion waits for a person.
    ApprovalWanted,
    /// Replicas followed their source.
    DeletionDone,
    /// ECR refused a deletion for a reason that will not pass.
    DeletionFailed,
    /// Something that this needs cannot be reached.
    PipelineUnhealthy,
}

/// Whether something begins, lasts or is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AlertState {
    /// It happened: nothing more is told of it.
    Notice,
    /// It began.
    Opened,
    /// It lasts.
    Open,
    /// It is over.
    Resolved,
}

/// How soon a person should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Severity {
    /// When there is time.
    Info,
    /// Today.
    Warning,
    /// Now.
    Critical,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::ReplicationLate,
        Self::ReplicationFailed,
        Self::ReplicationMissing,
        Self::ReplicaUntagged,
        Self::ReplicaDeleted,
        Self::PushedToReplica,
        Self::RepositoryDiffers,
        Self::DriftFound,
        Self::OrphansKept,
        Self::NativeDeletesSwitched,
        Self::PolicyInvalid,
        Self::BreakerOpened,
        Self::BreakerReset,
        Self::DeletionPlanned,
        Self::DeletionHeld,
        Self::ApprovalWanted,
        Self::DeletionDone,
        Self::DeletionFailed,
        Self::PipelineUnhealthy,
    ];

    /// The word for it, as in its JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReplicationLate => "replication_late",
            Self::ReplicationFailed => "replication_failed",
            Self::ReplicationMissing => "replication_missing",
            Self::ReplicaUntagged => "replica_untagged",
            Self::ReplicaDeleted => "replica_deleted",
            Self::PushedToReplica => "pushed_to_replica",
            Self::RepositoryDiffers => "repository_differs",
            Self::DriftFound => "drift_found",
            Self::OrphansKept => "orphans_kept",
            Self::NativeDeletesSwitched => "native_deletes_switched",
            Self::PolicyInvalid => "policy_invalid",
            Self::BreakerOpened => "breaker_opened",
            Self::BreakerReset => "breaker_reset",
            Self::DeletionPlanned => "deletion_planned",
            Self::DeletionHeld => "deletion_held",
            Self::ApprovalWanted => "approval_wanted",
            Self::DeletionDone => "deletion_done",
            Self::DeletionFailed => "deletion_failed",
            Self::PipelineUnhealthy => "pipeline_unhealthy",
        }
    }

    /// Whether it only happens to images, and does not last: it is counted.
    #[must_use]
    pub fn is_one_shot(self) -> bool {
        use AlertKind::{ApprovalWanted, DeletionDone, DeletionHeld, DeletionPlanned, ReplicaDeleted};
        matches!(self, ApprovalWanted | DeletionDone | DeletionHeld | DeletionPlanned | ReplicaDeleted)
    }

    /// Whether it lasts: copies that something is wrong with until they arrive or are given up.
    #[must_use]
    pub fn is_ongoing(self) -> bool {
        use AlertKind::{ReplicaUntagged, ReplicationFailed, ReplicationLate, ReplicationMissing};
        matches!(self, ReplicationLate | ReplicationFailed | ReplicationMissing | ReplicaUntagged)
    }

    /// What EventBridge calls it: the `detail-type` of its events.
    #[must_use]
    pub fn detail_type(self) -> String {
        let capital =
            |word: &str| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
        let words: Vec<String> = self.as_str().split('_').map(capital).collect();
        format!("ECR Lineage {}", words.join(" "))
    }

    /// How soon a person should look, while it is not over.
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
            | Self::PipelineUnhealthy => Severity::Critical,
        }
    }

    /// What to do next about a subject.
    fn remediation(self, subject: &str) -> String {
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
                "check `ecr-lineage deletions --held`; if they were intended, `ecr-lineage breaker reset {subject} --allow N`"
            ),
            Self::BreakerReset => "none; the deletions that it put on hold are re-evaluated".to_owned(),
            Self::DeletionPlanned => {
                "none if intended; `ecr-lineage deletions --pending` lists them, `ecr-lineage hold IMAGE` puts one on hold".to_owned()
            }
            Self::DeletionHeld => {
                "`ecr-lineage deletions --held` lists them; `ecr-lineage release IMAGE` or `cancel IMAGE`".to_owned()
            }
            Self::DeletionDone => "none; `ecr-lineage deletions --done` lists them with their reasons".to_owned(),
            Self::ApprovalWanted => {
                "`ecr-lineage deletions --waiting` lists them; `ecr-lineage approve IMAGE` or `cancel IMAGE`".to_owned()
            }
            Self::DeletionFailed => "`ecr-lineage deletions --failed` lists them".to_owned(),
            Self::PipelineUnhealthy => "fix what the message names; events are delayed meanwhile, not lost".to_owned(),
        }
    }
}

impl AlertState {
    /// The word for it, as in its JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Opened => "opened",
            Self::Open => "open",
            Self::Resolved => "resolved",
        }
    }
}

impl Severity {
    /// The word for it, as in its JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Alert {
    /// Something that happened, told once a day for each subject.
    #[must_use]
    pub fn notice(kind: AlertKind, subject: &str, message: String, now: Timestamp) -> Self {
        let id = format!("{}/{}/{subject}", day(now), kind.as_str());
        Self {
            incident: id.clone(),
            id,
            time: whole_seconds(now),
            kind,
            state: AlertState::Notice,
            severity: kind.severity(),
            subject: subject.to_owned(),
            source: None,
            destination: None,
            image: None,
            count: None,
            message,
            remediation: kind.remediation(subject),
        }
    }
}

/// The date of a time in UTC.
#[must_use]
pub fn day(time: Timestamp) -> String {
    time.to_string().split('T').next().unwrap_or_default().to_owned()
}

/// Something happened to an image of one registry in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// What.
    pub kind: AlertKind,
    /// The registry that is copied from.
    pub source: Registry,
    /// The registry that is copied to, where it happened.
    pub destination: Registry,
    /// The image.
    pub image: Image,
    /// In one line.
    pub why: String,
}

/// Happenings, of each kind between two registries one, and how many there were. The one that is named is not left to chance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occurrences(BTreeMap<(AlertKind, Registry, Registry), (Occurrence, u64)>);

impl Occurrences {
    /// Notes one.
    pub fn note(&mut self, occurrence: Occurrence) {
        let key = (occurrence.kind, occurrence.source.clone(), occurrence.destination.clone());
        let (named, count) = self.0.entry(key).or_insert_with(|| (occurrence.clone(), 0));
        if occurrence.image < named.image {
            *named = occurrence;
        }
        *count += 1;
    }

    /// Takes all of them.
    pub fn take(&mut self) -> Vec<(Occurrence, u64)> {
        std::mem::take(&mut self.0).into_values().collect()
    }
}

/// The same trouble with images that are copied from one registry to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Incident {
    /// What is wrong.
    pub kind: AlertKind,
    /// The registry that is copied from.
    pub source: Registry,
    /// The registry that is copied to.
    pub destination: Registry,
    /// When the first image had it.
    pub opened_at: Timestamp,
    /// How many images had it since.
    pub count: u64,
    /// How many have it now.
    #[serde(default)]
    pub open: u64,
    /// How many arrived after all.
    #[serde(default)]
    pub arrived: u64,
    /// The first image.
    pub image: Image,
    /// What is wrong with it, in one line.
    pub why: String,
    /// How many alerts there were.
    #[serde(default)]
    pub notified: u32,
    /// When the last one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notified_at: Option<Timestamp>,
}

impl Incident {
    /// The alert that is due, if one is. After the one that resolves it, there is no incident any more.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<Alert> {
        let age = now.duration_since(self.opened_at);
        let state = match self.notified_at {
            _ if self.kind.is_one_shot() && age < WINDOW => return None,
            _ if self.kind.is_one_shot() => AlertState::Notice,
            None => AlertState::Opened,
            Some(_) if self.open == 0 && age >= WINDOW => AlertState::Resolved,
            Some(at) if self.open > 0 && now.duration_since(at) >= self.pause() => AlertState::Open,
            Some(_) => return None,
        };
        Some(self.alert(state, now))
    }

    fn subject(&self) -> String {
        format!("{} to {}", self.source, self.destination)
    }

    /// What to do next about it.
    #[must_use]
    pub fn remediation(&self) -> String {
        self.kind.remediation(&self.subject())
    }

    /// How long after the last alert the next one comes.
    fn pause(&self) -> SignedDuration {
        let doubled = 1_i32.checked_shl(self.notified.saturating_sub(1)).and_then(|times| REMIND.checked_mul(times));
        doubled.filter(SignedDuration::is_positive).map_or(REMIND_AT_MOST, |pause| pause.min(REMIND_AT_MOST))
    }

    fn alert(&self, state: AlertState, now: Timestamp) -> Alert {
        let Self { kind, source, destination, .. } = self;
        let subject = self.subject();
        let opened = self.opened_at.strftime("%Y-%m-%dT%H:%M:%SZ");
        let incident = format!("{opened}/{}/{source}/{destination}", kind.as_str());
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
            severity: if state == AlertState::Resolved { Severity::Info } else { kind.severity() },
            subject,
            source: Some(source.clone()),
            destination: Some(destination.clone()),
            image: Some(self.image.clone()),
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
        let (count, arrived) = (self.count, self.arrived);
        let end = match (arrived, count.saturating_sub(arrived)) {
            (_, 0) => "all have arrived".to_owned(),
            (0, _) => "none arrived, and none is expected any more".to_owned(),
            (arrived, rest) => format!("{arrived} recovered, {rest} did not"),
        };
        let were = if count == 1 { "image was" } else { "images were" };
        format!("{count} {were} {what} from {} to {}; {end}", self.source, self.destination)
    }
}
