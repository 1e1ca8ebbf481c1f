//! Questions before a command acts.

use std::io::{IsTerminal, Write};

use crate::{failure::CliError, output, print};

/// Says on standard error what a command is about to do, and asks whether it should.
///
/// Without a terminal there is no answer, and nothing is done unless `--yes` is given.
pub(crate) fn confirm(what: &str, question: &str, yes: bool) -> Result<(), CliError> {
    ask(what, question, yes, Err(CliError::CannotAsk))
}

/// As [`confirm`], for what only reads: without a terminal it begins, because it changes nothing.
pub(crate) fn confirm_read(what: &str, question: &str, yes: bool) -> Result<(), CliError> {
    if output::is_quiet() {
        return Ok(());
    }
    ask(what, question, yes, Ok(()))
}

fn ask(what: &str, question: &str, yes: bool, without_terminal: Result<(), CliError>) -> Result<(), CliError> {
    let mut terminal = anstream::stderr().lock();
    write!(terminal, "{}", print::fitted(what, print::error_width()))?;
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return without_terminal;
    }
    write!(terminal, "{question} [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") { Ok(()) } else { Err(CliError::Declined) }
}
