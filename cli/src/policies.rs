//! Policies: checked.

use std::path::PathBuf;

use policy::{Invalid, Problem};
use serde::Serialize;

/// Policies, and what is wrong with them.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// By file, in the order of the call.
    pub files: Vec<CheckedFile>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct CheckedFile {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, in the order of the text; nothing if it can be used.
    pub problems: Vec<Problem>,
}

impl Checked {
    /// Whether all can be used.
    #[must_use]
    pub fn all_usable(&self) -> bool {
        self.files.iter().all(|file| file.problems.is_empty())
    }
}

/// Answers `policy check`.
#[must_use]
pub fn check(files: &[PathBuf]) -> Checked {
    let files = files.iter().map(|file| {
        let problems = decide::load_policy(Some(file)).err().map(|Invalid { problems, .. }| problems);
        CheckedFile { file: file.clone(), problems: problems.unwrap_or_default() }
    });
    Checked { files: files.collect() }
}
