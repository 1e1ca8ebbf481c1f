//! Resource policies: of a registry, which says what principals of other accounts may do (R5), and of a repository,
//! which is stored.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-permissions.html>: "enforces the registry policy in
//! all ECR requests". A registry policy with a condition that the simulator cannot evaluate is refused, rather than
//! guessed at, and the message says that it is the simulator that refuses it (P2).

mod condition;

use std::collections::BTreeMap;

use domain::image::Registry;
use serde::Deserialize;

use crate::world::World;
use condition::{Caller, Condition, Scalar, Unsupported};

/// A parsed policy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Policy {
    version: Option<String>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    id: Option<String>,
    statement: OneOrMany<Statement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    #[expect(dead_code, reason = "accepted, and means nothing")]
    sid: Option<String>,
    effect: Effect,
    principal: Option<Principal>,
    not_principal: Option<Principal>,
    action: Option<OneOrMany<String>>,
    not_action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    not_resource: Option<OneOrMany<String>>,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, OneOrMany<Scalar>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Principal {
    /// `*`.
    Anyone(String),
    Named(PrincipalNames),
}

/// Only principals of accounts call the simulator: a service, or a user of an identity provider, never does (P3).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PrincipalNames {
    #[serde(rename = "AWS")]
    aws: Option<OneOrMany<String>>,
    service: Option<OneOrMany<String>>,
    federated: Option<OneOrMany<String>>,
    canonical_user: Option<OneOrMany<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    fn all(&self) -> &[T] {
        match self {
            Self::Many(all) => all,
            Self::One(one) => std::slice::from_ref(one),
        }
    }
}

/// Why a policy is refused; each is the constraint of an error message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    /// In AWS's words, which do not say what is wrong.
    #[error("Invalid {0} policy provided")]
    Invalid(&'static str),
    /// In the simulator's.
    #[error("the simulator cannot evaluate {0}; AWS may accept it")]
    Unsupported(#[from] Unsupported),
}

/// The versions of the policy language.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html>
const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];

impl Policy {
    /// Parses the policy of a registry, which names resources, and whose conditions are evaluated.
    pub(crate) fn of_registry(text: &str) -> Result<Self, PolicyError> {
        let policy = Self::read(text).filter(|policy| {
            let named = |statement: &Statement| statement.resource.is_some() != statement.not_resource.is_some();
            policy.statement.all().iter().all(named)
        });
        let policy = policy.ok_or(PolicyError::Invalid("registry"))?;
        policy.statement.all().iter().try_for_each(|statement| statement.conditions().map(drop))?;
        Ok(policy)
    }

    /// Checks the policy of a repository (P1).
    pub(crate) fn check_of_repository(text: &str) -> Result<(), PolicyError> {
        Self::read(text).map(drop).ok_or(PolicyError::Invalid("repository"))
    }

    fn read(text: &str) -> Option<Self> {
        let policy: Self = serde_json::from_str(text).ok()?;
        let version = policy.version.as_deref().is_none_or(|version| VERSIONS.contains(&version));
        let statements = policy.statement.all();
        (version && !statements.is_empty() && statements.iter().all(Statement::is_valid)).then_some(policy)
    }

    /// Whether the policy allows an action of a caller on a resource: no statement denies it, and at least one allows
    /// it.
    fn allows(&self, caller: &Caller<'_>, action: &str, resource: &str) -> bool {
        let statements = self.statement.all().iter().filter(|statement| statement.covers(caller, action, resource));
        let effects: Vec<_> = statements.map(|statement| statement.effect).collect();
        effects.contains(&Effect::Allow) && !effects.contains(&Effect::Deny)
    }
}

impl World {
    /// Whether a registry's policy allows an action of another account's caller; without a policy nothing is allowed.
    pub(crate) fn policy_allows(
        &self,
        registry: &Registry,
        caller: &str,
        account: &str,
        action: &str,
        arn: &str,
    ) -> bool {
        let policy = self.registry(registry).and_then(|registry| registry.policy.as_deref());
        let policy = policy.and_then(|text| Policy::of_registry(text).ok());
        policy.is_some_and(|policy| policy.allows(&Caller::new(caller, account, registry.region()), action, arn))
    }
}

impl Statement {
    fn is_valid(&self) -> bool {
        let principal = self.principal.as_ref().xor(self.not_principal.as_ref());
        let action = self.action.as_ref().xor(self.not_action.as_ref());
        let is_action = |name: &String| name == "*" || name.split_once(':').is_some_and(|(_, name)| !name.is_empty());
        principal.is_some_and(Principal::is_valid)
            && action.is_some_and(|action| !action.all().is_empty() && action.all().iter().all(is_action))
            && !(self.resource.is_some() && self.not_resource.is_some())
    }

    fn conditions(&self) -> Result<Vec<Condition>, Unsupported> {
        let all = self.condition.iter().flat_map(|(operator, keys)| keys.iter().map(move |key| (operator, key)));
        all.map(|(operator, (key, values))| Condition::read(operator, key, values.all())).collect()
    }

    fn covers(&self, caller: &Caller<'_>, action: &str, resource: &str) -> bool {
        let principal = match (&self.principal, &self.not_principal) {
            (Some(principal), _) => principal.includes(caller),
            (None, Some(principal)) => !principal.includes(caller),
            (None, None) => false,
        };
        principal
            && names(self.action.as_ref(), self.not_action.as_ref(), &action.to_lowercase(), true)
            && names(self.resource.as_ref(), self.not_resource.as_ref(), resource, false)
            // A condition that cannot be evaluated was refused when the policy was put.
            && self.conditions().is_ok_and(|conditions| conditions.iter().all(|condition| condition.holds(caller)))
    }
}

/// Whether a list of patterns, or the opposite list, names something.
fn names(patterns: Option<&OneOrMany<String>>, not: Option<&OneOrMany<String>>, what: &str, ignore_case: bool) -> bool {
    let matches = |patterns: &OneOrMany<String>| {
        let one =
            |pattern: &String| if ignore_case { like(&pattern.to_lowercase(), what) } else { like(pattern, what) };
        patterns.all().iter().any(one)
    };
    match (patterns, not) {
        (Some(patterns), _) => matches(patterns),
        (None, Some(patterns)) => !matches(patterns),
        (None, None) => false,
    }
}

/// Whether a text matches a pattern in which `*` stands for any characters and `?` for one.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
///
/// It returns only to the last `*`, so that the steps are at most the product of the two lengths.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut done, mut star) = (0, 0, None);
    while let Some(character) = text.get(done) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, done));
                at += 1;
            }
            Some(one) if *one == '?' || one == character => {
                at += 1;
                done += 1;
            }
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                (at, done) = (place + 1, taken + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

impl Principal {
    fn is_valid(&self) -> bool {
        let names = match self {
            Self::Anyone(star) => return star == "*",
            Self::Named(names) => names,
        };
        let PrincipalNames { aws, service, federated, canonical_user } = names;
        let others = [service, federated, canonical_user].into_iter().flatten();
        let accounts = aws.as_ref().is_none_or(|aws| aws.all().iter().all(|name| is_principal(name)));
        let count = aws.iter().chain(others).map(|list| list.all().len()).sum::<usize>();
        accounts && count > 0
    }

    fn includes(&self, caller: &Caller<'_>) -> bool {
        let names = match self {
            Self::Anyone(_) => return true,
            Self::Named(names) => names.aws.as_ref().map(OneOrMany::all).unwrap_or_default(),
        };
        names.iter().any(|name| {
            let whole_account = name.split(':').nth(4) == Some(caller.account) && name.ends_with(":root");
            name == "*" || name == caller.account || name == caller.arn || *name == caller.principal || whole_account
        })
    }
}

/// `*`, an account, or the ARN of an account's principal; `arn:aws:iam::111122223333:*` is none:
/// github.com/hashicorp/terraform-provider-aws/issues/3924.
fn is_principal(name: &str) -> bool {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<_> = name.splitn(6, ':').collect();
    let arn = matches!(parts.as_slice(), ["arn", _, "iam" | "sts", "", account, resource]
        if is_account(account) && (*resource == "root" || resource.contains('/')));
    name == "*" || is_account(name) || arn
}

#[cfg(test)]
mod tests;
