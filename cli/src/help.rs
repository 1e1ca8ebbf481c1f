//! The help: commands by subject, examples and exit codes of each, completions and manual pages.

mod examples;

use std::{any::TypeId, fmt::Write, io, path::Path, sync::Arc};

use answers::presence::Place;
use clap::{
    Command, CommandFactory, FromArgMatches,
    builder::{StyledStr, ValueParser},
    error::ErrorKind,
};
use domain::image::Registry;

use crate::{
    aliases::Aliases,
    failure::CliError,
    options::{Command as Cmd, Options, OutputOptions, PolicyCommand, TableCommand},
    output::{self, write_pages},
};
use examples::{EXAMPLES, exit_codes};

/// The commands by subject, in the order of the help.
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Questions",
        &[
            "show",
            "where",
            "wait",
            "history",
            "images",
            "orphans",
            "lag",
            "alerts",
            "drift",
            "deletions",
            "activity",
            "costs",
            "audit",
            "open",
        ],
    ),
    ("Records", &["ingest", "reconcile", "backfill", "registry"]),
    (
        "Changes",
        &[
            "pause",
            "resume",
            "hold",
            "holds",
            "release",
            "approve",
            "cancel",
            "retry",
            "breaker",
            "usage",
            "restore",
            "acknowledge",
            "snooze",
        ],
    ),
    ("Policies", &["policy"]),
    ("Set-up", &["deploy", "doctor", "serve", "completions", "man", "schema", "help"]),
    ("Try it", &["demo", "local"]),
];

/// The width of the column of names, with the space around it.
const NAMES: usize = 15;

/// The options of the command line. Ends the process after `--help`, and on a usage error.
///
/// # Errors
/// When the file of aliases is wrong.
pub fn parse() -> Result<Options, CliError> {
    let arguments: Vec<_> = std::env::args_os().collect();
    let aliases = Arc::new(Aliases::of_arguments(&arguments)?);
    let mut command = command(&aliases);
    let matches = command.clone().get_matches_from(arguments);
    let options = Options::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    if options.output.watch.is_some() && !options.command.is_question() {
        let why = "`--watch` repeats a question; this command changes something, or runs until Ctrl-C";
        command.error(ErrorKind::ArgumentConflict, why).exit();
    }
    // `policy new` writes its file itself: it never replaces one.
    let writes_itself =
        matches!(&options.command, Cmd::Table(TableCommand::Policy(PolicyCommand::New { name: Some(_), .. })));
    let of_command =
        OutputOptions { output: options.output.output.clone().filter(|_| !writes_itself), ..options.output.clone() };
    output::begin(&of_command, aliases);
    Ok(options)
}

/// The commands with their help. Registries can be named by the aliases of their accounts.
#[must_use]
pub fn command(aliases: &Arc<Aliases>) -> Command {
    let root = Options::command().mut_subcommands(|command| explained(command, ""));
    let root = with_aliases(root, aliases);
    let groups = groups(&root);
    let heading = root.get_styles().get_header();
    let options = format!("{heading}Options:{heading:#}\n{{options}}{{after-help}}");
    let template = format!("{{about}}\n\n{{usage-heading}} {{usage}}\n\n{groups}{options}");
    let next = "`ecr-lineage help COMMAND` has its options, examples and exit codes.\n\
                `ecr-lineage --help` has the options of every command.\n";
    root.help_template(StyledStr::from(template))
        .after_help(next)
        .after_long_help(format!("{next}\nExit codes:\n{}", exit_codes("")))
}

/// A command with its examples and exit codes, and the same for those below it.
fn explained(command: Command, above: &str) -> Command {
    let path = format!("{above}{}", command.get_name());
    let below = format!("{path} ");
    let command = command.mut_subcommands(|command| explained(command, &below));
    if command.has_subcommands() {
        return command;
    }
    let mut help = String::from("Examples:\n");
    for example in examples_of(&path) {
        _ = writeln!(help, "  {example}");
    }
    let long = format!("{help}\nExit codes:\n{}", exit_codes(&path));
    command.after_help(help).after_long_help(long)
}

/// The examples of a command.
fn examples_of(path: &str) -> &'static [&'static str] {
    EXAMPLES.iter().find(|(name, _)| *name == path).map_or(&[], |(_, examples)| examples)
}

/// Lets every argument that is a registry begin with an alias, too.
fn with_aliases(command: Command, aliases: &Arc<Aliases>) -> Command {
    let command = command.mut_args(|argument| {
        let (parsed, aliases) = (argument.get_value_parser().type_id(), Arc::clone(aliases));
        if parsed == TypeId::of::<Registry>() {
            argument.value_parser(ValueParser::new(move |text: &str| aliases.parsed::<Registry>(text)))
        } else if parsed == TypeId::of::<Place>() {
            argument.value_parser(ValueParser::new(move |text: &str| aliases.parsed::<Place>(text)))
        } else {
            argument
        }
    });
    command.mut_subcommands(|command| with_aliases(command, aliases))
}

/// The commands by subject, a line each.
fn groups(root: &Command) -> String {
    let mut text = String::new();
    let heading = root.get_styles().get_header();
    for (title, names) in GROUPS {
        _ = writeln!(text, "{heading}{title}:{heading:#}");
        for name in names {
            let about = root.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
            let about = about.unwrap_or_else(|| "Print this, or the help of a command".to_owned());
            _ = writeln!(text, "  {name:<NAMES$}{about}");
        }
        text.push('\n');
    }
    text
}

/// Prints the completions of a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(&Arc::default()), "ecr-lineage", &mut script);
    output::write(&String::from_utf8_lossy(&script))
}

/// Prints the manual page of a command, or writes those of all commands to a folder.
pub(crate) fn man(path: &[String], all: Option<&Path>) -> Result<(), CliError> {
    let mut root = command(&Arc::default()).disable_help_subcommand(true);
    root.build();
    if let Some(folder) = all {
        let mut pages = Vec::new();
        every_page(&root, &mut pages)?;
        return write_pages(folder, &pages);
    }
    let mut command = &root;
    for name in path {
        let unknown = || CliError::NoCommand { command: path.join(" ") };
        command = command.find_subcommand(name).ok_or_else(unknown)?;
    }
    output::write(&String::from_utf8_lossy(&page(command)?))
}

/// The page of a command and of all below it, with the name of each file.
fn every_page(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<(), CliError> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push((format!("{name}.1"), page(command)?));
    command.get_subcommands().try_for_each(|command| every_page(command, pages))
}

/// A manual page.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests;
