#![doc = include_str!("../README.md")]

pub mod deploy;
#[cfg(feature = "doctor")]
pub mod doctor;
pub mod drift;
pub mod failure;
pub mod ingest;
pub mod input;
pub mod local;
pub mod options;
pub mod policies;
pub mod print;
pub mod serve;
pub mod target;
pub mod webhook;

use std::{io::Write, path::PathBuf, process::ExitCode};

use answers::{
    alerts, answer, audit,
    deletions::{self, DeletionScope, DeletionSelector},
    graph::Graph,
    paging::PageRequest,
    preview, restore,
};
use aws::registry::Registries;
use decide::Decider;
use domain::deletion::OperatorAction;
use failure::CliError;
use jiff::Timestamp;
use options::{
    ActOptions, AuditCommand, BreakerCommand, Command, DeployCommand, Format, Options, PolicyCommand, TableCommand,
};
use print::Print;
use sandbox::demo;
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
            let plan = deploy::plan(&read, hub, organization.as_deref(), registries).await;
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
    let table = &target.table;
    let now = Timestamp::now();
    let act = async |options: &ActOptions, action| {
        let ActOptions { image, registry, tag } = options.clone();
        let by = target.who().await?;
        let scope = tag.map_or(DeletionScope::All, DeletionScope::OfTag);
        print(format, &deletions::act(table, &DeletionSelector { image, registry, scope }, action, &by, now).await?)
    };
    match command {
        TableCommand::Ingest { files, show } => {
            let summary = ingest::ingest(table, files).await?;
            let rejected = !summary.rejected.is_empty();
            print(format, &summary)?;
            if let Some(reference) = show {
                print(format, &answer::show(table, reference, usize::MAX).await?)?;
            }
            return Ok(if rejected { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        TableCommand::Show { image } => {
            let shown = answer::show(table, image, usize::MAX).await?;
            match format {
                Format::Dot => write(&Graph::of(&shown).dot())?,
                Format::Mermaid => write(&Graph::of(&shown).mermaid())?,
                Format::Table | Format::Json => print(format, &shown)?,
            }
        }
        TableCommand::History { tag, registry } => {
            print(format, &answer::history(table, tag, registry.as_ref()).await?)?;
        }
        TableCommand::Images { repository } => {
            print(format, &answer::images(table, repository, None, usize::MAX).await?)?;
        }
        TableCommand::Orphans { registry, repository } => {
            print(
                format,
                &answer::orphans(table, &PageRequest::all_of(registry.as_ref(), repository.as_ref())).await?,
            )?;
        }
        TableCommand::Alerts { open, since } => {
            print(format, &alerts::alerts(table, *open, *since, now).await?)?;
        }
        TableCommand::Lag { since } => {
            print(format, &alerts::lag(table, *since, now, &PageRequest::all_of(None, None)).await?)?;
        }
        TableCommand::Drift { repository } => {
            print(format, &drift::drift(table, repository.as_ref(), now).await?)?;
        }
        TableCommand::Reconcile { registries, calls_per_second } => {
            print(format, &drift::reconcile(target, registries, *calls_per_second).await?)?;
        }
        TableCommand::Backfill { source, destination } => {
            let done = drift::backfill(target, source, destination).await?;
            print(format, &done)?;
            return Ok(if done.status == "COMPLETE" { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        TableCommand::Deletions(options) => print(format, &deletions::list(table, &options.filter(now)).await?)?,
        TableCommand::Hold(options) => act(options, OperatorAction::Hold).await?,
        TableCommand::Release(options) => act(options, OperatorAction::Release).await?,
        TableCommand::Approve(options) => act(options, OperatorAction::Approve).await?,
        TableCommand::Cancel(options) => act(options, OperatorAction::Cancel).await?,
        TableCommand::Breaker(BreakerCommand::Status { source }) => {
            print(format, &deletions::breakers(table, source.as_ref(), now).await?)?;
        }
        TableCommand::Breaker(BreakerCommand::Reset { source, allow }) => {
            let by = target.who().await?;
            print(format, &deletions::reset(table, source, *allow, &by, now).await?)?;
        }
        TableCommand::Restore { image, registry } => {
            print(format, &restore::restore(table, &target.registries(), image, registry).await?)?;
        }
        TableCommand::Serve(options) => serve::serve(target, options).await?,
        TableCommand::Audit(AuditCommand::NativeDeletes { source, pulled }) => {
            print(format, &audit::native_deletes(table, &target.registries(), source.as_ref(), *pulled, now).await?)?;
        }
        TableCommand::Policy(PolicyCommand::Check { files }) => return check(files, format),
        TableCommand::Policy(PolicyCommand::Preview { file, since }) => {
            let (registries, policy) = (target.registries(), decide::load_policy(Some(file))?);
            let decider = Decider::new(table, &registries, &policy);
            print(format, &preview::preview(&decider, *since, now, None, usize::MAX).await?)?;
        }
        TableCommand::Policy(PolicyCommand::Explain { image, registry, policy }) => {
            let (registries, policy) = (target.registries(), decide::load_policy(policy.as_deref())?);
            let decider = Decider::new(table, &registries, &policy);
            print(format, &preview::explain(&decider, image, registry, now).await?)?;
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
