//! A registry that is checked; and the checks of its credentials, and of what the hub knows about it.

use std::fmt::Display;

use aws::{deployment, registry::Registries};
use aws_config::SdkConfig;
use domain::{
    deletion::{CheckName, Deletion, DeletionStatus},
    image::Registry,
    replication::ReplicationSettings,
};
use jiff::{SignedDuration, Timestamp};
use retry::{CallError, NO_CREDENTIALS};

use super::{
    Finding, Level,
    hub::{ATTACH_READERS_POLICY, Hub},
};
use crate::print::time;

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
    /// Configures calls in the registry's account and region.
    pub(super) sdk: SdkConfig,
    pub(super) registries: &'a Registries,
}

impl<'a> CheckedRegistry<'a> {
    pub(super) async fn new(
        hub: &'a Hub<'a>,
        registry: Registry,
        settings: Option<ReplicationSettings>,
        registries: &'a Registries,
    ) -> Self {
        let sdk = registries.config(&registry).await;
        Self { hub, place: registry.to_string(), registry, settings, sdk, registries }
    }

    /// The finding of a call that failed in the registry's account.
    pub(super) fn unknown(&self, what: impl Display, failure: &CallError) -> Finding {
        Finding::unknown(&self.place, what, failure, USE_ANOTHER_ROLE)
    }
}

/// Checks when the hub last read the registry.
pub(super) fn check_last_read(checked: &CheckedRegistry<'_>) -> Finding {
    let (place, now) = (&checked.place, checked.hub.now);
    let fix = "deploy infra/registry.yaml in this account with Roles=make and the hub's ExternalId";
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
