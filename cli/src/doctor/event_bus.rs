//! The checks of the hub's event bus.

use std::collections::BTreeSet;

use aws::deployment;
use domain::image::Registry;
use serde_json::Value;

use super::{
    Finding,
    hub::{ATTACH_READERS_POLICY, HUB, Hub},
};

/// Checks whether the bus archives its events.
pub(super) async fn check_archive(hub: &Hub<'_>) -> Finding {
    match deployment::archives(hub.sdk, hub.archive).await {
        Ok(true) => Finding::good(HUB, "the event archive is enabled: events can be replayed"),
        Ok(false) => {
            Finding::wrong(HUB, "the event archive is disabled: no event can be replayed", "deploy the stack again")
        }
        Err(failure) => Finding::unknown(HUB, "the event archive could not be read", &failure, ATTACH_READERS_POLICY),
    }
}

/// Checks whether the bus accepts events from the accounts of these registries, and from no others.
pub(super) async fn check_policy(hub: &Hub<'_>, registries: &BTreeSet<Registry>) -> Vec<Finding> {
    let policy = match deployment::bus_policy(hub.sdk, hub.bus.rsplit('/').next().unwrap_or_default()).await {
        Ok(policy) => policy.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        Err(failure) => {
            let what = "the policy of the event bus could not be read";
            return vec![Finding::unknown(HUB, what, &failure, ATTACH_READERS_POLICY)];
        }
    };
    let own = hub.bus.split(':').nth(4).unwrap_or_default();
    let others: BTreeSet<_> = registries.iter().map(Registry::account).filter(|account| *account != own).collect();
    let admitted = Admitted::by(&policy);
    let mut findings = Vec::new();
    if admitted.everybody {
        let what = "any AWS account may send events: the bus policy has a principal `*` without an organization";
        let fix = "set OrganizationId or AccountIds, and deploy the stack again";
        findings.push(Finding::wrong(HUB, what, fix));
    }
    findings.extend(admission_of(&others, &admitted));
    findings
}

/// Whether all of these accounts may send events; `None` if there are none, and no organization is admitted.
fn admission_of(accounts: &BTreeSet<&str>, admitted: &Admitted) -> Option<Finding> {
    let (accepted, refused): (Vec<&str>, Vec<&str>) =
        accounts.iter().copied().partition(|account| admitted.admits(account));
    if !refused.is_empty() {
        let what = format!("the bus policy does not let {} send events", refused.join(", "));
        let fix = "add the accounts to the stack's parameter AccountIds, or set OrganizationId";
        return Some(Finding::wrong(HUB, what, fix));
    }
    let organizations = admitted.organizations.iter().map(|id| format!("organization {id}"));
    let by: Vec<_> = organizations.chain(accepted.into_iter().map(str::to_owned)).collect();
    (!by.is_empty()).then(|| Finding::good(HUB, format!("the bus accepts events from {}", by.join(", "))))
}

/// The principals that a bus policy allows to send events.
#[derive(Debug, Default)]
struct Admitted {
    everybody: bool,
    organizations: BTreeSet<String>,
    accounts: BTreeSet<String>,
}

impl Admitted {
    fn by(policy: &Value) -> Self {
        let mut admitted = Self::default();
        for statement in each(policy.get("Statement")) {
            let says = |key, text: &str| each(statement.get(key)).any(|value| value.as_str() == Some(text));
            if !says("Effect", "Allow") || !["events:PutEvents", "events:*", "*"].iter().any(|any| says("Action", any))
            {
                continue;
            }
            let organization = statement.pointer("/Condition/StringEquals/aws:PrincipalOrgID");
            let of_aws = statement.pointer("/Principal/AWS").or_else(|| statement.get("Principal"));
            for principal in each(of_aws).filter_map(Value::as_str) {
                match (principal, organization) {
                    ("*", None) => admitted.everybody = true,
                    ("*", Some(ids)) => {
                        admitted.organizations.extend(each(Some(ids)).filter_map(Value::as_str).map(str::to_owned));
                    }
                    // An account's number, or an ARN in it.
                    (account, _) => {
                        _ = admitted.accounts.insert(account.split(':').nth(4).unwrap_or(account).to_owned());
                    }
                }
            }
        }
        admitted
    }

    /// Who is in an organization, only the organization knows.
    fn admits(&self, account: &str) -> bool {
        self.everybody || !self.organizations.is_empty() || self.accounts.contains(account)
    }
}

/// A value, or each of several.
fn each(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    match value {
        Some(Value::Array(values)) => values.iter().collect::<Vec<_>>(),
        Some(value) => vec![value],
        None => Vec::new(),
    }
    .into_iter()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_policy_of_a_bus_says_who_may_send() {
        let policy = json!({"Statement": [
            {
                "Effect": "Allow", "Action": "events:PutEvents",
                "Principal": {"AWS": ["arn:aws:iam::111122223333:root", "444455556666"]},
            },
            {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::777788889999:root"}, "Action": "events:PutRule"},
        ]});
        let admitted = Admitted::by(&policy);
        assert!(admitted.admits("111122223333") && admitted.admits("444455556666"));
        assert!(!admitted.admits("777788889999") && !admitted.everybody);
        let open = json!({"Statement": {"Effect": "Allow", "Principal": "*", "Action": ["events:PutEvents"]}});
        assert!(Admitted::by(&open).everybody);
        let condition = json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}});
        let statement =
            json!({"Effect": "Allow", "Principal": "*", "Action": "events:PutEvents", "Condition": condition});
        let ours = json!({"Statement": [statement]});
        let admitted = Admitted::by(&ours);
        assert!(!admitted.everybody && admitted.admits("123412341234"));
        assert!(!Admitted::by(&Value::Null).admits("111122223333"));
    }
}
