#![doc = include_str!("../README.md")]

pub mod aliases;
mod confirm;
mod costs;
pub mod deploy;
#[cfg(feature = "doctor")]
pub mod doctor;
pub mod drift;
pub mod failure;
pub mod help;
pub mod ingest;
mod lifecycle;
pub mod local;
mod now;
mod ocsf;
pub mod open;
pub mod options;
mod output;
pub mod policies;
pub mod print;
mod restore;
pub mod schema;
pub mod serve;
pub mod target;
pub mod usage;
mod verbose;
mod wait;
pub mod webhook;

use std::{path::Path, process::ExitCode, time::Duration};

use answers::{
    activity, alerts,
    answer::{self, ImageFilter, OrphanFilter},
    audit,
    basis::Basis,
    breakers::{self, ResetTerms},
    controls::{self, HoldTarget, Release},
    deletions::{self, Act, DeletionScope, DeletionSelector},
    graph::Graph,
    paging::PageRequest,
    preview,
    reference::Reference,
    registries, responses, schedule,
    time::{self, Period},
};
use aws::registry::Registries;
use confirm::{confirm, confirm_read};
use decide::Planner;
use domain::{
    controls::Instruction,
    deletion::OperatorAction,
    image::{Registry, RepositoryPattern},
};
use failure::CliError;
use jiff::Timestamp;
use options::{
    ActOptions, AuditCommand, BreakerCommand, Command, DeployCommand, Format, HoldOptions, IngestOptions, Options,
    PolicyCommand, RegistryCommand, RestoreOptions, TableCommand, UsageCommand,
};
pub(crate) use output::write;
use print::Print;
use sandbox::demo;
use store::Table;
use target::Target;

/// Runs one command and returns the exit code: 0, or 1 if a check failed or an entry was rejected.
///
/// # Errors
/// When the command failed; the message contains the next step.
pub async fn run(options: Options) -> Result<ExitCode, CliError> {
    output::check()?;
    let code = match options.output.watch {
        Some(every) => watch(&options, every).await?,
        None => run_once(&options).await?,
    };
    output::finish()?;
    Ok(code)
}

/// Answers a question again and again, until Ctrl-C: on a terminal in place, else below the answer before.
async fn watch(options: &Options, every: Duration) -> Result<ExitCode, CliError> {
    let mut interrupted = std::pin::pin!(local::interrupted()?);
    loop {
        output::clear_before_next();
        let next = async {
            run_once(options).await?;
            tokio::time::sleep(every).await;
            Ok::<_, CliError>(())
        };
        tokio::select! {
            answered = next => answered?,
            () = &mut interrupted => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn run_once(options: &Options) -> Result<ExitCode, CliError> {
    // Before anything is read or changed.
    if !options.command.supports(options.format) {
        return Err(CliError::Unsupported { format: options.format });
    }
    match &options.command {
        Command::Completions { shell } => help::completions(*shell).map(|()| ExitCode::SUCCESS),
        Command::Man { path, all } => help::man(path, all.as_deref()).map(|()| ExitCode::SUCCESS),
        Command::Schema { path } => schema(&path.join(" "), options.format).map(|()| ExitCode::SUCCESS),
        Command::Open(open) => {
            open::open(open, &options.target, options.format).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo => {
            print(options.format, &demo::play().await?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Local(local) => {
            local::serve(local).await?;
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(not(feature = "doctor"))]
        Command::Doctor(_) => Err(CliError::WithoutFeature { feature: "doctor" }),
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
        Command::Table(TableCommand::Policy(command)) if !command.needs_table() => {
            policy_text(command, options.format, options.output.output.as_deref()).await
        }
        Command::Table(command) => {
            let target = Target::open(&options.target, command.records()).await?;
            let answered = answer(command, &target, options.format).await;
            target.close().await;
            answered
        }
    }
}

/// Prints the schema of a command's JSON; without a command, the commands that have one.
fn schema(command: &str, format: Format) -> Result<(), CliError> {
    if command.is_empty() { print(format, &schema::schemas()) } else { write(&json(&schema::schema(command)?)?) }
}

async fn answer(command: &TableCommand, target: &Target, format: Format) -> Result<ExitCode, CliError> {
    let (table, now) = (&target.table, now::now());
    match command {
        TableCommand::Ingest(options) => return ingest(table, options, format).await,
        TableCommand::Backfill { source, destination, yes } => {
            confirm(&drift::what_is_copied(table, source, destination, now).await?, "Go on?", *yes)?;
            return backfill(target, source, destination, format).await;
        }
        TableCommand::Policy(command) => return policy(command, target, format, now).await,
        TableCommand::Where { image, places } => return wait::where_is(target, image, places, format).await,
        TableCommand::Wait(options) => return wait::wait(target, options, format).await,
        TableCommand::Show { image } => show(table, image, format, now).await?,
        TableCommand::History { tag, registry } => {
            print(format, &answer::history(table, tag, registry.as_ref()).await?)?;
        }
        TableCommand::Images { repository, only_in, not_in, not_pulled } => {
            let unpulled_since = costs::unpulled_since(*not_pulled, now);
            let filter =
                ImageFilter { only_in: only_in.as_ref(), not_in: not_in.as_ref(), pushed: None, unpulled_since };
            print(format, &answer::images(table, repository, filter, None, usize::MAX, now).await?)?;
        }
        TableCommand::Orphans { registry, repository, not_pulled } => {
            let filter = OrphanFilter { unpulled_since: costs::unpulled_since(*not_pulled, now), deleted: None };
            let all = PageRequest::all_of(registry.as_ref(), repository.as_ref());
            let found = answer::orphans(table, filter, &all).await?;
            let nothing = found.orphans.is_empty();
            return found_all(target, &found.basis, format, &found, [nothing, !nothing]);
        }
        TableCommand::Costs(options) => {
            let report = costs::costs(table, options, now).await?;
            return found_all(target, &report.basis, format, &report, [report.costs.total.copies == 0, false]);
        }
        TableCommand::Alerts(options) => {
            let found = alerts::alerts(table, &options.request(now), now).await?;
            let wrong = !found.open.is_empty();
            return found_all(target, &found.basis, format, &found, [false, wrong]);
        }
        TableCommand::Activity(options) => {
            let found = activity::activity(table, &options.request(now)).await?;
            if format == Format::Ocsf && !found.basis.registries.is_empty() {
                write(&ocsf::events(&found))?;
                return Ok(ExitCode::SUCCESS);
            }
            return found_all(target, &found.basis, format, &found, [false, false]);
        }
        TableCommand::Acknowledge(options) => {
            let (by, reason) = (target.who().await?, options.reason.as_deref());
            print(format, &responses::acknowledge(table, &options.alert, &by, reason, now).await?)?;
        }
        TableCommand::Snooze(options) => {
            let (by, snooze) = (target.who().await?, (options.until.end(now), options.reason.as_str()));
            print(format, &responses::snooze(table, &options.alert, &by, snooze, now).await?)?;
        }
        TableCommand::Lag { since, until, source, destination, repository } => {
            let all = PageRequest::all_of(destination.as_ref(), repository.as_ref());
            let period = Period { from: since.at(now), to: until.map(|until| until.at(now)) };
            let found = alerts::lag(table, period, source.as_ref(), &all).await?;
            let wrong = !found.late.is_empty();
            return found_all(target, &found.basis, format, &found, [false, wrong]);
        }
        TableCommand::Drift { repository } => {
            let found = drift::drift(table, repository.as_ref(), now).await?;
            let nothing = found.report.differences.is_empty() && found.orphans.is_empty();
            return found_all(target, &found.report.basis, format, &found, [nothing, !nothing]);
        }
        TableCommand::Reconcile { registries, calls_per_second, yes } => {
            let what = drift::what_is_listed(table, registries, *calls_per_second).await?;
            confirm_read(&what, "Go on?", *yes)?;
            print(format, &drift::reconcile(target, registries, *calls_per_second).await?)?;
        }
        TableCommand::Deletions(options) => match options.until.map(|until| until.end(now)) {
            Some(until) => print(format, &schedule::schedule(table, options.source.as_ref(), until, now).await?)?,
            None => print(format, &deletions::list(table, &options.filter(now), now).await?)?,
        },
        TableCommand::Pause { source, until, reason } => {
            let instruction = Instruction {
                by: target.who().await?,
                at: now,
                until: until.map(|until| until.end(now)),
                reason: reason.clone(),
            };
            print(format, &controls::pause(table, source.as_ref(), instruction).await?)?;
        }
        TableCommand::Resume { source } => {
            let by = target.who().await?;
            print(format, &controls::resume(table, source.as_ref(), &by, now).await?)?;
        }
        TableCommand::Hold(options) => hold(target, options.clone(), format, now).await?,
        TableCommand::Holds => print(format, &controls::holds(table, now).await?)?,
        TableCommand::Release { hold, source, force, reason } => {
            let by = target.who().await?;
            let release = Release { hold, source: source.as_ref(), force: *force, reason: reason.as_deref() };
            print(format, &controls::release(table, &release, &by, now).await?)?;
        }
        TableCommand::Retry(options) => act(target, options, OperatorAction::Retry, format, now).await?,
        TableCommand::Approve(options) => act(target, options, OperatorAction::Approve, format, now).await?,
        TableCommand::Cancel(options) => act(target, options, OperatorAction::Cancel, format, now).await?,
        TableCommand::Breaker(command) => breaker(command, target, format, now).await?,
        TableCommand::Usage(UsageCommand::Import { path, name, until }) => {
            let end = (target.who().await?, until.map(|until| until.end(now)));
            print(format, &usage::import(table, path, name, end, now).await?)?;
        }
        TableCommand::Usage(UsageCommand::Lists) => print(format, &usage::lists(table, now).await?)?,
        TableCommand::Usage(UsageCommand::Remove { name }) => print(format, &usage::remove(table, name, now).await?)?,
        TableCommand::Registry(RegistryCommand::Forget { registry, reason }) => {
            let by = target.who().await?;
            print(format, &registries::forget(table, registry, reason.as_deref(), &by, now).await?)?;
        }
        TableCommand::Restore(options) => return restore(options, target, format, now).await,
        TableCommand::Serve(options) => serve::serve(target, options).await?,
        TableCommand::Audit(AuditCommand::NativeDeletes { source, pulled }) => {
            print(format, &audit::native_deletes(table, &target.registries(), source.as_ref(), *pulled, now).await?)?;
        }
        TableCommand::Audit(AuditCommand::Lifecycle { source, repository, lifecycle, policy }) => {
            let (lifecycle, policy) = (lifecycle.as_ref(), policy.as_ref());
            let asked = lifecycle::Asked { source, repository, lifecycle, policy };
            print(format, &lifecycle::lifecycle(target, &asked, now).await?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints an answer about all registries: fails without data, if nothing was found and a registry was never listed, or
/// with `--quiet` if something is wrong.
fn found_all(
    target: &Target,
    basis: &Basis,
    format: Format,
    answer: &(impl Print + serde::Serialize),
    [nothing, wrong]: [bool; 2],
) -> Result<ExitCode, CliError> {
    if basis.registries.is_empty() {
        return Err(CliError::NothingRecorded { table: target.place().to_owned() });
    }
    print(format, answer)?;
    let is_known = !nothing || basis.never_listed().next().is_none();
    let is_well = !wrong || !output::is_quiet();
    Ok(if is_known && is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Records events from files, and shows an image afterwards: fails if any event was rejected.
async fn ingest(table: &Table, options: &IngestOptions, format: Format) -> Result<ExitCode, CliError> {
    let summary = ingest::ingest(table, &options.paths, options.assumed()).await?;
    print(format, &summary)?;
    if let Some(reference) = &options.show {
        print(format, &answer::show(table, reference, usize::MAX, now::now()).await?)?;
    }
    Ok(if summary.rejected.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows the lineage of an image, as a table, as JSON or as a graph.
async fn show(table: &Table, image: &Reference, format: Format, now: Timestamp) -> Result<(), CliError> {
    let shown = answer::show(table, image, usize::MAX, now).await?;
    match format {
        Format::Dot => write(&Graph::of(&shown).dot()),
        Format::Mermaid => write(&Graph::of(&shown).mermaid()),
        Format::Table | Format::Json | Format::Csv | Format::Ocsf => print(format, &shown),
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

/// Puts images, repositories or a source on hold.
async fn hold(target: &Target, options: HoldOptions, format: Format, now: Timestamp) -> Result<(), CliError> {
    let HoldOptions { hold, source, until, reason } = options;
    let hold = hold.unwrap_or_else(|| HoldTarget::Repositories(RepositoryPattern::everything()));
    let instruction = Instruction {
        by: target.who().await?,
        at: now,
        until: until.map(|until| until.end(now)),
        reason: Some(reason),
    };
    print(format, &controls::hold(&target.table, &hold, source.as_ref(), instruction).await?)
}

/// Takes an action on the deletions of an image, or on many after a question.
async fn act(
    target: &Target,
    options: &ActOptions,
    action: OperatorAction,
    format: Format,
    now: Timestamp,
) -> Result<(), CliError> {
    let ActOptions { image, registry, tag, reason, yes, .. } = options.clone();
    let (table, by) = (&target.table, target.who().await?);
    let act = Act { action, by: &by, reason: reason.as_deref(), now };
    let acted = match image {
        Some(image) => {
            let scope = tag.map_or(DeletionScope::All, DeletionScope::OfTag);
            deletions::act(table, &DeletionSelector { image, registry, scope }, &act).await?
        }
        None => {
            let planned = deletions::planned(table, &options.many(), action, now).await?;
            let is_empty = planned.deletions.is_empty();
            if is_empty && format == Format::Table {
                return write("No deletion is selected that allows it: nothing was changed.\n");
            }
            confirm(&format!("This will {}\n", planned.summary), "Go on?", yes || is_empty)?;
            deletions::act_on_many(table, planned, &act).await?
        }
    };
    print(format, &acted)
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
            confirm(&preview.table(print::error_width()), &preview.question, *yes)?;
            print(format, &breakers::reset(table, source, preview.version, terms, &by, now).await?)
        }
    }
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
        if options.copy {
            return restore::copy(options, target, (image, registry), format).await;
        }
        print(format, &answers::restore::restore(table, &registries, image, registry, options.move_tag).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let by = target.who().await?;
    let scope = (usize::from(options.count), options.since.before(now));
    let drilled = answers::restore::drill(table, &registries, scope, random_below, &by, now).await?;
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

/// Shows what a policy would do, from the table and the registries.
async fn policy(
    command: &PolicyCommand,
    target: &Target,
    format: Format,
    now: Timestamp,
) -> Result<ExitCode, CliError> {
    let (table, registries) = (&target.table, target.registries());
    match command {
        PolicyCommand::Preview { file, since } => {
            let policy = decide::load_policy(Some(file))?;
            let (planner, mirror) = (Planner::new(table, &registries, &policy), table.mirror_settings().await?);
            let usage_reads = mirror.as_ref().map(|mirror| decide::usage_reads(&registries, mirror));
            let planner = mirror.iter().fold(planner, Planner::limited_as).reading(usage_reads.as_ref());
            print(format, &preview::preview(&planner, since.before(now), now, None, usize::MAX).await?)?;
        }
        PolicyCommand::Diff { old, new, since } => {
            let (old, new) = (decide::load_policy(Some(old))?, decide::load_policy(Some(new))?);
            let planner = |policy| Planner::new(table, &registries, policy);
            print(format, &preview::diff(&planner(&old), &planner(&new), since.before(now), now).await?)?;
        }
        #[cfg(feature = "doctor")]
        PolicyCommand::Deploy { file, stack, since, yes } => {
            let deployed = policies::deploy::deploy(target, file, stack, since.before(now), now, *yes).await?;
            print(format, &deployed)?;
        }
        #[cfg(not(feature = "doctor"))]
        PolicyCommand::Deploy { .. } => return Err(CliError::WithoutFeature { feature: "doctor" }),
        PolicyCommand::Explain { image, registry, policy } => {
            if let Some(file) = policy {
                let policy = decide::load_policy(Some(file))?;
                let planner = Planner::new(table, &registries, &policy);
                print(format, &preview::explain(&planner, image, registry, None, now).await?)?;
            } else {
                let (mirror, policy) = preview::deployed(table).await?;
                let planner = Planner { mode: mirror.mode, ..Planner::new(table, &registries, &policy) };
                let usage_reads = decide::usage_reads(&registries, &mirror);
                let planner = planner.limited_as(&mirror).reading(Some(&usage_reads));
                print(format, &preview::explain(&planner, image, registry, Some(mirror.since), now).await?)?;
            }
        }
        text => return policy_text(text, format, None).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes, checks, tests or proves the text of policies: fails if one is not as it should be.
async fn policy_text(command: &PolicyCommand, format: Format, output: Option<&Path>) -> Result<ExitCode, CliError> {
    let good = match command {
        PolicyCommand::New { name: None, .. } => {
            print(format, &policies::shipped())?;
            true
        }
        PolicyCommand::New { name: Some(name), force } => {
            if let Some(file) = output {
                print(format, &policies::write(name, file, *force)?)?;
                return Ok(ExitCode::SUCCESS);
            }
            let shipped = policies::shipped().policies.into_iter().find(|shipped| shipped.name == name);
            match format {
                Format::Table => write(shipped.map(|shipped| shipped.text).unwrap_or_default())?,
                _ => print(format, &policies::ShippedPolicies { policies: shipped.into_iter().collect() })?,
            }
            true
        }
        PolicyCommand::Check { files } => {
            let checked = policies::check(files);
            print(format, &checked)?;
            checked.all_usable()
        }
        PolicyCommand::Test { files } => {
            let tested = policies::test(files);
            print(format, &tested)?;
            tested.failed == 0
        }
        #[cfg(feature = "prove")]
        PolicyCommand::Prove { file, never, solver } => {
            let proof = policies::prove::prove(file, never, solver).await?;
            print(format, &proof)?;
            proof.proven
        }
        #[cfg(not(feature = "prove"))]
        PolicyCommand::Prove { .. } => return Err(CliError::WithoutFeature { feature: "prove" }),
        PolicyCommand::Preview { .. }
        | PolicyCommand::Diff { .. }
        | PolicyCommand::Deploy { .. }
        | PolicyCommand::Explain { .. } => false,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints an answer. Colour and width are those of the terminal, if it is one.
fn print(format: Format, answer: &(impl Print + serde::Serialize)) -> Result<(), CliError> {
    match format {
        Format::Table => {
            let width = print::width();
            write(&print::fitted(&answer.table(width), width))
        }
        Format::Json => write(&json(answer)?),
        Format::Csv => {
            let sheet = answer.sheet().ok_or(CliError::Unsupported { format })?;
            write(&sheet.csv(answer).map_err(std::io::Error::from)?)
        }
        Format::Ocsf | Format::Dot | Format::Mermaid => Err(CliError::Unsupported { format }),
    }
}

/// An answer as JSON.
fn json(answer: &impl serde::Serialize) -> Result<String, CliError> {
    let value = time::json(answer).map_err(std::io::Error::from)?;
    Ok(serde_json::to_string_pretty(&value).map_err(std::io::Error::from)? + "\n")
}
