//! The commands `drift`, `reconcile` and `backfill`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use anstyle::AnsiColor;
use aws::registry::{Backfill, Copied, Registries};
use domain::{
    drift::{Drift, delta_from_copy},
    fact::{Fact, Subject},
    image::{Image, Registry, RepositoryName, RepositoryPattern},
};
use jiff::Timestamp;
use serde::Serialize;
use store::{ReconcileRun, Stored, Table};

use answers::{
    answer::{self, Orphan, OrphanFilter},
    drift::{self as report, DriftReport},
    paging::PageRequest,
};
use utoipa::ToSchema;

use crate::{
    failure::CliError,
    print::{
        HEADING, Print,
        answer::{basis, nothing_found, orphan_list},
        coloured, csv, filled, image_name, plural, progress, styled, time,
    },
    target::Target,
};

/// Replicas that differ from their source, and orphans.
#[derive(Debug, Serialize, ToSchema)]
pub struct Drifted {
    /// Missing replicas and replicas with different tags.
    #[serde(flatten)]
    pub report: DriftReport,
    /// The replicas whose source no longer has the image.
    pub orphans: Vec<Orphan>,
}

/// Answers `drift`, for some repositories or for all.
///
/// # Errors
/// When the repository is not known, or the table cannot be read.
pub async fn drift(
    table: &Table,
    repositories: Option<&RepositoryPattern>,
    now: Timestamp,
) -> Result<Drifted, CliError> {
    let all = PageRequest::all_of(None, repositories);
    Ok(Drifted {
        report: report::drift(table, &all, now).await?,
        orphans: answer::orphans(table, OrphanFilter::default(), &all).await?.orphans,
    })
}

/// What `reconcile` is about to read, as far as the last listing says it.
pub(crate) async fn what_is_listed(table: &Table, all: &[Registry], per_second: u32) -> Result<String, CliError> {
    let runs = table.runs().await?;
    let mut text = String::new();
    for registry in all {
        let before = match runs.get(registry) {
            Some(run) if run.listed_at.is_some() => format!("the last listing found {} images", run.found.images),
            _ => "it was never listed".to_owned(),
        };
        _ = writeln!(text, "{registry}: {before}");
    }
    let what = format!(
        "This lists all repositories and images, with at most {per_second} calls per second to each registry. It changes \
         no registry.\n"
    );
    Ok(text + &what)
}

/// What `backfill` is about to copy, as far as it is recorded.
pub(crate) async fn what_is_copied(
    table: &Table,
    source: &Registry,
    destination: &Registry,
    now: Timestamp,
) -> Result<String, CliError> {
    let known = table.known_registries().await?;
    let missing = match known.iter().any(|known| known.registry == *source && known.settings.is_some()) {
        false => format!("what {source} replicates is not recorded, so the number of images is unknown"),
        true => {
            let all = PageRequest::all_of(Some(source), None);
            let report = report::drift(table, &all, now).await?;
            let lacks =
                report.differences.iter().filter(|one| one.destination == *destination && one.source == *source);
            let images: BTreeSet<_> =
                lacks.filter(|one| matches!(one.drift, Drift::Missing { .. })).map(|one| &one.image).collect();
            let repositories: BTreeSet<_> = images.iter().map(|image| &image.repository).collect();
            let (images, repositories) = (images.len(), repositories.len());
            let images = format!("{images} {}", plural(images, "image"));
            format!("as far as is recorded, {images} of {repositories} {}", plural(repositories, "repository"))
        }
    };
    Ok(format!(
        "ECR will copy the images of {source} that its replication rules cover and that {destination} lacks: {missing}. \
         AWS charges for storage and, between regions, for transfer.\n"
    ))
}

/// The result of `reconcile`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reconciled {
    /// The run through each registry.
    pub registries: BTreeMap<Registry, ReconcileRun>,
}

/// Answers `reconcile`: lists registries now, with at most `per_second` calls per second to each.
///
/// # Errors
/// When a registry cannot be listed completely, or another process lists registries. What was recorded stays recorded.
pub async fn reconcile(target: &Target, registries: &[Registry], per_second: u32) -> Result<Reconciled, CliError> {
    let reconcile = target.reconcile(per_second);
    let bar = progress(0, "{wide_bar} {pos}/{len} repositories  {elapsed}  {msg}");
    let on_progress = |progress: reconcile::Progress| {
        let (done, all) = progress.repositories;
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        bar.set_message(format!("{}  {} images", progress.registry, progress.found.images));
    };
    let done = reconcile.all_of(registries, crate::now::now, on_progress).await;
    bar.finish_and_clear();
    match done {
        Ok(Some(registries)) => Ok(Reconciled { registries }),
        Ok(None) => Err(CliError::Busy),
        Err(reconcile::Error::Table(error)) => Err(error.into()),
        Err(error @ reconcile::Error::Registry { .. }) => Err(CliError::Listing(error)),
    }
}

/// The result of a backfill.
#[derive(Debug, Serialize, ToSchema)]
pub struct Backfilled {
    /// The registry that was copied from.
    pub source: Registry,
    /// The registry that was copied to.
    pub destination: Registry,
    /// ECR's id of the backfill.
    pub id: String,
    /// ECR's final status, such as `COMPLETE`.
    pub status: String,
    /// The reason why the backfill failed as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The number of completed copies.
    pub completed: u64,
    /// The number of completed copies that no event had reported, and that are recorded now.
    pub recorded: u64,
    /// The copies that failed.
    pub failed: Vec<FailedCopy>,
}

/// A copy that failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedCopy {
    /// The repository and digest of the image.
    #[serde(flatten)]
    pub image: Image,
    /// ECR's failure code.
    pub code: Option<String>,
}

/// The interval at which the status of a backfill is read.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Answers `backfill`: starts a backfill in ECR, or follows the one that is running, waits for its end, and records
/// what it copied.
///
/// # Errors
/// When ECR refuses, or its status cannot be read. A backfill that was started continues in ECR.
pub async fn backfill(target: &Target, source: &Registry, destination: &Registry) -> Result<Backfilled, CliError> {
    let registries = target.registries();
    let refused = |what| move |error| CliError::Registry { what, registry: source.clone(), source: error };
    let running = registries.running_backfill(source, destination).await;
    let id = match running.map_err(refused("list backfills"))? {
        Some(id) => id,
        None => registries.start_backfill(source, destination).await.map_err(refused("start a backfill"))?,
    };
    let bar = progress(0, "{wide_bar} {pos}/{len} copies  {elapsed}  {msg}");
    let backfill = loop {
        let backfill: Backfill = registries.backfill(source, &id).await.map_err(refused("follow the backfill"))?;
        bar.set_length(backfill.total.unwrap_or(0));
        bar.set_position(backfill.completed + backfill.failed);
        bar.set_message(backfill.status.clone());
        if backfill.over {
            break backfill;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    };
    bar.finish_and_clear();
    let copies = registries.backfilled(source, &id).await.map_err(refused("read what was copied"))?;
    let (done, failed): (Vec<Copied>, Vec<Copied>) = copies.into_iter().partition(|copy| copy.failure.is_none());
    let recorded = record(&target.table, &registries, source, destination, &done).await?;
    let failed = failed.into_iter();
    let failed = failed.map(|copy| FailedCopy { image: copy.image, code: copy.failure.flatten() });
    Ok(Backfilled {
        source: source.clone(),
        destination: destination.clone(),
        id,
        status: backfill.status,
        failure: backfill.failure,
        completed: done.len() as u64,
        recorded,
        failed: failed.collect(),
    })
}

/// Records the copies that no event reported, as they are at the destination now. Returns their number.
async fn record(
    table: &Table,
    registries: &Registries,
    source: &Registry,
    destination: &Registry,
    copies: &[Copied],
) -> Result<u64, CliError> {
    let mut by_repository: BTreeMap<&RepositoryName, BTreeSet<&Image>> = BTreeMap::new();
    for copy in copies {
        by_repository.entry(&copy.image.repository).or_default().insert(&copy.image);
    }
    let mut recorded = 0;
    for (repository, images) in by_repository {
        let began = crate::now::now();
        let unreadable =
            |error| CliError::Registry { what: "list images", registry: destination.clone(), source: error };
        let there = registries.contents(destination, repository).await.map_err(unreadable)?.unwrap_or_default();
        for image in images {
            let Some(seen) = there.get(&image.digest) else { continue };
            let lineage = table.placements(image).await?;
            let delta = delta_from_copy(lineage.placements.get(destination), seen, source, began);
            let Some((time, what)) = delta else { continue };
            let event_id = format!("backfill-{}-{}", source.account(), source.region());
            let subject = Subject::Image(image.clone());
            let fact = Fact { time, registry: destination.clone(), event_id, subject, what };
            recorded += u64::from(table.record(&[&fact]).await?.stored.contains(&Stored::New));
        }
    }
    Ok(recorded)
}

impl Print for Drifted {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = basis(&self.report.basis, width);
        let mut image = None;
        for difference in &self.report.differences {
            if image != Some(&difference.image) {
                _ = writeln!(text, "\n{}", styled(HEADING, image_name(&difference.image, None)));
                image = Some(&difference.image);
            }
            let (colour, sign) = match &difference.drift {
                Drift::Missing { expected: true, .. } => (AnsiColor::Red, "!"),
                Drift::Missing { expected: false, .. } => (AnsiColor::Yellow, "○"),
                Drift::Tags { .. } => (AnsiColor::Yellow, "≠"),
            };
            let line = coloured(colour, format!("{sign} {}", difference.summary()));
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
        }
        if self.report.differences.is_empty() {
            text.push_str(&nothing_found(&self.report.basis, "Every replica matches its source.", width));
        }
        if !self.orphans.is_empty() {
            text.push_str(&orphan_list(&self.orphans));
        }
        let count = |what: fn(&Drift) -> bool| self.report.differences.iter().filter(|one| what(&one.drift)).count();
        let missing = count(|drift| matches!(drift, Drift::Missing { expected: true, .. }));
        let never = count(|drift| matches!(drift, Drift::Missing { expected: false, .. }));
        let tags = count(|drift| matches!(drift, Drift::Tags { .. }));
        _ = writeln!(text, "\n{missing} missing, {never} never copied, {tags} with different tags");
        if let Some(remediation) = self.report.remediation {
            _ = writeln!(text, "→ {remediation}");
        }
        _ = writeln!(text, "\n{}", styled(HEADING, "Last listed:"));
        for (registry, known) in &self.report.basis.registries {
            let at = known
                .listed_at
                .map_or_else(|| coloured(AnsiColor::Yellow, "never: only its events are recorded"), time);
            _ = writeln!(text, "  {registry}  {at}");
        }
        for registry in &self.report.unread {
            let line = format!("{registry}: its replication rules are not known, they were not read yet");
            _ = writeln!(text, "  {}", coloured(AnsiColor::Yellow, line));
        }
        text
    }

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::DRIFT)
    }
}

impl Print for Reconciled {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        for (registry, run) in &self.registries {
            let (found, drifts) = (run.found, &run.drifts);
            _ = writeln!(text, "\n{}  {} images", styled(HEADING, registry), found.images);
            let recorded = [("added", found.added), ("removed", found.removed), ("updated", found.updated)];
            let drift = [
                ("missing", drifts.missing),
                ("never copied", drifts.never_copied),
                ("with different tags", drifts.tags),
                ("orphaned", drifts.orphans),
            ];
            for (what, counts) in [("recorded now, reported by no event", &recorded[..]), ("drift", &drift[..])] {
                let counts: Vec<_> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
                _ = writeln!(text, "{}", filled(&format!("{what}: {}", counts.join(", ")), ["  ", "    "], width));
            }
        }
        text.push_str("→ `ecr-lineage drift` lists the drift image by image\n");
        text
    }
}

impl Print for Backfilled {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        let heading = styled(HEADING, format!("{} to {}", self.source, self.destination));
        let colour = if self.status == "COMPLETE" { AnsiColor::Green } else { AnsiColor::Red };
        let sign = if self.status == "COMPLETE" { "●" } else { "!" };
        let why = self.failure.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
        _ = writeln!(text, "\n{heading}  {}", coloured(colour, format!("{sign} {}{why}", self.status)));
        let (completed, failed, recorded) = (self.completed, self.failed.len(), self.recorded);
        _ = writeln!(text, "  {completed} copied, {failed} failed; {recorded} recorded now, reported by no event");
        for copy in &self.failed {
            let code = copy.code.as_deref().unwrap_or("no reason given");
            let line = coloured(AnsiColor::Red, format!("! {}: {code}", image_name(&copy.image, None)));
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
        }
        text
    }
}
