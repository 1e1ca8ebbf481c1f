//! A registry that is checked; and the checks of its credentials, and of what the hub knows about it.

use std::fmt::Display;

use aws::{deployment, registry::Registries};
use aws_config::SdkConfig;
use domain::{
    deletion::{CheckName, Deletion, DeletionStatus},
    heartbeat::{Heartbeat, HeartbeatStatus},
    image::Registry,
    replication::ReplicationSettings,
};
use jiff::{SignedDuration, Timestamp};
use retry::{CallError, NO_CREDENTIALS};

use super::{
    Finding, Level,
    hub::{ATTACH_READERS_POLICY, Hub, RUNBOOK},
};
use crate::{deploy::DEFAULT_HUB_STACK, print::time};

/// The fix for a call that a registry's account refused.
const USE_ANOTHER_ROLE: &str =
    "pass a role of the registry's account with `--role`, or its credentials with `--profile`";

/// The hub, which reads every registry hourly, must have read its settings within this time.
const SETTINGS_STALE_AFTER: SignedDuration = SignedDuration::from_hours(2);

/// The number of deletions of each status and source that are checked.
const DELETIONS: usize = 100;

/// A registry to check, and what its checks need.
pub(super) struct CheckedRegistry<'a> {
    pub(super) hub: &'a Hub<'a>,
    pub(super) registry: Registry,
    /// The place of its findings.
    pub(super) place: String,
    /// Its settings as the hub last read them; `None` if the hub never did.
    settings: Option<ReplicationSettings>,
    /// What the hub knows of the path from it.
    heartbeat: Heartbeat,
    /// The ARN of the topic in its stack.
    pub(super) topic: String,
    /// Configures calls in the registry's account and region.
    pub(super) sdk: SdkConfig,
    pub(super) registries: &'a Registries,
}

impl<'a> CheckedRegistry<'a> {
    pub(super) async fn new(
        hub: &'a Hub<'a>,
        registry: Registry,
        settings: Option<ReplicationSettings>,
        heartbeat: Heartbeat,
        registries: &'a Registries,
    ) -> Self {
        let (sdk, topic) = (registries.config(&registry).await, hub.topic(&registry));
        Self { hub, place: registry.to_string(), registry, settings, heartbeat, topic, sdk, registries }
    }

    /// The finding of a call that failed in the registry's account.
    pub(super) fn unknown(&self, what: impl Display, failure: &CallError) -> Finding {
        Finding::unknown(&self.place, what, failure, USE_ANOTHER_ROLE)
    }
}

/// The command that deploys the registry's stack. A stack that is there keeps its other parameters.
pub(super) fn deploy_command(checked: &CheckedRegistry<'_>) -> String {
    let (hub, name) = (checked.hub, &checked.hub.stack.name);
    let of_name = if name == DEFAULT_HUB_STACK { String::new() } else { format!(" HubStackName={name}") };
    format!(
        "aws cloudformation deploy --region {} --stack-name ecr-lineage-registry --template-file infra/registry.yaml \
         --capabilities CAPABILITY_NAMED_IAM --parameter-overrides HubQueueArn={}{of_name}",
        checked.registry.region(),
        hub.queue
    )
}

/// Checks whether heartbeats of the registry arrive: they take the way of its events.
pub(super) fn check_heartbeat(checked: &CheckedRegistry<'_>) -> Finding {
    let (place, now) = (&checked.place, checked.hub.now);
    let Heartbeat { heartbeat_at, event_at, .. } = &checked.heartbeat;
    let ago = |at| {
        let minutes = now.duration_since(at).as_mins().max(0);
        let ago = if minutes < 120 { format!("{minutes} min ago") } else { format!("{} h ago", minutes / 60) };
        format!("at {} UTC ({ago})", time(at))
    };
    let last = heartbeat_at.map(&ago).unwrap_or_default();
    let event = event_at
        .map_or_else(|| "no event of it ever arrived".to_owned(), |at| format!("its last event happened {}", ago(at)));
    match checked.heartbeat.status(now) {
        HeartbeatStatus::Alive => Finding::good(place, format!("the last heartbeat was sent {last}; {event}")),
        HeartbeatStatus::Late => Finding::wrong(
            place,
            format!("the last heartbeat was sent {last}: events are missing since then, too; {event}"),
            &format!(
                "fix what is found below; else see {RUNBOOK}, \"Alerts about the path of events\"; then `ecr-lineage \
                 reconcile {place}` records what was missed"
            ),
        ),
        HeartbeatStatus::Never => Finding::wrong(
            place,
            format!("no heartbeat ever arrived: the registry has no stack, or nothing of it reaches the hub; {event}"),
            &deploy_command(checked),
        ),
        HeartbeatStatus::Unknown => Finding::notice(
            place,
            format!("no heartbeat arrived yet; {event}"),
            &format!("wait for ten minutes after this command: {}", deploy_command(checked)),
        ),
    }
}

/// Checks when the hub last read the registry.
pub(super) fn check_last_read(checked: &CheckedRegistry<'_>) -> Finding {
    let (place, now) = (&checked.place, checked.hub.now);
    let external_id = checked.hub.parameter("ExternalId").unwrap_or("EXTERNAL_ID");
    let fix = &format!(
        "let one region of this account create its roles, such as this one: {} RolesRegion={} ExternalId={external_id}",
        deploy_command(checked),
        checked.registry.region()
    );
    match checked.settings.as_ref().map(|settings| settings.read_at) {
        None => Finding::wrong(place, "the hub has never read this registry's replication rules", fix),
        Some(at) if now.duration_since(at) > SETTINGS_STALE_AFTER => {
            Finding::wrong(place, format!("the hub last read this registry at {} UTC", time(at)), fix)
        }
        Some(at) => Finding::good(place, format!("the hub read this registry at {} UTC", time(at))),
    }
}

/// Checks whether AWS refuses deletions of the registry's replicas.
pub(super) async fn check_refused_deletions(checked: &CheckedRegistry<'_>) -> Option<Finding> {
    let (table, mut refused) = (&checked.hub.table, 0);
    for status in [DeletionStatus::Pending, DeletionStatus::Executing] {
        match table.deletions(status, &checked.registry, Timestamp::UNIX_EPOCH, None, DELETIONS).await {
            Ok((deletions, _)) => refused += deletions.iter().filter(|deletion| is_refused(deletion)).count(),
            Err(failure) => {
                let what = "the deletions from this registry could not be read";
                return Some(Finding::unknown(&checked.place, what, &failure, ATTACH_READERS_POLICY));
            }
        }
    }
    (refused > 0).then(|| {
        Finding::wrong(
            &checked.place,
            format!("AWS refuses {refused} deletions of this registry's replicas: the role or a permission is missing"),
            "deploy infra/registry.yaml in the replicas' accounts with DeletableRepositories; \
             `ecr-lineage deletions --pending` lists the deletions",
        )
    })
}

/// Whether AWS refused the last attempt of a deletion.
fn is_refused(deletion: &Deletion) -> bool {
    deletion.checks.last().is_some_and(|check| {
        let is_failed_call = check.check == CheckName::Call && !check.passed;
        is_failed_call && (check.why.contains(NO_CREDENTIALS) || check.why.contains("AccessDenied"))
    })
}

/// Checks whether the credentials belong to the registry's account: otherwise the rules of another account would be
/// taken for this account's.
///
/// # Errors
/// When they do not, or STS does not answer.
pub(super) async fn check_credentials(checked: &CheckedRegistry<'_>) -> Result<(), Finding> {
    match deployment::account(&checked.sdk).await {
        Ok(account) if account == checked.registry.account() => Ok(()),
        Ok(account) => {
            let what = format!("not checked: these credentials belong to account {account}");
            Err(Finding::new(Level::Unknown, &checked.place, what, Some(USE_ANOTHER_ROLE)))
        }
        Err(failure) => Err(checked.unknown("not checked", &failure)),
    }
}
