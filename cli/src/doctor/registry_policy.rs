//! The check whether a registry's policy denies what the hub's roles do.

use aws::deployment::registry;
use serde_json::Value;

use super::{
    Finding,
    registry::CheckedRegistry,
    resource_policy::{each, fits},
};

/// The actions of the roles of infra/registry.yaml.
const ACTIONS: [&str; 8] = [
    "ecr:BatchDeleteImage",
    "ecr:DescribeImageReplicationStatus",
    "ecr:DescribeImages",
    "ecr:DescribeRegistry",
    "ecr:DescribeRepositories",
    "ecr:GetLifecyclePolicy",
    "ecr:GetRepositoryPolicy",
    "ecr:UpdateImageStorageClass",
];

/// Checks whether the registry's policy denies an action of the hub's roles. A policy of scope V1 is enforced for
/// replication and pull-through cache alone.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-permissions.html>
pub(super) async fn check_registry_policy(checked: &CheckedRegistry<'_>) -> Option<Finding> {
    let policy = match registry::registry_policy(&checked.sdk).await {
        Ok(policy) => serde_json::from_str(&policy?).unwrap_or_default(),
        Err(failure) => return Some(checked.unknown("the registry policy could not be read", &failure)),
    };
    let denied = denied_actions(&policy);
    let first = denied.first()?;
    match registry::registry_policy_scope(&checked.sdk).await {
        Ok(scope) if scope == "V1" => None,
        Ok(_) => {
            let what = format!(
                "the registry policy denies {}: where its principals and conditions include the hub's roles, the hub \
                 can neither read nor delete",
                denied.join(", ")
            );
            let fix = format!(
                "see `aws ecr get-registry-policy --region {}`, and except the roles ecr-lineage-read and \
                 ecr-lineage-delete from the statement that denies {first}",
                checked.registry.region()
            );
            Some(Finding::notice(&checked.place, what, &fix))
        }
        Err(failure) => Some(checked.unknown("the scope of the registry policy could not be read", &failure)),
    }
}

/// The actions of the hub's roles that some statement denies, to whomever.
fn denied_actions(policy: &Value) -> Vec<&'static str> {
    let denials = || each(policy.get("Statement")).filter(|statement| statement.get("Effect") == Some(&"Deny".into()));
    let named = |actions: Option<&Value>, action: &str| {
        let mut patterns = each(actions).filter_map(Value::as_str);
        patterns.any(|pattern| fits(&pattern.to_lowercase(), &action.to_lowercase()))
    };
    let denies = |statement: &Value, action: &str| match statement.get("NotAction") {
        Some(others) => !named(Some(others), action),
        None => named(statement.get("Action"), action),
    };
    ACTIONS.into_iter().filter(|action| denials().any(|statement| denies(statement, action))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_denied_actions_of_the_roles_are_reported() {
        let policy = json!({"Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "ecr:*"},
            {"Effect": "Deny", "Principal": "*", "Action": ["ecr:BatchDelete*", "ecr:PutImage"]},
        ]});
        assert_eq!(denied_actions(&policy), ["ecr:BatchDeleteImage"]);
        let policy =
            json!({"Statement": {"Effect": "Deny", "Principal": "*", "NotAction": ["ecr:Describe*", "ecr:Get*"]}});
        assert_eq!(denied_actions(&policy), ["ecr:BatchDeleteImage", "ecr:UpdateImageStorageClass"]);
        assert_eq!(denied_actions(&Value::Null), [""; 0]);
    }
}
