//! Conditions of policies: those that AWS's examples for ECR use, and those around them (P2).
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>

use serde::Deserialize;

use super::like;

/// A value of a condition; numbers and truth values may be written without quotes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Text(String),
    Bool(bool),
    Number(serde_json::Number),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// What the simulator cannot evaluate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsupported {
    #[error("the condition operator {0}")]
    Operator(String),
    #[error("the condition key {0}")]
    Key(String),
}

/// Who calls, as conditions see it.
#[derive(Debug)]
pub(super) struct Caller<'a> {
    pub(super) arn: &'a str,
    pub(super) account: &'a str,
    /// The user, or the role of a session.
    pub(super) principal: String,
    region: &'a str,
}

impl<'a> Caller<'a> {
    pub(super) fn new(arn: &'a str, account: &'a str, region: &'a str) -> Self {
        let role = arn.split_once(":assumed-role/").and_then(|(start, session)| {
            let (role, _) = session.rsplit_once('/')?;
            Some(format!("{}:role/{role}", start.replacen(":sts:", ":iam:", 1)))
        });
        Self { arn, account, principal: role.unwrap_or_else(|| arn.to_owned()), region }
    }
}

/// A condition key, in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    PrincipalArn,
    PrincipalAccount,
    PrincipalOrgId,
    PrincipalIsService,
    RequestedRegion,
    SecureTransport,
    /// Only calls of AWS services have them, and no service calls the simulator.
    SourceAccount,
    SourceArn,
    SourceOrgId,
}

const KEYS: [(&str, Key); 9] = [
    ("aws:principalarn", Key::PrincipalArn),
    ("aws:principalaccount", Key::PrincipalAccount),
    ("aws:principalorgid", Key::PrincipalOrgId),
    ("aws:principalisawsservice", Key::PrincipalIsService),
    ("aws:requestedregion", Key::RequestedRegion),
    ("aws:securetransport", Key::SecureTransport),
    ("aws:sourceaccount", Key::SourceAccount),
    ("aws:sourcearn", Key::SourceArn),
    ("aws:sourceorgid", Key::SourceOrgId),
];

/// How two texts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equals,
    EqualsIgnoreCase,
    Like,
    ArnLike,
    Null,
}

const OPERATORS: [(&str, Comparison, bool); 12] = [
    ("StringEquals", Comparison::Equals, false),
    ("StringNotEquals", Comparison::Equals, true),
    ("StringEqualsIgnoreCase", Comparison::EqualsIgnoreCase, false),
    ("StringNotEqualsIgnoreCase", Comparison::EqualsIgnoreCase, true),
    ("StringLike", Comparison::Like, false),
    ("StringNotLike", Comparison::Like, true),
    // "ArnEquals and ArnLike behave identically."
    ("ArnEquals", Comparison::ArnLike, false),
    ("ArnLike", Comparison::ArnLike, false),
    ("ArnNotEquals", Comparison::ArnLike, true),
    ("ArnNotLike", Comparison::ArnLike, true),
    ("Bool", Comparison::EqualsIgnoreCase, false),
    ("Null", Comparison::Null, false),
];

/// What a condition says about a key that the request does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfAbsent {
    Holds,
    Fails,
}

/// A condition: one operator, one key, and its values.
#[derive(Debug)]
pub(super) struct Condition {
    comparison: Comparison,
    negated: bool,
    if_absent: IfAbsent,
    key: Key,
    values: Vec<String>,
}

impl Condition {
    pub(super) fn read(operator: &str, key: &str, values: &[Scalar]) -> Result<Self, Unsupported> {
        let (set, rest) = match operator.split_once(':') {
            Some((set @ ("ForAllValues" | "ForAnyValue"), rest)) => (Some(set), rest),
            _ => (None, operator),
        };
        let (name, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |name| (name, true));
        let known = OPERATORS.iter().find(|(known, ..)| *known == name);
        let (_, comparison, negated) = known.ok_or_else(|| Unsupported::Operator(operator.to_owned()))?;
        let known = KEYS.iter().find(|(known, _)| *known == key.to_lowercase());
        let (_, key) = known.ok_or_else(|| Unsupported::Key(key.to_owned()))?;
        // "Negated matching condition operators return true if the key is not present"; a set operator overrules it.
        let holds = match set {
            Some("ForAllValues") => true,
            Some(_) => if_exists,
            None => if_exists || *negated,
        };
        let if_absent = if holds { IfAbsent::Holds } else { IfAbsent::Fails };
        let values = values.iter().map(Scalar::text).collect();
        Ok(Self { comparison: *comparison, negated: *negated, if_absent, key: *key, values })
    }

    pub(super) fn holds(&self, caller: &Caller<'_>) -> bool {
        // P2: every simulated account is a member of the organization that a policy names.
        if self.key == Key::PrincipalOrgId && self.comparison != Comparison::Null {
            return !self.negated;
        }
        let value = match self.key {
            Key::PrincipalArn => Some(caller.principal.as_str()),
            Key::PrincipalAccount => Some(caller.account),
            Key::PrincipalOrgId => Some(""),
            Key::PrincipalIsService => Some("false"),
            Key::RequestedRegion => Some(caller.region),
            Key::SecureTransport => Some("true"),
            Key::SourceAccount | Key::SourceArn | Key::SourceOrgId => None,
        };
        if self.comparison == Comparison::Null {
            return self.values.iter().any(|wanted| wanted.eq_ignore_ascii_case(&value.is_none().to_string()));
        }
        let Some(value) = value else { return self.if_absent == IfAbsent::Holds };
        let matches = self.values.iter().any(|wanted| match self.comparison {
            Comparison::Equals => wanted == value,
            Comparison::EqualsIgnoreCase | Comparison::Null => wanted.eq_ignore_ascii_case(value),
            Comparison::Like => like(wanted, value),
            Comparison::ArnLike => arn_like(wanted, value),
        });
        matches != self.negated
    }
}

/// "Each of the six colon-delimited components of the ARN is checked separately and each can include multi-character
/// match wildcards (*) or single-character match wildcards (?)."
fn arn_like(pattern: &str, arn: &str) -> bool {
    let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.splitn(6, ':').collect(), arn.splitn(6, ':').collect());
    patterns.len() == parts.len() && patterns.iter().zip(parts).all(|(pattern, part)| like(pattern, part))
}
