//! `policy prove`: that a policy permits no request of a kind, by Cedar's symbolic compiler and the solver cvc5.

use std::{collections::BTreeSet, fmt::Write, path::Path, process::Stdio};

use anstyle::AnsiColor;
use cedar_policy::{Authorizer, Entities, EntityUid, Request};
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet, Env, err::Error, solver::LocalSolver};
use domain::{fact::Cause, image::Registry, policy::ManifestKind};
use policy::{InvalidPolicyError, Policy};
use serde::Serialize;
use tokio::process::Command;
use utoipa::ToSchema;

use crate::{
    failure::CliError,
    print::{HEADING, Print, coloured, filled, styled},
};

/// The oldest solver that the symbolic compiler supports: its README.
const OLDEST: [u32; 3] = [1, 3, 1];

/// The time limit of the solver for one action, in milliseconds.
const LIMIT: &str = "--tlimit=60000";

/// What holds of every request. A proof may use it, and no counterexample contradicts it.
const FACTS: &str = r#"
when { principal == resource.source }
when { CAUSES.contains(context.cause) && KINDS.contains(resource.kind) }
when { (context has deletedBy) == (["principal", "repository"].contains(context.cause)) }
when { (context has lifecycleRule) == (context.cause == "lifecycle") }
when { context.otherCopies >= 0 && resource.sizeBytes >= 0 }
when { resource.tags.containsAll(resource.replicaOnlyTags) }
when { resource.tags.isEmpty() == (resource.tagLine == "") }
when { resource.tagLine == "" || resource.tagLine like " * " && !(resource.tagLine like "*  *") }
when { (context has tag) == (action == Action::"untag") }
TIMES
when { if context has tag then resource.tags.contains(context.tag) else true }
"#;

/// The result of `policy prove`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Proof {
    /// Whether no request of the kind is permitted.
    pub proven: bool,
    /// The expression that describes the kind of requests.
    pub never: String,
    /// The actions for which it is proven.
    pub actions: BTreeSet<String>,
    /// Requests that are permitted, one for each other action.
    pub counterexamples: Vec<Counterexample>,
}

/// A request that a policy permits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counterexample {
    /// The action.
    pub action: String,
    /// The policies that permit it.
    pub policies: BTreeSet<String>,
    /// The policies that fail to evaluate. With any, ecr-lineage refuses the request although Cedar permits it.
    pub errors: Vec<String>,
    /// The attributes that the policy or the expression names, with their values in Cedar's notation.
    pub values: Vec<(String, String)>,
}

/// Answers `policy prove`.
///
/// # Errors
/// When the policy, the expression or the solver cannot be used, or the solver does not decide in time.
pub async fn prove(file: &Path, never: &str, solver: &Path) -> Result<Proof, CliError> {
    let policy = decide::load_policy(Some(file))?;
    check_version(solver).await?;
    let kind = requests(never, &policy)?;
    let mut command = Command::new(solver);
    let solver = LocalSolver::from_command(command.args(["--lang", "smt", LIMIT]).kill_on_drop(true));
    let mut compiler = solver.map_err(Error::from).and_then(CedarSymCompiler::new).map_err(failed)?;
    let mut proof =
        Proof { proven: true, never: never.to_owned(), actions: BTreeSet::new(), counterexamples: Vec::new() };
    for environment in policy.schema().request_envs() {
        let action = environment.action().id().unescaped().to_owned();
        let compile = |policies| CompiledPolicySet::compile(policies, &environment, policy.schema()).map_err(failed);
        let (compiled, kind) = (compile(policy.set())?, compile(kind.set())?);
        match compiler.check_disjoint_with_counterexample_opt(&compiled, &kind).await.map_err(failed)? {
            None => _ = proof.actions.insert(action),
            Some(example) => {
                proof.proven = false;
                proof.counterexamples.push(Counterexample::of(action, &example, &policy, never));
            }
        }
    }
    proof.counterexamples.sort_by_key(|example| example.action.clone());
    Ok(proof)
}

fn failed(error: Error) -> CliError {
    match error {
        Error::SolverUnknown => CliError::Undecided,
        error => CliError::NotProven(Box::new(error)),
    }
}

/// Checks that the solver is there and new enough.
async fn check_version(solver: &Path) -> Result<(), CliError> {
    let asked = Command::new(solver).arg("--version").stdin(Stdio::null()).output().await;
    let output = asked.map_err(|source| CliError::NoSolver { solver: solver.to_owned(), source })?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = output.split_once("cvc5 version ").map(|(_, version)| version.split_whitespace().next());
    let Some(Some(version)) = found else {
        return Err(CliError::OtherSolver { solver: solver.to_owned() });
    };
    let number = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
    let numbers: Vec<u32> = version.split('.').map_while(number).collect();
    if numbers.as_slice() < &OLDEST[..] {
        return Err(CliError::OldSolver { version: version.to_owned() });
    }
    Ok(())
}

/// A policy that matches the requests that the expression describes, as far as they are possible.
fn requests(never: &str, policy: &Policy) -> Result<Policy, CliError> {
    let stated = format!("@id(\"never\")\npermit (principal, action, resource)\nwhen {{\n{never}\n}}");
    // The expression begins in line 4.
    let within = |mut error: InvalidPolicyError| {
        for problem in &mut error.problems {
            problem.line = problem.line.saturating_sub(3).max(1);
        }
        error
    };
    let alone = Policy::load("--never", &format!("{stated};")).map_err(within)?;
    if alone.ids().count() != 1 {
        return Err(CliError::NotAnExpression);
    }
    let list = |names: &[&str]| format!("{names:?}");
    let times = [
        ("context", "now"),
        ("context", "deletedAt"),
        ("resource", "replicatedAt"),
        ("resource", "pushedAt"),
        ("resource", "lastPulledAt"),
    ];
    // Cedar has no other years in the notation in which `policy` passes times.
    let times = times.map(|(of, name)| {
        let [from, to] = ["0000-01-01", "9999-12-31"].map(|day| format!("datetime(\"{day}\")"));
        format!("when {{ if {of} has {name} then {from} <= {of}.{name} && {of}.{name} < {to} else true }}\n")
    });
    let facts = FACTS.replace("TIMES", &times.concat()).replace("CAUSES", &list(&Cause::NAMES));
    let facts = facts.replace("KINDS", &list(&ManifestKind::ALL.map(ManifestKind::as_str)));
    let mut conditions = BTreeSet::new();
    for named in alone.named_values().chain(policy.named_values()) {
        conditions.extend(facts_about(named));
    }
    let conditions: String = conditions.into_iter().map(|condition| format!("when {{ {condition} }}\n")).collect();
    Ok(Policy::load("--never", &format!("{stated}{facts}{conditions};")).map_err(within)?)
}

/// What holds of a value that a policy names, in every request.
fn facts_about(named: policy::NamedValue) -> Vec<String> {
    use policy::NamedValue::{Registry as OfRegistry, Tag, TagPattern};
    match named {
        Tag(tag) => {
            let in_line = format!("resource.tagLine like \"* {tag} *\"");
            vec![
                format!("resource.tags.contains(\"{tag}\") == ({in_line})"),
                format!("if context has tag && context.tag == \"{tag}\" then {in_line} else true"),
            ]
        }
        TagPattern { pattern, in_line } => {
            let in_line = format!("resource.tagLine like \"{in_line}\"");
            vec![format!("if context has tag && context.tag like \"{pattern}\" then {in_line} else true")]
        }
        OfRegistry(name) => {
            let Ok(registry) = name.parse::<Registry>() else { return Vec::new() };
            let (account, region) = (registry.account(), registry.region());
            let facts = ["principal", "resource.registry"].map(|of| {
                let same = format!("{of}.account == \"{account}\" && {of}.region == \"{region}\"");
                format!("({of} == Registry::\"{name}\") == ({same})")
            });
            facts.into()
        }
    }
}

impl Counterexample {
    fn of(action: String, Env { request, entities }: &Env, policy: &Policy, never: &str) -> Self {
        let response = Authorizer::new().is_authorized(request, policy.set(), entities);
        let policies = response.diagnostics().reason().map(ToString::to_string).collect();
        let errors = response.diagnostics().errors().map(ToString::to_string).collect();
        let text = format!("{never}\n{}", policy.set());
        let mut values = values(request, entities);
        values.retain(|(path, _)| {
            let name = path.rsplit('.').next().unwrap_or_default();
            text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name)
        });
        Self { action, policies, errors, values }
    }
}

/// Every attribute of a request, with its value.
fn values(request: &Request, entities: &Entities) -> Vec<(String, String)> {
    let mut values = Vec::new();
    let mut of_entity = |path: &str, uid: Option<&EntityUid>| {
        let Some(entity) = uid.and_then(|uid| entities.get(uid)) else { return };
        let names: Vec<_> = entity.as_ref().attrs().map(|(name, _)| name.to_string()).collect();
        values.extend(names.iter().filter_map(|name| {
            let value = entity.attr(name)?.ok()?;
            Some((format!("{path}.{name}"), value.to_string()))
        }));
    };
    of_entity("principal", request.principal());
    of_entity("resource", request.resource());
    if let Some(context) = request.context() {
        let names = context.to_json_value().ok();
        let names = names.as_ref().and_then(|value| value.as_object()).into_iter().flatten();
        values.extend(names.filter_map(|(name, _)| Some((format!("context.{name}"), context.get(name)?.to_string()))));
    }
    values
}

impl Print for Proof {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        let actions: Vec<_> = self.actions.iter().map(String::as_str).collect();
        if !actions.is_empty() {
            let sign = coloured(AnsiColor::Green, "✓ proven");
            let line = format!("{sign}: never permitted for {}: {}", actions.join(", "), self.never);
            _ = writeln!(text, "{}", filled(&line, ["", "    "], width));
        }
        for example in &self.counterexamples {
            let sign = coloured(AnsiColor::Red, "✗ not so");
            let by: Vec<_> = example.policies.iter().map(String::as_str).collect();
            let line = format!("{sign}: {} is permitted by {}, as for this request:", example.action, by.join(", "));
            _ = writeln!(text, "{}", filled(&line, ["", "    "], width));
            for (path, value) in &example.values {
                let line = format!("{} == {value}", styled(HEADING, path));
                _ = writeln!(text, "{}", filled(&line, ["    ", "        "], width));
            }
            for error in &example.errors {
                let line = format!("Cedar permits it, ecr-lineage does not, because a policy fails: {error}");
                _ = writeln!(text, "{}", filled(&line, ["    ", "    "], width));
            }
        }
        text
    }
}
