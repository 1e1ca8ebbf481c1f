//! `policy new`, `check`, `test` and `prove`: the commands about the text of policies, which need no table; and `deploy`.

mod cases;
#[cfg(feature = "doctor")]
pub mod deploy;
#[cfg(feature = "prove")]
pub mod prove;

use std::{
    fmt::Write,
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anstyle::AnsiColor;
pub use cases::{TestedPolicies, test};
use policy::{InvalidPolicyError, PolicyProblem};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    failure::CliError,
    print::{HEADING, Print, coloured, filled, styled},
};

/// A policy that this program has in it, with its cases.
struct Shipped {
    name: &'static str,
    text: &'static str,
    cases: &'static str,
}

/// A file of `infra/policies`, and the cases beside it.
macro_rules! shipped {
    ($name:literal) => {
        Shipped {
            name: $name,
            text: include_str!(concat!("../../infra/policies/", $name, ".cedar")),
            cases: include_str!(concat!("../../infra/policies/", $name, ".test.json")),
        }
    };
}

const SHIPPED: [Shipped; 7] = [
    shipped!("keep-everything"),
    shipped!("dev-follows-its-source"),
    shipped!("lifecycle-follows-people-need-approval"),
    shipped!("archive-instead-of-delete"),
    shipped!("never-release-tags"),
    shipped!("never-pulled-recently"),
    shipped!("never-the-last-copy"),
];

/// The names of the shipped policies.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|shipped| shipped.name)
}

/// The shipped policies, or one of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShippedPolicies {
    /// The policies; one if a name was given.
    pub policies: Vec<ShippedPolicy>,
}

/// A shipped policy.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShippedPolicy {
    /// The name, as in `policy new NAME`.
    pub name: &'static str,
    /// What it does, in one line.
    pub does: &'static str,
    /// The text, in Cedar.
    pub text: &'static str,
}

impl Shipped {
    /// The first line of the file, a comment.
    fn does(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("// ")
    }
}

/// Answers `policy new` without a name: every shipped policy.
#[must_use]
pub fn shipped() -> ShippedPolicies {
    let policies =
        SHIPPED.iter().map(|shipped| ShippedPolicy { name: shipped.name, does: shipped.does(), text: shipped.text });
    ShippedPolicies { policies: policies.collect() }
}

/// The files that `policy new` wrote.
#[derive(Debug, Serialize, ToSchema)]
pub struct WrittenPolicy {
    /// The policy.
    #[schema(value_type = String)]
    pub file: PathBuf,
    /// Its cases.
    #[schema(value_type = String)]
    pub cases: PathBuf,
}

/// Writes a shipped policy and its cases to new files.
///
/// # Errors
/// When a file cannot be written, or exists and may not be overwritten.
pub fn write(name: &str, file: &Path, overwrite: bool) -> Result<WrittenPolicy, CliError> {
    let written = WrittenPolicy { file: file.to_owned(), cases: cases::beside(file) };
    let Some(shipped) = SHIPPED.iter().find(|shipped| shipped.name == name) else { return Ok(written) };
    let files = [(&written.file, shipped.text), (&written.cases, shipped.cases)];
    let failed = |path: &PathBuf, source| CliError::Unwritable { path: path.clone(), source };
    if let Some((path, _)) = files.iter().find(|(path, _)| !overwrite && path.exists()) {
        return Err(failed(path, ErrorKind::AlreadyExists.into()));
    }
    for (path, text) in files {
        // Another file is never overwritten, not even one that is created at this moment.
        let mut options = OpenOptions::new();
        options.write(true).create(overwrite).create_new(!overwrite).truncate(overwrite);
        let stored = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
        stored.map_err(|source| failed(path, source))?;
    }
    Ok(written)
}

impl Print for ShippedPolicies {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        for shipped in &self.policies {
            _ = writeln!(text, "{}", styled(HEADING, shipped.name));
            _ = writeln!(text, "{}", filled(shipped.does, ["    ", "    "], width));
        }
        let next = "`ecr-lineage policy new NAME --output FILE` writes one, with cases for `policy test`.";
        text + "\n" + &filled(next, ["", ""], width) + "\n"
    }
}

impl Print for WrittenPolicy {
    fn table(&self, _: Option<u16>) -> String {
        let (file, cases) = (self.file.display(), self.cases.display());
        format!("Wrote {file} and its cases, {cases}.\nChange both, then run `ecr-lineage policy test {file}`.\n")
    }
}

/// The result of `policy check`.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckedPolicies {
    /// The checked files, in the order of the arguments.
    pub files: Vec<CheckedFile>,
}

/// The result for one file.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckedFile {
    /// The path of the file.
    #[schema(value_type = String)]
    pub file: PathBuf,
    /// The errors, in the order of the text; empty if the policy can be used.
    pub problems: Vec<PolicyProblem>,
    /// What is hardly meant as it is written. The policy can be used all the same.
    pub warnings: Vec<PolicyProblem>,
}

impl CheckedPolicies {
    /// Whether every policy is valid.
    #[must_use]
    pub fn all_usable(&self) -> bool {
        self.files.iter().all(|file| file.problems.is_empty())
    }
}

/// Answers `policy check`.
#[must_use]
pub fn check(files: &[PathBuf]) -> CheckedPolicies {
    let files = files.iter().map(|file| {
        let (problems, warnings) = match decide::load_policy(Some(file)) {
            Ok(policy) => (Vec::new(), policy.warnings().to_vec()),
            Err(InvalidPolicyError { problems, .. }) => (problems, Vec::new()),
        };
        CheckedFile { file: file.clone(), problems, warnings }
    });
    CheckedPolicies { files: files.collect() }
}

impl Print for CheckedPolicies {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        for file in &self.files {
            if file.problems.is_empty() {
                _ = writeln!(text, "{} {}", coloured(AnsiColor::Green, "● OK"), file.file.display());
            }
            diagnostics(&mut text, &file.file, &file.problems, (AnsiColor::Red, "error:"), width);
            diagnostics(&mut text, &file.file, &file.warnings, (AnsiColor::Yellow, "warning:"), width);
        }
        text
    }
}

/// Problems as compilers print them, so that editors find their places.
fn diagnostics(
    text: &mut String,
    file: &Path,
    problems: &[PolicyProblem],
    (colour, severity): (AnsiColor, &str),
    width: Option<u16>,
) {
    for problem in problems {
        let place = format!("{}:{}:{}", file.display(), problem.line, problem.column);
        _ = writeln!(text, "{}: {} {}", styled(HEADING, place), coloured(colour, severity), problem.message);
        if let Some(suggestion) = &problem.suggestion {
            _ = writeln!(text, "{}", filled(suggestion, ["    ", "    "], width));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_shipped_policy_is_in_the_program_and_says_what_it_does() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/policies");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<_> = files.filter_map(|name| name.strip_suffix(".cedar").map(str::to_owned)).collect();
        assert_eq!(there, names().map(str::to_owned).collect());
        for policy in shipped().policies {
            assert!(
                policy.does.ends_with('.') && policy.does.chars().count() <= 76,
                "{}: {}",
                policy.name,
                policy.does
            );
        }
    }
}
