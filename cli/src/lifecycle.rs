//! `audit lifecycle`: what a lifecycle policy would take from a source and from its replicas.

use std::{path::PathBuf, time::Duration};

use answers::{
    lifecycle::{self, LifecycleAudit},
    preview,
};
use aws::registry::{Registries, TakenImage};
use decide::Planner;
use domain::image::{Registry, RepositoryName};
use jiff::Timestamp;

use crate::{failure::CliError, print::progress, target::Target};

/// The interval at which the preview is read, and how often.
const ASK_AGAIN: Duration = Duration::from_secs(2);
const MOST_READS: usize = 300;

/// What to preview.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) source: &'a Registry,
    pub(crate) repository: &'a RepositoryName,
    /// The lifecycle policy; without one, that of the repository.
    pub(crate) lifecycle: Option<&'a PathBuf>,
    /// The policy to evaluate; without one, that of `mirror`.
    pub(crate) policy: Option<&'a PathBuf>,
}

/// Answers `audit lifecycle`.
///
/// # Errors
/// When ECR refuses the preview, no policy is known, or the table cannot be read.
pub(crate) async fn lifecycle(target: &Target, asked: &Asked<'_>, now: Timestamp) -> Result<LifecycleAudit, CliError> {
    let (table, registries) = (&target.table, target.registries());
    let text = asked.lifecycle.map(|file| {
        std::fs::read_to_string(file).map_err(|source| CliError::Unreadable { path: file.clone(), source })
    });
    let taken = taken(&registries, asked, text.transpose()?).await?;
    let audit = match asked.policy {
        Some(file) => {
            let policy = decide::load_policy(Some(file))?;
            let planner = Planner::new(table, &registries, &policy);
            lifecycle::lifecycle(&planner, asked.source, asked.repository, taken, now).await?
        }
        None => {
            let (mirror, policy) = preview::deployed(table).await?;
            let planner = Planner { mode: mirror.mode, ..Planner::new(table, &registries, &policy) };
            let usage_reads = decide::usage_reads(&registries, &mirror);
            let planner = planner.limited_as(&mirror).reading(Some(&usage_reads));
            lifecycle::lifecycle(&planner, asked.source, asked.repository, taken, now).await?
        }
    };
    Ok(audit)
}

/// What ECR says that the lifecycle policy would take: starts a preview, and waits for its end.
async fn taken(
    registries: &Registries,
    Asked { source, repository, .. }: &Asked<'_>,
    text: Option<String>,
) -> Result<Vec<TakenImage>, CliError> {
    let refused = |what| move |error| CliError::Registry { what, registry: (*source).clone(), source: error };
    let started = registries.start_lifecycle_preview(source, repository, text.as_deref()).await;
    started.map_err(refused("start a lifecycle policy preview"))?;
    let bar = progress(0, "ECR previews the lifecycle policy  {elapsed}");
    for _ in 0..MOST_READS {
        let preview = registries.lifecycle_preview(source, repository).await;
        if let Some(taken) = preview.map_err(refused("read the lifecycle policy preview"))? {
            bar.finish_and_clear();
            return Ok(taken);
        }
        bar.tick();
        tokio::time::sleep(ASK_AGAIN).await;
    }
    let late = retry::CallError::unclear("the preview is still in progress after ten minutes".to_owned());
    Err(refused("read the lifecycle policy preview")(late))
}
