//! The problems in the text of a policy, and their positions.

use std::fmt;

use miette::Diagnostic;

/// A problem in the text of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = PolicyProblem))]
pub struct PolicyProblem {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to fix it; `null` if there is no suggestion.
    pub suggestion: Option<String>,
}

/// A text that cannot be used as a policy, with all its problems in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a usable policy: {}", line(.problems))]
pub struct InvalidPolicyError {
    /// The name of the policy, usually that of its file.
    pub name: String,
    /// The problems; at least one.
    pub problems: Vec<PolicyProblem>,
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        self.suggestion.as_ref().map_or(Ok(()), |suggestion| write!(f, " ({suggestion})"))
    }
}

/// All problems in one line, for a log.
fn line(problems: &[PolicyProblem]) -> String {
    let words = problems.iter().map(|problem| {
        let suggestion = problem.suggestion.as_ref().map(|suggestion| format!("; {suggestion}"));
        format!("{}:{}: {}{}", problem.line, problem.column, problem.message, suggestion.unwrap_or_default())
    });
    words.collect::<Vec<_>>().join("; and ")
}

impl PolicyProblem {
    /// A problem at a byte offset of the text.
    pub(crate) fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = position(text, offset);
        Self { line, column, message: message.into(), suggestion: None }
    }

    /// The same problem with another suggestion.
    pub(crate) fn suggest(self, suggestion: impl Into<String>) -> Self {
        Self { suggestion: Some(suggestion.into()), ..self }
    }

    /// A problem that Cedar found.
    pub(crate) fn of(text: &str, diagnostic: &dyn Diagnostic) -> Self {
        let label = diagnostic.labels().and_then(|mut labels| labels.next());
        let offset = label.as_ref().map_or(0, miette::LabeledSpan::offset);
        // For a syntax error, the label lists what Cedar expected at this position.
        let suggestion = diagnostic
            .help()
            .map(|help| help.to_string())
            .or_else(|| label.and_then(|label| label.label().map(ToOwned::to_owned)));
        let suggestion = suggestion.map(|suggestion| tidy(&suggestion));
        Self { suggestion, ..Self::at(text, offset, tidy(&diagnostic.to_string())) }
    }
}

/// The line and the column of a byte offset, both counted from 1. An unexpected end of the text is reported after its
/// last word, not on an empty line below it.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let text = text.trim_end();
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    (line, column)
}

/// Cedar's message without the parts that add nothing: "for policy `policy0`" numbers the policies of the text, which
/// the position identifies better; and the name of the action, because all actions of the schema have the same context
/// and each problem would be reported once per action.
fn tidy(words: &str) -> String {
    let words = words
        .strip_prefix("for policy `")
        .and_then(|rest| rest.split_once('`'))
        .map_or(words, |(_, rest)| rest.trim_start_matches([',', ':', ' ']));
    let without_action = words.split_once(" for Action::\"").and_then(|(before, rest)| {
        let (_, after) = rest.split_once('"')?;
        before.ends_with("in context").then(|| format!("{before}{after}"))
    });
    without_action.unwrap_or_else(|| words.to_owned()).trim_end_matches('.').to_owned()
}
