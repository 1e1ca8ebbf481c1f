//! Whether the policy of a queue or a topic lets a service of AWS send.

use serde_json::Value;

/// A resource policy, as far as it concerns services that state their source (`aws:SourceArn`). Other conditions of
/// statements that allow are taken to be met, and those of statements that deny not to be.
#[derive(Debug, Default)]
pub(super) struct ResourcePolicy(Value);

/// A call of a service on behalf of a resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServiceCall<'a> {
    /// The service principal, such as `sns.amazonaws.com`.
    pub(super) service: &'a str,
    /// The IAM action.
    pub(super) action: &'a str,
    /// The ARN of the resource.
    pub(super) source: &'a str,
}

impl ResourcePolicy {
    /// The policy with this text. A resource without a policy, or with one that cannot be read, admits no service.
    pub(super) fn parse(text: Option<&str>) -> Self {
        Self(text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
    }

    /// Whether a statement allows the call, and none denies it.
    pub(super) fn admits(&self, call: ServiceCall<'_>) -> bool {
        let applies = |effect| {
            let statements = each(self.0.get("Statement")).filter(|statement| statement.get("Effect") == Some(&effect));
            let mut concerned = statements.filter(|statement| concerns(statement, call));
            concerned.any(|statement| are_met(statement.get("Condition"), call.source, effect == "Allow"))
        };
        applies(Value::from("Allow")) && !applies(Value::from("Deny"))
    }
}

/// Whether a statement names the service and the action.
fn concerns(statement: &Value, call: ServiceCall<'_>) -> bool {
    let principal = statement.get("Principal");
    let everybody = each(principal).chain(each(principal.and_then(|principal| principal.get("AWS"))));
    let services = each(principal.and_then(|principal| principal.get("Service")));
    let is_named =
        everybody.into_iter().any(|value| value == "*") || services.into_iter().any(|value| value == call.service);
    let actions = each(statement.get("Action")).filter_map(Value::as_str);
    is_named && actions.into_iter().any(|action| fits(&action.to_lowercase(), &call.action.to_lowercase()))
}

/// Whether the conditions of a statement are met by a source. Conditions on other keys count as `others`.
fn are_met(conditions: Option<&Value>, source: &str, others: bool) -> bool {
    let mut keys = conditions.and_then(Value::as_object).into_iter().flatten().flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, values)| (operator.as_str(), key, values))
    });
    keys.all(|(operator, key, values)| {
        if !key.eq_ignore_ascii_case("aws:SourceArn") {
            return others;
        }
        let fits = if operator.starts_with("Arn") { fits_arn } else { fits };
        let found = each(Some(values)).filter_map(Value::as_str).any(|pattern| fits(pattern, source));
        found != operator.contains("Not")
    })
}

/// Whether a text fits a pattern, in which `*` stands for any characters.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, pattern)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.any(|at| text.get(at..).is_some_and(|rest| fits(pattern, rest)))
}

/// Whether an ARN fits a pattern of `ArnLike`: part by part.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
fn fits_arn(pattern: &str, arn: &str) -> bool {
    let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.splitn(6, ':').collect(), arn.splitn(6, ':').collect());
    patterns.len() == parts.len() && patterns.iter().zip(parts).all(|(pattern, part)| fits(pattern, part))
}

/// A value, or each of several.
pub(super) fn each(value: Option<&Value>) -> std::slice::Iter<'_, Value> {
    match value {
        Some(Value::Array(values)) => values.iter(),
        Some(value) => std::slice::from_ref(value).iter(),
        None => [].iter(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn admits(policy: &Value, source: &str) -> bool {
        let call = ServiceCall { service: "sns.amazonaws.com", action: "sqs:SendMessage", source };
        ResourcePolicy(policy.clone()).admits(call)
    }

    /// As in infra/hub.yaml.
    fn topics() -> Value {
        json!({
            "Effect": "Allow", "Action": "sqs:SendMessage",
            "Principal": {"Service": ["sns.amazonaws.com", "sns.eu-south-1.amazonaws.com"]},
            "Condition": {
                "ArnLike": {"aws:SourceArn": ["arn:*:sns:*:111122223333:*", "arn:*:sns:*:444455556666:*"]},
                "StringLike": {"aws:SourceArn": "arn:aws:sns:*:*:ecr-lineage-events"},
            },
        })
    }

    #[test]
    fn the_policy_of_a_queue_says_which_topics_may_send() {
        let encrypted = json!({
            "Effect": "Deny", "Principal": "*", "Action": "sqs:*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        });
        let policy = json!({"Statement": [topics(), encrypted]});
        assert!(admits(&policy, "arn:aws:sns:eu-west-1:111122223333:ecr-lineage-events"));
        assert!(admits(&policy, "arn:aws:sns:us-east-1:444455556666:ecr-lineage-events"));
        assert!(!admits(&policy, "arn:aws:sns:eu-west-1:777788889999:ecr-lineage-events"));
        assert!(!admits(&policy, "arn:aws:sns:eu-west-1:111122223333:other-events"));
        // `*` in one part of an ARN does not reach into the next.
        assert!(!admits(&policy, "arn:aws:sns:eu-west-1:777788889999:111122223333:ecr-lineage-events"));
        let denied =
            json!({"Statement": [topics(), {"Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage"}]});
        assert!(!admits(&denied, "arn:aws:sns:eu-west-1:111122223333:ecr-lineage-events"));
        assert!(!admits(&Value::Null, "arn:aws:sns:eu-west-1:111122223333:ecr-lineage-events"));
    }

    #[test]
    fn only_the_named_service_and_action_are_admitted() {
        let policy = ResourcePolicy(json!({"Statement": topics()}));
        let source = "arn:aws:sns:eu-south-1:111122223333:ecr-lineage-events";
        let call = ServiceCall { service: "sns.eu-south-1.amazonaws.com", action: "sqs:SendMessage", source };
        assert!(policy.admits(call));
        assert!(!policy.admits(ServiceCall { service: "sns.ca-west-1.amazonaws.com", ..call }));
        assert!(!policy.admits(ServiceCall { action: "sqs:DeleteMessage", ..call }));
        assert!(!ResourcePolicy::parse(Some("{")).admits(call));
    }
}
