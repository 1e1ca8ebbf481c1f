//! A registry that is checked; and the checks of its credentials, and of what the hub knows about it.

use std::fmt::Display;

use aws::{deployment, registry::Registries};
use aws_config::SdkConfig;
use domain::{
    deletion::{CheckName, Deletion, DeletionStatus},
    heartbeat::{Forgotten, Heartbeat, HeartbeatStatus, LATE},
    image::Registry,
    replication::ReplicationSettings,
};
use jiff::{SignedDuration, Timestamp};
use retry::{CallError, NO_CREDENTIALS};

use super::{
    Finding, Level,
    hub::{ATTACH_READERS_POLICY, Hub, REVERT_DRIFT, RUNBOOK},
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
        "aws cloudformation deploy --region {} --stack-name ecr-lineage-registry --template-file registry.yaml \
         --capabilities CAPABILITY_NAMED_IAM --parameter-overrides HubQueueArn={}{of_name}",
        checked.registry.region(),
        hub.queue
    )
}

/// The finding about a registry that an operator forgot.
pub(super) fn forgotten(registry: &Registry, Forgotten { at, by, reason }: &Forgotten) -> Finding {
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let what = format!("forgotten by {by} at {} UTC{reason}; not checked", time(*at));
    let fix = "none if it has no stack; the next heartbeat or event of its stack ends this";
    Finding::notice(&registry.to_string(), what, fix)
}

/// The finding about a registry that only a replication rule names, in an account that the hub does not admit.
pub(super) fn not_admitted(registry: &Registry) -> Finding {
    let what = "a replication rule copies to it, and the hub does not admit its account: not checked, and no stack is \
                expected there";
    let fix = format!(
        "none if the account is not yours; else add {} to the hub's parameter AccountIds, and deploy a stack there",
        registry.account()
    );
    Finding::notice(&registry.to_string(), what, &fix)
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
        // Only a registry that was passed to this command is checked although it was forgotten.
        HeartbeatStatus::Forgotten => Finding::new(
            Level::Notice,
            place,
            format!("no heartbeat is expected: an operator forgot the registry; {event}"),
            None,
        ),
    }
}

/// Checks whether the registry's schedule sends heartbeats; `None` if so. Nothing tells the hub about a schedule but its
/// heartbeats: if they are late while the path is in order, or while events arrive, the schedule does not run.
pub(super) fn check_schedule(checked: &CheckedRegistry<'_>, path: &[Finding]) -> Option<Finding> {
    let why = why_no_schedule(&checked.heartbeat, path, checked.hub.now)?;
    let region = checked.registry.region();
    let what = format!("{why}: the schedule that sends heartbeats is disabled or gone, or its role was changed");
    let fix = format!(
        "aws scheduler list-schedules --region {region} --query \"Schedules[].[Name,State]\"; to restore it: {REVERT_DRIFT}"
    );
    Some(Finding::wrong(&checked.place, what, &fix))
}

fn why_no_schedule(heartbeat: &Heartbeat, path: &[Finding], now: Timestamp) -> Option<&'static str> {
    if !matches!(heartbeat.status(now), HeartbeatStatus::Late | HeartbeatStatus::Never) {
        return None;
    }
    // An event that happened after the heartbeats had stopped came on the same path.
    let stopped_before = |event: Timestamp| heartbeat.heartbeat_at.is_none_or(|last| LATE < event.duration_since(last));
    if heartbeat.event_at.is_some_and(stopped_before) {
        return Some("events arrive, and heartbeats do not");
    }
    let in_order = path.iter().all(|finding| matches!(finding.level, Level::Good | Level::Notice));
    in_order.then_some("rule, topic and subscription are in order, and no heartbeat arrives")
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
        match table.deletions(status, &checked.registry, Timestamp::UNIX_EPOCH, None, None, DELETIONS).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_that_does_not_run_is_found_by_elimination() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let late = Heartbeat { heartbeat_at: Some(at(0)), ..Heartbeat::default() };
        let (good, wrong) = (Finding::good("r", "a"), Finding::wrong("r", "b", "c"));
        let why = |heartbeat: &Heartbeat, path: &[Finding]| why_no_schedule(heartbeat, path, at(100));
        let in_order = Some("rule, topic and subscription are in order, and no heartbeat arrives");
        assert_eq!(why(&late, std::slice::from_ref(&good)), in_order);
        // Another finding explains it, unless events arrive.
        assert_eq!(why(&late, std::slice::from_ref(&wrong)), None);
        let events = Heartbeat { event_at: Some(at(5)), ..late.clone() };
        assert_eq!(why(&events, std::slice::from_ref(&wrong)), None);
        let events = Heartbeat { event_at: Some(at(95)), ..late.clone() };
        assert_eq!(why(&events, &[wrong]), Some("events arrive, and heartbeats do not"));
        let alive = Heartbeat { heartbeat_at: Some(at(95)), ..late };
        assert_eq!(why(&alive, &[good]), None);
    }
}
