//! `policy check`: validates policy files.

use std::{fmt::Write, path::PathBuf};

use anstyle::AnsiColor;
use policy::{InvalidPolicyError, PolicyProblem};
use serde::Serialize;

use crate::print::{HEADING, Print, coloured, styled};

/// The result of `policy check`.
#[derive(Debug, Serialize)]
pub struct CheckedPolicies {
    /// The checked files, in the order of the arguments.
    pub files: Vec<CheckedFile>,
}

/// The result for one file.
#[derive(Debug, Serialize)]
pub struct CheckedFile {
    /// The path of the file.
    pub file: PathBuf,
    /// The errors, in the order of the text; empty if the policy is valid.
    pub problems: Vec<PolicyProblem>,
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
        let problems = decide::load_policy(Some(file)).err().map(|InvalidPolicyError { problems, .. }| problems);
        CheckedFile { file: file.clone(), problems: problems.unwrap_or_default() }
    });
    CheckedPolicies { files: files.collect() }
}

impl Print for CheckedPolicies {
    fn table(&self, _: Option<u16>) -> String {
        let mut text = String::new();
        for file in &self.files {
            if file.problems.is_empty() {
                _ = writeln!(text, "{} {}", coloured(AnsiColor::Green, "● OK"), file.file.display());
            }
            for problem in &file.problems {
                let place = format!("{}:{}:{}", file.file.display(), problem.line, problem.column);
                let error = coloured(AnsiColor::Red, "error:");
                _ = writeln!(text, "{}: {error} {}", styled(HEADING, place), problem.message);
                if let Some(suggestion) = &problem.suggestion {
                    _ = writeln!(text, "    {suggestion}");
                }
            }
        }
        text
    }
}
