//! `policy test`: cases beside a policy, each with facts and the action that is expected.

use std::{
    collections::BTreeSet,
    fmt::{self, Write},
    path::{Path, PathBuf},
};

use anstyle::AnsiColor;
use domain::{
    deletion::permitted,
    fact::Cause,
    image::{Digest, Image, Registry, RepositoryName, Tag},
    policy::{ManifestKind, PolicyQuestion},
    usage::{ImageUsers, UserKind, Users},
};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use policy::{InvalidPolicyError, Policy, PolicyProblem};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::ToSchema;

use crate::print::{HEADING, Print, coloured, filled, styled};

/// One case of a file, which is a list of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    facts: Facts,
    action: Expected,
    policies: Option<BTreeSet<String>>,
    #[serde(default, deserialize_with = "some_duration")]
    grace: Option<SignedDuration>,
    approval: Option<bool>,
}

/// What is done with a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Delete,
    Archive,
    Untag,
    Keep,
}

impl Expected {
    fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Archive => "archive",
            Self::Untag => "untag",
            Self::Keep => "keep",
        }
    }
}

/// What a policy is asked about, with the names of the schema. `docs/policies.md` lists what holds for a fact that is
/// not given.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Facts {
    source: Option<Registry>,
    registry: Option<Registry>,
    repository: Option<RepositoryName>,
    digest: Option<Digest>,
    #[serde(default)]
    tags: BTreeSet<Tag>,
    #[serde(default)]
    replica_only_tags: BTreeSet<Tag>,
    pushed_at: Option<Moment>,
    replicated_at: Option<Moment>,
    last_pulled_at: Option<Moment>,
    size_bytes: Option<u64>,
    #[serde(default)]
    kind: ManifestKind,
    #[serde(default)]
    archived: bool,
    in_use: Option<bool>,
    #[serde(default)]
    used_by: BTreeSet<String>,
    last_used_at: Option<Moment>,
    now: Option<Timestamp>,
    deleted_at: Option<Moment>,
    cause: Option<CauseName>,
    deleted_by: Option<String>,
    lifecycle_rule: Option<i64>,
    other_copies: Option<u64>,
    tag: Option<Tag>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CauseName {
    #[default]
    Principal,
    Lifecycle,
    Repository,
    Mirror,
    Unknown,
}

/// A time, or how long it is before `now`.
#[derive(Debug, Clone, Copy)]
enum Moment {
    At(Timestamp),
    Before(SignedDuration),
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = text.parse().ok().map(Self::At).or_else(|| duration(&text).map(Self::Before));
        let expected = "write a time, as in `2026-06-01T12:00:00Z`, or how long before `now`, as in `30d`";
        at.ok_or_else(|| D::Error::custom(format!("`{text}` is not a time: {expected}")))
    }
}

/// A day has 24 hours, as in a policy's `@grace`.
fn duration(text: &str) -> Option<SignedDuration> {
    text.parse::<Span>().ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || D::Error::custom(format!("`{text}` is not a duration: write `24h` or `7d`"));
    duration(&text).map(Some).ok_or_else(wrong)
}

/// The evaluation time of a case that does not say another.
const NOW: Timestamp = Timestamp::constant(1_798_761_600, 0);

impl Facts {
    fn cause(&self) -> Result<Cause, String> {
        let name = self.cause.unwrap_or_default();
        let has_caller = matches!(name, CauseName::Principal | CauseName::Repository);
        if self.deleted_by.is_some() && !has_caller {
            return Err("`deletedBy` is known only if `cause` is `principal` or `repository`".to_owned());
        }
        if self.lifecycle_rule.is_some() && !matches!(name, CauseName::Lifecycle) {
            return Err("`lifecycleRule` is known only if `cause` is `lifecycle`".to_owned());
        }
        let by = || self.deleted_by.clone().unwrap_or_else(|| "arn:aws:iam::111122223333:role/cleanup".to_owned());
        Ok(match name {
            CauseName::Principal => Cause::Principal { by: by() },
            CauseName::Repository => Cause::Repository { by: by() },
            CauseName::Lifecycle => Cause::Lifecycle { rule: self.lifecycle_rule.unwrap_or(1), description: None },
            CauseName::Mirror => Cause::Mirror { source: self.source()?, policies: BTreeSet::new(), approval: None },
            CauseName::Unknown => Cause::Unknown,
        })
    }

    fn source(&self) -> Result<Registry, String> {
        self.source.clone().map_or_else(|| parsed("111122223333/eu-west-1"), Ok)
    }

    /// Asks the policy, as a plan does.
    fn ask(&self, policy: &Policy) -> Result<Outcome, String> {
        let source = self.source()?;
        let registry = self.registry.clone().map_or_else(|| parsed("111122223333/us-east-1"), Ok)?;
        let repository = self.repository.clone().map_or_else(|| parsed("team/app"), Ok)?;
        let digest = self.digest.clone().map_or_else(|| parsed(&format!("sha256:{}", "0".repeat(64))), Ok)?;
        let image = Image { repository, digest };
        let cause = self.cause()?;
        let now = self.now.unwrap_or(NOW);
        let time = |moment: Option<Moment>, otherwise: &str| match moment {
            Some(Moment::At(at)) => Ok(at),
            Some(Moment::Before(before)) => now.checked_sub(before).map_err(|error| error.to_string()),
            None => now.checked_sub(duration(otherwise).unwrap_or_default()).map_err(|error| error.to_string()),
        };
        // The tags of the replica include those that only it has, and the one that is to be removed.
        let mut tags = self.tags.clone();
        tags.extend(self.replica_only_tags.iter().chain(&self.tag).cloned());
        let last_pulled_at = self.last_pulled_at.map(|at| time(Some(at), "")).transpose()?;
        let last_used_at = self.last_used_at.map(|at| time(Some(at), "")).transpose()?;
        let in_use = self.in_use.or(if self.used_by.is_empty() { None } else { Some(true) });
        let users = in_use.map(|in_use| {
            let known = Users { count: self.used_by.len() as u64, named: self.used_by.clone(), last_used_at };
            ImageUsers(in_use.then_some((UserKind::Task, known)).into_iter().collect())
        });
        let question = PolicyQuestion {
            source: &source,
            image: &image,
            registry: &registry,
            tags: &tags,
            replica_only_tags: &self.replica_only_tags,
            pushed_at: Some(time(self.pushed_at, "90d")?),
            replicated_at: time(self.replicated_at, "90d")?,
            last_pulled_at,
            size_bytes: self.size_bytes.unwrap_or(100_000_000),
            kind: self.kind,
            archived: self.archived,
            users: users.as_ref(),
            now,
            since: time(self.deleted_at, "30d")?,
            cause: &cause,
            other_copies: self.other_copies.unwrap_or(1),
            tag: self.tag.as_ref(),
        };
        let ask = |action, question: &PolicyQuestion<'_>| policy.ask(action, question);
        Ok(match permitted(&question, &ask) {
            Ok((action, answer)) => Outcome {
                action: action.as_str(),
                policies: answer.policies,
                grace: Some(answer.grace),
                approval: answer.approval,
                why: None,
            },
            Err((why, policies)) => {
                Outcome { action: Expected::Keep.as_str(), policies, grace: None, approval: false, why: Some(why) }
            }
        })
    }
}

fn parsed<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// What a policy decides in a case.
struct Outcome {
    action: &'static str,
    policies: BTreeSet<String>,
    grace: Option<SignedDuration>,
    approval: bool,
    why: Option<String>,
}

impl Outcome {
    fn is_as_expected(&self, case: &Case) -> bool {
        self.action == case.action.as_str()
            && case.policies.as_ref().is_none_or(|policies| *policies == self.policies)
            && case.grace.is_none_or(|grace| self.grace == Some(grace))
            && case.approval.is_none_or(|approval| self.approval == approval)
    }
}

fn outcome(
    action: &str,
    policies: Option<&BTreeSet<String>>,
    grace: Option<SignedDuration>,
    approval: Option<bool>,
) -> String {
    let mut text = action.to_owned();
    if let Some(grace) = grace {
        _ = write!(text, " after {grace:#}");
    }
    match approval {
        Some(true) => text.push_str(", with approval"),
        Some(false) if action != Expected::Keep.as_str() => text.push_str(", without approval"),
        _ => {}
    }
    if let Some(policies) = policies {
        let names: Vec<_> = policies.iter().map(String::as_str).collect();
        _ = write!(text, ", by {}", if names.is_empty() { "no policy".to_owned() } else { names.join(", ") });
    }
    text
}

/// The result of `policy test`.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestedPolicies {
    /// The policies, in the order of the arguments.
    pub files: Vec<TestedFile>,
    /// The number of cases that passed.
    pub passed: usize,
    /// The number of cases that failed, and of files that cannot be used.
    pub failed: usize,
}

/// The result of the cases of one policy.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestedFile {
    /// The path of the policy.
    #[schema(value_type = String)]
    pub file: PathBuf,
    /// The errors in the policy; without any, it can be used.
    pub problems: Vec<PolicyProblem>,
    /// The path of the cases.
    #[schema(value_type = String)]
    pub cases_file: PathBuf,
    /// Why the cases cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cases_problem: Option<PolicyProblem>,
    /// The cases, in the order of the file.
    pub cases: Vec<TestedCase>,
    /// The policies that decide no case.
    pub without_case: Vec<String>,
}

/// The result of one case.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestedCase {
    /// The name.
    pub name: String,
    /// Whether the policy decides as expected.
    pub passed: bool,
    /// What is expected.
    pub expected: String,
    /// What the policy decides.
    pub actual: String,
    /// Why nothing is permitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The file of the cases of a policy: `mine.test.json` beside `mine.cedar`.
pub(super) fn beside(policy: &Path) -> PathBuf {
    policy.with_extension("test.json")
}

/// Answers `policy test`.
#[must_use]
pub fn test(files: &[PathBuf]) -> TestedPolicies {
    let files: Vec<_> = files.iter().map(|file| test_file(file)).collect();
    let cases = || files.iter().flat_map(|file| &file.cases);
    let unusable = files.iter().filter(|file| !file.problems.is_empty() || file.cases_problem.is_some()).count();
    let (passed, failed) = (cases().filter(|case| case.passed).count(), cases().filter(|case| !case.passed).count());
    TestedPolicies { files, passed, failed: failed + unusable }
}

fn test_file(file: &Path) -> TestedFile {
    let mut tested = TestedFile {
        file: file.to_owned(),
        problems: Vec::new(),
        cases_file: beside(file),
        cases_problem: None,
        cases: Vec::new(),
        without_case: Vec::new(),
    };
    let policy = match decide::load_policy(Some(file)) {
        Ok(policy) => policy,
        Err(InvalidPolicyError { problems, .. }) => {
            tested.problems = problems;
            return tested;
        }
    };
    let cases = match read(&tested.cases_file) {
        Ok(cases) => cases,
        Err(problem) => {
            tested.cases_problem = Some(problem);
            return tested;
        }
    };
    let mut without_case: BTreeSet<_> = policy.ids().map(ToString::to_string).collect();
    for case in cases {
        let outcome = case.facts.ask(&policy);
        if let Ok(outcome) = &outcome {
            without_case.retain(|id| !outcome.policies.contains(id));
        }
        tested.cases.push(TestedCase::of(case, outcome));
    }
    tested.without_case = without_case.into_iter().collect();
    tested
}

/// Reads the cases; none at all are a mistake, because they prove nothing.
fn read(file: &Path) -> Result<Vec<Case>, PolicyProblem> {
    let problem = |line, column, message, suggestion: &str| PolicyProblem {
        line,
        column,
        message,
        suggestion: Some(suggestion.to_owned()).filter(|suggestion| !suggestion.is_empty()),
    };
    let text = std::fs::read_to_string(file).map_err(|error| {
        let next = "`ecr-lineage policy new NAME --output FILE` writes a policy with cases to begin with";
        problem(1, 1, format!("the cases cannot be read: {error}"), next)
    })?;
    let cases: Vec<Case> = serde_json::from_str(&text).map_err(|error| {
        // The position is printed before the message, not after it.
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        problem(error.line().max(1), error.column().max(1), message, "")
    })?;
    if cases.is_empty() { Err(problem(1, 1, "there is no case".to_owned(), "")) } else { Ok(cases) }
}

impl TestedCase {
    fn of(case: Case, outcome_of: Result<Outcome, String>) -> Self {
        let expected = outcome(case.action.as_str(), case.policies.as_ref(), case.grace, case.approval);
        match outcome_of {
            Ok(actual) => Self {
                passed: actual.is_as_expected(&case),
                name: case.name,
                expected,
                actual: outcome(actual.action, Some(&actual.policies), actual.grace, Some(actual.approval)),
                why: actual.why,
            },
            Err(why) => {
                Self { passed: false, name: case.name, expected, actual: "impossible facts".to_owned(), why: Some(why) }
            }
        }
    }
}

impl Print for TestedPolicies {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        for file in &self.files {
            super::diagnostics(&mut text, &file.file, &file.problems, (AnsiColor::Red, "error:"), width);
            super::diagnostics(
                &mut text,
                &file.cases_file,
                file.cases_problem.as_slice(),
                (AnsiColor::Red, "error:"),
                width,
            );
            if !file.cases.is_empty() {
                _ = writeln!(text, "{}", styled(HEADING, file.file.display()));
            }
            for case in &file.cases {
                let sign = if case.passed { (AnsiColor::Green, "✓") } else { (AnsiColor::Red, "✗ FAILED:") };
                let line = format!("{} {}", coloured(sign.0, sign.1), case.name);
                _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
                if case.passed {
                    continue;
                }
                let parts =
                    [("expected", Some(&case.expected)), ("actual", Some(&case.actual)), ("reason", case.why.as_ref())];
                for (name, part) in parts.into_iter().filter_map(|(name, part)| Some((name, part?))) {
                    let line = format!("{name:<9} {part}");
                    _ = writeln!(text, "{}", filled(&line, ["      ", "                "], width));
                }
            }
            for id in &file.without_case {
                let sign = coloured(AnsiColor::Yellow, "!");
                _ = writeln!(text, "  {sign} `{id}` decides no case");
            }
        }
        let colour = if self.failed == 0 { AnsiColor::Green } else { AnsiColor::Red };
        _ = writeln!(text, "\n{}", coloured(colour, format!("{} passed, {} failed", self.passed, self.failed)));
        text
    }
}
