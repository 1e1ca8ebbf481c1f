#![doc = include_str!("../README.md")]

mod annotation;
mod problem;
mod values;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cedar_policy::{
    Authorizer, Decision, Effect, PolicyId, PolicySet, Schema, ValidationError, ValidationMode, ValidationResult,
    ValidationWarning, Validator,
};
use domain::policy::{Action, PolicyAnswer, PolicyQuestion};
use jiff::SignedDuration;

use crate::{
    annotation::Terms,
    values::{Attributes, Found},
    vocabulary::Vocabulary,
};
pub use crate::{
    problem::{InvalidPolicyError, PolicyProblem},
    values::NamedValue,
};

/// The policy that permits nothing, used if no other is configured.
pub const KEEP_EVERYTHING: &str = include_str!("../../../infra/policies/keep-everything.cedar");

/// The grace period of a policy without `@grace`: 24 hours.
pub const DEFAULT_GRACE: SignedDuration = SignedDuration::from_hours(24);

/// A checked set of policies, ready to be evaluated.
#[derive(Debug)]
pub struct Policy {
    name: String,
    text: String,
    vocabulary: Vocabulary,
    /// Each policy has the id of its annotation, so that Cedar uses it in every answer and error.
    policies: PolicySet,
    /// The terms of each permit, by id.
    permits: BTreeMap<String, Terms>,
    warnings: Vec<PolicyProblem>,
    authorizer: Authorizer,
}

impl Policy {
    /// Parses the text of one or more policies and checks it. The name, usually that of a file, is for messages only.
    ///
    /// # Errors
    /// All problems of the text: syntax errors if there are any; otherwise violations of the schema, values that no
    /// request has, conditions that can never be true, and annotations that are missing, unknown or misplaced.
    pub fn load(name: &str, text: &str) -> Result<Self, InvalidPolicyError> {
        let invalid = |mut problems: Vec<PolicyProblem>| {
            problems.sort();
            problems.dedup();
            InvalidPolicyError { name: name.to_owned(), problems }
        };
        let parsed: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| {
            invalid(errors.iter().map(|error| PolicyProblem::of(text, error)).collect())
        })?;
        let vocabulary = Vocabulary::load().map_err(|error| {
            invalid(vec![PolicyProblem::at(
                text,
                0,
                format!("no policy can be checked, for the schema is wrong: {error}"),
            )])
        })?;
        let (mut problems, warnings) = find_mistakes(text, &parsed, &vocabulary);
        let named = name_policies(text, &parsed, &mut problems);
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        let permits = named
            .iter()
            .filter(|(policy, _)| policy.effect() == Effect::Permit)
            .map(|(policy, terms)| (policy.id().to_string(), *terms))
            .collect();
        let policies = PolicySet::from_policies(named.into_iter().map(|(policy, _)| policy))
            .map_err(|error| invalid(vec![PolicyProblem::at(text, 0, error.to_string())]))?;
        let (name, text) = (name.to_owned(), text.to_owned());
        Ok(Self { name, text, vocabulary, policies, permits, warnings, authorizer: Authorizer::new() })
    }

    /// The name under which it was loaded.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text from which it was loaded.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.vocabulary.schema
    }

    /// The policies in Cedar's form, each with its id.
    #[must_use]
    pub fn set(&self) -> &PolicySet {
        &self.policies
    }

    /// The tags and registries that the policies name.
    pub fn named_values(&self) -> impl Iterator<Item = NamedValue> {
        self.policies.policies().flat_map(|policy| values::named(&policy.as_ref().condition()))
    }

    /// The ids of the policies.
    pub fn ids(&self) -> impl Iterator<Item = &PolicyId> {
        self.policies.policies().map(cedar_policy::Policy::id)
    }

    /// What is hardly meant as it is written, in the order of the text. The policy can be used all the same.
    #[must_use]
    pub fn warnings(&self) -> &[PolicyProblem] {
        &self.warnings
    }

    /// Decides whether an action on a replica is permitted, by which policies and on what terms.
    #[must_use]
    pub fn ask(&self, action: Action, question: &PolicyQuestion<'_>) -> PolicyAnswer {
        let (request, entities) = match self.vocabulary.put(action, question) {
            Ok(put) => put,
            Err(error) => return refuse(BTreeSet::new(), vec![error.to_string()]),
        };
        let response = self.authorizer.is_authorized(&request, &self.policies, &entities);
        let policies: BTreeSet<_> = response.diagnostics().reason().map(ToString::to_string).collect();
        // Cedar ignores a policy that fails to evaluate. Ignoring a forbid would permit the action.
        let mut errors: Vec<_> = response.diagnostics().errors().map(ToString::to_string).collect();
        errors.sort();
        match response.decision() {
            Decision::Deny => refuse(policies, errors),
            // The errors decided, not the permits, so no policy is named.
            Decision::Allow if !errors.is_empty() => refuse(BTreeSet::new(), errors),
            Decision::Allow => {
                let terms = || policies.iter().map(|id| self.permits.get(id).copied().unwrap_or_default());
                let grace = terms().map(|terms| terms.grace).max().unwrap_or(DEFAULT_GRACE);
                let approval = terms().any(|terms| terms.approval);
                let replica_only_tags = !policies.is_empty() && terms().all(|terms| terms.replica_only_tags);
                PolicyAnswer { permitted: true, errors, grace, approval, replica_only_tags, policies }
            }
        }
    }
}

fn refuse(policies: BTreeSet<String>, errors: Vec<String>) -> PolicyAnswer {
    PolicyAnswer { permitted: false, policies, errors, grace: DEFAULT_GRACE, approval: false, replica_only_tags: false }
}

/// The problems that Cedar finds, those that only this crate rejects, and the warnings.
fn find_mistakes(text: &str, parsed: &PolicySet, vocabulary: &Vocabulary) -> (Vec<PolicyProblem>, Vec<PolicyProblem>) {
    if parsed.is_empty() {
        let message = "the file has no policy; keep-everything.cedar is one that permits nothing";
        return (vec![PolicyProblem::at(text, 0, message)], Vec::new());
    }
    let checked = Validator::new(vocabulary.schema.clone()).validate(parsed, ValidationMode::Strict);
    let attributes = Attributes::of(&vocabulary.schema);
    let mut wrong: HashSet<_> = checked.validation_errors().map(|error| error.policy_id().clone()).collect();
    let mut found = Found::default();
    for policy in parsed.policies() {
        let before = found.errors.len();
        values::find(text, start(policy), &policy.as_ref().condition(), &attributes, &mut found);
        if found.errors.len() > before {
            wrong.insert(policy.id().clone());
        }
    }
    let errors = checked.validation_errors().map(|error| {
        let problem = PolicyProblem::of(text, error);
        match error {
            // Cedar suggests a name by its letters alone: `archive` for `remove`.
            ValidationError::UnrecognizedActionId(_) => {
                problem.suggest("the actions are `delete`, `archive` and `untag`")
            }
            ValidationError::UnsafeAttributeAccess(_) => suggest_attribute(problem, &attributes),
            _ => problem,
        }
    });
    let templates = parsed.templates().map(|template| {
        let slots: Vec<_> = template.slots().map(|slot| format!("`{slot}`")).collect();
        let message = format!("{} makes the policy a template, and nothing fills it", slots.join(" and "));
        let start = template.as_ref().loc().map_or(0, |place| place.span.offset());
        PolicyProblem::at(text, start, message).suggest("write the registry or the replica that is meant")
    });
    let problems = errors.chain(found.errors).chain(find_impossible(text, &checked, &wrong)).chain(templates);
    found.warnings.sort();
    found.warnings.dedup();
    (problems.collect(), found.warnings)
}

/// Only Cedar's internal form of a policy, which is not part of its stable API, has positions.
fn start(policy: &cedar_policy::Policy) -> usize {
    policy.as_ref().loc().map_or(0, |place| place.span.offset())
}

/// The name and its owner are in Cedar's message: "attribute `repo` on entity type `Replica` not found".
fn suggest_attribute(problem: PolicyProblem, attributes: &Attributes) -> PolicyProblem {
    let mut quoted = problem.message.split('`').skip(1).step_by(2);
    let name = quoted.next().unwrap_or_default();
    let suggestion = attributes.suggest(quoted.next().unwrap_or("context"), name);
    problem.suggest(suggestion)
}

/// Problems from Cedar's warnings: a policy that can never apply is a mistake of its author, who believes that it does.
///
/// Only the first cause is reported: a policy with an error, or one that applies to no action, is also reported as
/// impossible.
fn find_impossible<'a>(
    text: &'a str,
    checked: &'a ValidationResult,
    wrong: &'a HashSet<PolicyId>,
) -> impl Iterator<Item = PolicyProblem> + 'a {
    let is_scope = |warning: &&ValidationWarning| matches!(warning, ValidationWarning::InvalidActionApplication(_));
    let out_of_scope: HashSet<_> =
        checked.validation_warnings().filter(is_scope).map(ValidationWarning::policy_id).collect();
    checked.validation_warnings().filter_map(move |warning| {
        let id = warning.policy_id();
        let problem = PolicyProblem::of(text, warning);
        match warning {
            ValidationWarning::ImpossiblePolicy(_) => (!wrong.contains(id) && !out_of_scope.contains(id))
                .then(|| problem.suggest("its conditions exclude each other")),
            ValidationWarning::InvalidActionApplication(_) => (!wrong.contains(id))
                .then(|| problem.suggest("the principal is always a `Registry` and the resource a `Replica`")),
            _ => Some(problem),
        }
    })
}

/// Reads the annotations and gives each policy the id that they contain.
fn name_policies(
    text: &str,
    parsed: &PolicySet,
    problems: &mut Vec<PolicyProblem>,
) -> Vec<(cedar_policy::Policy, Terms)> {
    let mut policies: Vec<_> = parsed.policies().collect();
    policies.sort_by_key(|policy| start(policy));
    let mut named = Vec::new();
    let mut taken = BTreeMap::new();
    for policy in policies {
        let start = start(policy);
        let annotations = policy.as_ref().annotations().map(|(name, annotation)| {
            let offset = annotation.loc.as_ref().map_or(start, |place| place.span.offset());
            (name.as_ref(), annotation.val.as_str(), offset)
        });
        let read = annotation::read(text, start, policy.effect(), annotations, problems);
        let Some((id, offset)) = read.id else { continue };
        if let Some(first) = taken.insert(id.clone(), offset) {
            let first = problem::position(text, first).0;
            let message = format!("the id `{id}` is taken by the policy in line {first}");
            problems.push(PolicyProblem::at(text, offset, message).suggest("give each policy an id of its own"));
        }
        named.push((policy.new_id(PolicyId::new(id)), read.terms));
    }
    named
}

#[cfg(test)]
mod tests;
