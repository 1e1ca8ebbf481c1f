//! The registry permissions policy: what principals of other accounts may do (R5).
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-permissions.html>: "enforces the registry policy in
//! all ECR requests". The simulator rejects a policy that it cannot evaluate, rather than guess.

use domain::{controls::wildcard, image::Registry};
use serde::Deserialize;
use serde_json::Value;

use crate::world::World;

/// A parsed policy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RegistryPolicy {
    #[expect(dead_code, reason = "accepted, and the same in every policy")]
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
    principal: Principal,
    action: OneOrMany<String>,
    resource: OneOrMany<String>,
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
    Named {
        #[serde(rename = "AWS")]
        aws: OneOrMany<String>,
    },
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

impl RegistryPolicy {
    /// Parses a policy; the error is a message for the caller. Elements that the simulator cannot evaluate, such as
    /// conditions, are errors.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// Whether the policy allows an action of a caller on a resource: no statement denies it, and at least one allows
    /// it.
    fn allows(&self, caller: &str, account: &str, action: &str, resource: &str) -> bool {
        let matching = |statement: &&Statement| {
            statement.principal.includes(caller, account)
                && statement
                    .action
                    .all()
                    .iter()
                    .any(|pattern| wildcard(&pattern.to_lowercase(), &action.to_lowercase()))
                && statement.resource.all().iter().any(|pattern| wildcard(pattern, resource))
        };
        let effects: Vec<_> = self.statement.all().iter().filter(matching).map(|statement| statement.effect).collect();
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
        let policy = policy.and_then(|text| RegistryPolicy::read(text).ok());
        policy.is_some_and(|policy| policy.allows(caller, account, action, arn))
    }
}

impl Principal {
    fn includes(&self, caller: &str, account: &str) -> bool {
        let names = match self {
            Self::Anyone(star) => return star == "*",
            Self::Named { aws } => aws.all(),
        };
        names.iter().any(|name| {
            let whole_account = name.split(':').nth(4) == Some(account) && name.ends_with(":root");
            name == "*" || name == account || name == caller || whole_account
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "arn:aws:iam::111122223333:root";

    fn allows(policy: &str, action: &str) -> bool {
        let resource = "arn:aws:ecr:eu-west-1:444455556666:repository/team/app";
        RegistryPolicy::read(policy).unwrap().allows(CALLER, "111122223333", action, resource)
    }

    #[test]
    fn an_account_is_allowed_what_the_policy_says_and_no_more() {
        let policy = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "x", "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": ["ecr:ReplicateImage", "ecr:Create*"],
            "Resource": "arn:aws:ecr:eu-west-1:444455556666:repository/team/*"}]}"#;
        assert!(allows(policy, "ecr:ReplicateImage"));
        assert!(allows(policy, "ecr:CreateRepository"));
        assert!(!allows(policy, "ecr:BatchDeleteImage"));
        assert!(!allows(&policy.replace("111122223333", "999900001111"), "ecr:ReplicateImage"));
        assert!(!allows(&policy.replace("team/*", "other/*"), "ecr:ReplicateImage"));
    }

    #[test]
    fn a_deny_overrides_an_allow() {
        let policy = r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"},
            {"Effect": "Deny", "Principal": {"AWS": ["111122223333"]}, "Action": "ecr:BatchDeleteImage", "Resource": "*"}]}"#;
        assert!(allows(policy, "ecr:DescribeImages"));
        assert!(!allows(policy, "ecr:BatchDeleteImage"));
    }

    #[test]
    fn a_policy_that_cannot_be_evaluated_is_rejected() {
        let policy = r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*",
            "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}]}"#;
        assert!(RegistryPolicy::read(policy).is_err());
        assert!(RegistryPolicy::read("not json").is_err());
    }
}
