#![doc = include_str!("../README.md")]

pub mod deploy;
#[cfg(feature = "doctor")]
pub mod doctor;
pub mod drift;
pub mod failure;
pub mod ingest;
pub mod local;
pub mod options;
pub mod policies;
pub mod print;
pub mod serve;
pub mod target;
pub mod webhook;

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use answers::{
    alerts, answer, audit,
    breakers::{self, ResetTerms},
    deletions::{self, DeletionScope, DeletionSelector},
    graph::Graph,
    paging::PageRequest,
    preview,
    reference::Reference,
    registries, restore,
};
use aws::registry::Registries;
use decide::Planner;
use domain::{deletion::OperatorAction, image::Registry};
use failure::CliError;
use jiff::Timestamp;
use options::{
    ActOptions, AuditCommand, BreakerCommand, Command, DeployCommand, Format, IngestOptions, Options, PolicyCommand,
    RegistryCommand, RestoreOptions, TableCommand,
};
use print::Print;
use sandbox::demo;
use store::Table;
use target::Target;

/// Runs one command and returns the exit code: 0, or 1 if a check failed or an entry was rejected.
///
/// # Errors
/// When the command failed; the message contains the next step.
pub async fn run(options: Options) -> Result<ExitCode, CliError> {
    match &options.command {
        Command::Demo => {
            print(options.format, &demo::play().await?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Local(local) => {
            local::serve(local).await?;
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(not(feature = "doctor"))]
        Command::Doctor(_) => Err(CliError::NoDoctor),
        #[cfg(feature = "doctor")]
        Command::Doctor(doctor) => {
            let diagnosis = doctor::doctor(&options.target, doctor).await?;
            print(options.format, &diagnosis)?;
            Ok(if diagnosis.is_healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Deploy(DeployCommand::Plan { hub, organization, registries }) => {
            let (sdk, roles) = target::configuration(&options.target).await;
            let read = Registries::new(sdk, roles);
            let plan = deploy::plan(&read, hub, organization.as_deref(), registries).await?;
            print(options.format, &plan)?;
            Ok(if plan.unread.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        // Needs no table.
        Command::Table(TableCommand::Policy(PolicyCommand::Check { files })) => check(files, options.format),
        Command::Table(command) => {
            let target = Target::open(&options.target).await?;
            let answered = answer(command, &target, options.format).await;
            target.close().await;
            answered
        }
    }
}

async fn answer(command: &TableCommand, target: &Target, format: Format) -> Result<ExitCode, CliError> {
    let (table, now) = (&target.table, Timestamp::now());
    match command {
        TableCommand::Ingest(options) => return ingest(table, options, format).await,
        TableCommand::Backfill { source, destination } => return backfill(target, source, destination, format).await,
        TableCommand::Policy(command) => return policy(command, target, format, now).await,
        TableCommand::Show { image } => show(table, image, format).await?,
        TableCommand::History { tag, registry } => {
            print(format, &answer::history(table, tag, registry.as_ref()).await?)?;
        }
        TableCommand::Images { repository } => {
            print(format, &answer::images(table, repository, None, usize::MAX).await?)?;
        }
        TableCommand::Orphans { registry, repository } => {
            let all = PageRequest::all_of(registry.as_ref(), repository.as_ref());
            print(format, &answer::orphans(table, &all).await?)?;
        }
        TableCommand::Alerts { open, since } => print(format, &alerts::alerts(table, *open, *since, now).await?)?,
        TableCommand::Lag { since } => {
            print(format, &alerts::lag(table, *since, now, &PageRequest::all_of(None, None)).await?)?;
        }
        TableCommand::Drift { repository } => print(format, &drift::drift(table, repository.as_ref(), now).await?)?,
        TableCommand::Reconcile { registries, calls_per_second } => {
            print(format, &drift::reconcile(target, registries, *calls_per_second).await?)?;
        }
        TableCommand::Deletions(options) => print(format, &deletions::list(table, &options.filter(now)).await?)?,
        TableCommand::Hold(options) => act(target, options, OperatorAction::Hold, format, now).await?,
        TableCommand::Release(options) => act(target, options, OperatorAction::Release, format, now).await?,
        TableCommand::Approve(options) => act(target, options, OperatorAction::Approve, format, now).await?,
        TableCommand::Cancel(options) => act(target, options, OperatorAction::Cancel, format, now).await?,
        TableCommand::Breaker(command) => breaker(command, target, format, now).await?,
        TableCommand::Registry(RegistryCommand::Forget { registry, reason }) => {
            let by = target.who().await?;
            print(format, &registries::forget(table, registry, reason.as_deref(), &by, now).await?)?;
        }
        TableCommand::Restore(options) => return restore(options, target, format, now).await,
        TableCommand::Serve(options) => serve::serve(target, options).await?,
        TableCommand::Audit(AuditCommand::NativeDeletes { source, pulled }) => {
            print(format, &audit::native_deletes(table, &target.registries(), source.as_ref(), *pulled, now).await?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Records events from files, and shows an image afterwards: fails if any event was rejected.
async fn ingest(table: &Table, options: &IngestOptions, format: Format) -> Result<ExitCode, CliError> {
    let summary = ingest::ingest(table, &options.paths, options.assumed()).await?;
    print(format, &summary)?;
    if let Some(reference) = &options.show {
        print(format, &answer::show(table, reference, usize::MAX).await?)?;
    }
    Ok(if summary.rejected.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows the lineage of an image, as a table, as JSON or as a graph.
async fn show(table: &Table, image: &Reference, format: Format) -> Result<(), CliError> {
    let shown = answer::show(table, image, usize::MAX).await?;
    match format {
        Format::Dot => write(&Graph::of(&shown).dot()),
        Format::Mermaid => write(&Graph::of(&shown).mermaid()),
        Format::Table | Format::Json => print(format, &shown),
    }
}

/// Runs a backfill: fails if it did not complete.
async fn backfill(
    target: &Target,
    source: &Registry,
    destination: &Registry,
    format: Format,
) -> Result<ExitCode, CliError> {
    let done = drift::backfill(target, source, destination).await?;
    print(format, &done)?;
    Ok(if done.status == "COMPLETE" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes an action on the deletions of an image.
async fn act(
    target: &Target,
    options: &ActOptions,
    action: OperatorAction,
    format: Format,
    now: Timestamp,
) -> Result<(), CliError> {
    let ActOptions { image, registry, tag } = options.clone();
    let by = target.who().await?;
    let scope = tag.map_or(DeletionScope::All, DeletionScope::OfTag);
    let selector = DeletionSelector { image, registry, scope };
    print(format, &deletions::act(&target.table, &selector, action, &by, now).await?)
}

/// Shows or resets breakers.
async fn breaker(command: &BreakerCommand, target: &Target, format: Format, now: Timestamp) -> Result<(), CliError> {
    let table = &target.table;
    match command {
        BreakerCommand::Status { source } => print(format, &breakers::breakers(table, source.as_ref(), now).await?),
        BreakerCommand::Reset { source, allow, ignore_share, yes } => {
            let by = target.who().await?;
            let terms = ResetTerms { allow: *allow, ignore_share: *ignore_share };
            let preview = breakers::preview_reset(table, source, terms).await?;
            confirm(&preview, &preview.question, *yes)?;
            print(format, &breakers::reset(table, source, preview.version, terms, &by, now).await?)
        }
    }
}

/// Shows on standard error what a command would do, and asks whether it should.
fn confirm(preview: &impl Print, question: &str, yes: bool) -> Result<(), CliError> {
    let mut terminal = anstream::stderr().lock();
    write!(terminal, "{}", preview.table(print::error_width()))?;
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(CliError::CannotAsk);
    }
    write!(terminal, "{question} [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") { Ok(()) } else { Err(CliError::Declined) }
}

/// Restores an image, or makes a drill: fails if an image could not be brought back.
async fn restore(
    options: &RestoreOptions,
    target: &Target,
    format: Format,
    now: Timestamp,
) -> Result<ExitCode, CliError> {
    let (table, registries) = (&target.table, target.registries());
    if let (Some(image), Some(registry)) = (&options.image, &options.registry) {
        print(format, &restore::restore(table, &registries, image, registry, options.move_tag).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let by = target.who().await?;
    let scope = (usize::from(options.count), options.since);
    let drilled = restore::drill(table, &registries, scope, random_below, &by, now).await?;
    print(format, &drilled)?;
    table.put_restore_drill(&drilled.drill).await?;
    let restorable = drilled.drill.restorable == drilled.drill.tried;
    Ok(if restorable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A random number below another.
fn random_below(most: usize) -> usize {
    let random = getrandom::u64().unwrap_or_default();
    usize::try_from(random % most.max(1) as u64).unwrap_or_default()
}

/// Checks policies, or shows what one would do.
async fn policy(
    command: &PolicyCommand,
    target: &Target,
    format: Format,
    now: Timestamp,
) -> Result<ExitCode, CliError> {
    let (table, registries) = (&target.table, target.registries());
    match command {
        PolicyCommand::Check { files } => return check(files, format),
        PolicyCommand::Preview { file, since } => {
            let policy = decide::load_policy(Some(file))?;
            let planner = Planner::new(table, &registries, &policy);
            print(format, &preview::preview(&planner, *since, now, None, usize::MAX).await?)?;
        }
        PolicyCommand::Explain { image, registry, policy } => {
            let policy = decide::load_policy(policy.as_deref())?;
            let planner = Planner::new(table, &registries, &policy);
            print(format, &preview::explain(&planner, image, registry, now).await?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks policies: fails if any of them cannot be used.
fn check(files: &[PathBuf], format: Format) -> Result<ExitCode, CliError> {
    let checked = policies::check(files);
    print(format, &checked)?;
    Ok(if checked.all_usable() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints an answer. Colour and width are those of the terminal, if it is one.
fn print(format: Format, answer: &(impl Print + serde::Serialize)) -> Result<(), CliError> {
    match format {
        // Columns are padded; the padding of the last one is removed.
        Format::Table => {
            let table = answer.table(print::width());
            write(&table.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>())
        }
        Format::Json => write(&(serde_json::to_string_pretty(answer).map_err(std::io::Error::from)? + "\n")),
        Format::Dot | Format::Mermaid => Err(CliError::Graph { format }),
    }
}

fn write(text: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `ecr-lineage … | head` has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
